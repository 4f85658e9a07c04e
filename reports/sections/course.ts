import type { DurationGroup } from '../charts/durations.ts';
import { type DrawnChart, figure } from '../charts/render.ts';
import { formatCount, formatDuration } from '../text/format.ts';
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

export function loadSection(charts: readonly DrawnChart[]): Section | null {
  if (charts.length === 0) return null;
  return {
    id: 'load',
    title: 'CPU and memory over time',
    short: 'Load',
    body: html`${charts.map((chart) => html`${figure(chart, null)}<p class="muted">${chart.chart.description}</p>`)}`,
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
