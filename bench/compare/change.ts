import type { RandomStream } from '../../worlds/index.ts';
import { signTest } from '../statistics/exact.ts';
import {
  bootstrapMean,
  mean,
  minimumDetectableEffect,
  signFlipTest,
  standardDeviation,
} from '../statistics/resample.ts';
import type { Pair } from './pairs.ts';
import type { ChangeVerdict, MetricChange, MetricDefinition, NoiseFloor, Scale } from './types.ts';

/** A change before the verdict, which needs all p-values of the comparison. */
export type RawChange = Omit<MetricChange, 'verdict' | 'reason' | 'pAdjusted'>;

/** What counts as no change when neither a rule nor a noise floor says so. */
const DEFAULT_MARGIN: Readonly<Record<Scale, number>> = { difference: 0.005, rate: 0.01, ratio: 0.03 };

/** Differences of the pairs, on the scale they are averaged on. */
export function differencesOf(
  pairs: readonly Pair[],
  { name, scale }: MetricDefinition,
): { differences: number[]; before: number[]; after: number[] } {
  const before: number[] = [];
  const after: number[] = [];
  for (const pair of pairs) {
    const a = pair.before.values[name];
    const b = pair.after.values[name];
    if (a === undefined || b === undefined || (scale === 'ratio' && (a <= 0 || b <= 0))) continue;
    before.push(a);
    after.push(b);
  }
  const differences = after.map((b, index) => {
    const a = before[index] as number;
    return scale === 'ratio' ? Math.log(b / a) : b - a;
  });
  return { differences, before, after };
}

export function measureChange(
  pairs: readonly Pair[],
  metric: MetricDefinition,
  noise: NoiseFloor | undefined,
  ruleThreshold: number | null,
  level: number,
  random: RandomStream,
): RawChange {
  const { differences, before, after } = differencesOf(pairs, metric);
  // On the ratio scale means are of logarithms; people read per cent.
  const shown = (value: number) => (metric.scale === 'ratio' ? Math.expm1(value) : value);
  const centre = (values: readonly number[]) =>
    metric.scale === 'ratio' ? Math.exp(mean(values.map(Math.log))) : mean(values);
  const margin = Math.abs(ruleThreshold ?? 0) || (noise === undefined ? DEFAULT_MARGIN[metric.scale] : 0);
  const noiseFloor = noise === undefined ? null : shown(noise.effect);
  const base = { metric, pairs: differences.length, noiseFloor, margin: Math.max(margin, noiseFloor ?? 0) };
  if (differences.length === 0)
    return {
      ...base,
      before: null,
      after: null,
      effect: null,
      interval: null,
      pValue: null,
      minimumDetectable: null,
    };
  const interval = bootstrapMean(differences, random, level);
  const detectable = minimumDetectableEffect(
    Math.max(standardDeviation(differences) || 0, noise?.deviation ?? 0),
    differences.length,
    1 - level,
  );
  return {
    ...base,
    before: centre(before),
    after: centre(after),
    effect: shown(mean(differences)),
    interval: { low: shown(interval.low), high: shown(interval.high) },
    pValue:
      metric.scale === 'rate'
        ? signTest(differences.filter((d) => d > 0).length, differences.filter((d) => d < 0).length)
        : signFlipTest(differences, random),
    minimumDetectable: detectable === null ? null : shown(detectable),
  };
}

/**
 * better or worse: significant after correction, the interval excludes zero, and the effect lies outside the noise floor and the
 * margin's reach is not all there is. same: the whole interval lies within the margin. Everything else is inconclusive: not enough
 * pairs, or too much noise, to say which.
 */
export function judge(
  change: RawChange,
  pAdjusted: number | null,
  level: number,
  blocked: string | null,
): MetricChange {
  const said = (verdict: ChangeVerdict, reason: string): MetricChange => ({
    ...change,
    pAdjusted,
    verdict,
    reason,
  });
  const { effect, interval, margin, noiseFloor, metric, pairs } = change;
  if (blocked !== null) return said('inconclusive', blocked);
  if (effect === null || interval === null || pAdjusted === null)
    return said('inconclusive', 'No trial has this figure on both sides.');
  if (change.before === change.after && interval.low === 0 && interval.high === 0)
    return pairs >= 2
      ? said('same', `Exactly the same in all ${pairs} pairs.`)
      : said('inconclusive', 'One pair says nothing about chance.');
  // A margin of 10 % up is one of 1/1.1 down.
  const lowMargin = metric.scale === 'ratio' ? margin / (1 + margin) : margin;
  if (pairs >= 2 && interval.low >= -lowMargin && interval.high <= margin)
    return said('same', 'The whole interval lies within the margin that counts as no change.');
  const significant = pAdjusted <= 1 - level && (interval.low > 0 || interval.high < 0);
  const size = metric.scale === 'ratio' ? Math.expm1(Math.abs(Math.log1p(effect))) : Math.abs(effect);
  if (significant && noiseFloor !== null && size <= noiseFloor)
    return said('inconclusive', 'No larger than what two runs of the baseline itself differ by.');
  if (significant)
    return said(
      effect > 0 === metric.higherIsBetter ? 'better' : 'worse',
      `The interval excludes no change (p ${pAdjusted < 0.001 ? '< 0.001' : `= ${pAdjusted.toFixed(3)}`} after correction).`,
    );
  return said('inconclusive', 'The pairs neither show a change nor rule one out.');
}
