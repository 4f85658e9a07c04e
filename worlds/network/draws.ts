import type { Luck, RandomStream } from '../luck/streams.ts';

/**
 * The network's luck: each draw has a stream of its own, named by purpose and count. So requests that cross each other
 * do not change one another's luck, and the counts are all there is to keep.
 */
export class Draws {
  readonly #luck: Pick<Luck, 'stream'>;
  #counts = new Map<string, number>();

  constructor(luck: Pick<Luck, 'stream'>) {
    this.#luck = luck;
  }

  next(purpose: string): RandomStream {
    const count = (this.#counts.get(purpose) ?? 0) + 1;
    this.#counts.set(purpose, count);
    return this.#luck.stream(`network/${purpose}/${count}`);
  }

  chance(purpose: string, probability: number): boolean {
    if (probability >= 1) return true;
    return probability > 0 && this.next(purpose).chance(probability);
  }

  snapshot(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }

  restore(counts: Readonly<Record<string, number>>): void {
    this.#counts = new Map(Object.entries(counts));
  }
}
