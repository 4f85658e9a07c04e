import type { TrialFunction } from '../../bench/types.ts';

/** Keeps one core busy for `busyMs`; 0 = returns at once. */
export const run: TrialFunction = ({ trial }) => {
  const busyMs = Number(trial.params.busyMs ?? 0);
  const endMs = performance.now() + busyMs;
  let rounds = 0;
  while (performance.now() < endMs) rounds++;
  return { metrics: { busyMs }, facts: { rounds } };
};
