import type { ErrorData } from '../errors/index.ts';
import type { FleetScenario } from './fleet/types.ts';
import type { Preparation, Presentation, RunResults, Trial, TrialLimits } from './types.ts';

/** What `bench run SCENARIO` was asked for, after parsing. */
export interface ScenarioOptions {
  readonly quick: boolean;
  /** Widen the grid to this many trials; null = the scenario's own size. */
  readonly size: number | null;
  readonly seed: number;
  /** Explicit data folder, else null. */
  readonly dataDirectory: string | null;
  /** Where prepared inputs may be kept between runs. */
  readonly cacheDirectory: string;
  /** Scenario-specific options as given: `--set split=scaffold`, `--datasets hERG,AMES` … Validated by the scenario. */
  readonly set: Readonly<Record<string, string>>;
}

/** One input to compute before the trials; done in parallel by a thread pool, once, whatever the number of runtimes. */
export interface PrepareTask {
  readonly name: string;
  /** Content key; same key = same output. */
  readonly key: string;
  /**
   * URL of a module whose default export takes `input` and gives a PrepareResult. Runs in a worker thread, also when the output
   * is there already: then it checks it, and makes it again if it is damaged.
   */
  readonly module: URL;
  readonly input: Readonly<Record<string, unknown>>;
  /** True when the output is there already. */
  readonly cached: boolean;
  /** Told before it is begun, where it takes long or changes something: "installing … into …". */
  readonly announcement?: string;
}

/** A worker in Python: a file with a function `run(trial, attempt, log)` that gives `{ metrics, facts }`. */
export interface PythonProgram {
  readonly language: 'python';
  /** Absolute; of a virtual environment that every user can read. */
  readonly interpreter: string;
  /** Absolute path of the file. */
  readonly script: string;
  /** Modules it imports: what a process that runs several trials, or from which they are forked, loads once. */
  readonly preload: readonly string[];
}

/** Errors come back as data: a thread boundary strips their code. */
export type PrepareResult = { readonly facts: Preparation['facts'] } | { readonly error: ErrorData };

export interface ScenarioPlan {
  readonly prepare: readonly PrepareTask[];
  /** Called when every prepare task is done. */
  readonly trials: () => Promise<readonly Trial[]> | readonly Trial[];
  /** The same trials before anything is prepared, where `trials` reads or writes files: their input may be incomplete. */
  readonly outline?: () => readonly Trial[];
  /** Called after `trials`, with what was prepared, in the order of `prepare`; with nothing where a run is only described. */
  readonly provenance: (preparations: readonly Preparation[]) => RunResults['provenance'];
  readonly notices: readonly string[];
  /** Who runs the trials, where it is not the scenario's `worker`. */
  readonly program?: PythonProgram;
  /** Host folders the workers read (prepared inputs); mounted read-only at the same path in sandboxes. */
  readonly readOnlyPaths: readonly string[];
  /** The options in force, defaults filled in; kept with the run and compared when it is resumed. */
  readonly resolved: Readonly<Record<string, string | number | boolean | null>>;
}

/** A scenario: `scenarios/<name>/scenario.ts` exports one as default. */
export interface Scenario {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  /** Changes whenever results may change. Part of every trial's key. */
  readonly version: string;
  /** Module that exports `run: TrialFunction`. Not read where the trials are fleets. */
  readonly worker: URL;
  /** Its trials are fleets of this scenario. */
  readonly fleet?: FleetScenario;
  readonly limits: TrialLimits;
  readonly presentation: Presentation;
  /** Options of `set` it knows: name → help with allowed values. */
  readonly settings: Readonly<Record<string, string>>;
  plan(options: ScenarioOptions): Promise<ScenarioPlan>;
  /** Facts for the reader about one preparation, for the terminal line. */
  describePreparation?(preparation: Preparation): string;
}
