import { CloveError } from '../../errors/index.ts';

/** One change of one key. */
export interface Change {
  readonly key: string;
  readonly version: number;
  /** JSON; null = deleted. */
  readonly text: string | null;
  /** What it was before; null = there was nothing. */
  readonly previousText: string | null;
  /** Who did it; 0 = its lifetime was over. */
  readonly callerId: number;
}

export interface ChangeLogLimits {
  readonly changes: number;
  readonly bytes: number;
}

/** Which keys somebody watches. */
export interface Watched {
  /** Exactly these; null = all with the prefix. */
  readonly keys: ReadonlySet<string> | null;
  readonly prefix: string;
}

export function isWatched({ keys, prefix }: Watched, key: string): boolean {
  return keys === null ? key.startsWith(prefix) : keys.has(key);
}

const CHANGE_OVERHEAD_BYTES = 128;

/**
 * The latest changes of one key space, in the order of their versions, and who waits for more. Bounded: who asks for what is
 * no longer kept is told so.
 */
export class ChangeLog {
  readonly #limits: ChangeLogLimits;
  readonly #changes: Change[] = [];
  #bytes = 0;
  /** Changes up to this version are not, or no longer, kept. */
  #floor: number;
  #head: number;
  readonly #byKey = new Map<string, Set<() => void>>();
  readonly #byPrefix = new Map<() => void, string>();
  #waiting = 0;

  constructor(limits: ChangeLogLimits, floor: number) {
    this.#limits = limits;
    this.#floor = floor;
    this.#head = floor;
  }

  /** Version of the latest change. */
  get head(): number {
    return this.#head;
  }

  get waiting(): number {
    return this.#waiting;
  }

  append(change: Change): void {
    this.#changes.push(change);
    this.#bytes += sizeOf(change);
    this.#head = change.version;
    while (this.#changes.length > this.#limits.changes || this.#bytes > this.#limits.bytes) {
      const oldest = this.#changes.shift() as Change;
      this.#bytes -= sizeOf(oldest);
      this.#floor = oldest.version;
    }
    for (const wake of this.#byKey.get(change.key) ?? []) wake();
    for (const [wake, prefix] of this.#byPrefix) if (change.key.startsWith(prefix)) wake();
  }

  /** Forgets everything: whoever watches has to look at what is there. */
  reset(version: number): void {
    this.#changes.length = 0;
    this.#bytes = 0;
    this.#floor = version;
    this.#head = version;
    for (const wakes of this.#byKey.values()) for (const wake of wakes) wake();
    for (const wake of this.#byPrefix.keys()) wake();
  }

  /** Changes behind a version, oldest first; null = some of them may not be kept any more. */
  since(version: number, watched: Watched): Change[] | null {
    if (version < this.#floor) return null;
    let low = 0;
    let high = this.#changes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#changes[middle] as Change).version <= version) low = middle + 1;
      else high = middle;
    }
    return this.#changes.slice(low).filter(({ key }) => isWatched(watched, key));
  }

  /** Resolves at the next change of a watched key, or after some time. @throws CANCELLED when aborted */
  wait(watched: Watched, timeoutMs: number | null, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(cancelled());
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = () => reject(cancelled());
    const timer = timeoutMs === null ? undefined : setTimeout(resolve, timeoutMs);
    signal.addEventListener('abort', onAbort, { once: true });
    if (watched.keys === null) this.#byPrefix.set(resolve, watched.prefix);
    else for (const key of watched.keys) this.#byKey.getOrInsertComputed(key, () => new Set()).add(resolve);
    this.#waiting += 1;
    return promise.finally(() => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      this.#byPrefix.delete(resolve);
      for (const key of watched.keys ?? []) {
        const wakes = this.#byKey.get(key);
        wakes?.delete(resolve);
        if (wakes?.size === 0) this.#byKey.delete(key);
      }
      this.#waiting -= 1;
    });
  }
}

function sizeOf({ key, text, previousText }: Change): number {
  return (key.length + (text?.length ?? 0) + (previousText?.length ?? 0)) * 2 + CHANGE_OVERHEAD_BYTES;
}

function cancelled(): CloveError {
  return new CloveError('CANCELLED', 'the wait was cancelled');
}
