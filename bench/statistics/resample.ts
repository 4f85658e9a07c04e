import type { RandomStream } from '../../worlds/index.ts';
import { normalCdf, normalQuantile } from './normal.ts';

export interface Interval {
  readonly low: number;
  readonly high: number;
}

export function mean(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i] as number;
  return total / values.length;
}

/** With n − 1; NaN below two values. */
export function standardDeviation(values: ArrayLike<number>): number {
  const centre = mean(values);
  let squares = 0;
  for (let i = 0; i < values.length; i++) squares += ((values[i] as number) - centre) ** 2;
  return Math.sqrt(squares / (values.length - 1));
}

/**
 * Bias-corrected and accelerated bootstrap interval of the mean (Efron 1987; as scipy.stats.bootstrap, method BCa). One value, or
 * values that are all the same, give an interval of no width: the caller must know that this is not certainty.
 */
export function bootstrapMean(
  values: readonly number[],
  random: RandomStream,
  level = 0.95,
  resamples = 2000,
): Interval {
  const n = values.length;
  const observed = mean(values);
  if (n < 2 || values.every((value) => value === values[0])) return { low: observed, high: observed };
  const sample = Float64Array.from(values);
  const means = new Float64Array(resamples);
  for (let r = 0; r < resamples; r++) {
    let total = 0;
    for (let i = 0; i < n; i++) total += sample[Math.floor(random.next() * n)] as number;
    means[r] = total / n;
  }
  means.sort();
  // Ties with the observed mean count half: with few distinct values they are many.
  let below = 0;
  for (const one of means) below += one < observed ? 1 : one === observed ? 0.5 : 0;
  const bias = normalQuantile(Math.min(Math.max(below, 0.5), resamples - 0.5) / resamples);
  const acceleration = skewAcceleration(sample, observed);
  const at = (tail: number) => {
    const z = bias + normalQuantile(tail);
    return quantile(means, normalCdf(bias + z / (1 - acceleration * z)));
  };
  return { low: at((1 - level) / 2), high: at((1 + level) / 2) };
}

/** The jackknife's acceleration of a mean in closed form: a sixth of the skewness over √n. */
function skewAcceleration(sample: Float64Array, centre: number): number {
  let squares = 0;
  let cubes = 0;
  for (const value of sample) {
    squares += (value - centre) ** 2;
    cubes += (value - centre) ** 3;
  }
  const scale = 6 * squares ** 1.5;
  return scale === 0 ? 0 : cubes / scale;
}

/** Linear interpolation between order statistics. */
function quantile(sorted: Float64Array, p: number): number {
  const position = (sorted.length - 1) * Math.min(1, Math.max(0, p));
  const lower = Math.floor(position);
  const low = sorted[lower] as number;
  return low + ((sorted[Math.min(lower + 1, sorted.length - 1)] as number) - low) * (position - lower);
}

/** Above this, the 2ⁿ sign patterns are sampled instead of enumerated. */
const EXACT_UP_TO = 14;

/**
 * Two-sided sign-flip (paired permutation) test of the mean being zero: the share of sign patterns whose mean lies at least as
 * far out. Exact up to 14 values; otherwise from `resamples` seeded draws, with the observed one counted in, so that p is never 0.
 */
export function signFlipTest(values: readonly number[], random: RandomStream, resamples = 4000): number {
  const sample = Float64Array.from(values.filter((value) => value !== 0));
  const n = sample.length;
  if (n === 0) return 1;
  let sum = 0;
  for (const value of sample) sum += value;
  // Sums are compared with a hair of slack: the same pattern added in another order must count as equal.
  const extreme = Math.abs(sum) * (1 - 1e-12);
  if (n <= EXACT_UP_TO) {
    let hits = 0;
    for (let pattern = 0; pattern < 1 << n; pattern++) {
      let flipped = 0;
      for (let i = 0; i < n; i++)
        flipped += pattern & (1 << i) ? -(sample[i] as number) : (sample[i] as number);
      if (Math.abs(flipped) >= extreme) hits++;
    }
    return hits / (1 << n);
  }
  let hits = 1;
  for (let r = 0; r < resamples; r++) {
    let flipped = 0;
    let bits = 0;
    for (let i = 0; i < n; i++) {
      if (i % 32 === 0) bits = random.uint32();
      flipped += bits & 1 ? -(sample[i] as number) : (sample[i] as number);
      bits >>>= 1;
    }
    if (Math.abs(flipped) >= extreme) hits++;
  }
  return hits / (resamples + 1);
}

/**
 * The smallest true mean that this many pairs with this spread would show with probability `power` at two-sided level `alpha`
 * (normal approximation). null below two pairs.
 */
export function minimumDetectableEffect(
  deviation: number,
  pairs: number,
  alpha = 0.05,
  power = 0.8,
): number | null {
  if (pairs < 2 || !Number.isFinite(deviation)) return null;
  return ((normalQuantile(1 - alpha / 2) + normalQuantile(power)) * deviation) / Math.sqrt(pairs);
}
