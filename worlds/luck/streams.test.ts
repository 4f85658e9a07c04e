import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Luck } from './streams.ts';

const draws = (luck: Luck, name: string, count: number) => {
  const stream = luck.stream(name);
  return Array.from({ length: count }, () => stream.next());
};

describe('luck', () => {
  it('gives the same draws for the same seed and name', () => {
    fc.assert(
      fc.property(fc.integer(), fc.string(), (seed, name) => {
        expect(draws(new Luck(seed), name, 20)).toEqual(draws(new Luck(seed), name, 20));
      }),
    );
  });

  it('keeps a stream unmoved by draws from another', () => {
    const quiet = new Luck(7);
    const busy = new Luck(7);
    draws(busy, 'chaos', 1000);
    expect(draws(busy, 'faults', 10)).toEqual(draws(quiet, 'faults', 10));
  });

  it('gives different streams for different names and seeds', () => {
    expect(draws(new Luck(1), 'a', 5)).not.toEqual(draws(new Luck(1), 'b', 5));
    expect(draws(new Luck(1), 'a', 5)).not.toEqual(draws(new Luck(2), 'a', 5));
  });

  it('draws integers within their bounds, reaching both', () => {
    const stream = new Luck(3).stream('dice');
    const seen = new Set(Array.from({ length: 500 }, () => stream.integer(1, 6)));
    expect([...seen].sort()).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('shuffles to a permutation', () => {
    fc.assert(
      fc.property(fc.integer(), fc.array(fc.integer()), (seed, items) => {
        const shuffled = new Luck(seed).stream('order').shuffle(items);
        expect([...shuffled].sort()).toEqual([...items].sort());
      }),
    );
  });

  it('has no bias that a coin would show', () => {
    const stream = new Luck(11).stream('coin');
    const heads = Array.from({ length: 10_000 }, () => stream.chance(0.5)).filter(Boolean).length;
    // Five standard deviations of a fair coin.
    expect(Math.abs(heads - 5000)).toBeLessThan(250);
  });
});
