import { randomInt } from 'node:crypto';
import { CloveError } from '../../errors/index.ts';
import type { After } from '../worlds/waiting.ts';

export interface AsyncLimits {
  /** Calls of one caller at a time; further ones wait for their turn. */
  readonly running: number;
  /** Of one caller: waiting, running, or ended and not polled. */
  readonly perCaller: number;
  /** Answers of one caller that lie there: beyond it nothing new is accepted. */
  readonly perCallerBytes: number;
  /** Answers of all callers; one that does not fit is dropped, and its caller told so. */
  readonly totalBytes: number;
}

export const ASYNC_LIMITS: AsyncLimits = {
  running: 4,
  perCaller: 256,
  perCallerBytes: 16 * 2 ** 20,
  totalBytes: 256 * 2 ** 20,
};

/** Ids given by the kernel; a client that counts its own from 1 never meets them. */
const FIRST_AUTO_ID = 2 ** 30;
const LAST_AUTO_ID = 2 ** 31 - 1;
/** One poll takes at least one answer, then no more than this. */
const TAKE_BYTES = 8 * 2 ** 20;

/** Which call it was. */
export interface AsyncCall {
  readonly opcode: number;
  readonly name: string;
}

/** How a call ended. */
export interface AsyncOutcome {
  /** JSON: what the same call would have been answered synchronously. */
  readonly text: string;
  readonly success: boolean;
  readonly error: string | null;
}

/** A call that has ended. */
export interface AsyncResult extends AsyncCall, AsyncOutcome {
  readonly requestId: number;
}

export interface PollOptions {
  readonly max: number;
  /** Only this one; null = whatever has ended, in the order of the ends. */
  readonly requestId: number | null;
  /** 0 = not at all, null = without limit. */
  readonly waitMs: number | null;
  /** Tells when so many ms are over, on the caller's clock; absent = the real one. */
  readonly after?: After | undefined;
  readonly signal: AbortSignal;
}

interface Task {
  readonly call: AsyncCall;
  readonly requestId: number;
  readonly work: (signal: AbortSignal) => Promise<AsyncOutcome>;
}

/** All of one caller. */
class Desk {
  readonly abort = new AbortController();
  readonly waiting: Task[] = [];
  /** In the order of their ends. */
  readonly ended = new Map<number, AsyncResult & { readonly bytes: number }>();
  /** Waiting or running. */
  readonly open = new Set<number>();
  readonly pollers = new Set<() => void>();
  running = 0;
  bytes = 0;

  get count(): number {
    return this.open.size + this.ended.size;
  }

  wake(): void {
    for (const poller of [...this.pollers]) poller();
  }
}

/**
 * Calls that were answered with "accepted": they run in turns, and what they were answered is kept until their caller asks for
 * it. Nobody sees the calls of others: there is no way to name them.
 */
export class AsyncTasks {
  readonly #limits: AsyncLimits;
  readonly #desks = new Map<number, Desk>();
  #totalBytes = 0;

  constructor(limits: AsyncLimits = ASYNC_LIMITS) {
    this.#limits = limits;
  }

  get totalBytes(): number {
    return this.#totalBytes;
  }

  /** Waiting, running, or ended and not polled; of one caller. */
  countOf(callerId: number): number {
    return this.#desks.get(callerId)?.count ?? 0;
  }

  /**
   * Accepts a call and returns its id. `work` starts now or in its turn and resolves to how it ended; it must not
   * reject. 0 or no id = the kernel chooses one. @throws BAD_REQUEST, OVERLOAD
   */
  submit(
    callerId: number,
    call: AsyncCall,
    chosenId: number,
    work: (signal: AbortSignal) => Promise<AsyncOutcome>,
  ): number {
    const desk = this.#desks.getOrInsertComputed(callerId, () => new Desk());
    const { perCaller, perCallerBytes, totalBytes } = this.#limits;
    if (desk.count >= perCaller) {
      throw overload(`${perCaller} asynchronous calls are unfinished or not polled`);
    }
    if (desk.bytes >= perCallerBytes || this.#totalBytes >= totalBytes) {
      throw overload('answers that were not polled take up too much memory');
    }
    if (chosenId !== 0 && isTaken(desk, chosenId)) {
      throw new CloveError('BAD_REQUEST', `invalid request: request_id ${chosenId} is in use`);
    }
    const requestId = chosenId === 0 ? autoId(desk) : chosenId;
    desk.open.add(requestId);
    desk.waiting.push({ call, requestId, work });
    this.#run(desk);
    return requestId;
  }

  /** Takes what has ended; with `requestId` that one alone. @throws NOT_FOUND, CANCELLED */
  async poll(callerId: number, options: PollOptions): Promise<AsyncResult[]> {
    const { waitMs, after = afterReal } = options;
    const late = new AbortController();
    let cancel: (() => void) | null = null;
    try {
      for (;;) {
        const desk = this.#desks.getOrInsertComputed(callerId, () => new Desk());
        const taken = this.#take(desk, options);
        if (taken.length > 0 || options.max < 1 || late.signal.aborted) return taken;
        if (waitMs !== null && waitMs <= 0) return [];
        if (waitMs !== null) cancel ??= after(waitMs, () => late.abort());
        await nextEnd(desk, late.signal, options.signal);
      }
    } finally {
      cancel?.();
    }
  }

  /** Ends what runs and forgets everything: the caller is gone. */
  release(callerId: number): void {
    const desk = this.#desks.get(callerId);
    if (desk === undefined) return;
    this.#desks.delete(callerId);
    this.#totalBytes -= desk.bytes;
    desk.waiting.length = 0;
    desk.abort.abort();
    desk.wake();
  }

  #run(desk: Desk): void {
    while (desk.running < this.#limits.running) {
      const task = desk.waiting.shift();
      if (task === undefined) return;
      desk.running += 1;
      void this.#perform(desk, task);
    }
  }

  async #perform(desk: Desk, task: Task): Promise<void> {
    const outcome = await task.work(desk.abort.signal);
    desk.running -= 1;
    if (desk.abort.signal.aborted) return;
    desk.open.delete(task.requestId);
    this.#keep(desk, task, outcome);
    desk.wake();
    this.#run(desk);
  }

  #keep(desk: Desk, { call, requestId }: Task, outcome: AsyncOutcome): void {
    const fits = this.#totalBytes + outcome.text.length <= this.#limits.totalBytes;
    const kept = fits ? outcome : dropped(outcome.text.length);
    const bytes = kept.text.length;
    desk.ended.set(requestId, { ...call, ...kept, requestId, bytes });
    desk.bytes += bytes;
    this.#totalBytes += bytes;
  }

  #take(desk: Desk, { max, requestId }: PollOptions): AsyncResult[] {
    if (requestId !== null && !isTaken(desk, requestId)) {
      throw new CloveError('NOT_FOUND', `no asynchronous call has the id ${requestId}`);
    }
    const taken: AsyncResult[] = [];
    let bytes = 0;
    for (const [id, result] of desk.ended) {
      if (requestId !== null && id !== requestId) continue;
      if (taken.length >= max || (taken.length > 0 && bytes + result.bytes > TAKE_BYTES)) break;
      desk.ended.delete(id);
      desk.bytes -= result.bytes;
      this.#totalBytes -= result.bytes;
      bytes += result.bytes;
      taken.push(result);
    }
    return taken;
  }
}

function isTaken(desk: Desk, requestId: number): boolean {
  return desk.open.has(requestId) || desk.ended.has(requestId);
}

function autoId(desk: Desk): number {
  for (;;) {
    const id = randomInt(FIRST_AUTO_ID, LAST_AUTO_ID);
    if (!isTaken(desk, id)) return id;
  }
}

function overload(message: string): CloveError {
  return new CloveError('OVERLOAD', message, { hint: 'Take what has ended with ASYNC_POLL.' });
}

function dropped(length: number): AsyncOutcome {
  const error = `the call has ended, but there was no room to keep its answer of ${length} characters`;
  return { text: JSON.stringify({ code: 'OVERLOAD', error, success: false }), success: false, error };
}

function afterReal(ms: number, fire: () => void): () => void {
  const timer = setTimeout(fire, ms);
  return () => clearTimeout(timer);
}

/** Until something ends, the time is over or the caller is gone. @throws CANCELLED */
async function nextEnd(desk: Desk, late: AbortSignal, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = () => resolve();
  desk.pollers.add(done);
  for (const each of [signal, late]) each.addEventListener('abort', done, { once: true });
  if (signal.aborted || late.aborted) done();
  await promise;
  desk.pollers.delete(done);
  for (const each of [signal, late]) each.removeEventListener('abort', done);
  if (signal.aborted || desk.abort.signal.aborted) {
    throw new CloveError('CANCELLED', 'the caller is gone');
  }
}
