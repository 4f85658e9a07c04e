import path from 'node:path';
import { metricAt } from '../../bench/metric.ts';
import type { RunResults, RuntimeSummary, TrialOutcome } from '../../bench/types.ts';
import { escapeLine } from '../ui/escape.ts';
import { formatBytes, formatDuration, formatPercent, plural } from '../ui/format.ts';
import { type Column, renderTable } from '../ui/table.ts';
import type { Terminal } from '../ui/terminal.ts';
import { checksOf, printChecks } from './checks.ts';
import { figureText, parametersLine } from './figures.ts';

const TOP = 5;
const FAILURES_SHOWN = 10;

/** What a person reads when a run is over: best results, runtimes, what failed, the verdict and where the report is. */
export function printSummary(terminal: Terminal, results: RunResults, runDirectory: string): void {
  terminal.endLive();
  terminal.note('');
  printChecks(terminal, results);
  printLeaders(terminal, results);
  printRuntimes(terminal, results.runtimes);
  printFailures(terminal, results);
  const colour = { pass: 'green', fail: 'red', no_verdict: 'yellow' } as const;
  const label = { pass: 'PASS', fail: 'FAIL', no_verdict: 'NO VERDICT' } as const;
  terminal.out(
    `${terminal.style(['bold', colour[results.verdict.kind]], label[results.verdict.kind])}  ${escapeLine(results.verdict.reason)}`,
  );
  for (const notice of results.notices) terminal.out(`note: ${escapeLine(notice)}`);
  const synthetic = results.provenance.filter(({ kind }) => kind === 'synthetic').map(({ name }) => name);
  if (synthetic.length > 0) {
    terminal.out(
      terminal.style(
        'yellow',
        `data: ${escapeLine(synthetic.join('; '))}: these figures say nothing about real molecules`,
      ),
    );
  }
  terminal.out(`report:    ${escapeLine(path.join(runDirectory, 'report.html'))}`);
  terminal.out(`reproduce: ${escapeLine(results.command)}`);
}

function printLeaders(terminal: Terminal, results: RunResults): void {
  const { primaryMetric, metrics } = results.presentation;
  const seen = new Set<string>();
  // With one figure each there is no best: the checks have said what there is to say.
  if (
    results.trials.every((trial) => checksOf(trial).length > 0) &&
    new Set(results.trials.map(({ id }) => id)).size < 3
  )
    return;
  const leaders = results.trials
    .map((trial) => ({ trial, value: metricAt(trial.metrics, primaryMetric.path) }))
    .filter((entry): entry is { trial: TrialOutcome; value: number } => entry.value !== null)
    .sort((a, b) => (primaryMetric.higherIsBetter ? b.value - a.value : a.value - b.value))
    .filter(({ trial }) => !seen.has(trial.id) && seen.add(trial.id))
    .slice(0, TOP);
  if (leaders.length === 0) return;
  const others = metrics
    .filter(({ path: metric }) => metric !== primaryMetric.path && metric.startsWith('test.'))
    .slice(0, 3);
  const columns: Column<(typeof leaders)[number]>[] = [
    { title: `best ${TOP}`, value: ({ trial }) => trial.id },
    { title: '', value: ({ trial }) => escapeLine(parametersLine(trial.params)) },
    {
      title: primaryMetric.label,
      align: 'right',
      value: ({ value }) => figureText(value, primaryMetric.path, results.presentation),
    },
    ...others.map((metric) => ({
      title: metric.label,
      align: 'right' as const,
      value: ({ trial }: (typeof leaders)[number]) =>
        figureText(metricAt(trial.metrics, metric.path), metric.path, results.presentation),
    })),
  ];
  terminal.out(`${renderTable(columns, leaders)}\n`);
}

function printRuntimes(terminal: Terminal, runtimes: readonly RuntimeSummary[]): void {
  const baseline = runtimes[0];
  if (!baseline) return;
  const columns: Column<RuntimeSummary>[] = [
    { title: 'runtime', value: ({ runtime }) => runtime },
    { title: 'completed', align: 'right', value: ({ passed, trials }) => `${passed}/${trials}` },
    { title: 'wall', align: 'right', value: ({ wallMs }) => formatDuration(wallMs) },
    {
      title: 'vs first',
      align: 'right',
      // Of a run that was interrupted before its first trial there is nothing to compare.
      value: ({ wallMs }) => (baseline.wallMs > 0 ? `${(wallMs / baseline.wallMs).toFixed(2)}×` : '–'),
    },
    {
      title: 'cpu',
      align: 'right',
      value: ({ cpuUtilisation: use }) => (use === null ? '–' : formatPercent(use)),
    },
    {
      title: 'peak memory',
      align: 'right',
      value: ({ memoryPeakBytes: peak }) => (peak === null ? '–' : formatBytes(peak)),
    },
    {
      title: 'overhead/trial',
      align: 'right',
      value: ({ overheadMsPerTrial: ms }) => (ms === null ? '–' : formatDuration(ms)),
    },
    { title: 'retries', align: 'right', value: ({ retries }) => String(retries) },
    { title: 'whole-run crashes', align: 'right', value: ({ hostCrashes }) => String(hostCrashes) },
    { title: 'work lost', align: 'right', value: ({ lostMs }) => formatDuration(lostMs) },
  ];
  terminal.out(`${renderTable(columns, runtimes)}\n`);
}

function printFailures(terminal: Terminal, results: RunResults): void {
  // Where checks failed, they have been listed.
  const bad = results.trials.filter((trial) => trial.status !== 'passed' && checksOf(trial).length === 0);
  if (bad.length === 0) return;
  terminal.out(`${plural(bad.length, 'experiment')} without a result:`);
  for (const trial of bad.slice(0, FAILURES_SHOWN)) {
    const last = trial.attempts.at(-1);
    const why = last ? `${last.end}${last.error ? `: ${last.error.message}` : ''}` : 'never started';
    terminal.out(
      `  ${trial.id} [${trial.runtime}] ${escapeLine(parametersLine(trial.params))}: ${escapeLine(why)}`,
    );
  }
  if (bad.length > FAILURES_SHOWN)
    terminal.out(`  … and ${bad.length - FAILURES_SHOWN} more, see the report`);
  terminal.out('');
}
