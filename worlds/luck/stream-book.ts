import type { Luck, RandomStream } from './streams.ts';

/**
 * Streams by purpose and count: the third draw for a purpose is the same whatever else was drawn meanwhile, and the counts are
 * all that a snapshot has to keep.
 */
export class StreamBook {
  readonly luck: Luck;
  #counts = new Map<string, number>();

  constructor(luck: Luck) {
    this.luck = luck;
  }

  /** The next stream for this purpose. */
  next(purpose: string): RandomStream {
    const count = (this.#counts.get(purpose) ?? 0) + 1;
    this.#counts.set(purpose, count);
    return this.luck.stream(`${purpose}/${count}`);
  }

  snapshot(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }

  restore(counts: Readonly<Record<string, number>>): void {
    this.#counts = new Map(Object.entries(counts));
  }
}
