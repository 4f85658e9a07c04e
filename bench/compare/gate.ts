import { CloveError } from '../../errors/index.ts';
import { resolveMetric } from './measured.ts';
import type { GateResult, GateRule, MetricChange, MetricDefinition } from './types.ts';

const RULE = /^\s*([A-Za-z][\w. -]*?)\s*:\s*([+-]?)(\d+(?:\.\d+)?)\s*(%?)\s*$/;

/**
 * "auc:-0.01,wall:+10%": each names a metric and how far it may go in its bad direction. A share (%) is of the baseline on ratio
 * scales, and points on the others. Throws USAGE with the part that makes no sense.
 */
export function parseRules(text: string, metrics: readonly MetricDefinition[]): GateRule[] {
  return text.split(',').map((part) => {
    const match = RULE.exec(part);
    if (match === null)
      throw new CloveError('USAGE', `--fail-on: cannot read "${part.trim()}"`, {
        hint: 'Rules look like auc:-0.01 or wall:+10%, separated by commas.',
      });
    const [, name = '', sign, digits, percent] = match;
    const metric = resolveMetric(metrics, name);
    if (metric.scale === 'ratio' && percent === '')
      throw new CloveError('USAGE', `--fail-on: ${name} is compared as a ratio and takes a percentage`, {
        hint: `For example ${name}:+10%.`,
      });
    const bad = metric.higherIsBetter ? -1 : 1;
    if (sign !== '' && (sign === '-' ? -1 : 1) !== bad)
      throw new CloveError(
        'USAGE',
        `--fail-on: ${name} gets worse when it goes ${bad < 0 ? 'down' : 'up'}, so ${part.trim()} would never fail on a regression`,
        { hint: `Write ${name}:${bad < 0 ? '-' : '+'}${digits}${percent}.` },
      );
    return {
      text: part.trim(),
      metric: metric.name,
      threshold: (bad * Number(digits)) / (percent === '%' ? 100 : 1),
    };
  });
}

/**
 * fail: shown to be worse, by at least the threshold as best estimated. inconclusive: a change beyond the threshold is neither
 * shown nor ruled out, or too little was measured. Everything else passes.
 */
export function applyRule(rule: GateRule, change: MetricChange, blocked: string | null): GateResult {
  const { effect, interval, metric } = change;
  if (blocked !== null || effect === null || interval === null)
    return { rule, outcome: 'inconclusive', reason: blocked ?? change.reason };
  const beyond = (value: number) =>
    metric.higherIsBetter ? value <= rule.threshold : value >= rule.threshold;
  if (change.verdict === 'worse' && beyond(effect))
    return { rule, outcome: 'fail', reason: `Worse by at least what the rule allows. ${change.reason}` };
  const worstEnd = metric.higherIsBetter ? interval.low : interval.high;
  if (change.verdict === 'inconclusive' && beyond(worstEnd))
    return {
      rule,
      outcome: 'inconclusive',
      reason: `The interval reaches beyond the threshold. ${change.reason}`,
    };
  return { rule, outcome: 'pass', reason: change.reason };
}
