import seedrandom from 'seedrandom';

/** A source of random numbers that belongs to one purpose. */
export interface RandomStream {
  /** Uniform in [0, 1) with 53 bits. */
  next(): number;
  /** Uniform integer in [0, 2³²). */
  uint32(): number;
  /** Uniform integer in [minimum, maximum]. */
  integer(minimum: number, maximum: number): number;
  chance(probability: number): boolean;
  pick<T>(items: readonly T[]): T;
  /** A new array, Fisher–Yates. */
  shuffle<T>(items: readonly T[]): T[];
}

/**
 * One seed, many named streams: each name is a stream of its own, so a draw added in one place moves nothing elsewhere.
 * Names are paths by convention: `faults/<trial>/<attempt>`.
 */
export class Luck {
  readonly seed: number;

  constructor(seed: number) {
    this.seed = seed;
  }

  stream(name: string): RandomStream {
    return new SeededStream(seedrandom.alea(`${this.seed}/${name}`));
  }

  /** A 32-bit seed for something that has its own generator (a model, a child world). */
  derive(name: string): number {
    return this.stream(name).uint32();
  }
}

class SeededStream implements RandomStream {
  readonly #generator: seedrandom.PRNG;

  constructor(generator: seedrandom.PRNG) {
    this.#generator = generator;
  }

  next(): number {
    return this.#generator.double();
  }

  uint32(): number {
    return this.#generator.int32() >>> 0;
  }

  integer(minimum: number, maximum: number): number {
    return minimum + Math.floor(this.next() * (maximum - minimum + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new RangeError('cannot pick from an empty list');
    return items[Math.floor(this.next() * items.length)] as T;
  }

  shuffle<T>(items: readonly T[]): T[] {
    const shuffled = [...items];
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = Math.floor(this.next() * (i + 1));
      [shuffled[i], shuffled[j]] = [shuffled[j] as T, shuffled[i] as T];
    }
    return shuffled;
  }
}
