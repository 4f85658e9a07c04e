/** Several runs of one grid become one run in the store. */
import { join } from 'node:path';
import { CloveError } from '../../errors/index.ts';
import type { BenchRun } from '../run.ts';
import { resultsFromRecords, writeResults } from '../store/results.ts';
import { makeRunId } from '../store/runs.ts';
import { RunStore } from '../store/store.ts';
import { mergeRecords } from './records.ts';

/**
 * Makes a run of its own out of the parts, which stay as they are. What is missing or under way in them can be made up for by
 * `resume`. @throws CONFLICT, USAGE, RUN_NOT_FOUND
 */
export function mergeRuns(runDirectories: readonly string[], runsDirectory: string): BenchRun {
  const parts = runDirectories.map((directory) => RunStore.read(directory));
  const name = parts[0]?.definition.scenario.name ?? 'run';
  // Becomes part of a folder's name, and comes out of a file that may be anybody's.
  if (!/^[A-Za-z0-9][\w.-]{0,63}$/.test(name))
    throw new CloveError(
      'CONFLICT',
      `the parts are of a scenario with no name to be trusted: ${JSON.stringify(name).slice(0, 80)}`,
    );
  const merged = mergeRecords(parts, makeRunId(name, new Date()));
  const directory = join(runsDirectory, merged.definition.runId);
  const store = RunStore.create(directory, merged.definition, merged.trials);
  try {
    store.importRecords(merged);
    writeResults(directory, resultsFromRecords(store.records()));
  } finally {
    store.close();
  }
  return { runDirectory: directory, results: resultsFromRecords(RunStore.read(directory)) };
}
