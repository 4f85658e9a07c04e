import { metricAt } from '../../bench/metric.ts';
import type { RunResults } from '../../bench/types.ts';
import { HEAT_STEPS, type Heatmap, primaryFormat } from '../charts/heatmap.ts';
import { type DrawnChart, figure } from '../charts/render.ts';
import {
  parameterLabel,
  parametersText,
  parameterText,
  primarySplit,
  type Ranked,
  type Summary,
} from '../summary.ts';
import { formatCount, formatMetric, plural } from '../text/format.ts';
import { type Html, html, identifier } from '../text/html.ts';
import { type Column, dataTable, type Section } from './parts.ts';

export const LEADERBOARD_LENGTH = 20;
/** Groups of one parameter listed in a table of averages. */
export const AVERAGES_SHOWN = 12;

export function heatmapSection(
  results: RunResults,
  summary: Summary,
  heatmap: Heatmap | null,
  chart: DrawnChart | null,
): Section | null {
  if (heatmap === null || chart === null) return null;
  return {
    id: 'heatmap',
    title: `${results.presentation.primaryMetric.label} by cell`,
    short: 'Heat map',
    body: html`<div class="beside"><div>${figure(chart, heatTable(heatmap))}
${heatScale(results, heatmap)}</div><div>${bestTable(results, summary)}${averageTables(results, summary)}</div></div>
${heatmap.omittedRows > 0 ? html`<p class="muted">${plural(heatmap.omittedRows, 'row')} left out of the drawing.</p>` : null}`,
  };
}

function heatScale(results: RunResults, heatmap: Heatmap): Html | null {
  if (heatmap.range === null) return null;
  const format = primaryFormat(results);
  const [low, high] = heatmap.range;
  const [worst, best] = results.presentation.primaryMetric.higherIsBetter ? [low, high] : [high, low];
  return html`<p class="scale">${formatMetric(worst, format)}<svg aria-hidden="true" width="${HEAT_STEPS * 22}" height="14">${Array.from(
    { length: HEAT_STEPS },
    (_, step) => html`<rect x="${step * 22}" width="22" height="14" fill="var(--heat-${step})"/>`,
  )}</svg>${formatMetric(best, format)} (best)</p>`;
}

function heatTable(heatmap: Heatmap): Html {
  const cells = new Map(heatmap.cells.map((cell) => [JSON.stringify([cell.row, cell.column]), cell]));
  return dataTable(
    `${heatmap.rowTitle} down, ${heatmap.columnTitle} across`,
    [{ title: heatmap.rowTitle }, ...heatmap.columns.map((title) => ({ title, numeric: true }))],
    heatmap.rows.map((row) => [
      row,
      ...heatmap.columns.map((column) => cells.get(JSON.stringify([row, column]))?.text ?? '–'),
    ]),
    'Heat map as a table',
  );
}

/** Other parts of the data (train, valid …) with a figure for the primary metric, whether the scenario lists it or not. */
export function otherParts(results: RunResults, leaderboard: readonly Ranked[]): readonly string[] {
  const split = primarySplit(results);
  if (split === null) return [];
  return ['train', 'valid', 'validation', 'test'].filter(
    (part) =>
      part !== split.part &&
      leaderboard.some(({ trial }) => metricAt(trial.metrics, `${part}.${split.name}`) !== null),
  );
}

export interface LeaderboardTable {
  readonly columns: readonly { readonly title: string; readonly numeric: boolean }[];
  readonly rows: readonly (readonly string[])[];
  readonly ids: readonly string[];
  readonly hasGap: boolean;
}

/** Top rows as text: rank, experiment, parameters, metrics of the scenario, other parts and the gap to training. */
export function leaderboardTable(results: RunResults, summary: Summary): LeaderboardTable {
  const top = summary.leaderboard.slice(0, LEADERBOARD_LENGTH);
  const { metrics, primaryMetric } = results.presentation;
  const split = primarySplit(results);
  const measured = otherParts(results, top);
  const hasGap = split !== null && measured.includes('train');
  const listed = new Set(metrics.map((metric) => metric.path));
  const parts = measured.filter((part) => !listed.has(`${part}.${split?.name}`));
  const format = primaryFormat(results);
  // The primary metric leads, whatever its place in the scenario's list.
  const shown = [
    { path: primaryMetric.path, label: primaryMetric.label, format },
    ...metrics.filter((metric) => metric.path !== primaryMetric.path),
  ];
  return {
    hasGap,
    ids: top.map(({ trial }) => trial.id),
    columns: [
      { title: '#', numeric: true },
      { title: 'Experiment', numeric: false },
      ...summary.parameters.map((name) => ({ title: parameterLabel(results, name), numeric: false })),
      ...shown.map(({ label }) => ({ title: label, numeric: true })),
      ...parts.map((part) => ({ title: part.charAt(0).toUpperCase() + part.slice(1), numeric: true })),
      ...(hasGap ? [{ title: 'Gap', numeric: true }] : []),
    ],
    rows: top.map(({ trial, value }, index) => {
      const train = hasGap ? metricAt(trial.metrics, `train.${split.name}`) : null;
      return [
        String(index + 1),
        trial.id,
        ...summary.parameters.map((name) => parameterText(trial, name)),
        ...shown.map((metric) => formatMetric(metricAt(trial.metrics, metric.path), metric.format)),
        ...parts.map((part) => formatMetric(metricAt(trial.metrics, `${part}.${split?.name}`), format)),
        ...(hasGap ? [formatMetric(train === null ? null : train - value, format)] : []),
      ];
    }),
  };
}

export function trialLink(id: string): Html {
  return html`<a href="#trial=${identifier(id)}">${id}</a>`;
}

export function leaderboardSection(results: RunResults, summary: Summary): Section {
  const board = leaderboardTable(results, summary);
  const { label } = results.presentation.primaryMetric;
  const total = summary.leaderboard.length;
  const rows = board.rows.map((row, index) => [
    row[0],
    trialLink(board.ids[index] as string),
    ...row.slice(2),
  ]);
  return {
    id: 'leaderboard',
    title: 'Leaderboard',
    short: 'Leaderboard',
    body: html`${
      total === 0
        ? html`<p>No experiment has a figure to rank.</p>`
        : dataTable(
            `Best ${formatCount(rows.length)} of ${formatCount(total)} by ${label}${board.hasGap ? '; gap = training minus held out' : ''}`,
            board.columns,
            rows,
            'Leaderboard',
            'dense',
          )
    }`,
  };
}

function bestTable(results: RunResults, summary: Summary): Html | null {
  const { dataParameter } = summary;
  if (dataParameter === null || summary.bestPerData.length === 0) return null;
  const rest = summary.parameters.filter((name) => name !== dataParameter);
  const label = parameterLabel(results, dataParameter);
  return html`<div><h3>Best by ${label}</h3>${dataTable(
    `Best experiment for each ${label}`,
    [{ title: label }, { title: 'Experiment' }, { title: 'With' }, { title: 'Value', numeric: true }],
    summary.bestPerData.map(({ value, best }) => [
      value,
      trialLink(best.trial.id),
      parametersText(best.trial, rest),
      formatMetric(best.value, primaryFormat(results)),
    ]),
    `Best by ${label}`,
  )}</div>`;
}

function averageTables(results: RunResults, summary: Summary): readonly Html[] {
  const format = primaryFormat(results);
  const columns = (label: string): readonly Column[] => [
    { title: label },
    { title: 'Experiments', numeric: true },
    { title: 'Mean', numeric: true },
    { title: 'Best', numeric: true },
  ];
  return summary.averages.map(({ parameter, groups }) => {
    const label = parameterLabel(results, parameter);
    return html`<div><h3>Average by ${label}</h3>${dataTable(
      `Mean ${results.presentation.primaryMetric.label} over all else`,
      columns(label),
      groups
        .slice(0, AVERAGES_SHOWN)
        .map((group) => [
          group.value,
          formatCount(group.count),
          formatMetric(group.mean, format),
          formatMetric(group.best, format),
        ]),
      `Average by ${label}`,
    )}${groups.length > AVERAGES_SHOWN ? html`<p class="muted">First ${AVERAGES_SHOWN} of ${formatCount(groups.length)}.</p>` : null}</div>`;
  });
}
