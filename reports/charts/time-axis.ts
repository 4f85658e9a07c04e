import type { RunResults } from '../../bench/types.ts';
import { extent } from '../statistics.ts';

/** One time axis for every chart over time, so that they can be read, and zoomed, together. */
export interface TimeAxis {
  readonly range: readonly [number, number];
  readonly msPerUnit: number;
  readonly title: string;
}

/** From the first to the last thing that happened; null when nothing did. */
export function timeAxis(results: RunResults): TimeAxis | null {
  const times = results.load.map((sample) => sample.atMs);
  for (const trial of results.trials) {
    for (const attempt of trial.attempts) {
      times.push(attempt.startedAtMs, attempt.startedAtMs + attempt.usage.wallMs);
    }
  }
  const range = extent(times);
  if (range === null) return null;
  const spanMs = range[1] - range[0];
  const [msPerUnit, name] =
    spanMs > 3 * 3_600_000
      ? ([3_600_000, 'hours'] as const)
      : spanMs > 15 * 60_000
        ? ([60_000, 'minutes'] as const)
        : ([1000, 'seconds'] as const);
  const high = Math.max(range[1], range[0] + 1);
  return {
    range: [range[0] / msPerUnit, high / msPerUnit],
    msPerUnit,
    title: `${name} since the start of the run`,
  };
}

/** Signals and scale of a chart that pans and zooms with the others. */
export function timeParams(axis: TimeAxis) {
  return [
    { name: 'low', value: axis.range[0] },
    { name: 'high', value: axis.range[1] },
    { name: 'runtime', value: '' },
  ];
}

export const TIME_SCALE = {
  domainMin: { expr: 'low' },
  domainMax: { expr: 'high' },
  nice: false,
  zero: false,
} as const;

/** Left of the plots, the same on every chart over time, so that their times stand below each other. */
export const LABEL_WIDTH = 84;
