import { createRequire } from 'node:module';

// Only the Alea generator is loaded: the package's main file brings seven generators and node:crypto, 7 ms that every
// worker would pay.
const alea = createRequire(import.meta.url)('seedrandom/lib/alea.js') as (seed: string) => () => number;

/** Seeded source of numbers in [0, 1); the same seed gives the same sequence on every machine. */
export function seededRandom(seed: string): () => number {
  return alea(seed);
}

/** Integer in [0, below). */
export function randomInteger(random: () => number, below: number): number {
  return Math.floor(random() * below);
}

/** Fisher–Yates, in place. */
export function shuffle<T extends { length: number; [index: number]: unknown }>(
  items: T,
  random: () => number,
): T {
  for (let index = items.length - 1; index > 0; index--) {
    const other = randomInteger(random, index + 1);
    const kept = items[index];
    items[index] = items[other];
    items[other] = kept;
  }
  return items;
}
