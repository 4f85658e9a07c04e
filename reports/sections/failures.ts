import type { Attempt, RunResults } from '../../bench/types.ts';
import { END_TEXT } from '../charts/palette.ts';
import { groupBy } from '../statistics.ts';
import { type FailedAttempt, isUnmeasured, parametersText, type Summary } from '../summary.ts';
import { formatCount, formatDuration, plural } from '../text/format.ts';
import { type Html, html, multiline } from '../text/html.ts';
import { dataTable, type Section, statusBadge } from './parts.ts';
import { trialLink } from './results.ts';

/** Shown with their logs; the rest is in the table of experiments and in results.json. */
const DETAILED = 40;
const TAIL_CHARACTERS = 2400;

/** "crashed, SIGABRT (injected crash)" */
export function reasonText(attempt: Attempt): string {
  const how =
    attempt.signal !== null
      ? `, ${attempt.signal}`
      : attempt.exitCode !== null && attempt.exitCode !== 0
        ? `, exit code ${attempt.exitCode}`
        : '';
  return `${END_TEXT[attempt.end]}${how}${attempt.fault === null ? '' : ` (injected ${attempt.fault})`}`;
}

/** Failed attempts counted by reason and runtime, most frequent first. */
export function reasonCounts(
  results: RunResults,
  failures: readonly FailedAttempt[],
): readonly { readonly reason: string; readonly counts: readonly number[] }[] {
  return [...groupBy(failures, ({ attempt }) => reasonText(attempt))]
    .map(([reason, group]) => ({
      reason,
      total: group.length,
      counts: results.runtimes.map(
        ({ runtime }) => group.filter(({ attempt }) => attempt.runtime === runtime).length,
      ),
    }))
    .sort((a, b) => b.total - a.total);
}

export function failuresSection(results: RunResults, summary: Summary): Section {
  const { failures } = summary;
  const lost = failures.filter((failure) => !failure.survived);
  const reasons = reasonCounts(results, failures);
  return {
    id: 'failures',
    title: 'Failures',
    short: `Failures (${formatCount(failures.length)})`,
    body:
      failures.length === 0
        ? html`<p>Every attempt completed.</p>`
        : html`<p>${plural(failures.length, 'attempt')} did not complete${whatBecame(failures.length, lost.length)}.</p>
${dataTable(
  'Attempts by reason and runtime',
  [{ title: 'Reason' }, ...results.runtimes.map(({ runtime }) => ({ title: runtime, numeric: true }))],
  reasons.slice(0, 40).map(({ reason, counts }) => [reason, ...counts.map(formatCount)]),
  'Failures by reason',
)}
${group('Experiments without a result', lost, summary)}
${group(
  'Made good by a retry',
  failures.filter((failure) => failure.survived),
  summary,
)}`,
  };
}

function whatBecame(all: number, lost: number): string {
  if (lost === 0) return all === 1 ? '; a retry made it good' : '; retries made all of them good';
  if (lost === all) return ' and no retry made them good';
  return `: ${formatCount(all - lost)} made good by a retry, ${formatCount(lost)} of experiments without a result`;
}

function group(title: string, failures: readonly FailedAttempt[], summary: Summary): Html | null {
  if (failures.length === 0) return null;
  return html`<h3>${title}</h3>${failures.slice(0, DETAILED).map((failure) => detail(failure, summary))}${
    failures.length > DETAILED
      ? html`<p class="muted">First ${formatCount(DETAILED)} of ${formatCount(failures.length)}; all are in the table of experiments.</p>`
      : null
  }`;
}

function detail({ trial, attempt, survived }: FailedAttempt, summary: Summary): Html {
  const badge = survived
    ? statusBadge('passed', '✓ retried')
    : isUnmeasured(attempt.end)
      ? statusBadge('not_measured')
      : statusBadge('failed');
  return html`<details><summary>${badge} <strong>${attempt.trialId}</strong> under ${attempt.runtime}, attempt ${attempt.attempt}: ${reasonText(attempt)}</summary><div class="inside">
<p>${parametersText(trial, summary.parameters)} · ran ${formatDuration(attempt.usage.wallMs)} in place ${attempt.slot + 1} · ${trialLink(trial.id)} in detail</p>
${attemptError(attempt)}${logTail(attempt.logTail, TAIL_CHARACTERS)}</div></details>
`;
}

export function attemptError(attempt: Attempt): Html | null {
  if (attempt.error === null) return null;
  const { code, message, hint } = attempt.error;
  return html`<p><code>${code}</code> ${message}${hint === undefined ? null : html` <span class="muted">${hint}</span>`}</p>`;
}

/** The end of a log; says so where its beginning is cut. */
export function logTail(log: string, limit: number): Html {
  if (log.trim() === '') return html`<p class="muted">It printed nothing.</p>`;
  const text = log.trimEnd();
  const cut = text.length > limit;
  const shown = cut ? text.slice(-limit) : text;
  return html`<pre tabindex="0" aria-label="Last lines of output">${cut ? html`… ${formatCount(text.length - limit)} characters before this\n` : null}${multiline(shown)}</pre>`;
}
