import type { Entry } from './key-space.ts';

interface Usage {
  keys: number;
  bytes: number;
}

const NOTHING: Readonly<Usage> = { keys: 0, bytes: 0 };

/** What callers have written, over all scopes. */
export class Accounts {
  readonly #usage = new Map<number, Usage>();
  #totalBytes = 0;

  get totalBytes(): number {
    return this.#totalBytes;
  }

  of(callerId: number): Readonly<Usage> {
    return this.#usage.get(callerId) ?? NOTHING;
  }

  add(entry: Entry): void {
    this.#totalBytes += entry.bytes;
    if (entry.writerId === 0) return;
    const usage = this.#usage.getOrInsertComputed(entry.writerId, () => ({ ...NOTHING }));
    usage.keys += 1;
    usage.bytes += entry.bytes;
  }

  remove(entry: Entry): void {
    this.#totalBytes -= entry.bytes;
    const usage = this.#usage.get(entry.writerId);
    // A released caller has no account any more; what it left behind is charged to nobody.
    if (usage === undefined) return;
    usage.keys -= 1;
    usage.bytes -= entry.bytes;
  }

  close(callerId: number): void {
    this.#usage.delete(callerId);
  }
}
