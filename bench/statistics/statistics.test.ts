import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Luck } from '../../worlds/index.ts';
import { holm, signTest } from './exact.ts';
import { normalCdf, normalQuantile } from './normal.ts';
import { bootstrapMean, minimumDetectableEffect, signFlipTest } from './resample.ts';

// Reference values: SciPy 1.16 (binomtest, permutation_test, bootstrap BCa with 200,000 resamples, norm) and statsmodels
// (mcnemar exact, multipletests holm).
const SMALL = [0.012, -0.004, 0.02, 0.013, -0.001, 0.007, 0.03, -0.011, 0.004, 0.009];
const SKEWED = [
  7.698, 0.078, 1.519, 0.567, 0.636, 0.806, 0.133, 0.793, 0.421, 27.743, 1.253, 0.703, 0.755, 0.513, 0.348,
  0.677, 1.619, 0.788, 2.606, 0.819, 1.025, 4.692, 1.725, 0.603, 0.833, 1.717, 6.925, 0.764, 0.784, 2.725,
  0.412, 0.747, 2.417, 1.787, 1.096, 1.954, 0.059, 2.777, 0.383, 0.189,
];
const random = (name: string) => new Luck(1).stream(name);

describe('normal distribution', () => {
  it.each([
    [0.001, -3.090232306167813],
    [0.025, -1.9599639845400545],
    [0.3, -0.5244005127080409],
    [0.5, 0],
    [0.8, 0.8416212335729143],
    [0.9999, 3.719016485455709],
  ])('quantile of %f', (p, z) => expect(normalQuantile(p)).toBeCloseTo(z, 4));

  it.each([
    [-2.5, 0.006209665325776132],
    [0.3, 0.6179114221889526],
    [1.96, 0.9750021048517795],
  ])('distribution at %f', (z, p) => expect(normalCdf(z)).toBeCloseTo(p, 6));
});

describe('exact sign test, which is exact McNemar on the pairs that differ', () => {
  it.each([
    [3, 12, 0.03515625],
    [28, 8, 0.0011932429624721408],
    [0, 5, 0.0625],
    [50, 50, 1],
    [480, 520, 0.2174482932041415],
    [10, 0, 0.001953125],
    [0, 0, 1],
  ])('%i up, %i down', (ups, downs, p) => expect(signTest(ups, downs)).toBeCloseTo(p, 10));
});

describe("Holm's correction", () => {
  it('gives what statsmodels gives', () => {
    const adjusted = holm([0.01, 0.04, 0.03, 0.005, 0.5]);
    [0.04, 0.09, 0.09, 0.025, 0.5].forEach((p, index) => {
      expect(adjusted[index]).toBeCloseTo(p, 12);
    });
  });

  it('never lowers a p-value, keeps their order, and leaves one alone', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 20 }),
        (ps) => {
          const adjusted = holm(ps);
          ps.forEach((p, i) => {
            expect(adjusted[i]).toBeGreaterThanOrEqual(p);
            ps.forEach((other, j) => {
              if (p < other) expect(adjusted[i] as number).toBeLessThanOrEqual(adjusted[j] as number);
            });
          });
          if (ps.length === 1) expect(adjusted).toEqual(ps);
        },
      ),
    );
  });
});

describe('sign-flip test', () => {
  it('is exact for few pairs', () => {
    expect(signFlipTest(SMALL, random('x'))).toBeCloseTo(0.068359375, 12);
  });

  it('comes close to the exact value by resampling', () => {
    const shifted = SKEWED.map((value) => value - 1.2);
    expect(Math.abs(signFlipTest(shifted, random('y'), 40_000) - 0.1916)).toBeLessThan(0.008);
  });

  it('is 1 when nothing differs, and never 0', () => {
    expect(signFlipTest([0, 0, 0], random('z'))).toBe(1);
    expect(signFlipTest(new Array(50).fill(1), random('z'))).toBeGreaterThan(0);
  });
});

describe('bootstrap interval of a mean', () => {
  it.each([
    ['symmetric', SMALL, 0.0013, 0.0153, 0.0003],
    // SciPy itself gives 4.81 to 4.89 from seed to seed.
    ['skewed', SKEWED, 1.2611, 4.86, 0.1],
  ] as const)('agrees with SciPy on %s values', (_, values, low, high, tolerance) => {
    const interval = bootstrapMean(values, random('b'), 0.95, 40_000);
    expect(Math.abs(interval.low - low)).toBeLessThan(tolerance);
    expect(Math.abs(interval.high - high)).toBeLessThan(tolerance);
  });

  it('holds the mean, moves with the values and repeats with its seed', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -100, max: 100 }), { minLength: 3, maxLength: 30 }),
        fc.integer({ min: -5, max: 5 }),
        (values, shift) => {
          const plain = bootstrapMean(values, random('m'), 0.95, 300);
          expect(bootstrapMean(values, random('m'), 0.95, 300)).toEqual(plain);
          const moved = bootstrapMean(
            values.map((value) => value + shift),
            random('m'),
            0.95,
            300,
          );
          expect(moved.low).toBeCloseTo(plain.low + shift, 6);
          expect(plain.low).toBeLessThanOrEqual(plain.high);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('has no width where nothing varies', () => {
    expect(bootstrapMean([0.5, 0.5, 0.5], random('c'))).toEqual({ low: 0.5, high: 0.5 });
  });
});

it('knows what can be detected', () => {
  // (1.959964 + 0.841621) · 0.1 / √100
  expect(minimumDetectableEffect(0.1, 100)).toBeCloseTo(0.0280159, 5);
  expect(minimumDetectableEffect(0.1, 1)).toBeNull();
});
