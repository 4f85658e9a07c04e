import { measureMicro } from '../../bench/micro/benchmarks.ts';
import type { TrialFunction } from '../../bench/types.ts';

/** One measurement in a process of its own. */
export const run: TrialFunction = async ({ trial }) => {
  const { latencyUs, perSecond, rmePercent, samples } = await measureMicro(
    String(trial.params.name),
    Number(trial.input.measureMs),
  );
  return { metrics: { latencyUs, perSecond, rmePercent }, facts: { samples } };
};
