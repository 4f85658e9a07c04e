/** Several runs of one grid become one run in the store. */
import { join } from 'node:path';
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
