/** One stored value. */
export interface Entry {
  /** JSON. */
  readonly text: string;
  /** What key and value are charged with. */
  readonly bytes: number;
  /** On the store's monotonic clock; null = never. */
  readonly expiresAtMs: number | null;
  /** Caller id whose quota it counts on. */
  readonly writerId: number;
  /** Of the change that stored it. */
  readonly version: number;
}

/** The keys of one scope of one owner. Listing is by prefix in code unit order; expired entries are not seen. */
export class KeySpace {
  readonly #entries = new Map<string, Entry>();
  /**
   * All keys, sorted. Kept so at every change: moving the tail of an array of 100 000 takes some 10 µs, sorting it anew
   * for a listing would hold up everybody for a quarter of a second.
   */
  readonly #index: string[] = [];
  /** Keys of entries that expire. */
  readonly #mortal = new Set<string>();
  #bytes = 0;

  get size(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The entry, expired or not. */
  peek(key: string): Entry | undefined {
    return this.#entries.get(key);
  }

  get(key: string, nowMs: number): Entry | undefined {
    const entry = this.#entries.get(key);
    return entry === undefined || isExpired(entry, nowMs) ? undefined : entry;
  }

  set(key: string, entry: Entry): void {
    const previous = this.#entries.get(key);
    this.#entries.set(key, entry);
    this.#bytes += entry.bytes - (previous?.bytes ?? 0);
    if (entry.expiresAtMs === null) this.#mortal.delete(key);
    else this.#mortal.add(key);
    if (previous === undefined) this.#index.splice(this.#firstNotBelow(key), 0, key);
  }

  delete(key: string): void {
    const previous = this.#entries.get(key);
    if (previous === undefined) return;
    this.#entries.delete(key);
    this.#mortal.delete(key);
    this.#bytes -= previous.bytes;
    this.#index.splice(this.#firstNotBelow(key), 1);
  }

  /** Keys with the prefix that sort behind `after`, at most `limit`. */
  list(prefix: string, after: string, limit: number, nowMs: number): { keys: string[]; more: boolean } {
    const keys: string[] = [];
    for (let at = this.#firstNotBelow(prefix > after ? prefix : after); at < this.#index.length; at += 1) {
      const key = this.#index[at] as string;
      if (!key.startsWith(prefix)) break;
      if (after !== '' && key <= after) continue;
      if (this.get(key, nowMs) === undefined) continue;
      if (keys.length === limit) return { keys, more: true };
      keys.push(key);
    }
    return { keys, more: false };
  }

  expired(nowMs: number): string[] {
    return [...this.#mortal].filter((key) => isExpired(this.#entries.get(key) as Entry, nowMs));
  }

  entries(): IterableIterator<[string, Entry]> {
    return this.#entries.entries();
  }

  #firstNotBelow(bound: string): number {
    let low = 0;
    let high = this.#index.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#index[middle] as string) < bound) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function isExpired(entry: Entry, nowMs: number): boolean {
  return entry.expiresAtMs !== null && entry.expiresAtMs <= nowMs;
}
