/** What the agents of a trial did through the kernel, as it is kept: plain data, bounded, and what is missing is counted. */

export const ACTIVITY_KINDS = [
  'message',
  'network',
  'file',
  'command',
  'model',
  'state',
  'event',
  'task',
  'agent',
  'other',
] as const;
export type ActivityKind = (typeof ACTIVITY_KINDS)[number];

/** One thing that somebody did. Names, paths, hosts and types are untrusted text. */
export interface ActivityEntry {
  /** When it began: ms since the start of the attempt. */
  readonly atMs: number;
  /** The same on the clock of the world its agent is in: ms since that world's start; null = it is in none. */
  readonly worldMs: number | null;
  /** Who; "oracle" = the scenario's, from outside. */
  readonly agent: string;
  readonly kind: ActivityKind;
  /** Type of a message, method of a request, "read", "write" … */
  readonly what: string;
  /** Receiver of a message, URL without its query, path, key … */
  readonly target: string;
  /** OK, or the code of an error; FORBIDDEN = refused. */
  readonly outcome: string;
  /** Of a response, or the exit code of a command. */
  readonly status: number | null;
  /** Of a message, a response, a file; null = it has none. */
  readonly bytes: number | null;
  /** Real time, except of requests inside a world: time there. */
  readonly durationMs: number;
}

/** Entries of one kind that are not kept: the first and the last ones are. */
export interface ActivityLoss {
  readonly kind: ActivityKind;
  readonly seen: number;
  readonly kept: number;
  /** Between these two, ms since the start of the attempt, some are missing. */
  readonly fromMs: number;
  readonly toMs: number;
}

/** Complete, whatever became of single entries. */
export interface CallCount {
  readonly agent: string;
  /** Name of the syscall. */
  readonly call: string;
  readonly count: number;
  readonly refused: number;
  readonly failed: number;
}

/** Decisions against a call, by the rule that made them. */
export interface RefusalCount {
  readonly agent: string;
  readonly call: string;
  readonly rule: string;
  /** What it was about: a path, a host, an agent. Untrusted text. */
  readonly object: string;
  readonly count: number;
}

export interface RequestCount {
  readonly agent: string;
  readonly host: string;
  readonly method: string;
  readonly status: number | null;
  /** As of an entry. */
  readonly outcome: string;
  readonly count: number;
  readonly bytes: number;
}

export interface FileCount {
  readonly agent: string;
  readonly path: string;
  readonly reads: number;
  readonly writes: number;
  readonly failed: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

export interface MessageCount {
  readonly from: string;
  readonly to: string;
  readonly what: string;
  readonly count: number;
  readonly failed: number;
  readonly bytes: number;
}

/** What had become of the files of a world when the trial was over. */
export interface ChangedFile {
  readonly path: string;
  readonly change: 'added' | 'changed' | 'deleted';
  readonly bytes: number | null;
}

/** Time in a world that agents of the trial were in, and what thinking cost there. */
export interface FleetWorld {
  readonly name: string;
  /** `skip`, `real` … */
  readonly clock: string;
  /** As in its definition: `real`, `free`, `fixed:250` … */
  readonly llmTime: string;
  readonly modelCalls: number;
  readonly modelFailed: number;
  /** Of the world's time. */
  readonly modelChargedMs: number;
  /** Of this machine's. */
  readonly modelRealMs: number;
}

export interface FleetActivity {
  /** Time in the world at its start, ISO 8601; null = nobody was in a world. */
  readonly worldStart: string | null;
  /** Absent in records of before it was kept. */
  readonly worlds?: readonly FleetWorld[];
  /** In the order in which they began. */
  readonly entries: readonly ActivityEntry[];
  readonly losses: readonly ActivityLoss[];
  readonly calls: readonly CallCount[];
  readonly refusals: readonly RefusalCount[];
  readonly requests: readonly RequestCount[];
  readonly files: readonly FileCount[];
  readonly messages: readonly MessageCount[];
  readonly changed: readonly ChangedFile[];
  /** Rows that found no room in the lists above. */
  readonly rowsLost: {
    readonly requests: number;
    readonly files: number;
    readonly messages: number;
    readonly changed: number;
    readonly refusals: number;
  };
}
