import type { RunResults } from '../../bench/types.ts';
import { type Distribution, distribution, groupBy } from '../statistics.ts';
import { parameterLabel, parameterText, type Summary } from '../summary.ts';
import { formatDuration } from '../text/format.ts';
import { clip, visibleLine } from '../text/visible.ts';
import { type Chart, STATIC_WIDTH, TOOLTIP } from './render.ts';

export interface DurationGroup {
  readonly name: string;
  readonly distribution: Distribution;
  readonly values: readonly number[];
}

/** Groups drawn at most; the table holds the same ones. */
const GROUP_LIMIT = 40;
const POINT_LIMIT = 120;

/** Compute time (ms) of completed attempts of the leading runtime, by the column parameter of the heat map (the model). */
export function durationGroups(
  results: RunResults,
  summary: Summary,
): {
  readonly label: string;
  readonly groups: readonly DurationGroup[];
} {
  const parameter =
    results.presentation.heatmap.columns.find((name) => summary.parameters.includes(name)) ?? null;
  const completed = results.trials
    .filter((trial) => trial.runtime === summary.primary?.runtime)
    .flatMap((trial) =>
      trial.attempts
        .filter((attempt) => attempt.end === 'completed')
        .map((attempt) => ({
          name: parameter === null ? 'all' : visibleLine(clip(parameterText(trial, parameter), 80)),
          ms: attempt.usage.computeMs ?? attempt.usage.wallMs,
        })),
    );
  const groups = [...groupBy(completed, (item) => item.name)].flatMap(([name, items]) => {
    const values = items.map((item) => item.ms);
    const spread = distribution(values);
    return spread === null ? [] : [{ name, distribution: spread, values }];
  });
  return {
    label: parameter === null ? 'Experiments' : parameterLabel(results, parameter),
    groups: groups.sort((a, b) => b.distribution.median - a.distribution.median).slice(0, GROUP_LIMIT),
  };
}

export function durationsChart(label: string, groups: readonly DurationGroup[]): Chart | null {
  if (groups.length === 0) return null;
  const low = Math.min(...groups.map((group) => group.distribution.min));
  const high = Math.max(...groups.map((group) => group.distribution.max));
  const logarithmic = seconds(low) > 0 && high / low > 30;
  const names = groups.map((group) => group.name);
  const boxes = groups.map(({ name, distribution: d }) => ({
    name,
    p5: seconds(d.p5),
    p25: seconds(d.p25),
    median: seconds(d.median),
    p75: seconds(d.p75),
    p95: seconds(d.p95),
    tip: `${name}\nmedian ${formatDuration(d.median)}, 90 % within ${formatDuration(d.p5)} and ${formatDuration(d.p95)}, n = ${d.count}`,
  }));
  const points = groups.flatMap(({ name, values }) =>
    spreadSample(values).map((value) => ({ name, value: seconds(value) })),
  );
  const x = {
    type: 'quantitative',
    title: `compute time (s)${logarithmic ? ', logarithmic' : ''}`,
    scale: logarithmic
      ? { type: 'log' as const, nice: false, domainMin: seconds(low) * 0.85, domainMax: seconds(high) * 1.18 }
      : { type: 'linear' as const, nice: true, zero: true },
    axis: { tickCount: 8 },
  } as const;
  const tooltip = TOOLTIP;
  return {
    id: 'durations',
    title: `Compute time of completed experiments by ${label}`,
    description: boxes.map((box) => `${box.tip.replace('\n', ': ')}.`).join(' '),
    zoom: null,
    controls: false,
    filter: [],
    fixedWidth: false,
    legend: [
      { label: 'middle half, median marked', colour: '--box', shape: 'box' },
      { label: '5th to 95th percentile', colour: '--line-strong', shape: 'line' },
    ],
    spec: {
      width: STATIC_WIDTH - 160,
      height: { step: 36 },
      data: { name: 'boxes', values: boxes },
      encoding: {
        y: {
          field: 'name',
          type: 'nominal',
          title: null,
          scale: { domain: names },
          axis: { ticks: false, domain: false, grid: false, labelPadding: 8 },
        },
      },
      layer: [
        {
          mark: { type: 'rule', strokeWidth: 2 },
          encoding: {
            x: { ...x, field: 'p5' },
            x2: { field: 'p95' },
            stroke: { value: 'var(--line-strong)' },
            tooltip,
          },
        },
        {
          mark: { type: 'bar', height: 16, cornerRadius: 2 },
          encoding: {
            x: { ...x, field: 'p25' },
            x2: { field: 'p75' },
            fill: { value: 'var(--box)' },
            tooltip,
          },
        },
        {
          mark: { type: 'tick', thickness: 3, size: 22 },
          encoding: { x: { ...x, field: 'median' }, fill: { value: 'var(--ink)' }, tooltip },
        },
        {
          data: { name: 'points', values: points },
          mark: { type: 'point', size: 16, tooltip: null, filled: true, opacity: 0.55, yOffset: 12 },
          encoding: { x: { ...x, field: 'value' }, fill: { value: 'var(--rt-clove)' } },
        },
      ],
    },
  };
}

/** Evenly by rank, ends included, so that the sample keeps the shape. */
function spreadSample(values: readonly number[]): readonly number[] {
  if (values.length <= POINT_LIMIT) return values;
  const sorted = [...values].sort((a, b) => a - b);
  return Array.from(
    { length: POINT_LIMIT },
    (_, index) => sorted[Math.round((index * (sorted.length - 1)) / (POINT_LIMIT - 1))] as number,
  );
}

function seconds(ms: number): number {
  return Math.round(ms * 10) / 10_000;
}
