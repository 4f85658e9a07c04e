import type { RunResults } from '../../bench/types.ts';
import type { DurationGroup } from '../charts/durations.ts';
import { type DrawnChart, figure } from '../charts/render.ts';
import { extent, groupBy, mean } from '../statistics.ts';
import { formatBytes, formatCount, formatDuration, formatNumber } from '../text/format.ts';
import { html } from '../text/html.ts';
import { dataTable, type Section } from './parts.ts';

/** How the run went: where and when experiments ran, what the machine did meanwhile, how long things took. */
export function timelineSection(chart: DrawnChart | undefined): Section | null {
  if (chart === undefined) return null;
  return {
    id: 'timeline',
    title: 'Timeline',
    short: 'Timeline',
    body: html`${figure(chart, null)}<p class="muted">Every attempt is also listed below, under its <a href="#trials">experiment</a>. In large runs, attempts in a row that ended the same way are drawn as one bar.</p>`,
  };
}

export function loadSection(results: RunResults, charts: readonly DrawnChart[]): Section | null {
  if (charts.length === 0) return null;
  const cores = results.machine.cores;
  const rows = [...groupBy(results.load, (sample) => sample.runtime)].map(([runtime, samples]) => {
    const cpu = samples.map((sample) => sample.cpuCores);
    const own = samples.flatMap((sample) => (sample.memoryBytes === null ? [] : [sample.memoryBytes]));
    return [
      runtime,
      formatCount(samples.length),
      `${formatNumber(mean(cpu))} of ${cores}`,
      formatNumber(extent(cpu)?.[1]),
      formatBytes(mean(own)),
      formatBytes(extent(own)?.[1]),
      formatBytes(extent(samples.map((sample) => sample.machineMemoryUsedBytes))?.[1]),
      formatNumber(mean(samples.map((sample) => sample.running))),
    ];
  });
  return {
    id: 'load',
    title: 'CPU and memory over time',
    short: 'Load',
    body: html`${charts.map((chart) => figure(chart, null))}${dataTable(
      'Load by runtime, from samples of the machine',
      [
        { title: 'Runtime' },
        { title: 'Samples', numeric: true },
        { title: 'Busy cores, mean', numeric: true },
        { title: 'peak', numeric: true },
        { title: "Experiments' memory, mean", numeric: true },
        { title: 'peak', numeric: true },
        { title: "Machine's memory, peak", numeric: true },
        { title: 'Running, mean', numeric: true },
      ],
      rows,
      'Load by runtime',
    )}`,
  };
}

export function durationSection(
  label: string,
  groups: readonly DurationGroup[],
  chart: DrawnChart | undefined,
): Section | null {
  if (chart === undefined) return null;
  const titles = ['n', 'min', 'p5', 'p25', 'median', 'p75', 'p95', 'max', 'mean'];
  return {
    id: 'durations',
    title: 'Durations',
    short: 'Durations',
    body: html`${figure(chart, null)}${dataTable(
      `Compute time of completed attempts by ${label}`,
      [{ title: label }, ...titles.map((title) => ({ title, numeric: true }))],
      groups.map(({ name, distribution: d }) => [
        name,
        formatCount(d.count),
        ...[d.min, d.p5, d.p25, d.median, d.p75, d.p95, d.max, d.mean].map(formatDuration),
      ]),
      'Durations',
    )}`,
  };
}
