import type { RunResults } from '../bench/types.ts';
import { heatmapOf, primaryFormat } from './charts/heatmap.ts';
import { fleetsOf } from './fleets.ts';
import { checkRows } from './sections/checks.ts';
import { MEASURES, runtimeNote } from './sections/comparison.ts';
import { faultText, gitText } from './sections/environment.ts';
import { reasonCounts, reasonText } from './sections/failures.ts';
import { headlineFigures, VERDICT_TEXT } from './sections/headline.ts';
import { AVERAGES_SHOWN, leaderboardTable } from './sections/results.ts';
import { parameterLabel, parametersText, type Summary, summarise } from './summary.ts';
import { formatBytes, formatCount, formatDuration, formatMetric, formatTime, plural } from './text/format.ts';
import { codeBlock, table, escapeMarkdown as text } from './text/markdown.ts';
import { worldTimes } from './world-time.ts';

/** Failed attempts listed one by one; the counts by reason cover all. */
const LISTED_FAILURES = 30;
const LOG_CHARACTERS = 800;
const LISTED_CHECKS = 60;

/** The whole of report.md (GitHub flavour): a pure function of the record. */
export function renderMarkdown(results: RunResults): string {
  const summary = summarise(results);
  const parts = [
    heading(results),
    headline(results, summary),
    notices(results),
    checks(results),
    runtimes(results, summary),
    leaderboard(results, summary),
    bestAndAverages(results, summary),
    heatmap(results, summary),
    failures(results, summary),
    isolation(results),
    environment(results),
    `## Reproduce\n\n${codeBlock(results.command, 'sh')}`,
  ];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

function heading(results: RunResults): string {
  const { scenario, verdict, status } = results;
  const synthetic = results.provenance.some((source) => source.kind === 'synthetic');
  return [
    `# ${text(scenario.title)}`,
    `**${VERDICT_TEXT[verdict.kind]}**: ${text(verdict.reason)}`,
    ...(synthetic
      ? [
          '> **RULE-LABELLED, SYNTHETIC DATA.** No figure here says anything about real molecules or real tasks.',
        ]
      : []),
    ...(status === 'complete' ? [] : [`> **${status.toUpperCase()}.** Shown is what was measured so far.`]),
    ...(scenario.description === '' ? [] : [text(scenario.description)]),
    `${text(scenario.name)} ${text(scenario.version)}, ${formatTime(results.startedAt)}, seed ${results.seed}, run \`${codeSafe(results.runId)}\`.`,
    ...worldTimes(results).map(text),
  ].join('\n\n');
}

/** Text inside `…` where backticks cannot be escaped. */
function codeSafe(value: string): string {
  return value.replace(/[^\w.:+-]/g, '_');
}

function headline(results: RunResults, summary: Summary): string {
  const rows = headlineFigures(results, summary).map(({ name, value, note }) => [name, value, note]);
  return rows.length === 0
    ? 'No experiment ran.'
    : table([{ title: 'Figure' }, { title: 'Value', align: 'right' }, { title: '' }], rows);
}

function notices(results: RunResults): string {
  if (results.notices.length === 0) return '';
  return `## Notices\n\n${results.notices.map((notice) => `- ${text(notice)}`).join('\n')}`;
}

function checks(results: RunResults): string {
  const rows = checkRows(fleetsOf(results));
  if (rows.length === 0) return '';
  return `## Checks\n\n${table(
    [{ title: 'Asserted' }, { title: 'Where' }, { title: '' }, { title: 'By' }, { title: 'Observed' }],
    rows.slice(0, LISTED_CHECKS),
  )}${rows.length > LISTED_CHECKS ? `\n\nFirst ${LISTED_CHECKS} of ${formatCount(rows.length)}; all are in results.json.` : ''}`;
}

function runtimes(results: RunResults, summary: Summary): string {
  const { primary } = summary;
  if (primary === null) return '';
  const all = [primary, ...summary.others];
  const { compared, different } = summary.agreement;
  return [
    `## Execution${all.length > 1 ? ' by runtime' : ''}`,
    table(
      [{ title: 'Figure' }, ...all.map(({ runtime }) => ({ title: runtime, align: 'right' as const }))],
      MEASURES.map((measure) => [measure.name, ...all.map((runtime) => measure.text(runtime))]),
    ),
    all.map((runtime) => `- **${runtime.runtime}** ${text(runtimeNote(runtime, primary))}`).join('\n'),
    ...(compared === 0
      ? []
      : [
          different.length === 0
            ? `${text(results.presentation.primaryMetric.label)} is the same on every runtime for all ${plural(compared, 'experiment')} compared.`
            : `**Results differ between runtimes** for ${text(different.slice(0, 10).join(', '))}${different.length > 10 ? ' …' : ''}.`,
        ]),
  ].join('\n\n');
}

function leaderboard(results: RunResults, summary: Summary): string {
  const board = leaderboardTable(results, summary);
  if (board.rows.length === 0) return '## Leaderboard\n\nNo experiment has a figure to rank.';
  const caption = `Best ${board.rows.length} of ${formatCount(summary.leaderboard.length)} by ${text(results.presentation.primaryMetric.label)}${board.hasGap ? '; gap = training minus held out' : ''}.`;
  return `## Leaderboard\n\n${caption}\n\n${table(
    board.columns.map(({ title, numeric }) => ({ title, align: numeric ? 'right' : 'left' })),
    board.rows,
  )}`;
}

function bestAndAverages(results: RunResults, summary: Summary): string {
  const format = primaryFormat(results);
  const { dataParameter } = summary;
  const parts: string[] = [];
  if (dataParameter !== null && summary.bestPerData.length > 0) {
    const label = parameterLabel(results, dataParameter);
    parts.push(
      `## Best by ${text(label)}\n\n${table(
        [{ title: label }, { title: 'Experiment' }, { title: 'With' }, { title: 'Value', align: 'right' }],
        summary.bestPerData.map(({ value, best }) => [
          value,
          best.trial.id,
          parametersText(
            best.trial,
            summary.parameters.filter((name) => name !== dataParameter),
          ),
          formatMetric(best.value, format),
        ]),
      )}`,
    );
  }
  for (const { parameter, groups } of summary.averages) {
    const label = parameterLabel(results, parameter);
    parts.push(
      `## Average by ${text(label)}\n\n${table(
        [
          { title: label },
          { title: 'Experiments', align: 'right' },
          { title: 'Mean', align: 'right' },
          { title: 'Best', align: 'right' },
        ],
        groups
          .slice(0, AVERAGES_SHOWN)
          .map((group) => [
            group.value,
            formatCount(group.count),
            formatMetric(group.mean, format),
            formatMetric(group.best, format),
          ]),
      )}${groups.length > AVERAGES_SHOWN ? `\n\nFirst ${AVERAGES_SHOWN} of ${formatCount(groups.length)}.` : ''}`,
    );
  }
  return parts.join('\n\n');
}

function heatmap(results: RunResults, summary: Summary): string {
  const map = heatmapOf(results, summary);
  if (map === null) return '';
  const cells = new Map(map.cells.map((cell) => [JSON.stringify([cell.row, cell.column]), cell.text]));
  return `## ${text(results.presentation.primaryMetric.label)} by cell\n\n${table(
    [{ title: map.rowTitle }, ...map.columns.map((title) => ({ title, align: 'right' as const }))],
    map.rows.map((row) => [
      row,
      ...map.columns.map((column) => cells.get(JSON.stringify([row, column])) ?? '–'),
    ]),
  )}${map.omittedRows > 0 ? `\n\n${plural(map.omittedRows, 'row')} left out.` : ''}`;
}

function failures(results: RunResults, summary: Summary): string {
  if (summary.failures.length === 0) return '## Failures\n\nEvery attempt completed.';
  const listed = summary.failures.slice(0, LISTED_FAILURES);
  return [
    '## Failures',
    table(
      [
        { title: 'Reason' },
        ...results.runtimes.map(({ runtime }) => ({ title: runtime, align: 'right' as const })),
      ],
      reasonCounts(results, summary.failures)
        .slice(0, 40)
        .map(({ reason, counts }) => [reason, ...counts.map(formatCount)]),
    ),
    table(
      [
        { title: 'Experiment' },
        { title: 'Runtime' },
        { title: 'Attempt', align: 'right' },
        { title: 'Reason' },
        { title: 'Error' },
        { title: 'Ran', align: 'right' },
        { title: 'In the end' },
      ],
      listed.map(({ trial, attempt, survived }) => [
        trial.id,
        attempt.runtime,
        String(attempt.attempt),
        reasonText(attempt),
        attempt.error?.message ?? '',
        formatDuration(attempt.usage.wallMs),
        survived ? 'completed by a retry' : 'no result',
      ]),
    ),
    ...(summary.failures.length > listed.length
      ? [`First ${listed.length} of ${formatCount(summary.failures.length)}; all are in results.json.`]
      : []),
    ...logTails(listed),
  ].join('\n\n');
}

function logTails(failed: Summary['failures']): readonly string[] {
  const withLogs = failed.filter(({ survived, attempt }) => !survived && attempt.logTail.trim() !== '');
  if (withLogs.length === 0) return [];
  return [
    '### Last lines of output of experiments without a result',
    ...withLogs
      .slice(0, 10)
      .flatMap(({ trial, attempt }) => [
        `${text(trial.id)}, ${attempt.runtime}, attempt ${attempt.attempt}:`,
        codeBlock(attempt.logTail.slice(-LOG_CHARACTERS).trimEnd()),
      ]),
  ];
}

function isolation(results: RunResults): string {
  if (results.isolation.length === 0) return '';
  const short = results.isolation.filter((layer) => layer.requested && layer.state !== 'on');
  const asked = results.isolation.filter((layer) => layer.requested).length;
  const sentence = `${asked - short.length} of ${plural(asked, 'layer')} asked for were fully on.`;
  return `## Isolation\n\n${sentence}${
    short.length === 0
      ? ''
      : `\n\n${table(
          [{ title: 'Layer' }, { title: 'State' }, { title: 'How' }, { title: 'Errno' }, { title: 'Hint' }],
          short.map((layer) => [layer.layer, layer.state, layer.how, layer.errno ?? '', layer.hint ?? '']),
        )}`
  }`;
}

function environment(results: RunResults): string {
  const { machine } = results;
  const facts: readonly (readonly [string, string])[] = [
    ['Processor', `${machine.cpuModel}, ${plural(machine.cores, 'core')}`],
    ['Memory', formatBytes(machine.memoryBytes)],
    ['System', `${machine.os}, Linux ${machine.kernel}`],
    ['Node.js', machine.node],
    ['Clove', machine.clove],
    ['Source', gitText(results)],
    ['Faults injected', faultText(results)],
    ...Object.entries(results.options).map(
      ([name, value]) => [`Option ${name}`, String(value ?? '–')] as const,
    ),
  ];
  const data =
    results.provenance.length === 0
      ? 'The scenario uses no data.'
      : table(
          [
            { title: 'Data' },
            { title: 'Kind' },
            { title: 'Rows', align: 'right' },
            { title: 'Dropped', align: 'right' },
            { title: 'Source' },
            { title: 'Licence' },
            { title: 'SHA-256' },
          ],
          results.provenance.map((source) => [
            source.name,
            source.kind,
            formatCount(source.rows),
            formatCount(source.dropped),
            source.source,
            source.licence,
            source.sha256,
          ]),
        );
  return `## Environment and data\n\n${table([{ title: 'Fact' }, { title: 'Value' }], facts)}\n\n${data}`;
}
