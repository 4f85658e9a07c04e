/** The bench: trials, grids, runtimes, records. */
export { type DryRun, dryRun, type Estimate } from './dry-run.ts';
export type { BenchEvent, BenchListener, Progress } from './events.ts';
export { parseFaults } from './faults.ts';
export type * from './fleet/types.ts';
export { type Cell, expandGrid, type GridAxes, makeTrials, widenCells } from './grid.ts';
export { mergeRuns } from './merge/merge.ts';
export { parseShard, type Shard } from './merge/shard.ts';
export { type BenchOptions, defaultCacheDirectory } from './options.ts';
export { namedParameter } from './parameter-text.ts';
export { type BenchRun, type ResumeOptions, resumeBench, runBench, scenarioOfRun } from './run.ts';
export { RUNTIME_NAMES } from './runtimes/index.ts';
export type { PrepareTask, Scenario, ScenarioOptions, ScenarioPlan } from './scenario.ts';
export {
  type FoundScenario,
  findScenario,
  findScenarios,
  loadScenario,
  loadScenarioFile,
  scenarioNames,
} from './scenarios.ts';
export { resultsOf, writeResults } from './store/results.ts';
export { findRunDirectory, listRunDirectories, runsDirectory } from './store/runs.ts';
export type * from './types.ts';
