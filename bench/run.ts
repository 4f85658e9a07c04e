/** `bench run` and `bench resume` as functions: from a scenario to a record of its trials. Prints nothing. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CloveError, isCloveError } from '../errors/index.ts';
import type { BenchListener } from './events.ts';
import { machineFacts } from './measure/machine.ts';
import { trialsOfShard } from './merge/shard.ts';
import { type BenchOptions, type ResolvedBenchOptions, resolveOptions } from './options.ts';
import { prepareAll } from './prepare.ts';
import { startGuardian } from './runtimes/guardian.ts';
import type { IsolationStrength } from './runtimes/isolation.ts';
import { requireSandboxes } from './runtimes/preflight.ts';
import type { Scenario, ScenarioPlan } from './scenario.ts';
import { loadScenario } from './scenarios.ts';
import { resultsFromRecords, writeResults } from './store/results.ts';
import { makeRunId } from './store/runs.ts';
import { type RunDefinition, SCHEMA_VERSION } from './store/schema.ts';
import { RunStore } from './store/store.ts';
import type { Preparation, RunResults, RuntimeName, Trial } from './types.ts';
import { workOn } from './work.ts';

export interface BenchRun {
  readonly runDirectory: string;
  readonly results: RunResults;
}

/**
 * Runs a scenario's grid. Resolves also when `signal` stopped it (status 'interrupted'). Throws USAGE, CONFIG, DATA_MISSING …
 * before anything runs; a failure of the bench itself later leaves a record that can be resumed.
 */
export async function runBench(options: BenchOptions, listener: BenchListener = () => {}): Promise<BenchRun> {
  const resolved = resolveOptions(options);
  const openedAtMs = performance.now();
  const startedAt = new Date();
  if (resolved.runtimes.includes('clove') && resolved.kernelSocket === null)
    await requireSandboxes(resolved.scenario.limits, resolved.isolation);
  const machine = await machineFacts();
  const { plan, trials: grid, preparations } = await planTrials(resolved.scenario, resolved, listener);
  const trials = trialsOfShard(grid, resolved.shard);
  const runId = makeRunId(resolved.scenario.name, startedAt);
  const definition = define(resolved, plan, preparations, {
    runId,
    startedAt: startedAt.toISOString(),
    machine,
    ...(resolved.shard === null ? {} : { shard: { ...resolved.shard, trials: grid.length } }),
  });
  const store = RunStore.create(join(resolved.runsDirectory, runId), definition, trials);
  store.putFact('preparations', preparations);
  if (plan.notices.length > 0) store.putFact('notices', plan.notices);
  return await work(store, plan, resolved.scenario, { ...resolved, openedAtMs, resumed: false }, listener);
}

export interface ResumeOptions {
  readonly kernelSocket?: string | null;
  /** As in BenchOptions. */
  readonly zygote?: boolean;
  readonly isolation?: IsolationStrength;
  readonly signal?: AbortSignal;
  /** The scenario, when it is not one that comes with Clove. */
  readonly scenario?: Scenario;
}

/**
 * Goes on with a run that was interrupted or killed: what completed stays, what was under way is made again.
 * Throws RUN_NOT_FOUND, RUN_BUSY, CONFIG when the scenario or its data are no longer those the run began with and something is
 * left to do.
 */
export async function resumeBench(
  runDirectory: string,
  options: ResumeOptions = {},
  listener: BenchListener = () => {},
): Promise<BenchRun> {
  const openedAtMs = performance.now();
  const store = RunStore.open(runDirectory);
  let plan: ScenarioPlan;
  let scenario: Scenario;
  const signal = options.signal ?? new AbortController().signal;
  try {
    const records = store.records();
    const { definition, facts } = records;
    if (facts.status === 'complete') {
      // Nothing is left to do, and so nothing to prepare: the record stays as it is, its time of ending too.
      const results = resultsFromRecords(records);
      writeResults(runDirectory, results);
      store.close();
      return { runDirectory, results };
    }
    scenario = options.scenario ?? (await scenarioOf(definition));
    const planned = await planTrials(
      scenario,
      { ...definition.scenarioOptions, runtimes: definition.runtimes, seed: definition.seed, signal },
      listener,
    );
    plan = planned.plan;
    requireSame(records.trials, trialsOfShard(planned.trials, definition.shard ?? null), runDirectory);
    const interrupted = store.closeOpenAttempts();
    const lost = interrupted === 1 ? 'one attempt was' : `${interrupted} attempts were`;
    store.putFact('notices', [
      ...facts.notices,
      `Resumed at ${new Date().toISOString()}${interrupted > 0 ? `; ${lost} under way when the run stopped and made again` : ''}.`,
    ]);
  } catch (error) {
    store.close();
    throw error;
  }
  const { kernelSocket = null, zygote = true, isolation = 'reduced' } = options;
  const choice = { kernelSocket, zygote, isolation, signal, openedAtMs, resumed: true };
  return await work(store, plan, scenario, choice, listener);
}

/** The scenario that a run was begun with, as it is now. @throws RUN_NOT_FOUND, USAGE when it is no longer there */
export function scenarioOfRun(runDirectory: string): Promise<Scenario> {
  return scenarioOf(RunStore.read(runDirectory).definition);
}

function scenarioOf({ scenario, scenarioFile }: RunDefinition): Promise<Scenario> {
  return loadScenario(scenarioFile ?? scenario.name);
}

async function planTrials(
  scenario: Scenario,
  options: RunDefinition['scenarioOptions'] &
    Pick<RunDefinition, 'runtimes' | 'seed'> & { readonly signal: AbortSignal },
  listener: BenchListener,
): Promise<{ plan: ScenarioPlan; trials: readonly Trial[]; preparations: readonly Preparation[] }> {
  const { quick, size, seed, dataDirectory, cacheDirectory, set } = options;
  const plan = await scenario.plan({ quick, size, seed, dataDirectory, cacheDirectory, set });
  requireRuntimesFor(plan, options.runtimes);
  const tasks = plan.prepare;
  listener({
    kind: 'prepare',
    tasks: tasks.length,
    cached: tasks.filter((task) => task.cached).length,
    announcements: tasks.flatMap((task) => (task.cached ? [] : (task.announcement ?? []))),
  });
  const preparations = await prepareAll(tasks, {
    signal: options.signal,
    onDone: (preparation, done) => {
      const description = scenario.describePreparation?.(preparation) ?? preparation.name;
      listener({ kind: 'prepared', preparation, description, done, tasks: tasks.length });
    },
  });
  const trials = await plan.trials();
  requireTrials(scenario, trials);
  return { plan, trials, preparations };
}

/** @throws CONFIG when the grid is empty */
export function requireTrials(scenario: Pick<Scenario, 'name'>, trials: readonly Trial[]): void {
  if (trials.length === 0) throw new CloveError('CONFIG', `the scenario ${scenario.name} has no trials`);
}

/** @throws USAGE when a runtime cannot run such workers */
export function requireRuntimesFor({ program }: ScenarioPlan, runtimes: readonly RuntimeName[]): void {
  const wrong = runtimes.find((name) =>
    program === undefined ? name === 'python-pool' : name === 'thread' || name === 'sequential',
  );
  if (wrong === undefined) return;
  throw new CloveError(
    'USAGE',
    program === undefined
      ? `${wrong} runs workers in Python, and this one is not`
      : `${wrong} runs workers in TypeScript, and this one is in Python`,
    { hint: 'Workers in Python (--worker python) run under clove, process and python-pool.' },
  );
}

function define(
  options: ResolvedBenchOptions,
  plan: ScenarioPlan,
  preparations: readonly Preparation[],
  run: Pick<RunDefinition, 'runId' | 'startedAt' | 'machine' | 'shard'>,
): RunDefinition {
  const { scenario } = options;
  const { name, title, version, description } = scenario;
  return {
    schemaVersion: SCHEMA_VERSION,
    ...run,
    scenario: { name, title, version, description },
    ...(options.scenarioFile === null ? {} : { scenarioFile: options.scenarioFile }),
    runtimes: options.runtimes,
    parallel: options.parallel,
    adaptive: options.adaptive,
    blocks: options.blocks,
    maxAttempts: options.maxAttempts,
    seed: options.seed,
    faults: options.faults,
    limits: { ...scenario.limits, timeoutMs: options.timeoutMs },
    coverageFloor: options.coverageFloor,
    command: options.command,
    presentation: scenario.presentation,
    scenarioOptions: {
      quick: options.quick,
      size: options.size,
      dataDirectory: options.dataDirectory,
      cacheDirectory: options.cacheDirectory,
      set: options.set,
    },
    resolved: plan.resolved,
    provenance: plan.provenance(preparations),
  };
}

async function work(
  store: RunStore,
  plan: ScenarioPlan,
  scenario: Scenario,
  options: {
    readonly kernelSocket: string | null;
    readonly zygote: boolean;
    readonly isolation: IsolationStrength;
    readonly signal: AbortSignal;
    readonly openedAtMs: number;
    readonly resumed: boolean;
  },
  listener: BenchListener,
): Promise<BenchRun> {
  const guardian = await startGuardian().catch((error) => {
    store.close();
    throw error;
  });
  const scratchDirectory = mkdtempSync(join(tmpdir(), 'clove-bench-'));
  guardian.addDirectory(scratchDirectory);
  try {
    const finished = await workOn(store, {
      worker: scenario.worker,
      fleet: scenario.fleet,
      program: plan.program,
      readOnlyPaths: plan.readOnlyPaths,
      kernelSocket: options.kernelSocket,
      zygote: options.zygote,
      isolation: options.isolation,
      signal: options.signal,
      resumed: options.resumed,
      clockOffsetMs: store.lastActivityMs() - options.openedAtMs,
      scratchDirectory,
      guardian,
      listener,
    });
    // At once: nobody who dies in between leaves a run that is complete and never ended.
    store.putFacts({
      status: finished ? 'complete' : 'interrupted',
      finishedAt: new Date().toISOString(),
    });
  } catch (error) {
    store.putFact('status', 'interrupted');
    // A Ctrl-C that met the compiler before it met us.
    if (!isCloveError(error) || error.code !== 'CANCELLED') throw error;
  } finally {
    try {
      await guardian.close();
      writeResults(store.directory, resultsFromRecords(store.records()));
    } finally {
      store.close();
    }
  }
  return { runDirectory: store.directory, results: resultsFromRecords(RunStore.read(store.directory)) };
}

function requireSame(recorded: readonly Trial[], planned: readonly Trial[], runDirectory: string): void {
  const keys = (trials: readonly Trial[]) => trials.map((trial) => `${trial.id} ${trial.key}`).join('\n');
  if (keys(recorded) === keys(planned)) return;
  throw new CloveError('CONFIG', `the scenario or its data have changed since ${runDirectory} was begun`, {
    hint: 'Its results stay readable; start a new run for the new trials.',
  });
}
