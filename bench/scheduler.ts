/** Runs trials on one runtime: longest first, over a fixed number of slots, with retries. Knows no store and no clock of its own. */
import type { Admission, Refusal } from './admission.ts';
import { drawFault } from './faults.ts';
import { countedAttempts, mayTryAgain } from './outcome.ts';
import type { AttemptEnding, Runtime } from './runtimes/runtime.ts';
import type { AttemptStart } from './store/store.ts';
import type { Attempt, FaultPlan, Trial } from './types.ts';

const ADMISSION_RETRY_MS = 100;
/** Before an attempt that could not be started is tried again, so that a short trouble of the machine can pass. */
const INFRASTRUCTURE_PAUSE_MS = 500;

export interface SegmentWork {
  readonly runtime: Runtime;
  readonly slots: number;
  readonly trials: readonly Trial[];
  /** Attempts made before, of any trial; interrupted ones included. */
  readonly earlier: (trialId: string) => readonly Attempt[];
  readonly maxAttempts: number;
  readonly faults: FaultPlan;
  readonly seed: number;
  readonly admission: Admission;
  readonly nowMs: () => number;
  readonly signal: AbortSignal;
  /** Recorded before the attempt begins. What it throws ends the segment. */
  readonly onStart: (start: AttemptStart) => void;
  readonly onEnd: (attempt: Attempt, willRetry: boolean) => void;
  readonly onRefusal?: (why: Refusal) => void;
}

export interface SegmentState {
  readonly running: number;
  readonly queued: number;
}

interface Entry {
  readonly trial: Trial;
  readonly readyAtMs: number;
}

/** Longest first; equal costs in the grid's order. */
export function longestFirst(trials: readonly Trial[]): Trial[] {
  return trials
    .map((trial, index) => ({ trial, index }))
    .sort((a, b) => b.trial.costEstimate - a.trial.costEstimate || a.index - b.index)
    .map(({ trial }) => trial);
}

/**
 * Splits trials into `count` blocks of like cost and size, for runtimes that take turns: dealt out longest first, forwards and
 * backwards by turns.
 */
export function splitBlocks(trials: readonly Trial[], count: number): Trial[][] {
  const blocks: Trial[][] = Array.from({ length: Math.max(1, Math.min(count, trials.length)) }, () => []);
  longestFirst(trials).forEach((trial, index) => {
    const round = Math.floor(index / blocks.length);
    const place = index % blocks.length;
    blocks[round % 2 === 0 ? place : blocks.length - 1 - place]?.push(trial);
  });
  return blocks;
}

export interface SegmentRun {
  /** Resolves when every trial has its outcome, or after an abort when nothing runs any more. */
  readonly done: Promise<void>;
  state(): SegmentState;
}

export function runSegment(work: SegmentWork): SegmentRun {
  const startedAtMs = work.nowMs();
  const queue: Entry[] = longestFirst(work.trials).map((trial) => ({ trial, readyAtMs: startedAtMs }));
  const freeSlots = Array.from({ length: work.slots }, (_, slot) => slot);
  const attempts = new Map<string, Attempt[]>();
  // A failure of the bench itself (its store, say) stops what runs, like the caller's signal does.
  const failure = new AbortController();
  const signal = AbortSignal.any([work.signal, failure.signal]);
  let running = 0;
  let wake: NodeJS.Timeout | null = null;

  const attemptsOf = (trial: Trial): Attempt[] => {
    let list = attempts.get(trial.id);
    if (list === undefined) {
      list = [...work.earlier(trial.id)];
      attempts.set(trial.id, list);
    }
    return list;
  };

  const done = new Promise<void>((resolve, reject) => {
    const settleIfOver = () => {
      if (running > 0 || (queue.length > 0 && !signal.aborted)) return;
      if (wake !== null) clearTimeout(wake);
      signal.removeEventListener('abort', settleIfOver);
      if (failure.signal.aborted) reject(failure.signal.reason);
      else resolve();
    };
    const pump = () => {
      if (wake !== null) clearTimeout(wake);
      wake = null;
      while (!signal.aborted && queue.length > 0 && freeSlots.length > 0) {
        const now = work.nowMs();
        const index = queue.findIndex((entry) => entry.readyAtMs <= now);
        const refusal = index < 0 ? null : work.admission.refusal();
        if (refusal !== null) work.onRefusal?.(refusal);
        if (index < 0 || refusal !== null) {
          wake = setTimeout(pump, ADMISSION_RETRY_MS);
          break;
        }
        const [entry] = queue.splice(index, 1) as [Entry];
        freeSlots.sort((a, b) => a - b);
        const slot = freeSlots.shift() as number;
        running++;
        void attempt(entry, slot)
          .catch((error) => failure.abort(error))
          .finally(() => {
            running--;
            freeSlots.push(slot);
            pump();
          });
      }
      settleIfOver();
    };
    signal.addEventListener('abort', settleIfOver);
    pump();
  });

  async function attempt(entry: Entry, slot: number): Promise<void> {
    const { trial } = entry;
    const before = attemptsOf(trial);
    const number = Math.max(0, ...before.map((one) => one.attempt)) + 1;
    const fault = drawFault(work.faults, work.seed, trial.key, countedAttempts(before).length + 1);
    const now = work.nowMs();
    const start: AttemptStart = {
      trialId: trial.id,
      runtime: work.runtime.name,
      attempt: number,
      startedAtMs: now,
      queuedMs: Math.max(0, now - entry.readyAtMs),
      slot,
      fault: fault?.kind ?? null,
    };
    work.onStart(start);
    const admissionId = `${trial.id}/${number}`;
    work.admission.started(admissionId);
    const ending: AttemptEnding = await work.runtime.start({ trial, attempt: number, fault, slot, signal });
    work.admission.ended(admissionId, ending.usage, ending.end === 'completed' && fault === null);
    const finished: Attempt = { ...start, ...ending };
    before.push(finished);
    const willRetry = finished.end !== 'interrupted' && mayTryAgain(before, work.maxAttempts);
    work.onEnd(finished, willRetry);
    if (!willRetry) return;
    const pause = finished.end === 'infrastructure' ? INFRASTRUCTURE_PAUSE_MS : 0;
    const retry = { trial, readyAtMs: work.nowMs() + pause };
    const place = queue.findIndex((other) => other.trial.costEstimate < trial.costEstimate);
    queue.splice(place < 0 ? queue.length : place, 0, retry);
  }

  return { done, state: () => ({ running, queued: queue.length }) };
}
