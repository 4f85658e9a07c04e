/** What a trial with a fleet leaves behind, besides its metrics: plain data for the store and the reports. */
import type { FleetActivity } from './activity-record.ts';

export type * from './activity-record.ts';

export type CheckStatus = 'passed' | 'failed' | 'not_measured';

/** Where a piece of evidence was seen: always outside the sandboxes. */
export type EvidenceSource =
  | 'event'
  | 'exit'
  | 'cgroup'
  | 'audit'
  | 'message'
  | 'process'
  | 'network'
  | 'file'
  | 'isolation';

export interface Evidence {
  readonly source: EvidenceSource;
  /** Untrusted text: what agents sent or printed may be in it. */
  readonly text: string;
}

/** One named assertion of a scenario's oracle. */
export interface CheckResult {
  readonly id: string;
  /** What was asserted, in one sentence. */
  readonly asserted: string;
  readonly status: CheckStatus;
  /** What was seen, or why it could not be. Untrusted text. */
  readonly observed: string;
  /** The layer of isolation that did it, e.g. "pids"; null where none is concerned or none did. */
  readonly layer: string | null;
  readonly evidence: readonly Evidence[];
  /** ms since the start of the attempt. */
  readonly atMs: number;
}

/** One incarnation of an agent. Times are ms since the start of the attempt. */
export interface AgentLife {
  readonly fromMs: number;
  /** null = it ran when the trial was over. */
  readonly toMs: number | null;
  /** "exited", "signal", "oom", "timeout", "killed", "setup"; null as above. */
  readonly reason: string | null;
  readonly exitCode: number | null;
  readonly signal: string | null;
}

export interface FleetAgentRecord {
  readonly name: string;
  readonly role: string;
  /** What was run, for a reader: "hog.ts", "/bin/sh". */
  readonly program: string;
  readonly limits: Readonly<Record<string, string | number | boolean | null>>;
  readonly restartPolicy: string;
  readonly lives: readonly AgentLife[];
  readonly restarts: number;
  readonly escalated: boolean;
  /** Over all incarnations that ended; null when none did. */
  readonly cpuMs: number | null;
  readonly throttledMs: number | null;
  readonly memoryPeakBytes: number | null;
}

/** Something worth a mark on the timeline. */
export interface FleetMark {
  readonly atMs: number;
  /** null = of the whole fleet. */
  readonly agent: string | null;
  readonly kind: 'phase' | 'fault' | 'limit' | 'restart' | 'escalated' | 'refused' | 'note';
  readonly text: string;
}

/** Figures over time, measured by the oracle. */
export interface FleetSeries {
  readonly name: string;
  /** "ms", "MiB", "cores" … Series of one unit share a chart. */
  readonly unit: string;
  /** [ms since the start of the attempt, value] */
  readonly points: readonly (readonly [number, number])[];
}

export interface FleetRecord {
  readonly checks: readonly CheckResult[];
  readonly agents: readonly FleetAgentRecord[];
  readonly marks: readonly FleetMark[];
  readonly series: readonly FleetSeries[];
  /** What its agents did; absent in records of before it was kept. */
  readonly activity?: FleetActivity;
}
