import type { ChangeVerdict, Comparison } from '../../bench/compare/types.ts';
import { effectText, intervalText, VERDICT_MARK } from '../comparison/figures.ts';
import { clip, visibleLine } from '../text/visible.ts';
import { type Chart, STATIC_WIDTH, TOOLTIP } from './render.ts';

const COLOUR: Readonly<Record<ChangeVerdict, string>> = {
  better: '--rt-process',
  worse: '--failed',
  same: '--passed',
  inconclusive: '--unmeasured',
};

/** Intervals are drawn up to this many margins from zero. */
const REACH = 4;

/**
 * Every figure's change as a dot with its interval, good to the right, in units of the margin that counts as no change: so figures of
 * different units stand on one axis. null when no figure has an interval.
 */
export function changesChart(comparison: Comparison): Chart | null {
  const rows = comparison.changes.flatMap((change) => {
    const { interval, effect, margin, metric, verdict } = change;
    if (interval === null || effect === null || margin <= 0) return [];
    const unit = (metric.higherIsBetter ? 1 : -1) / margin;
    const clamp = (value: number) => Math.min(REACH, Math.max(-REACH, value * unit));
    const [a, b] = [clamp(interval.low), clamp(interval.high)];
    return [
      {
        label: visibleLine(clip(metric.label, 60)),
        low: Math.min(a, b),
        high: Math.max(a, b),
        effect: clamp(effect),
        verdict,
        tip: `${visibleLine(metric.label)}\n${VERDICT_MARK[verdict]}\n${effectText(change, effect)} (${intervalText(change)})`,
      },
    ];
  });
  if (rows.length === 0) return null;
  const verdicts = ['better', 'worse', 'same', 'inconclusive'] as const;
  const colour = {
    field: 'verdict',
    type: 'nominal',
    legend: null,
    scale: { domain: [...verdicts], range: verdicts.map((verdict) => `var(${COLOUR[verdict]})`) },
  } as const;
  const y = { field: 'label', type: 'nominal', sort: null, title: null } as const;
  const x = {
    type: 'quantitative',
    title: '← worse · change in margins · better →',
    scale: { domain: [-REACH, REACH] as [number, number] },
    axis: { tickCount: 9, format: 'd' },
  } as const;
  return {
    id: 'changes',
    title: 'Changes with their intervals; the band is what counts as no change',
    description: rows.map(({ label, verdict }) => `${label}: ${verdict}.`).join(' '),
    zoom: null,
    controls: false,
    filter: [],
    fixedWidth: true,
    legend: verdicts
      .filter((verdict) => rows.some((row) => row.verdict === verdict))
      .map((verdict) => ({ label: verdict, colour: COLOUR[verdict], shape: 'box' })),
    spec: {
      width: STATIC_WIDTH - 260,
      height: { step: 26 },
      layer: [
        {
          data: { values: [{ from: -1, to: 1 }] },
          mark: { type: 'rect', fill: 'var(--raised)' },
          encoding: { x: { field: 'from', ...x }, x2: { field: 'to' } },
        },
        {
          data: { values: [{ at: 0 }] },
          mark: { type: 'rule', stroke: 'var(--line-strong)' },
          encoding: { x: { field: 'at', ...x } },
        },
        {
          data: { values: rows },
          mark: { type: 'rule', strokeWidth: 3 },
          encoding: { y, x: { field: 'low', ...x }, x2: { field: 'high' }, stroke: colour, tooltip: TOOLTIP },
        },
        {
          data: { values: rows },
          mark: { type: 'point', filled: true, size: 90 },
          encoding: { y, x: { field: 'effect', ...x }, fill: colour, tooltip: TOOLTIP },
        },
      ],
    },
  };
}
