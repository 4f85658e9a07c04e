import { CloveError } from '../../errors/index.ts';

/** Something that takes up room in a queue. */
export interface Sized {
  /** What it is charged with; an estimate of the memory it holds. */
  readonly bytes: number;
}

export interface QueueLimits {
  readonly items: number;
  readonly bytes: number;
}

export interface TakeOptions {
  /** At most so many items; less than 1 takes none. */
  readonly max: number;
  /** How long to wait for the first item: 0 = not at all, null = until there is one. ms */
  readonly waitMs: number | null;
  /** The timer of that limit; default: real time. */
  readonly after?: ((ms: number, fire: () => void) => () => void) | undefined;
  /** Ends the waiting; what has been taken by then was delivered. */
  readonly signal?: AbortSignal | undefined;
}

interface Waiter {
  readonly max: number;
  wake(): void;
  fail(error: CloveError): void;
}

/** Items handed out by one take are bounded, so that an answer is: at least one, then no more than this. */
const TAKE_BYTES = 4 * 2 ** 20;

/** First in, first out, bounded in number and size; readers may wait. Readers that wait are served in their order. */
export class WaitingQueue<Item extends Sized> {
  readonly #limits: QueueLimits;
  readonly #onLeave: (item: Item) => void;
  readonly #waiters = new Set<Waiter>();
  #items: Item[] = [];
  #head = 0;
  #bytes = 0;
  #closed = false;

  /** `onLeave` is called for every item that leaves the queue, by whatever way. */
  constructor(limits: QueueLimits, onLeave: (item: Item) => void = () => {}) {
    this.#limits = limits;
    this.#onLeave = onLeave;
  }

  get length(): number {
    return this.#items.length - this.#head;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  /** What waits, oldest first; it stays. */
  peek(): readonly Item[] {
    return this.#items.slice(this.#head);
  }

  fits(item: Item): boolean {
    return this.length < this.#limits.items && this.#bytes + item.bytes <= this.#limits.bytes;
  }

  /** Adds at the end; false when there is no room. */
  push(item: Item): boolean {
    if (this.#closed || !this.fits(item)) return false;
    this.#add(item);
    return true;
  }

  /** Adds at the end, dropping the oldest to make room. Returns how many were dropped (the item itself, if it is larger than the queue). */
  pushDroppingOldest(item: Item): number {
    if (this.#closed || item.bytes > this.#limits.bytes) return 1;
    let dropped = 0;
    while (!this.fits(item)) {
      this.#shift();
      dropped += 1;
    }
    this.#add(item);
    return dropped;
  }

  /** @throws CANCELLED when the signal aborts or the queue is closed while waiting. */
  take(options: TakeOptions): Promise<Item[]> {
    const { max, waitMs, signal, after = realTimer } = options;
    if (this.#closed || signal?.aborted) return Promise.reject(cancelled());
    if (max < 1 || this.length > 0 || waitMs === 0) return Promise.resolve(this.#shiftMany(max));
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        this.#waiters.delete(waiter);
        stopTimer?.();
        signal?.removeEventListener('abort', onAbort);
      };
      const waiter: Waiter = {
        max,
        wake: () => {
          finish();
          resolve(this.#shiftMany(max));
        },
        fail: (error) => {
          finish();
          reject(error);
        },
      };
      const onAbort = (): void => waiter.fail(cancelled());
      const stopTimer = waitMs === null ? undefined : after(waitMs, waiter.wake);
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiters.add(waiter);
    });
  }

  /** Drops everything and ends all waiting. */
  close(): void {
    this.#closed = true;
    while (this.length > 0) this.#shift();
    for (const waiter of [...this.#waiters]) waiter.fail(cancelled());
  }

  #add(item: Item): void {
    this.#items.push(item);
    this.#bytes += item.bytes;
    const first = this.#waiters.values().next().value;
    first?.wake();
  }

  #shiftMany(max: number): Item[] {
    const taken: Item[] = [];
    let bytes = 0;
    while (taken.length < max && this.length > 0) {
      const next = this.#items[this.#head] as Item;
      if (taken.length > 0 && bytes + next.bytes > TAKE_BYTES) break;
      bytes += next.bytes;
      taken.push(this.#shift());
    }
    return taken;
  }

  #shift(): Item {
    const item = this.#items[this.#head] as Item;
    this.#head += 1;
    // Cutting the array only now and then keeps taking from a long queue linear; the slice also frees what was taken.
    if (this.#head >= 256 && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    this.#bytes -= item.bytes;
    this.#onLeave(item);
    return item;
  }
}

function realTimer(ms: number, fire: () => void): () => void {
  const timer = setTimeout(fire, ms);
  return () => clearTimeout(timer);
}

function cancelled(): CloveError {
  return new CloveError('CANCELLED', 'the wait ended before anything came');
}
