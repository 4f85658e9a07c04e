import type { ErrorData } from '../../errors/index.ts';
import type { LayerReport } from '../../native/types.ts';
import type { FaultDraw } from '../faults.ts';
import type { FleetScenario } from '../fleet/types.ts';
import type { PythonProgram } from '../scenario.ts';
import type { AttemptEnd, AttemptUsage, RuntimeName, Trial, TrialLimits, TrialResult } from '../types.ts';

/** One attempt to be made. */
export interface AttemptRequest {
  readonly trial: Trial;
  readonly attempt: number;
  readonly fault: FaultDraw | null;
  /** Which of the parallel places it takes. */
  readonly slot: number;
  /** Ends the attempt as 'interrupted'. */
  readonly signal: AbortSignal;
}

/** How it ended, as far as a runtime can tell. */
export interface AttemptEnding {
  readonly end: AttemptEnd;
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly error: ErrorData | null;
  readonly usage: AttemptUsage;
  readonly logTail: string;
  readonly result: TrialResult | null;
}

/** What every runtime is made from. */
export interface RuntimeContext {
  /** Given where the worker is no module of Node's. */
  readonly program?: PythonProgram | undefined;
  /** Given where the trials are fleets. */
  readonly fleet?: FleetScenario | undefined;
  /** URL of the scenario's worker module. */
  readonly worker: URL;
  readonly limits: TrialLimits;
  readonly parallel: number;
  /** Of the whole run: the more there are, the less each may leave behind. */
  readonly trials: number;
  /** Host folders the workers read. */
  readonly readOnlyPaths: readonly string[];
  /** Folder for sockets and the like; short enough for a unix socket's path, removed by the caller. */
  readonly scratchDirectory: string;
  /** Where Node keeps compiled code between processes: a worker starts in half the time with it. */
  readonly compileCacheDirectory: string;
  /** Processes that must not outlive the bench are told to it. */
  readonly guard: ProcessGuard;
  /** A host process was lost together with what ran in it. */
  readonly onHostCrash: (reason: string) => void;
  readonly onNotice: (text: string, isRemark?: boolean) => void;
}

/** Sees to it that a process dies with the bench, even after kill -9. */
export interface ProcessGuard {
  add(pid: number): void;
  remove(pid: number): void;
}

/**
 * Where trials run. `start` never rejects: whatever happens is an ending. At most `parallel` attempts are under way at once.
 */
export interface Runtime {
  readonly name: RuntimeName;
  start(request: AttemptRequest): Promise<AttemptEnding>;
  /** Memory of what runs now, for the load curve; null where it cannot be known. */
  memoryBytes(): Promise<number | null> | number | null;
  /** Protections the trials run under; empty where there are none. */
  readonly isolation: readonly LayerReport[];
  /** Ends everything that still runs. */
  close(): Promise<void>;
}
