import { AsyncLocalStorage } from 'node:async_hooks';
import type { NetworkClock } from './types.ts';

/** Keeps the world's time from being skipped while a request is worked on; not while it waits for that time to pass. */
export class Busy implements Disposable {
  readonly #clock: NetworkClock;
  #lease: Disposable | null;
  #isOver = false;
  /** Of the request: who waits for an answer may give up. */
  readonly signal: AbortSignal;

  /** Who asks. */
  readonly owner: string;

  constructor(clock: NetworkClock, signal: AbortSignal, owner: string) {
    this.#clock = clock;
    this.signal = signal;
    this.owner = owner;
    this.#lease = clock.lease('network');
  }

  /** Runs a wait on the world's clock. */
  async during<Result>(wait: () => Promise<Result>): Promise<Result> {
    // The wait is registered with the clock before the lease is given back: no moment is free of both.
    const waiting = wait();
    this.#release();
    try {
      return await waiting;
    } finally {
      if (!this.#isOver) this.#lease = this.#clock.lease('network');
    }
  }

  #release(): void {
    this.#lease?.[Symbol.dispose]();
    this.#lease = null;
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#release();
  }
}

const store = new AsyncLocalStorage<Busy>();

/** The lease of the request that is being answered, for delays deep inside of handlers. */
export const busy = {
  run: <Result>(lease: Busy, work: () => Promise<Result>): Promise<Result> => store.run(lease, work),
  current: (): Busy | undefined => store.getStore(),
};
