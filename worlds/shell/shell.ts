import type { Bash, BashOptions } from 'just-bash';
import { CloveError, isCloveError } from '../../errors/index.ts';
import type { WorldCommand, WorldCommandResult } from '../../kernel/worlds/host.ts';
import type { WorldClock } from '../clock/types.ts';
import type { FileActor } from '../filesystem/types.ts';
import type { VirtualFiles } from '../filesystem/virtual.ts';
import type { RandomStream } from '../luck/streams.ts';
import { runDate } from './date.ts';
import { withLuck } from './luck.ts';
import { ShellFiles } from './shell-files.ts';
import { runTouch } from './touch.ts';

const MAX_OUTPUT_BYTES = 2 ** 20;

/**
 * The shell runs in the kernel's own process, where a script that computes for long holds up everybody: so its steps are
 * counted, and what is too much for them belongs into a process of its own. No code of the script is ever evaluated as
 * JavaScript, and no command starts a program.
 */
const LIMITS: NonNullable<BashOptions['executionLimits']> = {
  maxSourceBytes: 256 * 1024,
  maxCommandCount: 10_000,
  maxLoopIterations: 10_000,
  maxCallDepth: 64,
  maxAwkIterations: 20_000,
  maxSedIterations: 20_000,
  maxJqIterations: 20_000,
  maxWorkUnits: 200_000,
  maxTraversalEntries: 100_000,
  maxLiveBytes: 64 * 2 ** 20,
  maxInputBytes: 64 * 2 ** 20,
  maxArchiveBytes: 64 * 2 ** 20,
  maxArchiveEntries: 20_000,
  maxStringLength: 8 * 2 ** 20,
  maxArrayElements: 100_000,
  maxOutputSize: 4 * 2 ** 20,
  maxGlobOperations: 50_000,
  maxBraceExpansionResults: 10_000,
  maxSubstitutionDepth: 32,
};

/** Its own worker threads and databases are more than a world's shell needs. */
const LEFT_OUT = new Set([
  'sqlite3',
  'html-to-markdown',
  'xan',
  'date',
  'hostname',
  'whoami',
  'sleep',
  'touch',
]);

export interface WorldShellOptions {
  readonly files: VirtualFiles;
  readonly clock: Pick<WorldClock, 'monotonicMs' | 'setTimer' | 'sleep' | 'lease'>;
  /** The time that members are told. */
  readonly tellMs: () => number;
  /** What a command of this member draws. */
  readonly random: (by: FileActor) => RandomStream;
  /** What the machine calls itself. */
  readonly hostname: string;
  /** Requests of curl; null = there is no network. */
  readonly fetch: ((by: FileActor) => NonNullable<BashOptions['fetch']>) | null;
}

/** Runs scripts on a world's files; each command is a shell of its own. */
export class WorldShell {
  readonly #options: WorldShellOptions;

  constructor(options: WorldShellOptions) {
    this.#options = options;
  }

  async run(by: FileActor, command: WorldCommand): Promise<WorldCommandResult> {
    const { clock } = this.#options;
    const startedMs = clock.monotonicMs();
    const cut = new AbortController();
    let timedOut = false;
    // A timer, not a sleep: nobody waits for it.
    const limit = clock.setTimer(startedMs + command.timeoutMs, () => {
      timedOut = true;
      cut.abort();
    });
    const busy = new Busy(clock);
    try {
      const shell = await this.#shell(by, command, busy, cut.signal);
      const script = command.merged ? `exec 2>&1\n${command.script}` : command.script;
      const signal = AbortSignal.any([command.signal, cut.signal]);
      const random = this.#options.random(by);
      const result = await withLuck(
        () => random.next(),
        () => shell.exec(script, { signal, rawScript: true }),
      );
      if (command.signal.aborted) throw new CloveError('CANCELLED', 'the command was given up');
      const stdout = bounded(command.merged ? result.stdout + result.stderr : result.stdout);
      const stderr = bounded(command.merged ? '' : result.stderr);
      return {
        stdout: stdout.text,
        stderr: stderr.text,
        exitCode: timedOut ? -1 : result.exitCode,
        timedOut,
        truncated: stdout.truncated || stderr.truncated,
        durationMs: clock.monotonicMs() - startedMs,
      };
    } catch (error) {
      if (isCloveError(error)) throw error;
      const failed = asFailedRedirection(error, command.merged);
      if (failed !== null) return { ...failed, durationMs: clock.monotonicMs() - startedMs };
      throw new CloveError('IO', `the world's shell failed: ${(error as Error).message}`, { cause: error });
    } finally {
      limit.cancel();
      busy.end();
    }
  }

  async #shell(by: FileActor, { cwd }: WorldCommand, busy: Busy, signal: AbortSignal): Promise<Bash> {
    const { files, tellMs, hostname, fetch } = this.#options;
    // Loaded when the first command comes: it is large.
    const { Bash, defineCommand, getCommandNames } = await import('just-bash');
    const user = by.name === '' ? 'agent' : by.name.replace(/[^A-Za-z0-9._-]/g, '_');
    const at = cwd ?? (files.exists('/work') ? '/work' : '/');
    if (cwd !== null && !files.exists(cwd)) throw new CloveError('NOT_FOUND', `${cwd}: no such folder`);
    const say = (text: string) => ({ stdout: `${text}\n`, stderr: '', exitCode: 0 });
    return new Bash({
      fs: new ShellFiles(files, by),
      cwd: at,
      env: { HOME: at, USER: user, LOGNAME: user, HOSTNAME: hostname, TZ: 'UTC', LANG: 'C.UTF-8' },
      // It would patch globals of the whole kernel for as long as a script runs.
      defenseInDepth: false,
      executionLimits: LIMITS,
      commands: getCommandNames().filter((name) => !LEFT_OUT.has(name)) as NonNullable<
        BashOptions['commands']
      >,
      ...(fetch === null ? {} : { fetch: waitingFetch(fetch(by), busy) }),
      sleep: (ms) => busy.sleep(ms, signal),
      processInfo: { pid: 2, ppid: 1, uid: 1000, gid: 1000 },
      customCommands: [
        // The built-in one sleeps for an hour at most.
        defineCommand('sleep', async (args) => {
          const ms = sleepMs(args);
          if (ms === null)
            return { stdout: '', stderr: `sleep: invalid time interval '${args.join(' ')}'\n`, exitCode: 1 };
          await busy.sleep(ms, signal);
          return { stdout: '', stderr: '', exitCode: 0 };
        }),
        defineCommand('date', async (args) => runDate(args, tellMs())),
        defineCommand('touch', (args, { fs, cwd }) => runTouch(args, { fs, cwd, nowMs: tellMs() })),
        defineCommand('hostname', async () => say(hostname)),
        defineCommand('whoami', async () => say(user)),
        defineCommand('id', async () => say(`uid=1000(${user}) gid=1000(${user}) groups=1000(${user})`)),
        defineCommand('uname', async (args) => say(uname(args, hostname))),
      ],
    });
  }
}

/** What a request takes is the world's time: the network itself holds the clock while it works on the answer. */
function waitingFetch(
  fetch: NonNullable<BashOptions['fetch']>,
  busy: Busy,
): NonNullable<BashOptions['fetch']> {
  return (url, options) => busy.wait(() => fetch(url, options));
}

/** While a script computes, no time is skipped; while it sleeps or waits for an answer, it may be. */
class Busy {
  readonly #clock: Pick<WorldClock, 'sleep' | 'lease'>;
  #lease: Disposable | null;
  #waiting = 0;
  #isOver = false;

  constructor(clock: Pick<WorldClock, 'sleep' | 'lease'>) {
    this.#clock = clock;
    this.#lease = clock.lease('a command');
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return this.wait(() => this.#clock.sleep(ms, signal));
  }

  async wait<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#waiting += 1;
    // Begun before the lease is given back: no moment is free of both.
    const waited = work();
    this.#release();
    try {
      return await waited;
    } finally {
      this.#waiting -= 1;
      if (this.#waiting === 0 && !this.#isOver) this.#lease ??= this.#clock.lease('a command');
    }
  }

  end(): void {
    this.#isOver = true;
    this.#release();
  }

  #release(): void {
    this.#lease?.[Symbol.dispose]();
    this.#lease = null;
  }
}

/** What the shell does not catch itself: a file it writes its output to cannot be had. */
function asFailedRedirection(error: unknown, merged: boolean): Omit<WorldCommandResult, 'durationMs'> | null {
  const { code, message } = error as NodeJS.ErrnoException;
  if (typeof code !== 'string' || !/^E[A-Z]+$/.test(code)) return null;
  const [, words = message, file = ''] = /^E[A-Z]+: (.*), '(.*)'$/s.exec(message) ?? [];
  const text = `bash: ${file}: ${words.charAt(0).toUpperCase()}${words.slice(1)}\n`;
  return {
    stdout: merged ? text : '',
    stderr: merged ? '' : text,
    exitCode: 1,
    timedOut: false,
    truncated: false,
  };
}

const SLEEP_UNITS_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** "5", "1.5h 10s"; null = it is no time. */
function sleepMs(args: readonly string[]): number | null {
  let total = 0;
  for (const arg of args) {
    const [, amount, unit = 's'] = /^(\d{1,12}(?:\.\d+)?)([smhd]?)$/.exec(arg) ?? [];
    if (amount === undefined) return null;
    total += Number(amount) * (SLEEP_UNITS_MS[unit || 's'] ?? 1000);
  }
  return args.length === 0 ? null : total;
}

function uname(args: readonly string[], hostname: string): string {
  const parts = { s: 'Linux', n: hostname, r: '6.1.0-world', v: '#1 SMP', m: 'x86_64', o: 'GNU/Linux' };
  const flags = args.join('').replaceAll('-', '');
  if (flags === '') return parts.s;
  if (flags.includes('a')) return Object.values(parts).join(' ');
  return Object.entries(parts)
    .filter(([flag]) => flags.includes(flag))
    .map(([, text]) => text)
    .join(' ');
}

function bounded(text: string): { text: string; truncated: boolean } {
  if (Buffer.byteLength(text) <= MAX_OUTPUT_BYTES) return { text, truncated: false };
  return { text: Buffer.from(text).subarray(0, MAX_OUTPUT_BYTES).toString('utf8'), truncated: true };
}
