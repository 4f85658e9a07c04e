/** results.json: a function of the run's record, so it can be had at any time, also of a run that is not finished. */
import { join } from 'node:path';
import { summarise } from '../measure/summary.ts';
import { outcomesOf, verdictOf } from '../outcome.ts';
import type { Preparation, RunResults } from '../types.ts';
import { writeFileAtomically } from '../write-file.ts';
import { type RunRecords, RunStore } from './store.ts';

/** Throws RUN_NOT_FOUND. */
export function resultsOf(runDirectory: string): RunResults {
  return resultsFromRecords(RunStore.read(runDirectory));
}

export function resultsFromRecords(records: RunRecords): RunResults {
  const { definition, facts, segments, samples, hostCrashes } = records;
  const trials = outcomesOf(records.trials, definition.runtimes, records.attempts, definition.maxAttempts);
  const primary = definition.runtimes[0];
  return {
    schemaVersion: 1,
    runId: definition.runId,
    scenario: definition.scenario,
    provenance: definition.provenance,
    status: facts.status,
    startedAt: definition.startedAt,
    finishedAt: facts.finishedAt,
    // The run's clock stands still between sessions.
    wallMs: segments.reduce((last, segment) => Math.max(last, segment.lastMs), 0),
    seed: definition.seed,
    options: {
      ...definition.resolved,
      parallel: definition.parallel,
      blocks: definition.blocks,
      ...(definition.shard === undefined
        ? {}
        : { shard: `${definition.shard.index}/${definition.shard.count}` }),
    },
    faults: definition.faults,
    command: definition.command,
    machine: definition.machine,
    isolation: facts.isolation,
    preparations: [...facts.preparations, ...bootsOf(records)],
    verdict: verdictOf(trials, primary ?? 'clove', definition.coverageFloor, facts.status === 'complete'),
    runtimes: definition.runtimes.map((runtime) =>
      summarise({
        runtime,
        parallel: runtime === 'sequential' ? 1 : definition.parallel,
        cores: definition.machine.cores,
        outcomes: trials,
        segments,
        samples,
        hostCrashes,
      }),
    ),
    trials,
    load: samples,
    notices: facts.notices,
    presentation: definition.presentation,
  };
}

/** Bringing up a runtime is no part of its wall, and not hidden either. */
function bootsOf({ definition, facts }: RunRecords): Preparation[] {
  return definition.runtimes.flatMap((runtime) => {
    const wallMs = facts.boots[runtime];
    return wallMs === undefined || wallMs < 1
      ? []
      : [
          {
            name: `runtime ${runtime}`,
            key: `runtime/${runtime}`,
            from: 'computed' as const,
            wallMs,
            facts: {},
          },
        ];
  });
}

/** Replaces results.json at once: a reader sees the old file or the new one. Returns its path. */
export function writeResults(runDirectory: string, results: RunResults): string {
  const path = join(runDirectory, 'results.json');
  writeFileAtomically(path, `${JSON.stringify(results, null, 1)}\n`);
  return path;
}
