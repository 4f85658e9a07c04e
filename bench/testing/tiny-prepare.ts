import { CloveError, errorToData } from '../../errors/index.ts';
import type { PrepareResult } from '../scenario.ts';

/** A preparation for tests: fails, or takes its time, as its input says. */
export default async function prepare(input: {
  fail?: boolean;
  waitMs?: number;
  name: string;
}): Promise<PrepareResult> {
  await new Promise((resolve) => setTimeout(resolve, input.waitMs ?? 0));
  if (input.fail) return { error: errorToData(new CloveError('DATA_CORRUPT', `${input.name} is damaged`)) };
  return { facts: { name: input.name } };
}
