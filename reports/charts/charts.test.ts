import { describe, expect, it } from 'vitest';
import type { RunResults } from '../../bench/types.ts';
import { makeResults } from '../fixture.ts';
import { summarise } from '../summary.ts';
import { durationGroups, durationsChart } from './durations.ts';
import { heatmapChart, heatmapOf, heatStep } from './heatmap.ts';
import { loadCharts, loadPoints } from './load.ts';
import { type DrawnChart, drawCharts } from './render.ts';
import { runtimesChart } from './runtimes.ts';
import { timeAxis } from './time-axis.ts';
import { timelineChart } from './timeline.ts';

const HOSTILE = `'"]; alert(1)//<script>\${datum}</script>`;

async function drawAll(results: RunResults): Promise<DrawnChart[]> {
  const summary = summarise(results);
  const heatmap = heatmapOf(results, summary);
  const axis = timeAxis(results);
  const durations = durationGroups(results, summary);
  const charts = [
    runtimesChart(results),
    heatmap && heatmapChart(results, heatmap),
    axis && timelineChart(results, axis),
    ...(axis === null ? [] : loadCharts(results, axis)),
    durationsChart(durations.label, durations.groups),
  ];
  return drawCharts(charts.filter((chart) => chart !== null));
}

/** Every expression, signal and field name in a vega specification, data left out. */
function expressions(spec: unknown): string[] {
  const found: string[] = [];
  const visit = (value: unknown, key: string): void => {
    if (Array.isArray(value)) {
      if (key !== 'values' && key !== 'domain') for (const item of value) visit(item, key);
    } else if (typeof value === 'object' && value !== null) {
      for (const [name, child] of Object.entries(value)) visit(child, name);
    } else if (typeof value === 'string' && !['text', 'value', 'title', 'font'].includes(key)) {
      found.push(value);
    }
  };
  visit(spec, '');
  return found;
}

describe('charts', () => {
  it('compile without a single warning and draw something', async () => {
    for (const trials of [8, 48, 600]) {
      for (const drawn of await drawAll(makeResults({ trials }))) {
        expect(drawn.warnings, drawn.chart.id).toEqual([]);
        expect(drawn.svg.source, drawn.chart.id).toMatch(/^<svg .*<path /s);
      }
    }
  });

  it('never build an expression from the record', async () => {
    const plain = await drawAll(makeResults({ trials: 24 }));
    const hostile = await drawAll(makeResults({ trials: 24, hostile: HOSTILE }));
    expect(hostile.map(({ chart }) => chart.id)).toEqual(plain.map(({ chart }) => chart.id));
    for (const [index, drawn] of hostile.entries()) {
      expect(expressions(drawn.vega)).toEqual(expressions(plain[index]?.vega));
      expect(expressions(drawn.vega).join('\n')).not.toContain('alert');
    }
  });

  it('escape labels in the drawing, and carry no style, script, link or handler', async () => {
    for (const drawn of await drawAll(makeResults({ trials: 24, hostile: HOSTILE }))) {
      expect(drawn.svg.source).not.toMatch(/<(?!\/?(?:svg|g|path|line|text|rect|defs|clipPath|title)\b)/);
      expect(drawn.svg.source).not.toMatch(/ (?:style|on\w+|href|xlink:href)=/);
    }
  });

  it('draw in colours of the page only, so that themes apply', async () => {
    for (const drawn of await drawAll(makeResults())) {
      const colours = [...drawn.svg.source.matchAll(/ (?:fill|stroke)="([^"]+)"/g)].map(
        ([, colour]) => colour,
      );
      for (const colour of colours) expect(colour).toMatch(/^(?:none|transparent|var\(--[\w-]+\))$/);
    }
  });

  it('stay small for 8,000 attempts', async () => {
    const drawn = await drawAll(makeResults({ trials: 2000 }));
    const bytes = drawn.reduce((sum, { svg }) => sum + svg.source.length, 0);
    expect(bytes).toBeLessThan(1_000_000);
  });

  it('are absent where there is nothing to draw', async () => {
    const results = makeResults({ runtimes: ['clove'] });
    const empty: RunResults = { ...results, trials: [], load: [], runtimes: [] };
    expect(await drawAll(empty)).toEqual([]);
    expect(runtimesChart(results)).toBeNull();
  });
});

describe('heatmapOf', () => {
  it('holds the mean of each cell, leaves failed cells empty and knows where a data set begins', () => {
    const results = makeResults({ trials: 96, runtimes: ['clove'], faults: { crash: 0, hang: 0, leak: 0 } });
    const summary = summarise(results);
    const map = heatmapOf(results, summary);
    if (map === null) throw new Error('no heat map');
    expect([map.rows.length, map.columns.length, map.cells.length]).toEqual([12, 4, 48]);
    expect(map.breaks).toEqual([3, 6, 9]);
    const pair = summary.leaderboard.filter(
      ({ trial }) =>
        trial.params.dataset === 'hERG' && trial.params.features === 'morgan' && trial.params.model === 'svm',
    );
    const cell = map.cells.find(({ row, column }) => row === 'hERG · morgan' && column === 'svm');
    expect(cell?.count).toBe(2);
    expect(cell?.value).toBeCloseTo(pair.reduce((sum, { value }) => sum + value, 0) / 2, 12);
    const failed = { ...results, trials: results.trials.map((t) => ({ ...t, status: 'failed' as const })) };
    expect(heatmapOf(failed, summarise(failed))?.cells.every((c) => c.value === null && c.text === '–')).toBe(
      true,
    );
  });

  it('gives the best value the last step of the palette, whichever way is better', () => {
    expect([0, 0.5, 1].map((value) => heatStep(value, [0, 1], true))).toEqual([0, 4, 8]);
    expect([0, 0.5, 1].map((value) => heatStep(value, [0, 1], false))).toEqual([8, 4, 0]);
    expect(heatStep(0.7, [0.7, 0.7], true)).toBe(4);
    expect(heatStep(null, [0, 1], true)).toBeNull();
  });
});

describe('timelineChart', () => {
  it('merges neighbours in large runs without changing how long each outcome took', () => {
    const results = makeResults({ trials: 1400, runtimes: ['clove'] });
    const axis = timeAxis(results);
    const chart = axis && timelineChart(results, axis);
    if (!chart || !axis) throw new Error('no chart');
    const bars = (
      chart.spec as unknown as { data: { values: { from: number; to: number; outcome: string }[] } }
    ).data.values;
    const attempts = results.trials.flatMap((trial) => trial.attempts);
    expect(bars.length).toBeLessThan(attempts.length / 2);
    const failedMs = attempts
      .filter((attempt) => attempt.end !== 'completed')
      .reduce((sum, attempt) => sum + attempt.usage.wallMs, 0);
    const drawn = bars
      .filter(({ outcome }) => outcome === 'failed')
      .reduce((sum, { from, to }) => sum + (to - from), 0);
    expect((drawn * axis.msPerUnit) / failedMs).toBeCloseTo(1, 1);
  });
});

describe('loadPoints', () => {
  it('thins many samples, keeps peaks of memory and does not draw over a pause', () => {
    const { load } = makeResults({ trials: 2000, runtimes: ['clove'] });
    const points = loadPoints(load, 1000);
    expect(points.length).toBeLessThanOrEqual(240);
    const peak = Math.max(...load.map((sample) => sample.machineMemoryUsedBytes)) / 1048576;
    expect(Math.max(...points.map((point) => point.machineMiB))).toBeCloseTo(peak, 1);
    const later = load.slice(0, 20).map((sample) => ({ ...sample, atMs: sample.atMs + 1e8 }));
    const paused = loadPoints([...load.slice(0, 20), ...later], 1000);
    expect(new Set(paused.map((point) => point.segment)).size).toBe(2);
  });

  it('draws no line over the turn of another runtime', () => {
    const turns = (['clove', 'thread', 'clove', 'thread'] as const).flatMap((runtime, turn) =>
      makeResults({ runtimes: [runtime], trials: 8 })
        .load.slice(0, 4)
        .map((sample, index) => ({ ...sample, atMs: turn * 1000 + index * 200 })),
    );
    const segments = loadPoints(turns, 1000).map((point) => point.segment);
    expect([...new Set(segments)]).toHaveLength(4);
    expect(segments).toHaveLength(16);
  });
});
