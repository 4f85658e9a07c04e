import type { Attempt, RunResults } from '../../bench/types.ts';
import { extent, groupBy } from '../statistics.ts';
import { formatDuration, plural } from '../text/format.ts';
import { visibleLine } from '../text/visible.ts';
import { END_TEXT, OUTCOMES, type OutcomeClass, outcomeClass } from './palette.ts';
import { type Chart, STATIC_WIDTH, TOOLTIP } from './render.ts';

interface Bar {
  readonly lane: string;
  readonly runtime: string;
  readonly from: number;
  readonly to: number;
  readonly outcome: OutcomeClass;
  readonly tip: string;
}

/** Beyond this many attempts bars are merged by time bin; a bar each would be finer than a pixel. */
const BAR_LIMIT = 1200;
const BINS = 400;
const CLASSES: readonly OutcomeClass[] = ['passed', 'failed', 'collateral', 'unmeasured'];

/** Which experiment ran where and when, one lane per runtime and slot. null without a single attempt. */
export function timelineChart(results: RunResults): Chart | null {
  const attempts = results.trials.flatMap((trial) => trial.attempts);
  const range = extent(
    attempts.flatMap((a) => [a.startedAtMs / 1000, (a.startedAtMs + a.usage.wallMs) / 1000]),
  );
  if (range === null) return null;
  const lanes = lanesOf(attempts, results);
  const merged = attempts.length > BAR_LIMIT;
  const bars = merged ? mergedBars(attempts, range) : attempts.map(bar);
  const marks = bars.filter((item) => item.outcome !== 'passed');
  const present = CLASSES.filter((name) => bars.some((item) => item.outcome === name));
  const failures = attempts.filter((attempt) => attempt.end !== 'completed').length;
  return {
    id: 'timeline',
    title: 'Experiments by place and time',
    description: `${plural(attempts.length, 'attempt')} on ${plural(lanes.length, 'place')} over ${formatDuration((range[1] - range[0]) * 1000)}; ${plural(failures, 'attempt')} did not complete.`,
    zoom: range,
    filter: results.runtimes.map((summary) => summary.runtime),
    fixedWidth: false,
    legend: present.map((name) => ({
      label: OUTCOMES[name].label,
      colour: OUTCOMES[name].colour,
      shape: name === 'passed' ? 'box' : 'cross',
    })),
    spec: {
      width: STATIC_WIDTH - 110,
      height: { step: lanes.length > 16 ? 14 : 22 },
      params: [
        { name: 'low', value: range[0] },
        { name: 'high', value: range[1] },
        { name: 'runtime', value: '' },
      ],
      data: { name: 'bars', values: bars },
      transform: [
        { filter: "runtime === '' || datum.runtime === runtime" },
        { filter: 'datum.to >= low && datum.from <= high' },
      ],
      encoding: {
        y: {
          field: 'lane',
          type: 'nominal',
          title: null,
          scale: { domain: lanes, paddingInner: 0.25 },
          axis: { ticks: false, domain: false, grid: false },
        },
      },
      layer: [
        {
          mark: { type: 'bar', clip: true, stroke: 'var(--paper)', strokeWidth: merged ? 0 : 0.6 },
          encoding: {
            x: {
              field: 'from',
              type: 'quantitative',
              title: 'seconds since the start of the run',
              scale: { domainMin: { expr: 'low' }, domainMax: { expr: 'high' }, nice: false, zero: false },
              axis: { tickCount: 8 },
            },
            x2: { field: 'to' },
            fill: {
              field: 'outcome',
              type: 'nominal',
              legend: null,
              scale: {
                domain: [...CLASSES],
                range: CLASSES.map((name) => `var(${OUTCOMES[name].colour})`),
              },
            },
            tooltip: TOOLTIP,
          },
        },
        {
          data: { name: 'crosses', values: merged ? thin(marks) : marks },
          transform: [
            { filter: "runtime === '' || datum.runtime === runtime" },
            { filter: 'datum.to >= low && datum.to <= high' },
          ],
          // Not by colour alone: an attempt that did not complete ends in a cross.
          mark: { type: 'point', shape: 'M-1,-1L1,1M-1,1L1,-1', size: 45, strokeWidth: 1.8, clip: true },
          encoding: {
            x: { field: 'to', type: 'quantitative' },
            stroke: { value: 'var(--ink)' },
            fill: { value: 'transparent' },
            tooltip: TOOLTIP,
          },
        },
      ],
    },
  };
}

function lanesOf(attempts: readonly Attempt[], results: RunResults): string[] {
  const slots = new Map<string, number>();
  for (const { runtime, slot } of attempts) {
    slots.set(runtime, Math.max(slots.get(runtime) ?? 0, slot + 1));
  }
  const order = [...new Set([...results.runtimes.map((summary) => summary.runtime), ...slots.keys()])];
  return order.flatMap((runtime) =>
    Array.from({ length: Math.min(slots.get(runtime) ?? 0, 256) }, (_, slot) => laneName(runtime, slot)),
  );
}

function laneName(runtime: string, slot: number): string {
  return `${runtime} ${slot + 1}`;
}

function bar(attempt: Attempt): Bar {
  return {
    lane: laneName(attempt.runtime, attempt.slot),
    runtime: attempt.runtime,
    from: round(attempt.startedAtMs / 1000),
    to: round((attempt.startedAtMs + attempt.usage.wallMs) / 1000),
    outcome: outcomeClass(attempt.end),
    tip: `${visibleLine(attempt.trialId)}, attempt ${attempt.attempt}\n${laneName(attempt.runtime, attempt.slot)}\n${END_TEXT[attempt.end]}${attempt.fault === null ? '' : ` (injected ${attempt.fault})`}, ${formatDuration(attempt.usage.wallMs)}`,
  };
}

function round(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}

/** Per lane, time is cut into bins; a bin shows the worst thing in it, and equal neighbours become one bar. */
function mergedBars(attempts: readonly Attempt[], [low, high]: readonly [number, number]): Bar[] {
  const width = (high - low) / BINS || 1;
  const bars: Bar[] = [];
  for (const [lane, group] of groupBy(attempts, (a) => laneName(a.runtime, a.slot))) {
    const worst = new Int8Array(BINS).fill(-1);
    const counts = new Uint32Array(BINS);
    for (const attempt of group) {
      const from = attempt.startedAtMs / 1000;
      const first = Math.max(0, Math.min(BINS - 1, Math.floor((from - low) / width)));
      const end = from + attempt.usage.wallMs / 1000;
      const last = Math.max(first, Math.min(BINS - 1, Math.ceil((end - low) / width) - 1));
      const outcome = CLASSES.indexOf(outcomeClass(attempt.end));
      // Failure marks the bin in which it came to light, not the whole time it ran.
      for (let bin = first; bin <= last; bin++) worst[bin] = Math.max(worst[bin]!, 0);
      worst[last] = Math.max(worst[last]!, outcome);
      counts[last]!++;
    }
    const runtime = group[0]!.runtime;
    for (let bin = 0; bin < BINS; ) {
      const outcome = worst[bin]!;
      let end = bin + 1;
      let count = counts[bin]!;
      while (end < BINS && worst[end] === outcome) count += counts[end++]!;
      if (outcome >= 0) {
        const name = CLASSES[outcome] as OutcomeClass;
        bars.push({
          lane,
          runtime,
          from: round(low + bin * width),
          to: round(low + end * width),
          outcome: name,
          tip: `${lane}\n${plural(count, 'attempt')} ended here\n${name === 'passed' ? 'completed' : `at least one ${OUTCOMES[name].label}`}`,
        });
      }
      bin = end;
    }
  }
  return bars;
}

/** Crosses would cover a crowded lane; where bars are merged their colour must do beyond 150. */
function thin(bars: readonly Bar[]): readonly Bar[] {
  return bars.length > 150 ? [] : bars;
}
