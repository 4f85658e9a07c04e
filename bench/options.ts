import { availableParallelism, homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { CloveError } from '../errors/index.ts';
import { namesHint } from '../errors/suggest.ts';
import { hasFaults } from './faults.ts';
import type { Shard } from './merge/shard.ts';
import { RUNTIME_NAMES } from './runtimes/index.ts';
import type { IsolationStrength } from './runtimes/isolation.ts';
import type { Scenario } from './scenario.ts';
import { runsDirectory } from './store/runs.ts';
import type { FaultPlan, RuntimeName } from './types.ts';

/** What a run is asked for. Everything but the scenario has a default. */
export interface BenchOptions {
  readonly scenario: Scenario;
  /** Where it is, when it cannot be found by its name. */
  readonly scenarioFile?: string | null;
  /** The first is the one the verdict is about; the others run the same trials for comparison. Default ['clove']. */
  readonly runtimes?: readonly RuntimeName[];
  /** Trials at once; 'auto' = one per core, less what others keep busy when the run begins. Default 'auto'. */
  readonly parallel?: number | 'auto';
  /** Default 42. */
  readonly seed?: number;
  /** Widen the grid to this many trials. Default: the scenario's own size. */
  readonly size?: number | null;
  readonly quick?: boolean;
  readonly faults?: FaultPlan;
  readonly dataDirectory?: string | null;
  /** Prepared inputs are kept here. Default $XDG_CACHE_HOME/clove, else ~/.cache/clove. */
  readonly cacheDirectory?: string;
  /** Default $CLOVE_RUNS, else ./runs. */
  readonly runsDirectory?: string | null;
  /** Socket of a running kernel for the `clove` runtime. Default: a private kernel. */
  readonly kernelSocket?: string | null;
  /** Fork the trials of the `clove` runtime from a template process that has loaded the scenario's worker. Default true. */
  readonly zygote?: boolean;
  /** What the sandboxes of the `clove` runtime must have. Default `reduced`: what this machine cannot give is named in the report. */
  readonly isolation?: IsolationStrength;
  /** Time limit of one attempt. Default: the scenario's. */
  readonly timeoutMs?: number | null;
  /** Attempts a trial gets at most; an exception of the scenario itself is tried again only once. Default 3. */
  readonly maxAttempts?: number;
  /** Turns each runtime takes in a comparison. Default 2 with several runtimes, else 1. */
  readonly blocks?: number | null;
  /** Share of trials that must be measured for a verdict. Default 0.95. */
  readonly coverageFloor?: number;
  /** Run only this part of the grid; `bench merge` puts parts together. Default: all of it. */
  readonly shard?: Shard | null;
  /** Scenario settings. */
  readonly set?: Readonly<Record<string, string>>;
  /** Stops the run: nothing new starts, what runs is interrupted and recorded; it can be resumed. */
  readonly signal?: AbortSignal;
  /** The command line that asks for this run, for the report. */
  readonly command?: string;
}

/** The same with nothing left open. */
export interface ResolvedBenchOptions
  extends Required<Omit<BenchOptions, 'parallel' | 'blocks' | 'runsDirectory' | 'timeoutMs'>> {
  readonly parallel: number;
  readonly adaptive: boolean;
  readonly timeoutMs: number;
  readonly blocks: number;
  readonly runsDirectory: string;
}

/** Fills in defaults and checks; throws USAGE. */
export function resolveOptions(options: BenchOptions): ResolvedBenchOptions {
  const runtimes = options.runtimes ?? ['clove'];
  if (runtimes.length === 0) throw usage('a run needs at least one runtime');
  if (new Set(runtimes).size !== runtimes.length) throw usage('a runtime is named twice');
  for (const name of runtimes)
    if (!RUNTIME_NAMES.includes(name))
      throw usage(`there is no runtime "${name}"`, namesHint(name, RUNTIME_NAMES));
  // A fleet measures what its agents do to each other; another fleet beside it would do the same.
  const asked = options.parallel ?? 'auto';
  const parallel = asked === 'auto' && options.scenario.fleet !== undefined ? 1 : asked;
  const resolved: ResolvedBenchOptions = {
    scenario: options.scenario,
    scenarioFile: options.scenarioFile ?? null,
    runtimes,
    parallel: parallel === 'auto' ? availableParallelism() : parallel,
    // A comparison keeps its slots: runtimes that ran beside more or less of others' load would not compare.
    adaptive: parallel === 'auto' && runtimes.length === 1,
    seed: options.seed ?? 42,
    size: options.size ?? null,
    quick: options.quick ?? false,
    faults: options.faults ?? {},
    dataDirectory: options.dataDirectory ?? null,
    cacheDirectory: resolve(options.cacheDirectory ?? defaultCacheDirectory()),
    runsDirectory: runsDirectory(options.runsDirectory ?? null),
    kernelSocket: options.kernelSocket ?? null,
    zygote: options.zygote ?? true,
    isolation: options.isolation ?? 'reduced',
    timeoutMs: options.timeoutMs ?? options.scenario.limits.timeoutMs,
    maxAttempts: options.maxAttempts ?? 3,
    blocks: options.blocks ?? (runtimes.length > 1 ? 2 : 1),
    coverageFloor: options.coverageFloor ?? 0.95,
    shard: options.shard ?? null,
    set: options.set ?? {},
    signal: options.signal ?? new AbortController().signal,
    command: options.command ?? '',
  };
  const whole = (name: 'parallel' | 'maxAttempts' | 'blocks', most: number) => {
    const value = resolved[name];
    if (!Number.isInteger(value) || value < 1 || value > most)
      throw usage(`${name} is a whole number from 1 to ${most}, not ${value}`);
  };
  if (options.scenario.fleet !== undefined) requireFleetChoice(resolved);
  whole('parallel', 1024);
  whole('maxAttempts', 100);
  whole('blocks', 1000);
  if (!Number.isSafeInteger(resolved.seed)) throw usage(`the seed is a whole number, not ${resolved.seed}`);
  if (
    resolved.size !== null &&
    (!Number.isInteger(resolved.size) || resolved.size < 1 || resolved.size > 1_000_000)
  )
    throw usage(`the size is a whole number from 1 to 1000000, not ${resolved.size}`);
  if (!(resolved.timeoutMs >= 1)) throw usage(`the time limit is at least 1 ms, not ${resolved.timeoutMs}`);
  if (!(resolved.coverageFloor >= 0 && resolved.coverageFloor <= 1))
    throw usage(`the coverage floor is from 0 to 1, not ${resolved.coverageFloor}`);
  for (const name of Object.keys(resolved.set))
    if (!Object.hasOwn(options.scenario.settings, name))
      throw usage(
        `the scenario ${options.scenario.name} has no setting "${name}"`,
        `It has: ${Object.keys(options.scenario.settings).join(', ') || 'none'}.`,
      );
  return resolved;
}

function requireFleetChoice({ scenario, runtimes, faults, kernelSocket }: ResolvedBenchOptions): void {
  const other = runtimes.find((name) => name !== 'clove' && name !== 'process');
  if (other !== undefined)
    throw usage(
      `the trials of ${scenario.name} are fleets, and those do not run under ${other}`,
      'They run under clove, or without walls and limits under process.',
    );
  if (kernelSocket !== null)
    throw usage(`the trials of ${scenario.name} are fleets, each under a kernel of its own`);
  if (hasFaults(faults))
    throw usage(`the trials of ${scenario.name} are fleets: their faults are part of the scenario`);
}

export function defaultCacheDirectory(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'clove');
}

function usage(message: string, hint?: string): CloveError {
  return new CloveError('USAGE', message, hint === undefined ? {} : { hint });
}
