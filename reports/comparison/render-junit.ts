import junit, { type Builder } from 'junit-report-builder';
import type { Comparison, MetricChange } from '../../bench/compare/types.ts';
import { visibleLine } from '../text/visible.ts';
import { changeCells, effectText, intervalText, outcomeSentence } from './figures.ts';

// Its types describe the import of a CommonJS module, where Node hands over the builder itself.
const library = junit as unknown as Builder;

/**
 * JUnit XML: one test case per rule of the gate, or, without rules, one per figure. Broken rules (without rules: worse figures)
 * are failures, what could not be decided is skipped with its reason.
 */
export function renderJunit(comparison: Comparison): string {
  const builder = library.newBuilder();
  const suite = builder.testSuite().name(`clove bench compare ${visibleLine(comparison.scenario)}`);
  const byName = new Map(comparison.changes.map((change) => [change.metric.name, change]));
  const cases =
    comparison.gates.length > 0
      ? comparison.gates.map(({ rule, outcome, reason }) => ({
          name: rule.text,
          outcome,
          reason,
          change: byName.get(rule.metric),
        }))
      : comparison.changes.map((change) => ({
          name: change.metric.name,
          outcome:
            change.verdict === 'worse' ? 'fail' : change.verdict === 'inconclusive' ? 'inconclusive' : 'pass',
          reason: change.reason,
          change,
        }));
  for (const { name, outcome, reason, change } of cases) {
    const test = suite
      .testCase()
      .className(`clove.${visibleLine(comparison.scenario)}`)
      .name(visibleLine(name));
    const detail = visibleLine(change === undefined ? reason : `${figuresOf(change)}. ${reason}`);
    if (outcome === 'fail') test.failure(detail, 'regression');
    else if (outcome === 'inconclusive') test.skipped();
    if (outcome !== 'fail') test.standardOutput(detail);
  }
  suite.property('summary', visibleLine(outcomeSentence(comparison)));
  return builder.build();
}

function figuresOf(change: MetricChange): string {
  const [, , before, after] = changeCells(change);
  return `${change.metric.label}: ${before} → ${after}, ${effectText(change, change.effect)} (${intervalText(change)}, ${change.pairs} pairs)`;
}
