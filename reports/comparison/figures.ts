import type {
  ChangeVerdict,
  Comparison,
  GateOutcome,
  History,
  HistoryPoint,
  MetricChange,
  MetricDefinition,
} from '../../bench/compare/types.ts';
import {
  formatBytes,
  formatDuration,
  formatNumber,
  formatPercent,
  formatTime,
  plural,
  UNKNOWN,
} from '../text/format.ts';

/** Figures of a comparison in words, once for terminal, Markdown, JUnit and HTML. */

export const OUTCOME_TEXT: Readonly<Record<GateOutcome, string>> = {
  pass: 'Pass',
  fail: 'Fail',
  inconclusive: 'Inconclusive',
};

export const VERDICT_MARK: Readonly<Record<ChangeVerdict, string>> = {
  better: '▲ better',
  worse: '▼ worse',
  same: '= same',
  inconclusive: '? inconclusive',
};

/** A value in the metric's own unit. */
export function metricText({ name, scale }: MetricDefinition, value: number | null | undefined): string {
  if (value === null || value === undefined) return UNKNOWN;
  if (scale === 'rate') return formatPercent(value);
  if (scale === 'difference') return value.toFixed(4).replace('-', '−');
  return name === 'memory' ? formatBytes(value) : formatDuration(value);
}

/** A change: points for rates, per cent for ratios, plain for the rest; always with its sign. */
export function effectText(change: MetricChange, effect: number | null): string {
  if (effect === null) return UNKNOWN;
  const sign = effect > 0 ? '+' : effect < 0 ? '−' : '±';
  const size = Math.abs(effect);
  if (change.metric.scale === 'difference') return `${sign}${size.toFixed(4)}`;
  const percent = size * 100;
  return `${sign}${percent.toFixed(percent < 10 ? 1 : 0)} ${change.metric.scale === 'rate' ? 'points' : '%'}`;
}

export function intervalText(change: MetricChange): string {
  return change.interval === null
    ? UNKNOWN
    : `${effectText(change, change.interval.low)} … ${effectText(change, change.interval.high)}`;
}

export function pText(p: number | null): string {
  if (p === null) return UNKNOWN;
  return p < 0.001 ? '< 0.001' : p.toFixed(3);
}

export const CHANGE_COLUMNS = [
  'Figure',
  'Verdict',
  'Before',
  'After',
  'Change',
  'Interval',
  'p (corrected)',
  'Detectable',
  'Noise floor',
  'Pairs',
] as const;

/** The cells of CHANGE_COLUMNS. */
export function changeCells(change: MetricChange): string[] {
  return [
    change.metric.label,
    VERDICT_MARK[change.verdict],
    metricText(change.metric, change.before),
    metricText(change.metric, change.after),
    effectText(change, change.effect),
    intervalText(change),
    pText(change.pAdjusted),
    change.minimumDetectable === null ? UNKNOWN : effectText(change, change.minimumDetectable).slice(1),
    change.noiseFloor === null ? UNKNOWN : effectText(change, change.noiseFloor).slice(1),
    String(change.pairs),
  ];
}

/** The verdict of the whole comparison in one sentence. */
export function outcomeSentence(comparison: Comparison): string {
  const count = (verdict: ChangeVerdict) =>
    comparison.changes.filter((change) => change.verdict === verdict).length;
  const summary = (['worse', 'better', 'same', 'inconclusive'] as const)
    .filter((verdict) => count(verdict) > 0)
    .map((verdict) => `${count(verdict)} ${verdict}`)
    .join(', ');
  const failed = comparison.gates.filter(({ outcome }) => outcome === 'fail');
  const gate =
    comparison.gates.length === 0
      ? ''
      : failed.length > 0
        ? ` ${plural(failed.length, 'rule')} broken: ${failed.map(({ rule }) => rule.text).join(', ')}.`
        : ` ${plural(comparison.gates.length, 'rule')} kept or undecided.`;
  return `${plural(comparison.changes.length, 'figure')} over ${formatPercent(comparison.coverage)} of the trials: ${summary}.${gate}`;
}

/** 0.95 → "95 %". */
export function levelText(level: number): string {
  return `${formatNumber(level * 100)} %`;
}

/** The figures a history shows: completion, the leading metric and the next one, wall time and memory. */
export function shownMetrics({ metrics }: History): MetricDefinition[] {
  const reported = metrics.filter(({ scale }) => scale === 'difference').slice(0, 2);
  return metrics.filter(
    (metric) => reported.includes(metric) || ['completion', 'wall', 'memory'].includes(metric.name),
  );
}

export function historyColumns(metrics: readonly MetricDefinition[]): string[] {
  return ['Run', 'Started', 'Commit', 'Machine', ...metrics.map(({ label }) => label)];
}

/** The cells of historyColumns. */
export function historyCells(point: HistoryPoint, metrics: readonly MetricDefinition[]): string[] {
  return [
    point.runId,
    formatTime(point.startedAt),
    point.gitCommit?.slice(0, 10) ?? UNKNOWN,
    String(point.machine),
    ...metrics.map((metric) => metricText(metric, point.means[metric.name])),
  ];
}
