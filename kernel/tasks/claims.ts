import { CloveError } from '../../errors/index.ts';
import type { Task } from './task.ts';

export interface Claim {
  readonly callerId: number;
  /** null = any. */
  readonly kinds: ReadonlySet<string> | null;
  readonly leaseMs: number | null;
  readonly signal: AbortSignal;
  give(task: Task, durable: Promise<void>): void;
}

export interface ClaimOptions {
  readonly leaseMs: number | null;
  readonly waitMs: number | null;
  readonly signal: AbortSignal;
}

/** Who waits for a task, first come first served. */
export class Claims {
  readonly #waiting = new Set<Claim>();
  /** Of one caller. */
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  [Symbol.iterator](): IterableIterator<Claim> {
    return this.#waiting.values();
  }

  /** null = nothing came in time. @throws CANCELLED, OVERLOAD, IO */
  async wait(
    callerId: number,
    kinds: ReadonlySet<string> | null,
    { leaseMs, waitMs, signal }: ClaimOptions,
  ): Promise<Task | null> {
    if (signal.aborted) throw new CloveError('CANCELLED', 'the wait was cancelled');
    const waiting = [...this.#waiting].filter((claim) => claim.callerId === callerId).length;
    if (waiting >= this.#most)
      throw new CloveError('OVERLOAD', `too many waiting claims (at most ${this.#most})`);
    const { promise, resolve, reject } = Promise.withResolvers<Task | null>();
    const claim: Claim = {
      callerId,
      kinds,
      leaseMs,
      signal,
      give: (task, durable) => void durable.then(() => resolve(task), reject),
    };
    const timer = waitMs === null ? undefined : setTimeout(() => resolve(null), waitMs);
    const onAbort = () => reject(new CloveError('CANCELLED', 'the wait was cancelled'));
    signal.addEventListener('abort', onAbort, { once: true });
    this.#waiting.add(claim);
    try {
      return await promise;
    } finally {
      this.#waiting.delete(claim);
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    }
  }

  delete(claim: Claim): void {
    this.#waiting.delete(claim);
  }

  release(callerId: number): void {
    for (const claim of this.#waiting) if (claim.callerId === callerId) this.#waiting.delete(claim);
  }

  close(): void {
    this.#waiting.clear();
  }
}
