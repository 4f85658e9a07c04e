/**
 * The vocabulary of the bench: plain data, shared by runner, runtimes, store and reports. Nothing here runs.
 */
import type { ErrorData } from '../errors/index.ts';
import type { LayerReport } from '../native/types.ts';
import type { FleetRecord } from './fleet/record.ts';

export type * from './fleet/record.ts';

export type RuntimeName = 'clove' | 'process' | 'thread' | 'sequential' | 'python-pool';
export type ParameterValue = string | number | boolean;
export type TrialParameters = Readonly<Record<string, ParameterValue>>;
/** Nested figures a trial reports, e.g. { test: { aucRoc: 0.86 } }. null = not defined for this trial. */
export interface MetricTree {
  readonly [name: string]: number | null | MetricTree;
}

/** One cell of the grid; the same on every runtime. */
export interface Trial {
  /** "exp_001": position in the grid, padded. Unique within a run (a runtime adds its own dimension). */
  readonly id: string;
  /** Content hash of scenario version + params + seed: what makes resuming and merging safe. */
  readonly key: string;
  readonly params: TrialParameters;
  readonly seed: number;
  /** Relative cost from the scenario, for longest-first ordering. */
  readonly costEstimate: number;
  /** Plain data the worker needs besides params (paths of prepared inputs as seen by the worker …). */
  readonly input: Readonly<Record<string, unknown>>;
}

export interface TrialLimits {
  readonly memoryBytes: number;
  /** Cores; 1 = one core's worth. */
  readonly cpu: number;
  readonly maxPids: number;
  readonly timeoutMs: number;
}

export type FaultKind = 'crash' | 'hang' | 'leak';
/** Probability per attempt of each kind; drawn from the seed stream `faults/<trial key>/<attempt>`, so the same on every runtime. */
export type FaultPlan = Readonly<Partial<Record<FaultKind, number>>>;

/** What the worker module of a scenario exports: `run`. Loaded in every runtime; must not keep state between calls. */
export interface TrialContext {
  readonly trial: Trial;
  readonly attempt: number;
  readonly log: (line: string) => void;
}
export interface TrialResult {
  readonly metrics: MetricTree;
  /** Facts worth keeping that are no metrics: sample counts, number of features … Plain JSON. */
  readonly facts: Readonly<Record<string, ParameterValue | null>>;
  /** Of a trial that is a fleet: its checks, its agents, what happened when. */
  readonly fleet?: FleetRecord;
}
export type TrialFunction = (context: TrialContext) => Promise<TrialResult> | TrialResult;

/**
 * How one attempt ended. Kinds that are the trial's own doing are 'failed'; those of the infrastructure are 'not_measured'
 * and never count as a zero.
 */
export type AttemptEnd =
  | 'completed'
  | 'error' // the worker's function threw
  | 'crashed' // signal, abort, exit without result
  | 'timeout'
  | 'oom'
  | 'collateral' // died because something else in the same process died (thread, sequential)
  | 'infrastructure' // could not be started or measured
  | 'interrupted'; // Ctrl-C, kill -9 of the bench

export interface AttemptUsage {
  /** From start of the attempt in the runtime to its end. */
  readonly wallMs: number;
  /** From start to the first instruction of the scenario's function. */
  readonly startupMs: number | null;
  /** Inside the scenario's function. */
  readonly computeMs: number | null;
  readonly cpuMs: number | null;
  readonly memoryPeakBytes: number | null;
  /** Where memoryPeakBytes comes from: 'cgroup', 'maxrss', or 'shared' (of a process that runs several trials). */
  readonly memorySource: 'cgroup' | 'maxrss' | 'shared' | null;
}

export interface Attempt {
  readonly trialId: string;
  readonly runtime: RuntimeName;
  readonly attempt: number;
  /** ms since the run's start (monotonic). */
  readonly startedAtMs: number;
  readonly queuedMs: number;
  /** Which of the parallel places it ran in, 0-based. */
  readonly slot: number;
  readonly end: AttemptEnd;
  readonly fault: FaultKind | null;
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly error: ErrorData | null;
  readonly usage: AttemptUsage;
  /** Last lines of output, untrusted text, ≤ 8 KiB. */
  readonly logTail: string;
  readonly result: TrialResult | null;
}

export type TrialStatus = 'passed' | 'failed' | 'not_measured';

export interface TrialOutcome {
  readonly id: string;
  readonly key: string;
  readonly runtime: RuntimeName;
  readonly params: TrialParameters;
  readonly seed: number;
  readonly status: TrialStatus;
  readonly attempts: readonly Attempt[];
  readonly metrics: MetricTree | null;
  readonly facts: Readonly<Record<string, ParameterValue | null>> | null;
}

/** One sample of the machine while a runtime works. */
export interface LoadSample {
  readonly runtime: RuntimeName;
  /** ms since the run's start. */
  readonly atMs: number;
  /** 0..cores, of the whole machine. */
  readonly cpuCores: number;
  /** Of the runtime's trials where it can be known (cgroup, process trees), else null. */
  readonly memoryBytes: number | null;
  readonly machineMemoryUsedBytes: number;
  readonly running: number;
  readonly queued: number;
}

export interface RuntimeSummary {
  readonly runtime: RuntimeName;
  /** Places that trials really ran in. */
  readonly parallel: number;
  readonly trials: number;
  readonly passed: number;
  readonly failed: number;
  readonly notMeasured: number;
  readonly attempts: number;
  readonly retries: number;
  /** passed / trials. */
  readonly completion: number;
  /** Sum of the wall of this runtime's segments. */
  readonly wallMs: number;
  readonly trialsPerMinute: number;
  /** Mean busy cores of the machine / cores, while this runtime worked. */
  readonly cpuUtilisation: number | null;
  readonly computeMsTotal: number;
  readonly cpuMsTotal: number | null;
  readonly memoryPeakBytes: number | null;
  /**
   * Slot time not spent inside trials, per attempt that ran to its end: the attempt's wall − its compute (start-up, ending),
   * plus the gap before it on its slot. Slots that are idle because nothing is left to do are not overhead.
   */
  readonly overheadMsPerTrial: number | null;
  /** The bench's own part of it: the mean gap between two attempts on one slot (scheduling, records, admission). */
  readonly harnessMsPerTrial?: number | null;
  readonly startupMsMedian: number | null;
  /** Compute of attempts that did not lead to a result. */
  readonly lostMs: number;
  readonly faultsInjected: Readonly<Record<FaultKind, number>>;
  /** Times the process that hosts several trials died (thread, sequential); 0 by construction elsewhere. */
  readonly hostCrashes: number;
  /** Attempts that died because of another trial. */
  readonly collateral: number;
}

export type VerdictKind = 'pass' | 'fail' | 'no_verdict';
export interface Verdict {
  readonly kind: VerdictKind;
  /** One sentence, e.g. "48 of 48 experiments completed under clove". */
  readonly reason: string;
  readonly coverage: number;
  readonly coverageFloor: number;
}

export interface Machine {
  readonly hostnameHash: string;
  readonly os: string;
  readonly kernel: string;
  readonly cpuModel: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly node: string;
  readonly clove: string;
  readonly gitCommit: string | null;
  readonly gitDirty: boolean | null;
}

/** Made once, before the trials: inputs shared by all of them, and what a runtime itself needs (its kernel or host process). */
export interface Preparation {
  readonly name: string;
  readonly key: string;
  /** 'computed' in this run, or taken from the 'cache'. */
  readonly from: 'computed' | 'cache';
  readonly wallMs: number;
  readonly facts: Readonly<Record<string, ParameterValue | null>>;
}

/** results.json: the record that reports are drawn from. */
export interface RunResults {
  readonly schemaVersion: 1;
  readonly runId: string;
  readonly scenario: {
    readonly name: string;
    readonly title: string;
    readonly version: string;
    readonly description: string;
  };
  /** Data the results rest on, e.g. name "rule-labelled, synthetic" or "TDC hERG"; shown wherever results are. */
  readonly provenance: readonly {
    readonly name: string;
    readonly kind: 'measured' | 'synthetic';
    readonly rows: number;
    readonly dropped: number;
    readonly source: string;
    readonly sha256: string;
    readonly licence: string;
  }[];
  readonly status: 'complete' | 'interrupted' | 'running';
  readonly startedAt: string;
  readonly finishedAt: string | null;
  readonly wallMs: number;
  readonly seed: number;
  readonly options: Readonly<Record<string, ParameterValue | null>>;
  readonly faults: FaultPlan;
  /** The command that reproduces this run. */
  readonly command: string;
  readonly machine: Machine;
  readonly isolation: readonly LayerReport[];
  readonly preparations: readonly Preparation[];
  readonly verdict: Verdict;
  readonly runtimes: readonly RuntimeSummary[];
  readonly trials: readonly TrialOutcome[];
  readonly load: readonly LoadSample[];
  /** Things the reader must know: degradations, noisy machine, resumed n times … */
  readonly notices: readonly string[];
  /** How to read the scenario's metrics: which one leads and how to lay out the heat map. */
  readonly presentation: Presentation;
}

export interface Presentation {
  readonly primaryMetric: { readonly path: string; readonly label: string; readonly higherIsBetter: boolean };
  readonly metrics: readonly {
    readonly path: string;
    readonly label: string;
    readonly format: string;
    /** Which way is good; as the leading metric where it is not said. */
    readonly higherIsBetter?: boolean;
    /** How it is compared: by differences (default), or by ratios where trials are of different sizes. */
    readonly scale?: 'difference' | 'ratio';
    /** It says as much about the machine as about the trial: not compared across machines. */
    readonly machineBound?: boolean;
  }[];
  readonly heatmap: {
    readonly rows: readonly string[];
    readonly columns: readonly string[];
    readonly facet: string | null;
  };
  readonly parameterLabels: Readonly<Record<string, string>>;
}
