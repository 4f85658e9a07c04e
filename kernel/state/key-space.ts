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
}

/** The keys of one scope of one owner. Listing is by prefix in code unit order; expired entries are not seen. */
export class KeySpace {
  readonly #entries = new Map<string, Entry>();
  /** Every key there is and maybe some that are gone, sorted but for the end. Sorted again only when listed. */
  #index: string[] = [];
  #sorted = true;
  #stale = 0;
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
    if (previous === undefined) {
      this.#index.push(key);
      this.#sorted = false;
    }
  }

  delete(key: string): void {
    const previous = this.#entries.get(key);
    if (previous === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= previous.bytes;
    this.#stale += 1;
    // Keys that come and go without anybody listing them must not pile up in the index.
    if (this.#stale > this.#entries.size + 1024) this.#tidy();
  }

  /** Keys with the prefix that sort behind `after`, at most `limit`. */
  list(prefix: string, after: string, limit: number, nowMs: number): { keys: string[]; more: boolean } {
    this.#tidy();
    const keys: string[] = [];
    for (let at = this.#firstNotBelow(prefix > after ? prefix : after); at < this.#index.length; at += 1) {
      const key = this.#index[at] as string;
      if (!key.startsWith(prefix)) {
        if (key > prefix) break;
        continue;
      }
      if (after !== '' && key <= after) continue;
      if (this.get(key, nowMs) === undefined) continue;
      if (keys.length === limit) return { keys, more: true };
      keys.push(key);
    }
    return { keys, more: false };
  }

  *expired(nowMs: number): Generator<string> {
    for (const [key, entry] of this.#entries) if (isExpired(entry, nowMs)) yield key;
  }

  *entries(): Generator<[string, Entry]> {
    yield* this.#entries;
  }

  #tidy(): void {
    if (this.#sorted && this.#stale === 0) return;
    this.#index.sort();
    this.#index = this.#index.filter((key, at) => this.#entries.has(key) && key !== this.#index[at - 1]);
    this.#sorted = true;
    this.#stale = 0;
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
