import type { ErrorData } from '../../errors/index.ts';
import type { FaultDraw } from '../faults.ts';
import type { Trial, TrialResult } from '../types.ts';

/** What a worker is told: one attempt of one trial. Plain JSON. */
export interface AttemptOrder {
  /** URL of the scenario's worker module (exports `run`). */
  readonly worker: string;
  readonly trial: Trial;
  readonly attempt: number;
  readonly fault: FaultDraw | null;
  /** A leak that nothing stops ends here by itself. */
  readonly leakCapBytes: number;
}

/** What a worker answers. Times are CLOCK_MONOTONIC in ms, the same clock in every process of the machine. */
export interface AttemptReport {
  readonly end: 'completed' | 'error';
  readonly result: TrialResult | null;
  readonly error: ErrorData | null;
  /** When the scenario's function was entered. */
  readonly enteredAtMs: number;
  readonly computeMs: number;
  /** CPU of the attempt: of its process, or of its thread where several share one process. */
  readonly cpuMs: number;
  /** Largest resident set of the process so far. */
  readonly maxRssBytes: number;
  /** Lines the trial logged; filled only where output is not captured per attempt. */
  readonly logTail: string;
}

export const LOG_TAIL_BYTES = 8192;
