import { type ErrorData, errorToData } from '../../../errors/index.ts';
import { type PreparedDataset, type PrepareRequest, prepareFeatures } from './prepare.ts';

export type PrepareTaskResult = { readonly ok: PreparedDataset } | { readonly error: ErrorData };

/**
 * `prepareFeatures` as the task of a worker thread (piscina): plain data in and out. Errors come back as data, since a thread
 * boundary strips their code; rebuild them with `errorFromData`.
 */
export default async function prepareTask(request: PrepareRequest): Promise<PrepareTaskResult> {
  try {
    return { ok: await prepareFeatures(request) };
  } catch (error) {
    return { error: errorToData(error) };
  }
}
