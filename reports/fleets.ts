/** Trials that are fleets, as the reports look at them. */
import type { Attempt, CheckResult, FleetRecord, RunResults, TrialOutcome } from '../bench/types.ts';

/** Drawn with a timeline each; of more, the checks and the record tell. */
const DRAWN_FLEETS = 4;

export interface FleetTrial {
  readonly trial: TrialOutcome;
  readonly attempt: Attempt;
  readonly fleet: FleetRecord;
}

/** One entry per trial and runtime: the attempt that completed, else the last that has a record. */
export function fleetsOf(results: RunResults): readonly FleetTrial[] {
  return results.trials.flatMap((trial) => {
    const attempts = trial.attempts.filter(({ result }) => result?.fleet !== undefined);
    const attempt = attempts.find(({ end }) => end === 'completed') ?? attempts.at(-1);
    const fleet = attempt?.result?.fleet;
    return attempt === undefined || fleet === undefined ? [] : [{ trial, attempt, fleet }];
  });
}

export function drawnFleets(results: RunResults): readonly FleetTrial[] {
  return fleetsOf(results).slice(0, DRAWN_FLEETS);
}

/** "clove, inFlight 8, seed 42": what tells it from the others of its run. */
export function fleetName({ trial }: FleetTrial): string {
  return [trial.runtime, ...Object.entries(trial.params).map(([name, value]) => `${name} ${value}`)].join(
    ', ',
  );
}

export interface CheckGroup {
  readonly id: string;
  readonly asserted: string;
  readonly seen: readonly { readonly of: FleetTrial; readonly check: CheckResult }[];
}

/** The same check of all trials together, in the order in which the first trial made them. */
export function checkGroups(fleets: readonly FleetTrial[]): readonly CheckGroup[] {
  const groups = new Map<string, { id: string; asserted: string; seen: CheckGroup['seen'][number][] }>();
  for (const of of fleets)
    for (const check of of.fleet.checks) {
      const group = groups.get(check.id) ?? { id: check.id, asserted: check.asserted, seen: [] };
      group.seen.push({ of, check });
      groups.set(check.id, group);
    }
  return [...groups.values()];
}
