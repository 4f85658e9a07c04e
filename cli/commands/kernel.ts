import { spawn } from 'node:child_process';
import { mkdirSync, openSync } from 'node:fs';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, Option } from 'commander';
import { CloveError, errorFromData } from '../../errors/index.ts';
import { packageRoot } from '../../native/package.ts';
import { SOCKET_OPTION, withKernel } from '../connect.ts';
import type { CommandBuilder } from '../context.ts';
import {
  addServiceOptions,
  type ServiceFlags,
  serviceArguments,
  serviceOptions,
  wholeNumber,
} from '../kernel-services.ts';
import { refusalToExpect } from '../kernel-strength.ts';
import { escapeLine } from '../ui/escape.ts';
import { formatDuration } from '../ui/format.ts';
import { sandboxingOf } from './run.ts';

export interface StartFlags extends ServiceFlags {
  readonly socket?: string;
  readonly dataDir?: string;
  readonly logLevel: 'silent' | 'error' | 'warn' | 'info' | 'debug' | 'trace';
  readonly require?: 'full' | 'reduced' | 'least';
  readonly sandbox: boolean;
  readonly sandboxPool?: number;
  readonly foreground?: boolean;
  readonly auditOnFailure: 'stop' | 'continue';
  readonly auditAnchor?: string;
  readonly onRestart: 'restart' | 'forget';
}

const READY_FD = 3;
const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 20_000;

export const kernelCommand: CommandBuilder = (context) => {
  const kernel = new Command('kernel').description('start, stop and look at the kernel daemon');
  kernel.addCommand(startCommand(context));
  kernel.addCommand(stopCommand(context));
  kernel.addCommand(statusCommand(context));
  return kernel;
};

const startCommand: CommandBuilder = (context) =>
  addServiceOptions(new Command('start').description('start a kernel'))
    .addOption(SOCKET_OPTION())
    .addOption(
      new Option(
        '--data-dir <dir>',
        'folder of its durable data (default: /var/lib/clove; of another user than root ~/.local/state/clove)',
      ).env('CLOVE_DATA_DIR'),
    )
    .addOption(
      new Option('--log-level <level>', 'how much it logs')
        .choices(['silent', 'error', 'warn', 'info', 'debug', 'trace'])
        .default('info'),
    )
    .addOption(
      new Option(
        '--require <strength>',
        'full: agents start only with every layer; reduced: the walls, and what else this machine can give; least: what it can give, walls or not',
      )
        .choices(['full', 'reduced', 'least'])
        .default('full'),
    )
    .option('--no-sandbox', 'run agents without isolation; every report says so')
    .option(
      '--sandbox-pool <n>',
      'sandboxes to keep ready for agents to come (default: 4; 0 = none)',
      wholeNumber(0, 64),
    )
    .addOption(
      new Option('--on-restart <what>', 'start agents again that outlive the kernel, or forget them')
        .choices(['restart', 'forget'])
        .default('restart'),
    )
    .addOption(
      new Option(
        '--audit-on-failure <policy>',
        'when the audit log cannot be written: refuse calls, or go on',
      )
        .choices(['stop', 'continue'])
        .default('stop'),
    )
    .option(
      '--audit-anchor <file>',
      'where the head of the audit log is kept (default: in the data directory)',
    )
    .option('--foreground', 'stay, and log to stderr')
    .addHelpText(
      'after',
      `
Examples:
  clove kernel start
  clove kernel start --foreground --log-level debug --socket /run/my-clove.sock
  clove kernel start --llm mock --metrics-port 9477
  clove kernel start --llm-url https://api.example.org/v1 --llm-model large --llm-key-env EXAMPLE_KEY`,
    )
    .action(async (flags: StartFlags, command: Command) => {
      const cli = context(command);
      if (flags.foreground) {
        const { runDaemon } = await import('../../kernel/daemon.ts');
        const { lazyWorldHost } = await import('../../worlds/lazy.ts');
        const readyFd = Number(process.env.CLOVE_READY_FD ?? 1);
        cli.setExitCode(
          await runDaemon(
            {
              ...(flags.socket === undefined ? {} : { socketPath: path.resolve(flags.socket) }),
              ...(flags.dataDir === undefined ? {} : { dataDirectory: path.resolve(flags.dataDir) }),
              logLevel: flags.logLevel,
              sandbox: sandboxingOf(flags),
              ...(flags.sandboxPool === undefined ? {} : { sandboxPool: flags.sandboxPool }),
              auditOnFailure: flags.auditOnFailure,
              onRestart: flags.onRestart,
              ...serviceOptions(flags, process.env),
              auditAnchorPath: flags.auditAnchor === undefined ? null : path.resolve(flags.auditAnchor),
              readyFd,
            },
            { worlds: lazyWorldHost() },
          ),
        );
        return;
      }
      const started = await startDaemon(flags);
      const refusal = await refusalToExpect(flags);
      if (refusal !== null) cli.terminal.warn(escapeLine(refusal));
      if (cli.json) cli.terminal.out(JSON.stringify(started));
      else
        cli.terminal.out(
          `kernel runs: socket ${escapeLine(started.socket)}, pid ${started.pid}, log ${escapeLine(started.log)}`,
        );
    });

export interface Started {
  readonly socket: string;
  readonly pid: number;
  readonly log: string;
}

/** Starts the same command in the foreground as a session of its own and waits for its readiness line. */
export async function startDaemon(flags: StartFlags): Promise<Started> {
  const [{ DEFAULT_DATA_DIRECTORY }, { KERNEL_NODE_OPTIONS }, { ensureNative }] = await Promise.all([
    import('../../kernel/index.ts'),
    import('../../kernel/node-options.ts'),
    import('../../native/index.ts'),
  ]);
  // Here and not in the daemon: on a fresh clone this compiles, which takes longer than a start may, and the user should see it.
  ensureNative({ onProgress: (line) => process.stderr.write(`clove: ${line}, once\n`) });
  const dataDirectory = path.resolve(flags.dataDir ?? DEFAULT_DATA_DIRECTORY);
  mkdirSync(dataDirectory, { recursive: true, mode: 0o700 });
  const log = path.join(dataDirectory, 'kernel.log');
  const logFd = openSync(log, 'a', 0o600);
  const args = [
    'kernel',
    'start',
    '--foreground',
    '--data-dir',
    dataDirectory,
    '--log-level',
    flags.logLevel,
    '--audit-on-failure',
    flags.auditOnFailure,
  ];
  args.push('--on-restart', flags.onRestart, ...serviceArguments(flags));
  if (flags.auditAnchor !== undefined) args.push('--audit-anchor', path.resolve(flags.auditAnchor));
  if (flags.socket !== undefined) args.push('--socket', path.resolve(flags.socket));
  if (flags.require !== undefined && flags.require !== 'full') args.push('--require', flags.require);
  if (!flags.sandbox) args.push('--no-sandbox');
  if (flags.sandboxPool !== undefined) args.push('--sandbox-pool', String(flags.sandboxPool));
  const entry = path.join(import.meta.dirname, '..', `main${path.extname(import.meta.filename)}`);
  const nodeOptions = ['--disable-warning=ExperimentalWarning', ...KERNEL_NODE_OPTIONS];
  const child = spawn(process.execPath, [...nodeOptions, entry, ...args], {
    cwd: packageRoot(),
    detached: true,
    env: { ...process.env, CLOVE_READY_FD: String(READY_FD) },
    stdio: ['ignore', logFd, logFd, 'pipe'],
  });
  const ready = child.stdio[READY_FD] as Readable;
  try {
    const line = await Promise.race([
      firstLine(ready),
      new Promise<null>((resolve) => child.once('exit', () => resolve(null))),
      sleep(START_TIMEOUT_MS, null, { ref: false }),
    ]);
    if (!line) {
      throw new CloveError('SETUP_FAILED', 'the kernel did not start', {
        hint: `its log may say why: ${log}`,
      });
    }
    const message = JSON.parse(line) as { ready: boolean; socket: string; pid: number; error?: unknown };
    if (!message.ready) throw errorFromData(message.error);
    return { socket: message.socket, pid: message.pid, log };
  } finally {
    ready.destroy();
    child.unref();
  }
}

/** Leaves the stream open; null when it ended before a line did. */
function firstLine(stream: NodeJS.ReadableStream): Promise<string | null> {
  let text = '';
  return new Promise((resolve) => {
    stream.on('data', (chunk) => {
      text += String(chunk);
      const end = text.indexOf('\n');
      if (end >= 0) resolve(text.slice(0, end));
    });
    stream.on('error', () => resolve(null));
    stream.on('end', () => resolve(null));
  });
}

const stopCommand: CommandBuilder = (context) =>
  new Command('stop')
    .description('stop the kernel and every agent it runs')
    .addOption(SOCKET_OPTION())
    .action(async (flags: { socket?: string }, command: Command) => {
      const cli = context(command);
      const pid = await withKernel(flags, async (client) => (await client.hello()).pid);
      process.kill(pid, 'SIGTERM');
      const deadline = performance.now() + STOP_TIMEOUT_MS;
      while (isAlive(pid)) {
        if (performance.now() > deadline) {
          throw new CloveError(
            'TIMEOUT',
            `the kernel (pid ${pid}) has not stopped in ${formatDuration(STOP_TIMEOUT_MS)}`,
            {
              hint: `kill -9 ${pid} ends it and, by their lifeline, its agents`,
            },
          );
        }
        await sleep(20);
      }
      if (cli.json) cli.terminal.out(JSON.stringify({ stopped: true, pid }));
      else cli.terminal.out(`kernel stopped (pid ${pid})`);
    });

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const statusCommand: CommandBuilder = (context) =>
  new Command('status')
    .description('tell whether a kernel runs, and what it does')
    .addOption(SOCKET_OPTION())
    .action(async (flags: { socket?: string }, command: Command) => {
      const cli = context(command);
      const { hello, agents } = await withKernel(flags, async (client) => ({
        hello: await client.hello(),
        agents: await client.list(),
      }));
      const status = {
        running: true,
        pid: hello.pid,
        version: hello.kernel_version,
        uptimeSeconds: hello.uptime,
        sandbox: hello.features.sandbox === true,
        agents: agents.length,
      };
      if (cli.json) cli.terminal.out(JSON.stringify(status));
      else {
        cli.terminal.out(
          `kernel ${status.version} runs: pid ${status.pid}, up ${formatDuration(status.uptimeSeconds * 1000)}, ${status.agents} agents, sandbox ${status.sandbox ? 'required' : 'OFF'}`,
        );
      }
    });
