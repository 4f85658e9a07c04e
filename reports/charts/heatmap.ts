import { metricAt } from '../../bench/metric.ts';
import type { RunResults } from '../../bench/types.ts';
import { extent, groupBy, mean } from '../statistics.ts';
import { parameterLabel, parameterText, primarySplit, type Summary } from '../summary.ts';
import { formatMetric, plural, UNKNOWN } from '../text/format.ts';
import { clip, visibleLine } from '../text/visible.ts';
import { type Chart, TOOLTIP } from './render.ts';

export interface HeatmapCell {
  readonly row: string;
  readonly column: string;
  /** Mean over the trials of the cell; null = no trial of the cell passed. */
  readonly value: number | null;
  readonly count: number;
  readonly text: string;
}

export interface Heatmap {
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  readonly rowTitle: string;
  readonly columnTitle: string;
  /** Indices into `rows` where a new group (data set) begins. */
  readonly breaks: readonly number[];
  readonly cells: readonly HeatmapCell[];
  readonly range: readonly [number, number] | null;
  /** Rows beyond the limit, left out of the drawing. */
  readonly omittedRows: number;
}

/** Steps of the palette: --heat-0 (worst) … --heat-8 (best). */
export const HEAT_STEPS = 9;
const ROW_LIMIT = 60;

/** The primary metric of the leading runtime, laid out as the scenario asks. null where there is nothing to lay out. */
export function heatmapOf(results: RunResults, summary: Summary): Heatmap | null {
  const { rows, columns, facet } = results.presentation.heatmap;
  const rowParameters = [...(facet === null ? [] : [facet]), ...rows].filter((p) =>
    summary.parameters.includes(p),
  );
  const columnParameters = columns.filter((parameter) => summary.parameters.includes(parameter));
  if (rowParameters.length === 0 || columnParameters.length === 0 || summary.primary === null) return null;
  const trials = results.trials.filter((trial) => trial.runtime === summary.primary?.runtime);
  const nameOf = (trial: (typeof trials)[number], parameters: readonly string[]): string =>
    parameters.map((parameter) => visibleLine(clip(parameterText(trial, parameter), 80))).join(' · ');
  const format = primaryFormat(results);
  const groups = groupBy(trials, (trial) =>
    JSON.stringify([nameOf(trial, rowParameters), nameOf(trial, columnParameters)]),
  );
  const first = new Map(trials.map((t) => [nameOf(t, rowParameters), parameterText(t, rowParameters[0]!)]));
  const cells = [...groups].map(([key, group]): HeatmapCell => {
    const [row, column] = JSON.parse(key) as [string, string];
    const values = group.flatMap((trial) => {
      const value =
        trial.status === 'passed' ? metricAt(trial.metrics, results.presentation.primaryMetric.path) : null;
      return value === null ? [] : [value];
    });
    const value = mean(values);
    return { row, column, value, count: values.length, text: formatMetric(value, format) };
  });
  const allRows = [...first.keys()];
  const shown = allRows.slice(0, ROW_LIMIT);
  const visible = new Set(shown);
  const known = cells.filter((cell) => visible.has(cell.row));
  return {
    rows: shown,
    columns: [...new Set(known.map((cell) => cell.column))],
    rowTitle: rowParameters.map((parameter) => parameterLabel(results, parameter)).join(' · '),
    columnTitle: columnParameters.map((parameter) => parameterLabel(results, parameter)).join(' · '),
    breaks: shown.flatMap((row, i) => (i > 0 && first.get(row) !== first.get(shown[i - 1]!) ? [i] : [])),
    cells: known,
    range: extent(known.flatMap((cell) => (cell.value === null ? [] : [cell.value]))),
    omittedRows: allRows.length - shown.length,
  };
}

/** d3-format specifier of the primary metric, from the scenario's list; ".3f" where it is not listed. */
export function primaryFormat(results: RunResults): string {
  const { metrics, primaryMetric } = results.presentation;
  return metrics.find((metric) => metric.path === primaryMetric.path)?.format ?? '.3f';
}

/** 0 (worst) … HEAT_STEPS − 1 (best); null without a value. */
export function heatStep(
  value: number | null,
  range: Heatmap['range'],
  higherIsBetter: boolean,
): number | null {
  if (value === null || range === null) return null;
  const [low, high] = range;
  const position = high === low ? 0.5 : (value - low) / (high - low);
  const better = higherIsBetter ? position : 1 - position;
  return Math.min(HEAT_STEPS - 1, Math.floor(better * HEAT_STEPS));
}

export function heatmapChart(results: RunResults, heatmap: Heatmap): Chart {
  const { label, higherIsBetter } = results.presentation.primaryMetric;
  const steps = Array.from({ length: HEAT_STEPS }, (_, step) => step);
  const repeated = heatmap.cells.some((cell) => cell.count > 1);
  const values = heatmap.cells.map((cell) => ({
    row: cell.row,
    column: cell.column,
    text: cell.value === null ? UNKNOWN : cell.text,
    tip: `${cell.row}, ${cell.column}\n${visibleLine(label)}: ${cell.text}${repeated ? `\nmean of ${plural(cell.count, 'experiment')}` : ''}`,
    step: heatStep(cell.value, heatmap.range, higherIsBetter) ?? -1,
  }));
  const best = heatmap.cells.reduce<HeatmapCell | null>((top, cell) => {
    if (cell.value === null) return top;
    if (top === null || top.value === null) return cell;
    return higherIsBetter === cell.value > top.value ? cell : top;
  }, null);
  // Wide enough for the longest name at about 6.2 px a letter; Node measures text too wide, hence the generous limit.
  const longest = Math.max(...heatmap.columns.map((name) => name.length), 0);
  const step = Math.min(180, Math.max(84, Math.round(longest * 6.2) + 6));
  const x = {
    field: 'column',
    type: 'nominal',
    scale: { domain: heatmap.columns as string[], padding: 0.03 },
    title: null,
    axis: {
      orient: 'top',
      labelAngle: 0,
      labelLimit: 1.6 * step,
      ticks: false,
      domain: false,
      labelFontSize: 12,
    },
  } as const;
  const y = {
    field: 'row',
    type: 'nominal',
    scale: { domain: heatmap.rows as string[], padding: 0.03 },
    title: null,
    axis: { ticks: false, domain: false, labelFontSize: 12, labelPadding: 8 },
  } as const;
  const part = primarySplit(results)?.part;
  return {
    id: 'heatmap',
    title: `${label}${repeated ? ', mean of each cell' : ''} by ${heatmap.rowTitle} and ${heatmap.columnTitle}`,
    description:
      best === null
        ? 'No experiment has a figure.'
        : `Best ${part ?? ''} cell: ${best.row} with ${best.column}, ${best.text}.`,
    zoom: null,
    controls: false,
    filter: [],
    legend: [],
    fixedWidth: true,
    spec: {
      width: { step },
      height: { step: 30 },
      data: { values },
      layer: [
        {
          mark: { type: 'rect', cornerRadius: 3 },
          encoding: {
            x,
            y,
            fill: {
              field: 'step',
              type: 'ordinal',
              legend: null,
              scale: {
                domain: [-1, ...steps],
                range: ['var(--heat-none)', ...steps.map((step) => `var(--heat-${step})`)],
              },
            },
            tooltip: TOOLTIP,
          },
        },
        // A line above each group of rows that share their first parameter.
        {
          data: { name: 'breaks', values: heatmap.breaks.map((index) => ({ row: heatmap.rows[index] })) },
          mark: { type: 'rule', strokeWidth: 3 },
          encoding: {
            x: { value: 0 },
            x2: { value: 'width' },
            y: { ...y, bandPosition: 0 },
            stroke: { value: 'var(--paper)' },
          },
        },
        {
          mark: { type: 'text', fontSize: 13 },
          encoding: {
            x,
            y,
            text: { field: 'text', type: 'nominal' },
            tooltip: TOOLTIP,
            fill: {
              field: 'step',
              type: 'ordinal',
              legend: null,
              scale: {
                domain: [-1, ...steps],
                range: ['var(--ink-2)', ...steps.map((step) => `var(--heat-ink-${step})`)],
              },
            },
          },
        },
      ],
      resolve: { scale: { fill: 'independent' } },
    },
  };
}
