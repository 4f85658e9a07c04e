import type { Comparison } from '../../bench/compare/types.ts';
import { formatPercent, formatTime } from '../text/format.ts';
import { escapeMarkdown, table } from '../text/markdown.ts';
import { CHANGE_COLUMNS, changeCells, levelText, OUTCOME_TEXT, outcomeSentence } from './figures.ts';

const MOVERS = 10;

/** A comparison for a step summary or a pull request. Everything from the records is escaped. */
export function renderComparisonMarkdown(comparison: Comparison): string {
  const { before, after } = comparison;
  const parts = [
    `## ${OUTCOME_TEXT[comparison.outcome]}: ${escapeMarkdown(comparison.scenario)}`,
    outcomeSentence(comparison),
    table(
      CHANGE_COLUMNS.map((title, index) => ({ title, align: index < 2 ? 'left' : 'right' })),
      comparison.changes.map(changeCells),
    ),
  ];
  if (comparison.gates.length > 0)
    parts.push(
      '### Rules',
      table(
        [{ title: 'Rule' }, { title: 'Outcome' }, { title: 'Why' }],
        comparison.gates.map(({ rule, outcome, reason }) => [rule.text, OUTCOME_TEXT[outcome], reason]),
      ),
    );
  if (comparison.movers.length > 0)
    parts.push(
      '### Trials that moved most',
      table(
        [
          { title: 'Trial' },
          { title: 'Parameters' },
          { title: 'Figure' },
          { title: 'Before', align: 'right' },
          { title: 'After', align: 'right' },
        ],
        comparison.movers
          .slice(0, MOVERS)
          .map((mover) => [
            mover.id,
            Object.values(mover.params).join(' '),
            mover.metric,
            mover.before.toFixed(4),
            mover.after.toFixed(4),
          ]),
      ),
    );
  if (comparison.notices.length > 0)
    parts.push('### Notices', comparison.notices.map((notice) => `- ${escapeMarkdown(notice)}`).join('\n'));
  parts.push(
    [
      `Before: ${escapeMarkdown(before.label)} (${formatTime(before.startedAt)}, ${before.runtime}).`,
      `After: ${escapeMarkdown(after.label)} (${formatTime(after.startedAt)}, ${after.runtime}).`,
      `${levelText(comparison.level)} intervals, p corrected after Holm, coverage ${formatPercent(comparison.coverage)} of at least ${formatPercent(comparison.coverageFloor)}.`,
    ].join(' '),
  );
  return `${parts.join('\n\n')}\n`;
}
