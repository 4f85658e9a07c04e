import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Command, Option } from 'commander';
import type { Measured } from '../../bench/compare/types.ts';
import type { BenchEvent } from '../../bench/events.ts';
import type { BenchOptions } from '../../bench/options.ts';
import type { RunResults, RuntimeName } from '../../bench/types.ts';
import { CloveError } from '../../errors/index.ts';
import { BenchProgress } from '../bench/progress.ts';
import { printSummary } from '../bench/summary.ts';
import type { CliContext, CommandBuilder } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { escapeLine } from '../ui/escape.ts';
import { formatDuration } from '../ui/format.ts';
import { interruptible } from '../ui/interrupt.ts';
import { parseCount, parseDuration, parseList } from '../ui/parse.ts';
import { renderTable } from '../ui/table.ts';
import {
  baselineCommand,
  type CompareFlags,
  compareCommand,
  gateOptions,
  historyCommand,
  judgeAgainst,
  printComparison,
  sideOf,
} from './bench-compare.ts';
import { microCommand } from './bench-micro.ts';

interface RunFlags extends CompareFlags {
  readonly dryRun?: boolean;
  readonly quick?: boolean;
  readonly size?: string;
  readonly seed?: string;
  readonly runtime: string;
  readonly compare?: string;
  readonly worker?: string;
  readonly parallel?: string;
  readonly faults?: string;
  readonly data?: string;
  readonly runsDir?: string;
  readonly kernel?: string;
  readonly zygote: boolean;
  readonly require: 'full' | 'reduced' | 'least';
  readonly timeout?: string;
  readonly attempts?: string;
  readonly blocks?: string;
  readonly shard?: string;
  readonly set: readonly string[];
  readonly datasets?: string;
  readonly features?: string;
  readonly models?: string;
  readonly shift?: string;
  readonly split?: string;
}

const RUNS_OPTION = () =>
  new Option('--runs-dir <dir>', 'folder of runs (default: ./runs)').env('CLOVE_RUNS');

export const benchCommand: CommandBuilder = (context) => {
  const bench = new Command('bench').description('run scenarios many times over and report on them');
  bench.addCommand(runCommand(context));
  bench.addCommand(listCommand(context));
  bench.addCommand(reportCommand(context));
  bench.addCommand(resumeCommand(context));
  bench.addCommand(mergeCommand(context));
  bench.addCommand(microCommand(context));
  bench.addCommand(compareCommand(context));
  bench.addCommand(baselineCommand(context));
  bench.addCommand(historyCommand(context));
  return bench;
};

const runCommand: CommandBuilder = (context) =>
  gateOptions(new Command('run'))
    .description('run a scenario: every trial a sandboxed process of its own')
    .argument('<scenario>', 'name of the scenario, such as drug-discovery')
    .option('--dry-run', 'tell what would run, and run nothing')
    .option('--quick', 'the small grid (drug-discovery: 8 experiments)')
    .option('--size <n>', 'widen the grid by seeds and hyper-parameters to this many trials')
    .option('--seed <n>', 'seed of everything that is random (default: 42)')
    .addOption(new Option('--runtime <name>', 'what runs the trials').default('clove'))
    .option('--compare <names>', 'run the same trials on these too: process,thread,sequential,python-pool')
    .option('--worker <language>', 'typescript, or python where the scenario has such a worker')
    .option('--parallel <n>', "trials at once, or 'auto' (default: one per core, fewer under pressure)")
    .option('--faults <plan>', 'inject real faults: crash=0.05,hang=0.02,leak=0.02 (probability per attempt)')
    .addOption(
      new Option('--data <dir>', 'folder with the measured data sets, or "built-in"').env('CLOVE_DATA'),
    )
    .addOption(RUNS_OPTION())
    .option('--kernel <socket>', 'use this running kernel instead of a private one')
    .addOption(
      new Option(
        '--require <strength>',
        'full: run only with every layer of isolation; reduced: what this machine cannot give beyond the walls is named in the report; least: walls too',
      )
        .choices(['full', 'reduced', 'least'])
        .default('reduced'),
    )
    .option('--no-zygote', 'start every trial as a program of its own, not forked from a template')
    .option('--timeout <duration>', 'time limit of one attempt, such as 60s')
    .option('--attempts <n>', 'attempts a trial gets at most (default: 3)')
    .option('--blocks <n>', 'turns each runtime takes in a comparison (default: 2)')
    .option('--shard <i/n>', 'run only part i of n of the grid; clove bench merge puts the parts together')
    .option('--datasets <names>', 'only these data sets')
    .option('--features <names>', 'only these feature sets')
    .option('--models <names>', 'only these models')
    .option('--shift <duration>', 'soc-lab: length of the shift in world time, such as 8h')
    .option('--split <kind>', 'how the data are split, such as stratified or scaffold')
    .option('--set <name=value>', 'another setting of the scenario (repeatable)', collect, [])
    .addHelpText(
      'after',
      `
Examples:
  clove bench run drug-discovery
  clove bench run drug-discovery --quick --data ../shared/data
  clove bench run drug-discovery --faults crash=0.05,hang=0.02,leak=0.02 --compare process,thread,sequential
  clove bench run soc-lab --shift 8h
  clove bench run drug-discovery --size 2000 --dry-run
  clove bench run drug-discovery --size 2000 --split scaffold --json > results.json`,
    )
    .action(async (scenarioName: string, flags: RunFlags, command: Command) => {
      const cli = context(command);
      const { dryRun, findScenario, loadScenarioFile, parseFaults, parseShard, runBench } = await import(
        '../../bench/index.ts'
      );
      const found = findScenario(scenarioName);
      const scenario = await loadScenarioFile(found);
      const gate = await gateOf(flags);
      const runtimes = [flags.runtime, ...(flags.compare ? parseList(flags.compare, '--compare') : [])];
      const options: BenchOptions = {
        scenario,
        scenarioFile: found.origin === 'file' ? found.file : null,
        runtimes: [...new Set(runtimes)] as RuntimeName[],
        parallel:
          flags.parallel === undefined || flags.parallel === 'auto'
            ? 'auto'
            : parseCount(flags.parallel, '--parallel'),
        ...(flags.seed === undefined ? {} : { seed: parseCount(flags.seed, '--seed', 0) }),
        size: flags.size === undefined ? null : parseCount(flags.size, '--size'),
        quick: flags.quick === true,
        faults: flags.faults === undefined ? {} : parseFaults(flags.faults),
        dataDirectory: dataPlace(flags.data),
        runsDirectory: flags.runsDir ?? null,
        kernelSocket: flags.kernel ?? null,
        zygote: flags.zygote,
        isolation: flags.require,
        timeoutMs: flags.timeout === undefined ? null : parseDuration(flags.timeout, '--timeout'),
        ...(flags.attempts === undefined ? {} : { maxAttempts: parseCount(flags.attempts, '--attempts') }),
        blocks: flags.blocks === undefined ? null : parseCount(flags.blocks, '--blocks'),
        shard: flags.shard === undefined ? null : parseShard(flags.shard),
        set: settingsOf(flags),
        command: commandLine(),
      };
      if (flags.dryRun) {
        const { printDryRun } = await import('../bench/dry-run.ts');
        printDryRun(cli, await dryRun(options));
        return;
      }
      const progress = new BenchProgress(cli.terminal, scenario.presentation);
      const run = await interruptible(cli.terminal, (signal) =>
        runBench({ ...options, signal }, progress.listen),
      ).finally(() => progress.close());
      await conclude(cli, run, gate);
    });

const resumeCommand: CommandBuilder = (context) =>
  new Command('resume')
    .description('go on with a run that was interrupted or killed; nothing that ended is run again')
    .argument('[run]', 'id of the run, an unambiguous part of it, or "latest"', 'latest')
    .addOption(RUNS_OPTION())
    .option('--kernel <socket>', 'use this running kernel instead of a private one')
    .action(async (wanted: string, flags: { runsDir?: string; kernel?: string }, command: Command) => {
      const cli = context(command);
      const { findRunDirectory, resumeBench, runsDirectory, scenarioOfRun } = await import(
        '../../bench/index.ts'
      );
      const runDirectory = findRunDirectory(runsDirectory(flags.runsDir ?? null), wanted);
      const scenario = await scenarioOfRun(runDirectory);
      const progress = new BenchProgress(cli.terminal, scenario.presentation);
      let began = false;
      const listen = (event: BenchEvent): void => {
        began ||= event.kind === 'run';
        progress.listen(event);
      };
      const run = await interruptible(cli.terminal, (signal) =>
        resumeBench(runDirectory, { kernelSocket: flags.kernel ?? null, signal, scenario }, listen),
      ).finally(() => progress.close());
      if (!began) cli.terminal.note(`${escapeLine(run.results.runId)} is complete: nothing is left to run`);
      await conclude(cli, run);
    });

const mergeCommand: CommandBuilder = (context) =>
  new Command('merge')
    .description(
      'put runs of parts of one grid together, from whatever machine; conflicts are refused and named',
    )
    .argument('<run...>', 'the runs: ids, unambiguous parts of them, or their folders')
    .addOption(RUNS_OPTION())
    .addHelpText(
      'after',
      `
Examples:
  clove bench run drug-discovery --shard 1/2        # here
  clove bench run drug-discovery --shard 2/2        # on another machine; then copy its folder of runs/
  clove bench merge 20261120-0512 20261120-0513
  clove bench merge runs/20261120-051233-drug-discovery-k3f9 /mnt/other/20261120-051240-drug-discovery-8d1e`,
    )
    .action(async (wanted: string[], flags: { runsDir?: string }, command: Command) => {
      const { findRunDirectory, mergeRuns, runsDirectory } = await import('../../bench/index.ts');
      const runs = runsDirectory(flags.runsDir ?? null);
      const directories = wanted.map((run) =>
        existsSync(path.join(run, 'run.db')) ? path.resolve(run) : findRunDirectory(runs, run),
      );
      await conclude(context(command), mergeRuns(directories, runs));
    });

const listCommand: CommandBuilder = (context) =>
  new Command('list')
    .description('list the runs in the store, newest first, and the scenarios there are')
    .addOption(RUNS_OPTION())
    .action(async (flags: { runsDir?: string }, command: Command) => {
      const { json, terminal } = context(command);
      const { listRunDirectories, resultsOf, runsDirectory, scenarioNames } = await import(
        '../../bench/index.ts'
      );
      const runs = [];
      for (const runDirectory of listRunDirectories(runsDirectory(flags.runsDir ?? null))) {
        const results = await resultsOf(runDirectory);
        runs.push({
          runId: results.runId,
          scenario: results.scenario.name,
          status: results.status,
          startedAt: results.startedAt,
          wallMs: results.wallMs,
          trials: results.trials.length,
          passed: results.trials.filter(({ status }) => status === 'passed').length,
          runtimes: results.runtimes.map(({ runtime }) => runtime),
          verdict: results.verdict.kind,
          runDir: runDirectory,
        });
      }
      if (json) {
        terminal.out(JSON.stringify({ scenarios: scenarioNames(), runs }));
        return;
      }
      terminal.out(`scenarios: ${scenarioNames().join(', ')}`);
      if (runs.length === 0) {
        terminal.out('no runs yet');
        return;
      }
      terminal.out(
        renderTable<(typeof runs)[number]>(
          [
            { title: 'run', value: ({ runId }) => escapeLine(runId) },
            { title: 'status', value: ({ status }) => status },
            { title: 'passed', align: 'right', value: ({ passed, trials }) => `${passed}/${trials}` },
            { title: 'wall', align: 'right', value: ({ wallMs }) => formatDuration(wallMs) },
            { title: 'runtimes', value: ({ runtimes }) => runtimes.join(',') },
            { title: 'verdict', value: ({ verdict }) => verdict.replace('_', ' ') },
          ],
          runs,
        ),
      );
    });

const reportCommand: CommandBuilder = (context) =>
  new Command('report')
    .description('draw the reports of a run again, from its records alone')
    .argument('[run]', 'id of the run, an unambiguous part of it, "latest", or a results.json', 'latest')
    .addOption(RUNS_OPTION())
    .option('--output <dir>', 'where to write report.html and report.md (default: the run)')
    .action(async (wanted: string, flags: { runsDir?: string; output?: string }, command: Command) => {
      const { json, terminal } = context(command);
      const { findRunDirectory, resultsOf, runsDirectory } = await import('../../bench/index.ts');
      const { parseResults, writeReports } = await import('../../reports/index.ts');
      let results: RunResults;
      let directory: string;
      if (wanted.endsWith('.json')) {
        results = parseResults(readText(wanted));
        directory = flags.output ?? path.dirname(path.resolve(wanted));
      } else {
        const runDirectory = findRunDirectory(runsDirectory(flags.runsDir ?? null), wanted);
        results = await resultsOf(runDirectory);
        directory = flags.output ?? runDirectory;
      }
      const written = await writeReports(directory, results);
      if (json) terminal.out(JSON.stringify(written));
      else terminal.out(Object.values(written).map(escapeLine).join('\n'));
    });

/** Reports, summary or JSON, exit status: the same for a run and a resumed one. */
export async function conclude(
  cli: CliContext,
  run: { runDirectory: string; results: RunResults },
  gate: { baseline: Measured; flags: CompareFlags } | null = null,
): Promise<void> {
  const { writeReports } = await import('../../reports/index.ts');
  cli.terminal.endLive();
  await writeReports(run.runDirectory, run.results);
  // An interrupted run is resumed, not judged.
  const { status } = run.results;
  const comparison =
    gate === null || status === 'interrupted'
      ? null
      : await judgeAgainst(cli, gate.baseline, await measured(run.results), gate.flags);
  if (cli.json)
    cli.terminal.out(
      JSON.stringify({
        ...run.results,
        runDir: run.runDirectory,
        ...(comparison === null ? {} : { comparison }),
      }),
    );
  else {
    printSummary(cli.terminal, run.results, run.runDirectory);
    if (comparison !== null) await printComparison(cli, comparison);
  }
  if (run.results.status === 'interrupted') {
    cli.terminal.warn(`interrupted; go on with: clove bench resume ${run.results.runId}`);
    cli.setExitCode(EXIT.interrupted);
  } else if (run.results.verdict.kind === 'fail') cli.setExitCode(EXIT.verdictFailed);
  else if (run.results.verdict.kind === 'no_verdict') cli.setExitCode(EXIT.noVerdict);
}

async function measured(results: RunResults): Promise<Measured> {
  const { measuredOf } = await import('../../bench/compare/index.ts');
  return measuredOf(results);
}

/** What the run will be held against, read before it starts: a mistake must not cost the run. */
export async function gateOf(
  flags: CompareFlags,
): Promise<{ baseline: Measured; flags: CompareFlags } | null> {
  if (flags.baseline !== undefined) {
    const baseline = await sideOf(flags.baseline, flags.runsDir);
    if (flags.failOn !== undefined) {
      const { parseRules } = await import('../../bench/compare/index.ts');
      parseRules(flags.failOn, baseline.metrics);
    }
    return { baseline, flags };
  }
  const asked = (['failOn', 'junit', 'markdown', 'html', 'strict'] as const).filter((name) => flags[name]);
  if (asked.length > 0)
    throw new CloveError('USAGE', '--fail-on, --strict, --junit, --markdown and --html need a --baseline', {
      hint: 'clove bench baseline RUN -o baseline.json stores one.',
    });
  return null;
}

/** A folder becomes absolute, because a run may be resumed from elsewhere; `built-in` is a name. */
function dataPlace(given: string | undefined): string | null {
  if (!given) return null;
  return given === 'built-in' ? given : path.resolve(given);
}

function settingsOf(flags: RunFlags): Record<string, string> {
  const settings: Record<string, string> = {};
  for (const name of ['datasets', 'features', 'models', 'shift', 'split', 'worker'] as const) {
    const value = flags[name];
    if (value !== undefined) settings[name] = value;
  }
  for (const pair of flags.set) {
    const at = pair.indexOf('=');
    if (at < 1) throw new CloveError('USAGE', `--set: '${pair}' is not of the form name=value`);
    settings[pair.slice(0, at)] = pair.slice(at + 1);
  }
  return settings;
}

/** The command as somebody would type it again. */
export function commandLine(): string {
  const quote = (word: string) =>
    /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
  return ['clove', ...process.argv.slice(2)].map(quote).join(' ');
}

function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, value];
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new CloveError('NOT_FOUND', `cannot read ${file}`, { cause: error });
  }
}
