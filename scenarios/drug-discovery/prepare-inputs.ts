import type { PrepareResult } from '../../bench/scenario.ts';
import { errorToData } from '../../errors/index.ts';
import { type PrepareRequest, prepareFeatures } from './data/prepare.ts';

/** The bench's prepare task of one data set: its feature sets, computed where they are missing. Runs in a thread. */
export default async function prepareInputs(request: PrepareRequest): Promise<PrepareResult> {
  try {
    const prepared = await prepareFeatures(request);
    const dropped = Object.values(prepared.droppedCounts).reduce((sum, count) => sum + count, 0);
    return {
      facts: {
        rows: prepared.rows,
        positives: prepared.positives,
        dropped,
        droppedWhy: Object.entries(prepared.droppedCounts)
          .map(([reason, count]) => `${count} ${reason}`)
          .join(', '),
        computed: prepared.computed.join(', '),
        repaired: prepared.repaired.join(', '),
      },
    };
  } catch (error) {
    return { error: errorToData(error) };
  }
}
