import { appendFileSync, existsSync } from 'node:fs';
import path from 'node:path';
import { Command, Option } from 'commander';
import type { Comparison, Measured } from '../../bench/compare/types.ts';
import type { RuntimeName } from '../../bench/types.ts';
import { CloveError } from '../../errors/index.ts';
import type { CliContext, CommandBuilder } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { escapeLine } from '../ui/escape.ts';
import { renderTable } from '../ui/table.ts';

export interface CompareFlags {
  readonly runsDir?: string;
  readonly baseline?: string;
  readonly failOn?: string;
  readonly coverage?: string;
  readonly acrossMachines?: boolean;
  readonly strict?: boolean;
  readonly junit?: string;
  readonly markdown?: string;
  readonly html?: string;
  readonly github?: boolean;
}

/** Options that `bench run` shares: what a run is held against, and where the verdict goes. */
export function gateOptions(command: Command): Command {
  return command
    .option('--baseline <file>', 'hold it against this baseline (or results.json)')
    .option('--fail-on <rules>', 'what must not get worse, and by how much: "auc:-0.01,wall:+10%"')
    .option('--strict', 'a rule that cannot be decided is no pass either (exit status 4)')
    .option('--junit <file>', 'write the verdict as JUnit XML')
    .option('--markdown <file>', 'write the verdict as Markdown')
    .option('--html <file>', 'write the comparison as one self-contained page')
    .addOption(
      new Option(
        '--github',
        'annotations on stdout and the step summary (on by itself in GitHub Actions)',
      ).default(process.env.GITHUB_ACTIONS === 'true', 'in GitHub Actions'),
    );
}

export const compareCommand: CommandBuilder = (context) =>
  gateOptions(
    new Command('compare')
      .description('better, worse, same or inconclusive: two runs trial by trial, with a gate for CI')
      .argument(
        '[before]',
        'run, "latest", results.json or baseline file; behind @ one of its runtimes, or parameters of its trials',
      )
      .argument('[after]', 'likewise (default: latest)')
      .addOption(new Option('--runs-dir <dir>', 'folder of runs (default: ./runs)').env('CLOVE_RUNS'))
      .option('--coverage <share>', 'share of trials both sides must have measured', '0.9')
      .option('--across-machines', 'judge times and memory although the machines differ'),
  )
    .addHelpText(
      'after',
      `
Examples:
  clove bench compare 20261120-0512 latest
  clove bench compare latest@process latest@clove
  clove bench compare latest@responder=runbook latest@responder=diagnoser
  clove bench compare --baseline baseline.json --fail-on "auc:-0.01,wall:+10%" --junit gate.xml

Exit status 0: no rule broken; 3: a rule is broken; 4: too little was measured, or (--strict) a rule is undecided.`,
    )
    .action(async (first: string | undefined, second: string | undefined, flags: CompareFlags, command) => {
      const cli = context(command as Command);
      const [before, after] = await sidesOf(first, second, flags);
      const comparison = await judgeAgainst(cli, before, after, flags);
      if (cli.json) cli.terminal.out(JSON.stringify(comparison));
      else await printComparison(cli, comparison);
    });

export const baselineCommand: CommandBuilder = (context) =>
  new Command('baseline')
    .description('store a run as a baseline file; further runs of the same tell how much is noise')
    .argument('<run...>', 'the run, then its repetitions (A/A); each a run, results.json or baseline')
    .requiredOption('-o, --output <file>', 'the baseline file')
    .addOption(new Option('--runs-dir <dir>', 'folder of runs (default: ./runs)').env('CLOVE_RUNS'))
    .addHelpText('after', '\nExample:\n  clove bench baseline 20261120-0512 20261120-0530 -o baseline.json')
    .action(async (runs: string[], flags: { output: string; runsDir?: string }, command: Command) => {
      const { json, terminal } = context(command);
      const { baselineOf, writeBaseline } = await import('../../bench/compare/index.ts');
      const sides = await Promise.all(runs.map((run) => sideOf(run, flags.runsDir)));
      const baseline = baselineOf(sides as [Measured, ...Measured[]]);
      writeBaseline(flags.output, baseline);
      const noisy = Object.keys(baseline.noise);
      if (json)
        terminal.out(
          JSON.stringify({
            file: path.resolve(flags.output),
            runIds: baseline.runIds,
            noise: baseline.noise,
          }),
        );
      else
        terminal.out(
          `${escapeLine(flags.output)}: ${baseline.trials.length} trials of ${escapeLine(baseline.label)}; ${
            noisy.length === 0
              ? 'no noise floor (give a repetition to have one)'
              : `noise floor of ${noisy.length} figures`
          }`,
        );
    });

export const historyCommand: CommandBuilder = (context) =>
  new Command('history')
    .description('how the figures of a scenario went from run to run')
    .argument('[scenario]', 'name of the scenario (default: that of the latest run)')
    .argument('[results...]', 'results.json files besides the runs in the store')
    .addOption(new Option('--runs-dir <dir>', 'folder of runs (default: ./runs)').env('CLOVE_RUNS'))
    .option('--html <file>', 'write it as one self-contained page')
    .addHelpText('after', '\nExample:\n  clove bench history drug-discovery --html history.html')
    .action(
      async (
        scenario: string | undefined,
        files: string[],
        flags: { runsDir?: string; html?: string },
        command: Command,
      ) => {
        const { json, terminal } = context(command);
        const { historyOf, measuredOf, readJson } = await import('../../bench/compare/index.ts');
        const { listRunDirectories, resultsOf, runsDirectory } = await import('../../bench/index.ts');
        const reports = await import('../../reports/index.ts');
        const stored = listRunDirectories(runsDirectory(flags.runsDir ?? null)).map(resultsOf);
        const given = files.map((file) => reports.parseResults(readJson(file)));
        const runs = [...stored, ...given].filter(
          ({ status, runtimes }) => status === 'complete' && runtimes.length > 0,
        );
        const name = scenario ?? runs[0]?.scenario.name;
        if (name === undefined) throw new CloveError('RUN_NOT_FOUND', 'there is no finished run yet');
        const history = historyOf(
          name,
          runs.map((run) => measuredOf(run)),
        );
        if (flags.html) {
          const { writeFileAtomically } = await import('../../bench/write-file.ts');
          writeFileAtomically(flags.html, await reports.renderHistoryHtml(history));
        }
        if (json) {
          terminal.out(JSON.stringify(history));
          return;
        }
        const metrics = reports.shownMetrics(history);
        terminal.out(
          renderTable(
            reports.historyColumns(metrics).map((title, index) => ({
              title: escapeLine(title.toLowerCase()),
              align: index > 3 ? ('right' as const) : ('left' as const),
              value: (cells: readonly string[]) => escapeLine(cells[index] ?? ''),
            })),
            history.points.map((point) => reports.historyCells(point, metrics)),
          ),
        );
      },
    );

/** Compares, writes what was asked for and sets the exit status; printing is left to the caller. */
export async function judgeAgainst(
  cli: CliContext,
  before: Measured,
  after: Measured,
  flags: CompareFlags,
): Promise<Comparison> {
  const { compare, DEFAULT_COMPARE } = await import('../../bench/compare/index.ts');
  const comparison = compare(before, after, {
    ...DEFAULT_COMPARE,
    failOn: flags.failOn ?? null,
    acrossMachines: flags.acrossMachines === true,
    ...(flags.coverage === undefined ? {} : { coverageFloor: share(flags.coverage) }),
  });
  await writeComparison(cli, comparison, flags);
  if (comparison.outcome === 'fail') cli.setExitCode(EXIT.verdictFailed);
  else if (
    comparison.coverage < comparison.coverageFloor ||
    (flags.strict === true && comparison.outcome === 'inconclusive')
  )
    cli.setExitCode(EXIT.noVerdict);
  return comparison;
}

async function writeComparison(cli: CliContext, comparison: Comparison, flags: CompareFlags): Promise<void> {
  const reports = await import('../../reports/index.ts');
  const { writeFileAtomically } = await import('../../bench/write-file.ts');
  if (flags.junit) writeFileAtomically(flags.junit, reports.renderJunit(comparison));
  if (flags.markdown) writeFileAtomically(flags.markdown, reports.renderComparisonMarkdown(comparison));
  if (flags.html) writeFileAtomically(flags.html, await reports.renderComparisonHtml(comparison));
  if (flags.github !== true) return;
  // On stderr with --json, where stdout is the answer; the runner reads both.
  const say = (line: string) => (cli.json ? cli.terminal.warn(line) : cli.terminal.out(line));
  for (const line of reports.githubAnnotations(comparison)) say(line);
  const summary = process.env.GITHUB_STEP_SUMMARY;
  if (summary) appendFileSync(summary, reports.renderComparisonMarkdown(comparison));
}

export async function printComparison({ terminal }: CliContext, comparison: Comparison): Promise<void> {
  const { CHANGE_COLUMNS, changeCells, OUTCOME_TEXT, outcomeSentence } = await import(
    '../../reports/index.ts'
  );
  terminal.out(
    `${escapeLine(comparison.scenario)}: ${escapeLine(comparison.before.label)} → ${escapeLine(comparison.after.label)}\n`,
  );
  terminal.out(
    renderTable(
      CHANGE_COLUMNS.map((title, index) => ({
        title: title.toLowerCase(),
        align: index < 2 ? ('left' as const) : ('right' as const),
        value: (cells: readonly string[]) => escapeLine(cells[index] ?? ''),
      })),
      comparison.changes.map(changeCells),
    ),
  );
  terminal.out('');
  for (const { rule, outcome, reason } of comparison.gates)
    terminal.out(`${OUTCOME_TEXT[outcome].toLowerCase()}: ${escapeLine(rule.text)}. ${escapeLine(reason)}`);
  for (const notice of comparison.notices) terminal.out(`note: ${escapeLine(notice)}`);
  terminal.out(`${OUTCOME_TEXT[comparison.outcome]}: ${escapeLine(outcomeSentence(comparison))}`);
}

async function sidesOf(
  first: string | undefined,
  second: string | undefined,
  flags: CompareFlags,
): Promise<[Measured, Measured]> {
  if (flags.baseline !== undefined) {
    if (second !== undefined)
      throw new CloveError('USAGE', '--baseline is the side before: give at most one run besides it');
    return [await sideOf(flags.baseline, flags.runsDir), await sideOf(first ?? 'latest', flags.runsDir)];
  }
  if (first === undefined)
    throw new CloveError('USAGE', 'name the run to compare with', {
      hint: 'clove bench list shows the runs there are; --baseline takes a stored one.',
    });
  return [await sideOf(first, flags.runsDir), await sideOf(second ?? 'latest', flags.runsDir)];
}

/** A run by name, a results.json or a baseline; behind `@` a runtime, or parameters of the trials that are meant. */
export async function sideOf(reference: string, runsDir: string | undefined): Promise<Measured> {
  const { havingParameters, parseSide } = await import('../../bench/compare/index.ts');
  const { name, runtime, having } = parseSide(reference);
  return havingParameters(await wholeSideOf(name, runtime, runsDir), having);
}

async function wholeSideOf(
  name: string,
  wanted: string | null,
  runsDir: string | undefined,
): Promise<Measured> {
  const { measuredOf, parseBaseline, readJson } = await import('../../bench/compare/index.ts');
  const { findRunDirectory, resultsOf, runsDirectory } = await import('../../bench/index.ts');
  const { parseResults } = await import('../../reports/index.ts');
  const runtime = wanted === null ? undefined : (wanted as RuntimeName);
  if (name.endsWith('.json')) {
    const value = readJson(name);
    const baseline = parseBaseline(value, name);
    if (baseline === null) return measuredOf(parseResults(value), runtime);
    if (runtime !== undefined && runtime !== baseline.runtime)
      throw new CloveError('USAGE', `${name} is a baseline of ${baseline.runtime}, not of ${runtime}`);
    return baseline;
  }
  const directory = existsSync(path.join(name, 'run.db'))
    ? name
    : findRunDirectory(runsDirectory(runsDir ?? null), name);
  return measuredOf(resultsOf(directory), runtime);
}

function share(text: string): number {
  const value = Number(text.replace(/%$/, '')) / (text.endsWith('%') ? 100 : 1);
  if (!(value > 0 && value <= 1))
    throw new CloveError('USAGE', `--coverage: ${text} is not between 0 and 1`, { hint: 'For example 0.9.' });
  return value;
}
