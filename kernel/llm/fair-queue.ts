import { CloveError } from '../../errors/index.ts';

export interface FairQueueLimits {
  /** Jobs that run at a time. */
  readonly running: number;
  /** Of one caller: nobody keeps all the others waiting. */
  readonly runningPerCaller: number;
  readonly waitingPerCaller: number;
  /** Of everything that waits. */
  readonly waitingBytes: number;
}

interface Job {
  readonly callerId: number;
  readonly bytes: number;
  start(): void;
}

/**
 * Work of many callers, some of it at a time: whoever waits gets one turn per round, however much the others have asked for.
 * Within one caller it is first come, first served.
 */
export class FairQueue {
  readonly #limits: FairQueueLimits;
  /** In the order of their next turns. Only callers that wait for something. */
  readonly #waiting = new Map<number, Job[]>();
  readonly #runningOf = new Map<number, number>();
  #running = 0;
  #waitingBytes = 0;
  #waitingCount = 0;

  constructor(limits: FairQueueLimits) {
    this.#limits = limits;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waitingCount;
  }

  waitingOf(callerId: number): number {
    return this.#waiting.get(callerId)?.length ?? 0;
  }

  /**
   * Runs `work` when its turn has come; aborting before that takes it out of the queue. `bytes`: what it keeps in memory while it
   * waits. @throws OVERLOAD, CANCELLED, or what `work` throws
   */
  async run<Result>(
    callerId: number,
    bytes: number,
    signal: AbortSignal,
    work: () => Promise<Result>,
  ): Promise<Result> {
    if (signal.aborted) throw cancelled();
    if (!this.#mayStart(callerId)) await this.#wait(callerId, bytes, signal);
    else this.#take(callerId);
    try {
      return await work();
    } finally {
      this.#give(callerId);
    }
  }

  #mayStart(callerId: number): boolean {
    return (
      this.#running < this.#limits.running &&
      (this.#runningOf.get(callerId) ?? 0) < this.#limits.runningPerCaller &&
      !this.#waiting.has(callerId)
    );
  }

  /** Resolves when the turn has come; it is taken then. */
  async #wait(callerId: number, bytes: number, signal: AbortSignal): Promise<void> {
    const { waitingPerCaller, waitingBytes } = this.#limits;
    const jobs = this.#waiting.get(callerId) ?? [];
    if (jobs.length >= waitingPerCaller) {
      throw new CloveError('OVERLOAD', `${jobs.length} questions of this caller wait already`);
    }
    if (this.#waitingBytes + bytes > waitingBytes) {
      throw new CloveError('OVERLOAD', 'the questions that wait take up too much memory');
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const job: Job = { callerId, bytes, start: resolve };
    const onAbort = () => {
      this.#remove(job);
      reject(cancelled());
    };
    jobs.push(job);
    this.#waiting.set(callerId, jobs);
    this.#waitingBytes += bytes;
    this.#waitingCount += 1;
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  #remove(job: Job): void {
    const jobs = this.#waiting.get(job.callerId);
    const at = jobs?.indexOf(job) ?? -1;
    // Its turn came in the same moment: then `work` finds the signal aborted.
    if (jobs === undefined || at < 0) return;
    jobs.splice(at, 1);
    if (jobs.length === 0) this.#waiting.delete(job.callerId);
    this.#forget(job);
  }

  #forget(job: Job): void {
    this.#waitingBytes -= job.bytes;
    this.#waitingCount -= 1;
  }

  #take(callerId: number): void {
    this.#running += 1;
    this.#runningOf.set(callerId, (this.#runningOf.get(callerId) ?? 0) + 1);
  }

  #give(callerId: number): void {
    this.#running -= 1;
    const left = (this.#runningOf.get(callerId) ?? 1) - 1;
    if (left === 0) this.#runningOf.delete(callerId);
    else this.#runningOf.set(callerId, left);
    this.#startNext();
  }

  #startNext(): void {
    while (this.#running < this.#limits.running) {
      const job = this.#next();
      if (job === null) return;
      this.#take(job.callerId);
      job.start();
    }
  }

  /** The first in the ring that may run one more; its caller goes to the end of it. */
  #next(): Job | null {
    for (const [callerId, jobs] of this.#waiting) {
      if ((this.#runningOf.get(callerId) ?? 0) >= this.#limits.runningPerCaller) continue;
      const job = jobs.shift() as Job;
      this.#waiting.delete(callerId);
      if (jobs.length > 0) this.#waiting.set(callerId, jobs);
      this.#forget(job);
      return job;
    }
    return null;
  }
}

function cancelled(): CloveError {
  return new CloveError('CANCELLED', 'the caller is gone');
}
