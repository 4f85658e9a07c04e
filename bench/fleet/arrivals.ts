import { CloveError } from '../../errors/index.ts';
import type { Waiting } from './types.ts';

export const DEFAULT_WAIT_MS = 15_000;

interface Waiter<Item> {
  readonly fits: (item: Item) => boolean;
  readonly take: (item: Item) => void;
}

/** Things that come in one after the other; whoever waits for one also finds those that came before. */
export class Arrivals<Item> {
  readonly #items: Item[] = [];
  readonly #waiters = new Set<Waiter<Item>>();
  readonly #signal: AbortSignal;

  /** `signal` ends all waiting. */
  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  get items(): readonly Item[] {
    return this.#items;
  }

  add(item: Item): void {
    this.#items.push(item);
    for (const waiter of this.#waiters) if (waiter.fits(item)) waiter.take(item);
  }

  /** @throws TIMEOUT, CANCELLED */
  first(fits: (item: Item) => boolean, { timeoutMs, what }: Waiting = {}): Promise<Item> {
    const there = this.#items.find(fits);
    if (there !== undefined) return Promise.resolve(there);
    return within(timeoutMs ?? DEFAULT_WAIT_MS, what ?? 'what was waited for', this.#signal, (resolve) => {
      const waiter = { fits, take: resolve };
      this.#waiters.add(waiter);
      return () => this.#waiters.delete(waiter);
    });
  }
}

/** `begin` is handed the way to answer, and returns how to stop. @throws TIMEOUT, CANCELLED */
export function within<Value>(
  timeoutMs: number,
  what: string,
  signal: AbortSignal,
  begin: (resolve: (value: Value) => void) => () => void,
): Promise<Value> {
  return new Promise((resolve, reject) => {
    const cancelled = () => reject(new CloveError('CANCELLED', `${what}: the trial was over before it came`));
    if (signal.aborted) {
      cancelled();
      return;
    }
    let stop = () => {};
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      stop();
    };
    const onAbort = () => {
      end();
      cancelled();
    };
    const timer = setTimeout(() => {
      end();
      reject(new CloveError('TIMEOUT', `${what} did not come within ${timeoutMs} ms`));
    }, timeoutMs);
    signal.addEventListener('abort', onAbort, { once: true });
    stop = begin((value) => {
      end();
      resolve(value);
    });
  });
}
