import type { PrepareResult } from '../../../bench/scenario.ts';
import { errorToData } from '../../../errors/index.ts';
import { ensureEnvironment } from './environment.ts';

/** The bench's prepare task of the Python worker's environment. Runs in a thread. */
export default async function prepareEnvironment(input: { readonly folder: string }): Promise<PrepareResult> {
  try {
    return { facts: await ensureEnvironment(input.folder) };
  } catch (error) {
    return { error: errorToData(error) };
  }
}
