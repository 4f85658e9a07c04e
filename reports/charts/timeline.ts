import type { Attempt, RunResults } from '../../bench/types.ts';
import { groupBy } from '../statistics.ts';
import { formatCount, formatDuration, plural } from '../text/format.ts';
import { visibleLine } from '../text/visible.ts';
import { END_TEXT, OUTCOMES, type OutcomeClass, outcomeClass } from './palette.ts';
import { type Chart, STATIC_WIDTH, TOOLTIP } from './render.ts';
import { LABEL_WIDTH, TIME_SCALE, type TimeAxis, timeParams } from './time-axis.ts';

interface Bar {
  readonly lane: string;
  readonly runtime: string;
  readonly from: number;
  readonly to: number;
  readonly outcome: OutcomeClass;
  readonly tip: string;
}

/** Beyond this many attempts neighbours are merged; a bar each would be finer than a pixel. */
const BAR_LIMIT = 1200;
/** Beyond this many, crosses would cover the lanes; colour alone must do. */
const CROSS_LIMIT = 150;
const PIXELS = 1000;
const CLASSES: readonly OutcomeClass[] = ['passed', 'failed', 'collateral', 'unmeasured'];

/** Which experiment ran where and when, one lane per runtime and slot. null without a single attempt. */
export function timelineChart(results: RunResults, axis: TimeAxis): Chart | null {
  const attempts = results.trials.flatMap((trial) => trial.attempts);
  if (attempts.length === 0) return null;
  const lanes = lanesOf(attempts, results);
  const merged = attempts.length > BAR_LIMIT;
  const bars = merged ? mergedBars(attempts, axis) : attempts.map((attempt) => bar(attempt, axis));
  const marks = bars.filter((item) => item.outcome !== 'passed');
  const crosses = marks.length > CROSS_LIMIT ? [] : marks;
  const present = CLASSES.filter((name) => bars.some((item) => item.outcome === name));
  const failures = attempts.filter((attempt) => attempt.end !== 'completed').length;
  return {
    id: 'timeline',
    title: 'Experiments by place and time',
    description: `${plural(attempts.length, 'attempt')} on ${plural(lanes.length, 'place')} over ${formatDuration((axis.range[1] - axis.range[0]) * axis.msPerUnit)}; ${plural(failures, 'attempt')} did not complete.`,
    zoom: axis.range,
    controls: true,
    filter: results.runtimes.map((summary) => summary.runtime),
    fixedWidth: false,
    legend: [
      ...present.map((name) => ({
        label: OUTCOMES[name].label,
        colour: OUTCOMES[name].colour,
        shape: 'box' as const,
      })),
      ...(crosses.length > 0
        ? [{ label: 'did not complete', colour: '--ink', shape: 'cross' as const }]
        : []),
    ],
    spec: {
      width: STATIC_WIDTH - 110,
      height: { step: lanes.length > 16 ? 14 : 22 },
      params: timeParams(axis),
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
          axis: { ticks: false, domain: false, grid: false, minExtent: LABEL_WIDTH },
        },
      },
      layer: [
        {
          mark: { type: 'bar', clip: true, stroke: 'var(--paper)', strokeWidth: merged ? 0 : 0.6 },
          encoding: {
            x: {
              field: 'from',
              type: 'quantitative',
              title: axis.title,
              scale: TIME_SCALE,
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
          data: { name: 'crosses', values: crosses },
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

function bar(attempt: Attempt, { msPerUnit }: TimeAxis): Bar {
  return {
    lane: laneName(attempt.runtime, attempt.slot),
    runtime: attempt.runtime,
    from: round(attempt.startedAtMs / msPerUnit),
    to: round((attempt.startedAtMs + attempt.usage.wallMs) / msPerUnit),
    outcome: outcomeClass(attempt.end),
    tip: `${visibleLine(attempt.trialId)}, attempt ${attempt.attempt}\n${laneName(attempt.runtime, attempt.slot)}\n${END_TEXT[attempt.end]}${attempt.fault === null ? '' : ` (injected ${attempt.fault})`}, ${formatDuration(attempt.usage.wallMs)}`,
  };
}

function round(time: number): number {
  return Math.round(time * 10_000) / 10_000;
}

/**
 * Neighbours of a lane that ended the same way become one bar where the gap between them is finer than a pixel: the
 * share of each colour stays the share of time.
 */
function mergedBars(attempts: readonly Attempt[], axis: TimeAxis): Bar[] {
  const gap = (axis.range[1] - axis.range[0]) / PIXELS;
  const bars: Bar[] = [];
  for (const group of groupBy(attempts, (a) => laneName(a.runtime, a.slot)).values()) {
    let last: Bar | undefined;
    let count = 0;
    for (const attempt of [...group].sort((a, b) => a.startedAtMs - b.startedAtMs)) {
      const next = bar(attempt, axis);
      if (last !== undefined && next.outcome === last.outcome && next.from - last.to <= gap) {
        count++;
        const tip: string = `${last.lane}\n${formatCount(count)} attempts in a row: ${OUTCOMES[last.outcome].label}`;
        last = { ...last, to: Math.max(last.to, next.to), tip };
        bars[bars.length - 1] = last;
      } else {
        count = 1;
        last = next;
        bars.push(next);
      }
    }
  }
  return bars;
}
