import type { CheckResult, CheckStatus, RunResults, TrialOutcome } from '../../bench/types.ts';
import { escapeLine } from '../ui/escape.ts';
import { plural } from '../ui/format.ts';
import type { Terminal } from '../ui/terminal.ts';

/** With more trials than this only what does not hold is listed. */
const LISTED_TRIALS = 4;
const MARK: Readonly<Record<CheckStatus, readonly ['green' | 'red' | 'yellow', string]>> = {
  passed: ['green', '✓'],
  failed: ['red', '✗'],
  not_measured: ['yellow', '○'],
};

/** Of the attempt that counts. */
export function checksOf(trial: TrialOutcome): readonly CheckResult[] {
  return trial.attempts.find((attempt) => attempt.end === 'completed')?.result?.fleet?.checks ?? [];
}

/** What was asserted in each fleet, and what was seen. Nothing where a run made no checks. */
export function printChecks(terminal: Terminal, results: RunResults): void {
  const checked = results.trials.filter((trial) => checksOf(trial).length > 0);
  if (checked.length === 0) return;
  const several = checked.length > 1;
  for (const trial of checked) {
    const all = checksOf(trial);
    const shown = checked.length > LISTED_TRIALS ? all.filter((check) => check.status !== 'passed') : all;
    if (shown.length === 0) continue;
    if (several)
      terminal.out(
        terminal.style(
          'bold',
          `${trial.id} under ${trial.runtime}  ${escapeLine(
            Object.entries(trial.params)
              .map(([name, value]) => `${name}=${value}`)
              .join(' '),
          )}`,
        ),
      );
    for (const check of shown) {
      const [colour, mark] = MARK[check.status];
      const layer = check.layer === null ? '' : terminal.style('dim', ` [${escapeLine(check.layer)}]`);
      terminal.out(`  ${terminal.style(colour, mark)} ${escapeLine(check.asserted)}${layer}`);
      terminal.out(terminal.style('dim', `      ${escapeLine(check.observed)}`));
    }
  }
  const hidden =
    checked.length > LISTED_TRIALS
      ? checked.flatMap(checksOf).filter((check) => check.status === 'passed').length
      : 0;
  if (hidden > 0) terminal.out(`  ${plural(hidden, 'check')} hold and are listed in the report`);
  terminal.out('');
}
