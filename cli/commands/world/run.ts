import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { Command, Option } from 'commander';
import { CloveError } from '../../../errors/index.ts';
import type { NetworkLogEntry } from '../../../worlds/network/types.ts';
import type { WorldRunRecord } from '../../../worlds/run.ts';
import type { Comparison } from '../../../worlds/verify/index.ts';
import type { CommandBuilder } from '../../context.ts';
import { EXIT } from '../../exit-codes.ts';
import { escapeText } from '../../ui/escape.ts';
import { formatDuration } from '../../ui/format.ts';
import { interruptible } from '../../ui/interrupt.ts';
import { layerTable } from '../../ui/layers.ts';
import { parseBytes, parseCount, parseDuration, parsePositive } from '../../ui/parse.ts';
import { execFailureStatus, exitStatusOf, parseMount, parseVariable, passThrough } from '../run.ts';
import { type RanOnce, runOnce } from './run-once.ts';
import { inputForEach, tellComparison } from './verify.ts';

interface WorldRunFlags {
  readonly seed?: string;
  readonly diff?: true;
  readonly diffTo?: string;
  readonly log?: true;
  readonly logTo?: string;
  readonly har?: string;
  readonly commit?: string;
  readonly upstream?: boolean;
  readonly verify?: true;
  readonly form: 'mounted' | 'virtual';
  readonly memory: string;
  readonly cpu: string;
  readonly pids: string;
  readonly timeout?: string;
  readonly mount: readonly string[];
  readonly env: readonly string[];
  readonly cwd?: string;
  readonly raw?: boolean;
}

/** What is kept of the output for --json. */
const MAX_OUTPUT_BYTES = 8 * 2 ** 20;

export const worldRunCommand: CommandBuilder = (context) =>
  new Command('run')
    .description('run one command in a fresh world; its output and exit status are passed through')
    .usage('[options] <world> -- <command> [args…]')
    .argument('<world>', 'file of a world, its folder, or a name of the catalogue')
    .argument('<command...>', 'command and arguments, after --')
    .option('--seed <n>', 'luck of the world (default: the one of its definition)')
    .option('--diff', 'afterwards, what became of its files as a unified diff, to stderr')
    .option('--diff-to <file>', 'the same into a file')
    .option('--commit <folder>', 'afterwards, bring this folder of the host to what has become of its tree')
    .option('--log', 'afterwards, every request, one per line, to stderr')
    .option('--log-to <file>', 'the same into a file, as JSON lines')
    .option('--har <file>', 'every HTTP request, as an HTTP archive')
    .option('--upstream', 'let it ask the real hosts that its definition allows (record, passthrough)')
    .option(
      '--verify',
      'run twice from the same seed and name where the two runs part; exit status 3 if they do',
    )
    .addOption(
      new Option('--form <form>', 'for a real process, or in the world’s own shell')
        .choices(['mounted', 'virtual'])
        .default('mounted'),
    )
    .option('--memory <size>', 'memory of everything it starts', '256M')
    .option('--cpu <cores>', 'CPU time, in cores', '1')
    .option('--pids <n>', 'processes and threads at once', '64')
    .option('--timeout <duration>', 'kill everything after this time of the host, such as 10s')
    .option('--mount <source:target[:rw]>', 'show a host file or folder inside (repeatable)', collect, [])
    .option('--env <name=value>', 'set a variable; nothing is inherited (repeatable)', collect, [])
    .option('--cwd <dir>', 'working directory inside (default: /work)')
    .option('--raw', 'do not escape control characters on a terminal')
    .addHelpText(
      'after',
      `
Examples:
  clove world run e-commerce -- curl -sS https://api.stripe.com/v1/charges
  clove world run ./my-world.yaml --seed 7 --diff -- python3 /work/agent.py
  clove world run ./my-world.yaml --verify -- python3 /work/agent.py
  clove world run soc-lab --form virtual -- sh -c 'curl -s http://siem.corp/alerts | head -3'
  clove world run soc-lab --har requests.har --log-to requests.jsonl -- sh -c 'curl -s http://siem.corp/alerts'

Needs root where the world is mounted. Exit status: that of the command; 128+n when signal n ended it, 124 on timeout,
137 out of memory, 125 when the sandbox could not be set up, 126/127 when the command could not be executed or found;
3 when two runs of --verify differ.`,
    )
    .action(async (named: string, argv: string[], flags: WorldRunFlags, command: Command) => {
      const cli = context(command);
      const { findWorld } = await import('../../../worlds/run.ts');
      if (flags.form === 'virtual') refuseForShell(command);
      const found = await findWorld(named);
      if (flags.verify === true && flags.commit !== undefined)
        throw new CloveError(
          'USAGE',
          '--verify and --commit do not go together: the second run would begin with what the first one wrote',
        );
      const verification =
        flags.verify === true
          ? new (await import('../../../worlds/verify/index.ts')).Verification(found, flags.form)
          : null;
      const kept = { stdout: new Kept(), stderr: new Kept() };
      const seed = flags.seed === undefined ? null : seedOf(flags.seed);
      const request = {
        command: argv,
        limits: {
          memory: parseBytes(flags.memory, '--memory'),
          cpu: parsePositive(flags.cpu, '--cpu'),
          max_pids: parseCount(flags.pids, '--pids'),
        },
        ...(flags.timeout === undefined ? {} : { timeout_ms: parseDuration(flags.timeout, '--timeout') }),
        ...(flags.cwd === undefined ? {} : { cwd: flags.cwd }),
        mounts: flags.mount.map(parseMount),
        env: Object.fromEntries(flags.env.map(parseVariable)),
      };
      const stdin = process.stdin.isTTY || flags.form === 'virtual' ? null : process.stdin;
      try {
        const input = verification === null ? () => stdin : await inputForEach(stdin);
        const run = (isFirst: boolean) =>
          interruptible(cli.terminal, (signal) =>
            runOnce({
              form: flags.form,
              resolved: verification?.resolved ?? found,
              options: {
                seed,
                upstream: flags.upstream === true,
                wantsChanges: isFirst && (flags.diff === true || flags.diffTo !== undefined || cli.json),
                commitTo: isFirst && flags.commit !== undefined ? path.resolve(flags.commit) : null,
                watch:
                  verification === null ? null : { run: verification.watch(), blocks: verification.blocks },
              },
              request,
              stdin: input(),
              logLevel: cli.verbose ? 'warn' : 'error',
              onOutput: (stream, chunk) => {
                if (!isFirst) return undefined;
                if (!cli.json) return passThrough(process[stream], chunk, flags.raw === true);
                return kept[stream].add(chunk);
              },
              signal,
            }),
          );
        const { exit, layers, record } = await run(true);
        const again = verification !== null && exit.reason !== 'killed' ? await run(false) : null;
        const interrupted = exit.reason === 'killed' || again?.exit.reason === 'killed';
        const comparison = interrupted ? null : (verification?.compare() ?? null);
        for (const warning of record.warnings) cli.terminal.warn(escapeText(warning));
        if (cli.verbose) cli.terminal.note(layerTable(cli.terminal, layers));
        if (flags.har !== undefined) writeFileSync(flags.har, `${JSON.stringify(record.har, null, 1)}\n`);
        if (flags.logTo !== undefined) writeFileSync(flags.logTo, jsonLines(record.log));
        if (flags.diffTo !== undefined) writeFileSync(flags.diffTo, diffText(record));
        if (cli.json) {
          process.stdout.write(
            `${JSON.stringify(answerOf({ exit, layers, record }, kept, comparison), null, 2)}\n`,
          );
        } else {
          if (flags.log === true)
            process.stderr.write(record.log.map((entry) => `${lineOf(entry)}\n`).join(''));
          if (record.logDropped > 0)
            cli.terminal.warn(`the log is bounded: its first ${record.logDropped} entries are gone`);
          if (flags.diff === true) process.stderr.write(escapeDiff(diffText(record)));
          if (cli.verbose)
            cli.terminal.note(
              `world ${record.name}, seed ${record.seed}: made in ${formatDuration(record.createMs)}, ${formatDuration(record.worldMs)} passed in it`,
            );
        }
        if (exit.reason === 'oom')
          cli.terminal.warn(`out of memory: the limit of ${flags.memory} was reached`);
        if (exit.reason === 'timeout') cli.terminal.warn(`timed out after ${flags.timeout} and was killed`);
        if (comparison !== null && !cli.json) tellComparison(cli.terminal, comparison);
        cli.setExitCode(comparison?.identical === false ? EXIT.verdictFailed : exitStatusOf(exit));
      } catch (error) {
        const status = execFailureStatus(error);
        if (status === null) throw error;
        const { message, hint } = error as CloveError;
        cli.terminal.warn(escapeText(hint === undefined ? message : `${message}\n  hint: ${hint}`));
        cli.setExitCode(status);
      } finally {
        // A pipe that nobody closes must not keep a finished command alive.
        process.stdin.destroy();
      }
    });

class Kept {
  readonly #chunks: Buffer[] = [];
  #bytes = 0;

  add(chunk: Buffer): void {
    const room = MAX_OUTPUT_BYTES - this.#bytes;
    this.#bytes += chunk.length;
    if (room > 0) this.#chunks.push(chunk.subarray(0, room));
  }

  get text(): string {
    return Buffer.concat(this.#chunks).toString('utf8');
  }

  get truncated(): boolean {
    return this.#bytes > MAX_OUTPUT_BYTES;
  }
}

function answerOf(
  { exit, layers, record }: RanOnce,
  kept: { stdout: Kept; stderr: Kept },
  comparison: Comparison | null,
) {
  return {
    exit_code: exitStatusOf(exit),
    reason: exit.reason,
    signal: exit.signal,
    stdout: kept.stdout.text,
    stderr: kept.stderr.text,
    truncated: kept.stdout.truncated || kept.stderr.truncated,
    world: {
      name: record.name,
      seed: record.seed,
      warnings: record.warnings,
      create_ms: record.createMs,
      world_ms: record.worldMs,
    },
    changes: record.changes,
    committed: record.committed,
    requests: record.log,
    requests_dropped: record.logDropped,
    isolation: layers,
    ...(comparison === null ? {} : { verify: comparison }),
  };
}

/** What only a process can have, asked for by name. */
const OF_PROCESSES = ['upstream', 'memory', 'cpu', 'pids', 'mount', 'env'];

function refuseForShell(command: Command): void {
  const asked = OF_PROCESSES.filter((name) => command.getOptionValueSource(name) === 'cli');
  if (asked.length === 0) return;
  throw new CloveError('USAGE', `--${asked[0]} is for processes: not with --form virtual`);
}

function seedOf(text: string): number {
  const seed = Number(text);
  if (/^\d+$/.test(text) && seed < 2 ** 32) return seed;
  throw new CloveError('USAGE', `--seed: '${text}' is not a whole number below 2^32`);
}

/** One change after the other; what is no text is only named. */
function diffText({ changes }: WorldRunRecord): string {
  const letters = { added: 'A', changed: 'M', deleted: 'D' };
  return changes.map(({ path, change, patch }) => patch ?? `${letters[change]} ${path}\n`).join('');
}

/** The patches of agents are text of agents: lines stay lines, nothing else acts on a terminal. */
function escapeDiff(text: string): string {
  return process.stderr.isTTY ? text.split('\n').map(escapeText).join('\n') : text;
}

function jsonLines(entries: readonly NetworkLogEntry[]): string {
  return entries.map((entry) => `${JSON.stringify(entry)}\n`).join('');
}

function lineOf({
  at,
  kind,
  method,
  url,
  status,
  outcome,
  matched,
  faults,
  reason,
  durationMs,
}: NetworkLogEntry): string {
  const answer = outcome === 'answered' ? (status ?? 'ok') : outcome;
  const by = matched === null ? '' : ` by ${matched}`;
  const why = reason === undefined || outcome === 'answered' ? '' : ` (${reason})`;
  const disturbed = faults.length === 0 ? '' : ` [${faults.join(' ')}]`;
  return escapeText(
    `${new Date(at).toISOString()} ${kind} ${method} ${url} → ${answer}${by}${disturbed}${why} ${formatDuration(durationMs)}`,
  );
}

function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, value];
}
