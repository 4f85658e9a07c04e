import type { Comparison } from '../../bench/compare/types.ts';
import { visibleLine } from '../text/visible.ts';
import { effectText, intervalText } from './figures.ts';

/** Workflow commands: one annotation per broken or undecided rule and per notice. Data cannot start a command of its own. */
export function githubAnnotations(comparison: Comparison): string[] {
  const byName = new Map(comparison.changes.map((change) => [change.metric.name, change]));
  const rules = comparison.gates
    .filter(({ outcome }) => outcome !== 'pass')
    .map(({ rule, outcome, reason }) => {
      const change = byName.get(rule.metric);
      const figures =
        change === undefined ? '' : `${effectText(change, change.effect)} (${intervalText(change)}). `;
      return command(
        outcome === 'fail' ? 'error' : 'warning',
        `clove ${comparison.scenario}: ${rule.text}`,
        `${figures}${reason}`,
      );
    });
  return [...rules, ...comparison.notices.map((notice) => command('notice', 'clove bench compare', notice))];
}

function command(kind: 'error' | 'warning' | 'notice', title: string, message: string): string {
  return `::${kind} title=${escapeProperty(visibleLine(title))}::${escapeData(visibleLine(message))}`;
}

/** As the toolkit of the workflow runner escapes them. */
function escapeData(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}

function escapeProperty(text: string): string {
  return escapeData(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
}
