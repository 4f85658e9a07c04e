import { Command, Option } from 'commander';
import { BenchProgress } from '../bench/progress.ts';
import type { CommandBuilder } from '../context.ts';
import { interruptible } from '../ui/interrupt.ts';
import { parseCount } from '../ui/parse.ts';
import { commandLine, conclude, gateOf } from './bench.ts';
import { type CompareFlags, gateOptions } from './bench-compare.ts';

interface MicroFlags extends CompareFlags {
  readonly rounds?: string;
  readonly seconds?: string;
  readonly quick?: boolean;
}

/** Clove's own speed, as a run like any other: list, report, compare, history and baseline work on it. */
export const microCommand: CommandBuilder = (context) =>
  gateOptions(new Command('micro'))
    .description('measure Clove itself: syscalls, messages, state, sandboxes, worlds, clocks')
    .argument('[names...]', 'which measurements (default: all): noop, hello, store, fetch, message, spawn, …')
    .option('--rounds <n>', 'how often each is measured anew (default: 5)')
    .option('--seconds <s>', 'how long each time (default: 1)')
    .option('--quick', 'one short round of each')
    .addOption(new Option('--runs-dir <dir>', 'folder of runs (default: ./runs)').env('CLOVE_RUNS'))
    .addHelpText(
      'after',
      `
Examples:
  clove bench micro
  clove bench micro noop spawn --rounds 10
  clove bench micro --baseline micro.json --fail-on "latencyUs.p50:+25%"
  clove bench history micro`,
    )
    .action(async (names: string[], flags: MicroFlags, command: Command) => {
      const cli = context(command);
      const { loadScenario, runBench } = await import('../../bench/index.ts');
      const scenario = await loadScenario('micro');
      const gate = await gateOf(flags);
      const progress = new BenchProgress(cli.terminal, scenario.presentation);
      const run = await interruptible(cli.terminal, (signal) =>
        runBench(
          {
            scenario,
            // One at a time, and outside of any sandbox: what is measured makes its own.
            runtimes: ['process'],
            parallel: 1,
            quick: flags.quick === true,
            runsDirectory: flags.runsDir ?? null,
            set: {
              ...(names.length === 0 ? {} : { names: names.join(',') }),
              ...(flags.rounds === undefined ? {} : { rounds: String(parseCount(flags.rounds, '--rounds')) }),
              ...(flags.seconds === undefined ? {} : { seconds: flags.seconds }),
            },
            signal,
            command: commandLine(),
          },
          progress.listen,
        ),
      ).finally(() => progress.close());
      await conclude(cli, run, gate);
    });
