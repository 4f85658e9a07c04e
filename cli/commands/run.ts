import { constants } from 'node:os';
import path from 'node:path';
import { Command, Option } from 'commander';
import { CloveError } from '../../errors/index.ts';
import { isMissing } from '../../native/missing.ts';
import type { Layer, LayerReport, SandboxExit } from '../../native/types.ts';
import type { CommandBuilder } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { escapeText } from '../ui/escape.ts';
import { formatBytes, formatDuration } from '../ui/format.ts';
import { interruptible } from '../ui/interrupt.ts';
import { layerTable } from '../ui/layers.ts';
import { parseBytes, parseCount, parseDuration, parsePositive } from '../ui/parse.ts';

interface RunFlags {
  readonly memory: string;
  readonly cpu: string;
  readonly pids: string;
  readonly timeout?: string;
  readonly net: 'none' | 'host';
  readonly mount: readonly string[];
  readonly env: readonly string[];
  readonly cwd?: string;
  readonly profile: 'strict' | 'default' | 'debug';
  readonly require: 'full' | 'reduced' | 'least';
  readonly sandbox: boolean;
  readonly raw?: boolean;
}

export const runCommand: CommandBuilder = (context) =>
  new Command('run')
    .description('run one command in a sandbox; its output and exit status are passed through')
    .usage('[options] -- <command> [args…]')
    .argument('<command...>', 'command and arguments, after --')
    .option('--memory <size>', 'memory of everything it starts', '256M')
    .option('--cpu <cores>', 'CPU time, in cores', '1')
    .option('--pids <n>', 'processes and threads at once', '64')
    .option('--timeout <duration>', 'kill everything after this time, such as 10s')
    .addOption(new Option('--net <mode>', 'network').choices(['none', 'host']).default('none'))
    .option('--mount <source:target[:rw]>', 'show a host file or folder inside (repeatable)', collect, [])
    .option('--env <name=value>', 'set a variable; nothing is inherited (repeatable)', collect, [])
    .option('--cwd <dir>', 'working directory inside (default: /work)')
    .addOption(
      new Option('--profile <name>', 'isolation profile')
        .choices(['strict', 'default', 'debug'])
        .default('default'),
    )
    .addOption(
      new Option(
        '--require <strength>',
        'full: every layer, or nothing runs; reduced: the walls, and what else this machine can give; least: what it can give, walls or not; limits that are named must hold',
      )
        .choices(['full', 'reduced', 'least'])
        .default('full'),
    )
    .option('--no-sandbox', 'no isolation at all, limits only where they can be had')
    .option('--raw', 'do not escape control characters on a terminal')
    .addHelpText(
      'after',
      `
Examples:
  clove run -- python3 -c 'print(6 * 7)'
  clove run --memory 64M --timeout 5s --mount $PWD:/src -- sh -c 'ls /src | wc -l'

Exit status: that of the command; 128+n when signal n ended it, 124 on timeout, 137 out of memory,
125 when the sandbox could not be set up, 126/127 when the command could not be executed or found.`,
    )
    .action(async (argv: string[], flags: RunFlags, command: Command) => {
      const cli = context(command);
      // Named limits must hold, whatever is required; the usual ones are the kernel's, and hold with all else it requires.
      const isNamed = (name: string) => command.getOptionValueSource(name) !== 'default';
      const { runForeground } = await import('../../kernel/foreground.ts');
      try {
        const result = await interruptible(cli.terminal, (signal) =>
          runForeground({
            request: {
              command: argv,
              limits: {
                ...(isNamed('memory') ? { memory: parseBytes(flags.memory, '--memory') } : {}),
                ...(isNamed('cpu') ? { cpu: parsePositive(flags.cpu, '--cpu') } : {}),
                ...(isNamed('pids') ? { max_pids: parseCount(flags.pids, '--pids') } : {}),
              },
              ...(flags.timeout === undefined
                ? {}
                : { timeout_ms: parseDuration(flags.timeout, '--timeout') }),
              ...(flags.cwd === undefined ? {} : { cwd: flags.cwd }),
              network: flags.net === 'host',
              mounts: flags.mount.map(parseMount),
              env: Object.fromEntries(flags.env.map(parseVariable)),
              isolation: { profile: flags.profile },
            },
            kernel: { sandbox: sandboxingOf(flags), logLevel: cli.verbose ? 'warn' : 'error' },
            stdin: process.stdin.isTTY ? null : process.stdin,
            onOutput: (stream, chunk) => passThrough(process[stream], chunk, flags.raw === true),
            signal,
          }),
        );
        if (cli.verbose) cli.terminal.note(layerTable(cli.terminal, result.layers));
        tellMissing(cli.terminal, result.layers, flags.sandbox);
        explain(cli.terminal, result.exit, flags);
        cli.setExitCode(exitStatusOf(result.exit));
      } catch (error) {
        const status = execFailureStatus(error);
        if (status === null)
          throw withHintToGoWithout(error, flags.require === 'full' && flags.sandbox, isNamed);
        const { message, hint } = error as CloveError;
        cli.terminal.warn(escapeText(hint === undefined ? message : `${message}\n  hint: ${hint}`));
        cli.setExitCode(status);
      } finally {
        // A pipe that nobody closes must not keep a finished command alive.
        process.stdin.destroy();
      }
    });

export function sandboxingOf(flags: {
  readonly sandbox: boolean;
  readonly require?: 'full' | 'reduced' | 'least';
}): 'required' | 'reduced' | 'least' | 'off' {
  if (!flags.sandbox) return 'off';
  return flags.require === 'reduced' || flags.require === 'least' ? flags.require : 'required';
}

/** Where only a layer that is no wall is missing, or a limit that was named, there is less to ask for. */
function withHintToGoWithout(error: unknown, isFull: boolean, isNamed: (name: string) => boolean): unknown {
  if (!(error instanceof CloveError) || error.code !== 'SANDBOX_UNAVAILABLE') return error;
  const { layer } = (error.details ?? {}) as { layer?: string | null };
  const limit = OPTION_OF_LIMIT.get(layer ?? '');
  const less = [
    ...(isFull && BEYOND_WALLS.has(layer ?? '') ? ['--require reduced'] : []),
    ...(limit !== undefined && isNamed(limit) ? [`no --${limit}`] : []),
  ];
  if (less.length === 0) return error;
  return new CloveError(error.code, error.message, {
    cause: error,
    hint: `${error.hint ?? ''} Or go without: ${less.join(' and ')}.`.trim(),
    ...(error.details === undefined ? {} : { details: error.details }),
  });
}

/** Bytes as they are into a file or pipe; on a terminal nothing that could act on it, unless asked for. */
export async function passThrough(stream: NodeJS.WriteStream, chunk: Buffer, raw: boolean): Promise<void> {
  const data = stream.isTTY && !raw ? escapeText(chunk.toString('utf8')) : chunk;
  if (!stream.write(data)) await new Promise<void>((resolve) => stream.once('drain', () => resolve()));
}

function explain(terminal: { warn(text: string): void }, exit: SandboxExit, flags: RunFlags): void {
  if (exit.reason === 'oom') {
    terminal.warn(
      `out of memory: the limit of ${flags.memory} was reached (peak ${formatBytes(exit.memoryPeakBytes)})`,
    );
  } else if (exit.reason === 'timeout') {
    terminal.warn(`timed out after ${flags.timeout} and was killed (${formatDuration(exit.wallUs / 1000)})`);
  }
}

const LIMITS: ReadonlySet<Layer> = new Set(['mem', 'swap', 'cpu', 'pids']);
const OPTION_OF_LIMIT: ReadonlyMap<string, string> = new Map([
  ['mem', 'memory'],
  ['cpu', 'cpu'],
  ['pids', 'pids'],
]);
const BEYOND_WALLS: ReadonlySet<string> = new Set([...LIMITS, 'uid', 'freeze', 'landlock']);

/** What was asked for and could not be had: limits, and whatever else stands beyond the walls. */
function tellMissing(
  terminal: { warn(text: string): void },
  layers: readonly LayerReport[],
  isSandboxed: boolean,
): void {
  const missing = layers.filter(isMissing);
  const limits = missing.filter(({ layer }) => LIMITS.has(layer));
  const others = missing.filter(({ layer }) => !LIMITS.has(layer));
  const names = (of: typeof missing) => of.map(({ layer }) => layer).join(', ');
  if (limits.length > 0) terminal.warn(`ran without these limits: ${names(limits)}`);
  // Who asks for no sandbox knows.
  if (isSandboxed && others.length > 0)
    terminal.warn(`ran without these layers of isolation: ${names(others)} (--verbose tells why)`);
}

/** As much of an end as its exit status needs. */
export type Ended = Pick<SandboxExit, 'reason' | 'exitCode' | 'signal'>;

export function exitStatusOf(exit: Ended): number {
  if (exit.reason === 'timeout') return 124;
  if (exit.reason === 'oom') return 137;
  if (exit.reason === 'killed') return EXIT.interrupted;
  if (exit.reason === 'setup') return EXIT.sandbox;
  if (exit.signal !== null) {
    return 128 + (constants.signals[exit.signal as NodeJS.Signals] ?? 0);
  }
  return exit.exitCode ?? EXIT.failed;
}

export function execFailureStatus(error: unknown): 126 | 127 | null {
  if (!(error instanceof CloveError) || error.code !== 'EXEC_FAILED') return null;
  return error.details?.errno === 'ENOENT' ? 127 : 126;
}

export function parseMount(text: string): { source: string; target: string; readonly: boolean } {
  const [source, target, mode, ...rest] = text.split(':');
  if (!source || !target || rest.length > 0 || (mode !== undefined && mode !== 'rw' && mode !== 'ro')) {
    throw new CloveError('USAGE', `--mount: '${text}' is not of the form source:target[:rw]`);
  }
  return { source: path.resolve(source), target, readonly: mode !== 'rw' };
}

export function parseVariable(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1) throw new CloveError('USAGE', `--env: '${text}' is not of the form name=value`);
  return [text.slice(0, at), text.slice(at + 1)];
}

function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, value];
}
