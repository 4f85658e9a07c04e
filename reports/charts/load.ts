import type { LoadSample, RunResults, RuntimeName } from '../../bench/types.ts';
import { extent, groupBy, mean } from '../statistics.ts';
import { formatBytes, formatNumber } from '../text/format.ts';
import { RUNTIME_COLOUR } from './palette.ts';
import { type Chart, STATIC_WIDTH } from './render.ts';
import { LABEL_WIDTH, TIME_SCALE, type TimeAxis, timeParams } from './time-axis.ts';

/** Points per runtime; more samples are drawn together by time bin. */
const POINTS = 240;

export interface LoadPoint {
  readonly runtime: RuntimeName;
  /** Changes where the runtime paused, so that no line is drawn over the gap. */
  readonly segment: string;
  readonly at: number;
  readonly cpu: number;
  readonly machineMiB: number;
  readonly trialsMiB: number | null;
}

/** Stretches in which one runtime was sampled without another's turn, or a long pause, in between. */
function stretches(load: readonly LoadSample[]): LoadSample[][] {
  const sorted = [...load].sort((a, b) => a.atMs - b.atMs);
  const gaps = sorted.slice(1).map((sample, index) => sample.atMs - sorted[index]!.atMs);
  const usualMs = [...gaps].sort((a, b) => a - b)[Math.floor(gaps.length / 2)] ?? 0;
  const found: LoadSample[][] = [];
  let last: LoadSample | null = null;
  for (const sample of sorted) {
    const goesOn = last?.runtime === sample.runtime && sample.atMs - last.atMs <= Math.max(5 * usualMs, 3000);
    if (goesOn) found.at(-1)?.push(sample);
    else found.push([sample]);
    last = sample;
  }
  return found;
}

/** Mean CPU and peak memory per bin, at most about POINTS bins per runtime. */
export function loadPoints(load: readonly LoadSample[], msPerUnit: number): LoadPoint[] {
  const counts = new Map(
    [...groupBy(load, (sample) => sample.runtime)].map(([name, all]) => [name, all.length]),
  );
  const points: LoadPoint[] = [];
  for (const [segment, samples] of stretches(load).entries()) {
    const { runtime } = samples[0] as LoadSample;
    const size = Math.max(1, Math.ceil((counts.get(runtime) ?? 0) / POINTS));
    for (let start = 0; start < samples.length; start += size) {
      const bin = samples.slice(start, start + size);
      const own = bin.flatMap((sample) => (sample.memoryBytes === null ? [] : [sample.memoryBytes]));
      points.push({
        runtime,
        segment: `${runtime} ${segment}`,
        at: Math.round((bin[0]!.atMs / msPerUnit) * 10_000) / 10_000,
        cpu: Math.round((mean(bin.map((sample) => sample.cpuCores)) ?? 0) * 1000) / 1000,
        machineMiB: toMiB(extent(bin.map((sample) => sample.machineMemoryUsedBytes))?.[1] ?? 0),
        trialsMiB: own.length === 0 ? null : toMiB(extent(own)?.[1] ?? 0),
      });
    }
  }
  return points;
}

function toMiB(bytes: number): number {
  return Math.round((bytes / 1048576) * 10) / 10;
}

/** CPU of the machine, and memory of trials (or of the machine where trials' own is unknown), over time. */
export function loadCharts(results: RunResults, axis: TimeAxis): Chart[] {
  const points = loadPoints(results.load, axis.msPerUnit);
  if (points.length === 0) return [];
  const names = [...new Set(points.map((point) => point.runtime))];
  const own = points.filter((point) => point.trialsMiB !== null);
  const common = { points, names, time: axis, controls: false };
  const charts = [
    lineChart({
      ...common,
      id: 'cpu',
      controls: true,
      title: 'Busy CPU cores of the machine',
      description: names
        .map((name) => {
          const values = points.filter((point) => point.runtime === name).map((point) => point.cpu);
          return `${name}: mean ${formatNumber(mean(values))} of ${results.machine.cores} cores.`;
        })
        .join(' '),
      field: 'cpu',
      axis: 'cores busy',
      top: results.machine.cores * 1.05,
    }),
  ];
  if (own.length > 0) {
    const missing = names.filter((name) => !own.some((point) => point.runtime === name));
    charts.push(
      lineChart({
        ...common,
        points: own,
        id: 'memory',
        title: `Memory of the experiments${missing.length === 0 ? '' : ` (cannot be told apart under ${missing.join(', ')})`}`,
        description: peakText(names, own, 'trialsMiB'),
        field: 'trialsMiB',
        axis: 'MiB',
        top: null,
      }),
    );
  }
  charts.push(
    lineChart({
      ...common,
      id: 'machine',
      title: 'Memory in use on the whole machine',
      description: peakText(names, points, 'machineMiB'),
      field: 'machineMiB',
      axis: 'MiB',
      top: null,
    }),
  );
  return charts;
}

function peakText(
  names: readonly string[],
  points: readonly LoadPoint[],
  field: 'trialsMiB' | 'machineMiB',
): string {
  return names
    .flatMap((name) => {
      const values = points.filter((point) => point.runtime === name).map((point) => point[field] ?? 0);
      const peak = extent(values)?.[1];
      return peak === undefined ? [] : [`${name}: peak ${formatBytes(peak * 1048576)}.`];
    })
    .join(' ');
}

interface LineOptions {
  readonly id: string;
  readonly title: string;
  readonly description: string;
  readonly points: readonly LoadPoint[];
  readonly names: readonly RuntimeName[];
  readonly time: TimeAxis;
  readonly controls: boolean;
  readonly field: 'cpu' | 'trialsMiB' | 'machineMiB';
  readonly axis: string;
  readonly top: number | null;
}

function lineChart(options: LineOptions): Chart {
  const { points, names, time, field } = options;
  return {
    id: options.id,
    title: options.title,
    description: options.description,
    zoom: time.range,
    controls: options.controls,
    filter: names,
    fixedWidth: false,
    legend: names.map((name) => ({ label: name, colour: RUNTIME_COLOUR[name], shape: 'line' })),
    spec: {
      width: STATIC_WIDTH - 110,
      height: 130,
      params: timeParams(time),
      data: {
        name: 'points',
        values: points.map((point) => ({
          runtime: point.runtime,
          segment: point.segment,
          at: point.at,
          value: point[field],
        })),
      },
      transform: [{ filter: "runtime === '' || datum.runtime === runtime" }],
      mark: { type: 'line', interpolate: 'linear', strokeWidth: 1.8, clip: true, tooltip: null },
      encoding: {
        x: {
          field: 'at',
          type: 'quantitative',
          title: time.title,
          scale: TIME_SCALE,
          axis: { tickCount: 8, grid: false },
        },
        y: {
          field: 'value',
          type: 'quantitative',
          title: options.axis,
          scale: options.top === null ? { zero: true } : { zero: true, domainMax: options.top },
          axis: { tickCount: 4, domain: false, ticks: false, minExtent: LABEL_WIDTH - 18 },
        },
        detail: { field: 'segment', type: 'nominal' },
        stroke: {
          field: 'runtime',
          type: 'nominal',
          legend: null,
          scale: { domain: [...names], range: names.map((name) => `var(${RUNTIME_COLOUR[name]})`) },
        },
      },
    },
  };
}
