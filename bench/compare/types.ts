/** The vocabulary of comparisons: plain data, shared by the comparison, the gate, reports and the command line. */
import type { Machine, ParameterValue, RuntimeName, TrialStatus } from '../types.ts';

/** How two values of a metric are set against each other. */
export type Scale =
  | 'difference' // b − a
  | 'ratio' // b / a − 1; averaged in logarithms
  | 'rate'; // share of trials; each is 0 or 1

export interface MetricDefinition {
  /** "test.aucRoc", or one of the bench's own: "completion", "wall", "compute", "cpu", "memory", "startup". */
  readonly name: string;
  readonly label: string;
  readonly scale: Scale;
  readonly higherIsBetter: boolean;
  /** Depends on the machine: means nothing between two different ones. */
  readonly machineBound: boolean;
}

/** One trial on one side, reduced to what is compared. */
export interface MeasuredTrial {
  readonly key: string;
  readonly id: string;
  readonly params: Readonly<Record<string, ParameterValue>>;
  readonly seed: number;
  readonly status: TrialStatus;
  /** By metric name; a metric without a value here was not measured for this trial. */
  readonly values: Readonly<Record<string, number>>;
}

/** What two runs of the same thing differ by: below it, nothing can be told from noise. */
export interface NoiseFloor {
  /** Pairs of A/A trials it was learnt from. */
  readonly pairs: number;
  /** Standard deviation of the paired differences, on the metric's scale (logarithms for ratios). */
  readonly deviation: number;
  /** The farther end of the interval of the A/A mean difference, on the metric's scale. */
  readonly effect: number;
}

/** One side of a comparison: a run on one runtime, or a stored baseline. */
export interface Measured {
  readonly label: string;
  readonly runIds: readonly string[];
  readonly scenario: { readonly name: string; readonly version: string };
  readonly runtime: RuntimeName;
  readonly startedAt: string;
  readonly machine: Machine;
  readonly metrics: readonly MetricDefinition[];
  readonly trials: readonly MeasuredTrial[];
  readonly noise: Readonly<Record<string, NoiseFloor>>;
}

export type ChangeVerdict = 'better' | 'worse' | 'same' | 'inconclusive';

export interface MetricChange {
  readonly metric: MetricDefinition;
  readonly verdict: ChangeVerdict;
  /** One sentence: why this verdict. */
  readonly reason: string;
  readonly pairs: number;
  /** Mean of each side over the pairs; geometric for ratios. null without pairs. */
  readonly before: number | null;
  readonly after: number | null;
  /** after − before, or after / before − 1 on the ratio scale. Not turned round: a higher wall time is positive. */
  readonly effect: number | null;
  readonly interval: { readonly low: number; readonly high: number } | null;
  readonly pValue: number | null;
  /** After Holm's correction over all metrics judged together. */
  readonly pAdjusted: number | null;
  /** What this many pairs would show with probability 0.8, in the unit of `effect`. */
  readonly minimumDetectable: number | null;
  readonly noiseFloor: number | null;
  /** Changes within ± this count as none, in the unit of `effect`. */
  readonly margin: number;
}

export interface TrialChange {
  readonly id: string;
  readonly params: Readonly<Record<string, ParameterValue>>;
  readonly metric: string;
  readonly before: number;
  readonly after: number;
}

/** `auc:-0.01`: worse than this fails. */
export interface GateRule {
  readonly text: string;
  readonly metric: string;
  /** In the unit of `effect`, with the sign of the bad direction. */
  readonly threshold: number;
}
export type GateOutcome = 'pass' | 'fail' | 'inconclusive';
export interface GateResult {
  readonly rule: GateRule;
  readonly outcome: GateOutcome;
  readonly reason: string;
}

export interface Comparison {
  readonly schemaVersion: 1;
  readonly scenario: string;
  readonly before: ComparisonSide;
  readonly after: ComparisonSide;
  /** Trials that both sides measured / the larger side's trials. */
  readonly coverage: number;
  readonly coverageFloor: number;
  readonly level: number;
  readonly seed: number;
  readonly changes: readonly MetricChange[];
  /** Trials whose leading metric or outcome moved most, worst first. */
  readonly movers: readonly TrialChange[];
  readonly gates: readonly GateResult[];
  readonly outcome: GateOutcome;
  readonly notices: readonly string[];
}

export interface ComparisonSide {
  readonly label: string;
  readonly runIds: readonly string[];
  readonly runtime: RuntimeName;
  readonly startedAt: string;
  readonly version: string;
  readonly trials: number;
  readonly measured: number;
}

/** One run among many of the same scenario, for trends. */
export interface HistoryPoint {
  readonly runId: string;
  readonly startedAt: string;
  readonly version: string;
  readonly gitCommit: string | null;
  readonly runtime: RuntimeName;
  /** Same number = same machine, in order of appearance: figures bound to the machine only trend within one. */
  readonly machine: number;
  readonly trials: number;
  readonly measured: number;
  /** Mean over the trials by metric name; geometric on ratio scales. */
  readonly means: Readonly<Record<string, number>>;
}

export interface History {
  readonly scenario: string;
  readonly metrics: readonly MetricDefinition[];
  /** Oldest first. */
  readonly points: readonly HistoryPoint[];
}
