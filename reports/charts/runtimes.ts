import type { RunResults } from '../../bench/types.ts';
import { formatCount, formatDuration, plural } from '../text/format.ts';
import { OUTCOMES, RUNTIME_COLOUR } from './palette.ts';
import { type Chart, STATIC_WIDTH, TOOLTIP } from './render.ts';

/** Bars of what became of the trials, per runtime, beside bars of the wall time. null with one runtime only. */
export function runtimesChart(results: RunResults): Chart | null {
  if (results.runtimes.length < 2) return null;
  const names = results.runtimes.map((summary) => summary.runtime);
  const outcomes = results.runtimes.flatMap((summary) =>
    (
      [
        ['passed', summary.passed],
        ['failed', summary.failed],
        ['unmeasured', summary.notMeasured],
      ] as const
    ).map(([outcome, count], order) => ({
      runtime: summary.runtime,
      outcome,
      count,
      order,
      tip: `${summary.runtime}\n${plural(count, 'experiment')} ${outcome === 'passed' ? 'completed' : outcome === 'failed' ? 'failed for good' : 'not measured'}`,
    })),
  );
  const walls = results.runtimes.map((summary) => ({
    runtime: summary.runtime,
    seconds: summary.wallMs / 1000,
    text: formatDuration(summary.wallMs),
    tip: `${summary.runtime}\n${formatDuration(summary.wallMs)} wall`,
  }));
  const longest = Math.max(0.001, ...walls.map((wall) => wall.seconds));
  const y = { field: 'runtime', type: 'nominal', scale: { domain: names }, title: null } as const;
  const width = (STATIC_WIDTH - 150) / 2;
  const height = { step: 34 };
  const classes = ['passed', 'failed', 'unmeasured'] as const;
  return {
    id: 'runtimes',
    title: 'Experiments completed, and wall time',
    description: results.runtimes
      .map(
        (s) =>
          `${s.runtime}: ${formatCount(s.passed)} of ${formatCount(s.trials)} completed in ${formatDuration(s.wallMs)}.`,
      )
      .join(' '),
    zoom: null,
    controls: false,
    filter: [],
    fixedWidth: true,
    legend: classes.map((name) => ({
      label: name === 'failed' ? 'failed for good' : OUTCOMES[name].label,
      colour: OUTCOMES[name].colour,
      shape: 'box',
    })),
    spec: {
      hconcat: [
        {
          width,
          height,
          data: { values: outcomes },
          mark: { type: 'bar', height: { band: 0.62 } },
          encoding: {
            y: { ...y, axis: { labelFontSize: 13, ticks: false, domain: false, labelPadding: 8 } },
            x: {
              field: 'count',
              type: 'quantitative',
              title: 'experiments',
              axis: { tickMinStep: 1, tickCount: 6 },
            },
            order: { field: 'order', type: 'quantitative' },
            fill: {
              field: 'outcome',
              type: 'nominal',
              legend: null,
              scale: {
                domain: [...classes],
                range: classes.map((name) => `var(${OUTCOMES[name].colour})`),
              },
            },
            tooltip: TOOLTIP,
          },
        },
        {
          width,
          height,
          data: { values: walls },
          encoding: {
            y: { ...y, axis: null },
            x: {
              field: 'seconds',
              type: 'quantitative',
              title: 'wall time (s), shorter is better',
              // Room for the figure at the end of the longest bar.
              scale: { domainMin: 0, domainMax: longest * 1.3, nice: false },
              axis: { tickCount: 6 },
            },
            tooltip: TOOLTIP,
          },
          layer: [
            {
              mark: { type: 'bar', height: { band: 0.62 } },
              encoding: {
                fill: {
                  field: 'runtime',
                  type: 'nominal',
                  legend: null,
                  scale: { domain: names, range: names.map((name) => `var(${RUNTIME_COLOUR[name]})`) },
                },
              },
            },
            {
              mark: { type: 'text', align: 'left', dx: 5, fontSize: 12, fill: 'var(--ink)' },
              encoding: { text: { field: 'text', type: 'nominal' } },
            },
          ],
        },
      ],
      spacing: 32,
      resolve: { scale: { fill: 'independent' } },
    },
  };
}
