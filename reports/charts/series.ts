import type { FleetSeries } from '../../bench/types.ts';
import { type FleetTrial, fleetName } from '../fleets.ts';
import { extent, groupBy, mean } from '../statistics.ts';
import { formatNumber } from '../text/format.ts';
import { visibleLine } from '../text/visible.ts';
import { type Chart, STATIC_WIDTH } from './render.ts';

const POINTS = 400;
/** Curves of one chart; more could not be told apart. */
const CURVES = 6;
const COLOURS = ['--rt-clove', '--failed', '--rt-process', '--rt-thread', '--rt-sequential', '--unmeasured'];

/** What the oracle measured over time: one chart per unit. */
export function seriesCharts(of: FleetTrial, idPrefix: string): Chart[] {
  return [...groupBy(of.fleet.series, ({ unit }) => unit)]
    .slice(0, 5)
    .map(([unit, all], index) =>
      lineChart(of, `${idPrefix}${String.fromCharCode(97 + index)}`, unit, all.slice(0, CURVES)),
    );
}

function lineChart(of: FleetTrial, id: string, unit: string, curves: readonly FleetSeries[]): Chart {
  const names = curves.map(({ name }) => visibleLine(name).slice(0, 40));
  const points = curves.flatMap(({ points: own }, index) =>
    thinned(own).map(([atMs, value]) => ({
      name: names[index] as string,
      at: Math.round(atMs) / 1000,
      value: Math.round(value * 1000) / 1000,
    })),
  );
  return {
    id,
    title: `${names.length === 1 ? names[0] : 'Measured over time'} (${visibleLine(unit)})`,
    description: `${fleetName(of)}: ${curves
      .map(({ name, points: own }) => {
        const values = own.map(([, value]) => value);
        return `${name}: mean ${formatNumber(mean(values))}, highest ${formatNumber(extent(values)?.[1])} ${unit}.`;
      })
      .join(' ')}`,
    zoom: null,
    controls: false,
    filter: [],
    fixedWidth: false,
    legend: names.map((label, index) => ({ label, colour: COLOURS[index] as string, shape: 'line' })),
    spec: {
      width: STATIC_WIDTH - 150,
      height: 120,
      data: { name: 'points', values: points },
      mark: { type: 'line', interpolate: 'linear', strokeWidth: 1.6, clip: true, tooltip: null },
      encoding: {
        x: {
          field: 'at',
          type: 'quantitative',
          title: 'seconds since the trial began',
          scale: { zero: true, nice: false, domainMax: Math.round(of.attempt.usage.wallMs) / 1000 },
          axis: { tickCount: 8, grid: false },
        },
        y: {
          field: 'value',
          type: 'quantitative',
          title: visibleLine(unit),
          scale: { zero: true },
          axis: { tickCount: 4, domain: false, ticks: false, minExtent: 102 },
        },
        stroke: {
          field: 'name',
          type: 'nominal',
          legend: null,
          scale: { domain: names, range: names.map((_, index) => `var(${COLOURS[index]})`) },
        },
      },
    },
  };
}

/** Of every stretch the highest point stays: what stands out must not be lost. */
function thinned(points: FleetSeries['points']): FleetSeries['points'] {
  const size = Math.ceil(points.length / POINTS);
  if (size <= 1) return points;
  return Array.from({ length: Math.ceil(points.length / size) }, (_, index) =>
    points.slice(index * size, (index + 1) * size).reduce((top, point) => (point[1] > top[1] ? point : top)),
  );
}
