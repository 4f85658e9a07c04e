/** `bench run --dry-run`: what a run would be, from its plan and the runs before it. Prepares, starts and writes nothing. */
import { basename, join } from 'node:path';
import { trialsOfShard } from './merge/shard.ts';
import { type BenchOptions, type ResolvedBenchOptions, resolveOptions } from './options.ts';
import { requireRuntimesFor, requireTrials } from './run.ts';
import type { ScenarioPlan } from './scenario.ts';
import { resultsOf } from './store/results.ts';
import { listRunDirectories, runIdForm } from './store/runs.ts';
import type { FaultPlan, RunResults, RuntimeName, Trial } from './types.ts';

/** How long one runtime would take, going by an earlier run of the scenario. */
export interface Estimate {
  readonly runtime: RuntimeName;
  /** null = no complete run of this version of the scenario under this runtime is in the store. */
  readonly wallMs: number | null;
  readonly fromRun: string | null;
  /** Trials that the earlier run had, too; of the others its mean is taken. */
  readonly knownTrials: number;
}

export interface DryRun {
  readonly dryRun: true;
  readonly scenario: { readonly name: string; readonly title: string; readonly version: string };
  readonly trials: readonly Pick<Trial, 'id' | 'key' | 'params' | 'seed'>[];
  readonly runtimes: readonly RuntimeName[];
  /** Trials at once; 'adaptive' runs fewer while others keep the machine busy. */
  readonly parallel: number;
  readonly adaptive: boolean;
  readonly blocks: number;
  readonly maxAttempts: number;
  readonly timeoutMs: number;
  readonly seed: number;
  readonly isolation: string;
  readonly shard: { readonly index: number; readonly count: number; readonly trials: number } | null;
  readonly faults: FaultPlan;
  /** The scenario's options in force. */
  readonly options: ScenarioPlan['resolved'];
  readonly data: readonly Omit<RunResults['provenance'][number], 'rows' | 'dropped'>[];
  /** Inputs made once before the trials. */
  readonly prepare: readonly {
    readonly name: string;
    readonly cached: boolean;
    readonly announcement: string | null;
  }[];
  readonly notices: readonly string[];
  readonly estimates: readonly Estimate[];
  /** Sum of the estimates; null where one is missing. */
  readonly estimatedWallMs: number | null;
  /** Folder that the run would make; its name begins with the time of the start and ends in four digits drawn then. */
  readonly runDirForm: string;
}

/** Throws what `runBench` would throw before it prepares anything; whether sandboxes can be had is not tried. */
export async function dryRun(options: BenchOptions): Promise<DryRun> {
  const resolved = resolveOptions(options);
  const { scenario, runtimes, seed, quick, size, dataDirectory, cacheDirectory, set } = resolved;
  const plan = await scenario.plan({ quick, size, seed, dataDirectory, cacheDirectory, set });
  requireRuntimesFor(plan, runtimes);
  const grid = await (plan.outline ?? plan.trials)();
  requireTrials(scenario, grid);
  const trials = trialsOfShard(grid, resolved.shard);
  const estimates = estimatesOf(trials, resolved);
  return {
    dryRun: true,
    scenario: { name: scenario.name, title: scenario.title, version: scenario.version },
    trials: trials.map(({ id, key, params, seed: own }) => ({ id, key, params, seed: own })),
    runtimes,
    parallel: resolved.parallel,
    adaptive: resolved.adaptive,
    blocks: resolved.blocks,
    maxAttempts: resolved.maxAttempts,
    timeoutMs: resolved.timeoutMs,
    seed,
    isolation: resolved.isolation,
    shard: resolved.shard === null ? null : { ...resolved.shard, trials: grid.length },
    faults: resolved.faults,
    options: plan.resolved,
    // Rows are counted when inputs are prepared.
    data: plan.provenance([]).map(({ rows: _rows, dropped: _dropped, ...data }) => data),
    prepare: plan.prepare.map(({ name, cached, announcement }) => ({
      name,
      cached,
      announcement: cached ? null : (announcement ?? null),
    })),
    notices: plan.notices,
    estimates,
    estimatedWallMs: estimates.reduce<number | null>(
      (sum, { wallMs }) => (sum === null || wallMs === null ? null : sum + wallMs),
      0,
    ),
    runDirForm: join(resolved.runsDirectory, runIdForm(scenario.name)),
  };
}

/** For each runtime: the latest complete run of this version of the scenario under it. */
function estimatesOf(trials: readonly Trial[], resolved: ResolvedBenchOptions): Estimate[] {
  const { runtimes, scenario } = resolved;
  const estimates = new Map<RuntimeName, Estimate>();
  for (const directory of listRunDirectories(resolved.runsDirectory)) {
    if (estimates.size === runtimes.length) break;
    // The name says which scenario it is of, without opening it.
    if (!basename(directory).includes(`-${scenario.name}-`)) continue;
    const earlier = readOrNull(directory);
    if (earlier?.status !== 'complete') continue;
    if (earlier.scenario.name !== scenario.name || earlier.scenario.version !== scenario.version) continue;
    for (const runtime of runtimes) {
      const parallel = runtime === 'sequential' ? 1 : resolved.parallel;
      const estimate = estimates.has(runtime) ? null : estimateFrom(earlier, runtime, trials, parallel);
      if (estimate !== null) estimates.set(runtime, estimate);
    }
  }
  return runtimes.map(
    (runtime) => estimates.get(runtime) ?? { runtime, wallMs: null, fromRun: null, knownTrials: 0 },
  );
}

/**
 * The same trials at the same width take what they took; others their share of it. Never less than the longest trial.
 */
export function estimateFrom(
  earlier: RunResults,
  runtime: RuntimeName,
  trials: readonly Pick<Trial, 'key'>[],
  parallel: number,
): Estimate | null {
  const summary = earlier.runtimes.find((one) => one.runtime === runtime);
  const outcomes = earlier.trials.filter((one) => one.runtime === runtime);
  const wallOf = new Map(
    outcomes.map(({ key, attempts }) => [key, attempts.reduce((sum, { usage }) => sum + usage.wallMs, 0)]),
  );
  const earlierMs = sum([...wallOf.values()]);
  if (summary === undefined || !(earlierMs > 0) || !(summary.wallMs > 0)) return null;
  const known = trials.filter(({ key }) => wallOf.has(key)).length;
  const walls = trials.map(({ key }) => wallOf.get(key) ?? earlierMs / wallOf.size);
  // Of the time of all places, what stood empty between and after trials is part of the estimate.
  const placeMs = summary.wallMs * Math.min(summary.parallel, wallOf.size);
  const spreadMs = (sum(walls) / earlierMs) * (placeMs / Math.min(parallel, trials.length));
  const wallMs = Math.round(Math.max(spreadMs, ...(parallel > 1 ? [longest(walls)] : [])));
  return { runtime, wallMs, fromRun: earlier.runId, knownTrials: known };
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
const longest = (values: readonly number[]): number =>
  values.reduce((most, value) => Math.max(most, value), 0);

/** A run that cannot be read gives no estimate, and is no reason to refuse. */
function readOrNull(directory: string): RunResults | null {
  try {
    return resultsOf(directory);
  } catch {
    return null;
  }
}
