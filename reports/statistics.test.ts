import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { distribution, extent, groupBy, mean, quantileSorted, standardDeviation, sum } from './statistics.ts';

describe('statistics', () => {
  it('interpolates quantiles as numpy does', () => {
    // numpy.quantile([1, 2, 4, 8], [0, .25, .5, 1, .9])
    const values = [1, 2, 4, 8];
    expect([0, 0.25, 0.5, 1].map((p) => quantileSorted(values, p))).toEqual([1, 1.75, 3, 8]);
    expect(quantileSorted(values, 0.9)).toBeCloseTo(6.8, 12);
  });

  it('gives null for nothing, not zero', () => {
    expect(quantileSorted([], 0.5)).toBeNull();
    expect(mean([])).toBeNull();
    expect(extent([])).toBeNull();
    expect(distribution([])).toBeNull();
    expect(standardDeviation([1])).toBeNull();
  });

  it('computes mean and sample deviation', () => {
    expect(mean([2, 4, 4, 4, 5, 5, 7, 9])).toBe(5);
    expect(standardDeviation([2, 4, 4, 4, 5, 5, 7, 9])).toBeCloseTo(2.13809, 5);
    expect(sum([0.5, 1.5])).toBe(2);
  });

  it('orders its quantiles and keeps them within the values, in any order of input', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ noNaN: true, min: -1e9, max: 1e9 }), { minLength: 1 }), (drawn) => {
        // No negative zero, which sorts as it likes.
        const values = drawn.map((value) => value + 0);
        const spread = distribution(values);
        if (spread === null) throw new Error('no distribution');
        const ordered = [
          spread.min,
          spread.p5,
          spread.p25,
          spread.median,
          spread.p75,
          spread.p95,
          spread.max,
        ];
        expect(ordered).toEqual([...ordered].sort((a, b) => a - b));
        expect([spread.min, spread.max]).toEqual(extent(values));
        expect(spread.count).toBe(values.length);
      }),
    );
  });

  it('takes the extent of more values than fit on a stack', () => {
    expect(extent(Array.from({ length: 300_000 }, (_, index) => index))).toEqual([0, 299_999]);
  });

  it('groups in order of first appearance', () => {
    expect([...groupBy(['b1', 'a1', 'b2'], (text) => text[0])]).toEqual([
      ['b', ['b1', 'b2']],
      ['a', ['a1']],
    ]);
  });
});
