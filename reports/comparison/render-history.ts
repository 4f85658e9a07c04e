import type { History } from '../../bench/compare/types.ts';
import { historyChart } from '../charts/history.ts';
import { drawCharts, figure } from '../charts/render.ts';
import { renderDocument } from '../page/document.ts';
import { dataTable } from '../sections/parts.ts';
import { pack } from '../sections/trials.ts';
import { formatCount, formatTime, plural } from '../text/format.ts';
import { html } from '../text/html.ts';
import { historyCells, historyColumns, shownMetrics } from './figures.ts';

/** The runs of one scenario over time, in one self-contained page. */
export async function renderHistoryHtml(history: History): Promise<string> {
  const metrics = shownMetrics(history);
  const charts = await drawCharts(
    metrics.map((metric, index) => historyChart(history, metric, index)).filter((chart) => chart !== null),
  );
  const machines = Math.max(...history.points.map(({ machine }) => machine));
  return renderDocument({
    title: `History of ${history.scenario}`,
    headline: html`<header class="top"><div class="wrap">
<p class="kicker">Clove bench history</p>
<h1>${history.scenario}</h1>
<p class="muted">${plural(history.points.length, 'run')} from ${formatTime(history.points[0]?.startedAt ?? '')} to ${formatTime(history.points.at(-1)?.startedAt ?? '')} on ${plural(machines, 'machine')}.</p>
</div></header>
`,
    sections: [
      {
        id: 'trend',
        title: 'Trends',
        short: 'Trends',
        body: html`${charts.length === 0 ? html`<p>One run is no trend yet.</p>` : null}${charts.map((drawn) => figure(drawn, null))}`,
      },
      {
        id: 'runs',
        title: 'Runs',
        short: 'Runs',
        body: dataTable(
          'Means over the trials of each run; times and memory as geometric means',
          historyColumns(metrics).map((title, index) => ({ title, numeric: index > 3 })),
          history.points.map((point) => historyCells(point, metrics)),
          'Runs',
        ),
      },
    ],
    charts,
    packs: [pack('results', JSON.stringify(history))],
    footer: html`<p>Drawn from the records of ${formatCount(history.points.length)} runs. Whether two of them really differ says clove bench compare. Nothing is loaded from a network.</p>`,
  });
}
