import type { History, MetricDefinition } from '../../bench/compare/types.ts';
import { metricText } from '../comparison/figures.ts';
import { formatTime } from '../text/format.ts';
import { clip, visibleLine } from '../text/visible.ts';
import { type Chart, STATIC_WIDTH, TOOLTIP } from './render.ts';

/** One line a metric over the runs, in order; the y axis does not start at zero, because trends are small. null with one run. */
export function historyChart(history: History, metric: MetricDefinition, index: number): Chart | null {
  const rows = history.points.flatMap((point, order) => {
    const value = point.means[metric.name];
    return value === undefined
      ? []
      : [
          {
            order: order + 1,
            value,
            machine: `machine ${point.machine}`,
            tip: `${visibleLine(clip(point.runId, 80))}\n${formatTime(point.startedAt)}\n${metricText(metric, value)}`,
          },
        ];
  });
  if (rows.length < 2) return null;
  const label = visibleLine(clip(metric.label, 60));
  const first = rows[0]?.value ?? 0;
  const last = rows.at(-1)?.value ?? 0;
  return {
    id: `history${String.fromCharCode(97 + index)}`,
    title: `${label} over ${rows.length} runs`,
    description: `${label} went from ${metricText(metric, first)} to ${metricText(metric, last)}.`,
    zoom: null,
    controls: false,
    filter: [],
    fixedWidth: true,
    legend: [],
    spec: {
      width: STATIC_WIDTH - 120,
      height: 170,
      data: { values: rows },
      encoding: {
        x: {
          field: 'order',
          type: 'ordinal',
          title: 'run, oldest first',
          axis: { labelAngle: 0, labelOverlap: true },
        },
        y: { field: 'value', type: 'quantitative', title: null, scale: { zero: false } },
      },
      layer: [
        // Not across machines: what depends on them has no trend there.
        {
          mark: { type: 'line', stroke: 'var(--accent)', strokeWidth: 2 },
          encoding: metric.machineBound ? { detail: { field: 'machine', type: 'nominal' } } : {},
        },
        {
          mark: { type: 'point', filled: true, size: 60, fill: 'var(--accent)' },
          encoding: { tooltip: TOOLTIP },
        },
      ],
    },
  };
}
