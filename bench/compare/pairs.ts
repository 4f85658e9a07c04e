import { canonicalJson } from '../keys.ts';
import type { Measured, MeasuredTrial } from './types.ts';

export interface Pair {
  readonly before: MeasuredTrial;
  readonly after: MeasuredTrial;
}

/**
 * Sets the same trials of two sides against each other: by key (scenario version, parameters, seed), else, when the scenario's
 * version changed, by parameters and seed. What one side lacks has no pair.
 */
export function pairTrials(before: Measured, after: Measured): Pair[] {
  const identity =
    before.scenario.version === after.scenario.version
      ? ({ key }: MeasuredTrial) => key
      : ({ params, seed }: MeasuredTrial) => canonicalJson({ params, seed });
  const waiting = new Map(before.trials.map((trial) => [identity(trial), trial]));
  const pairs: Pair[] = [];
  for (const trial of after.trials) {
    const name = identity(trial);
    const partner = waiting.get(name);
    if (partner === undefined) continue;
    waiting.delete(name);
    pairs.push({ before: partner, after: trial });
  }
  return pairs;
}

/** Share of the larger side's trials that both sides measured; 0 when there are none. */
export function coverageOf(before: Measured, after: Measured, pairs: readonly Pair[]): number {
  const wanted = Math.max(before.trials.length, after.trials.length);
  const measured = pairs.filter(
    (pair) => pair.before.status !== 'not_measured' && pair.after.status !== 'not_measured',
  );
  return wanted === 0 ? 0 : measured.length / wanted;
}
