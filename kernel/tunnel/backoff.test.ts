import fc from 'fast-check';
import { expect, it } from 'vitest';
import { fullJitterMs, LONGEST_SPAN_MS } from './backoff.ts';

it('a pause is anything from nothing to the span, which doubles and ends at its longest', () => {
  fc.assert(
    fc.property(
      fc.nat(2000),
      fc.integer({ min: 1, max: 10_000 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (attempt, baseMs, drawn) => {
        const pause = fullJitterMs(attempt, baseMs, () => drawn);
        expect(pause).toBeGreaterThanOrEqual(0);
        expect(pause).toBeLessThanOrEqual(Math.min(LONGEST_SPAN_MS, baseMs * 2 ** Math.min(attempt, 40)));
      },
    ),
  );
  expect([0, 1, 2, 30].map((attempt) => fullJitterMs(attempt, 100, () => 0.5))).toEqual([
    50, 100, 200, 30_000,
  ]);
});
