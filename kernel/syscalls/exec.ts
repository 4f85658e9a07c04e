import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { commandPlan } from '../agents/command.ts';
import { insideOf } from '../agents/inside.ts';
import { accept } from '../async/accept.ts';
import { type Command, type CommandResult, runInFreshSandbox, runInSandbox } from '../exec/run.ts';
import type { Kernel } from '../kernel.ts';
import { SYSTEM_PATH } from '../permissions/commands.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { inWorld, memberOf, worldOf } from '../worlds/calls.ts';
import type { JoinedWorld } from '../worlds/host.ts';
import { defineSyscall, type SyscallContext } from './define.ts';
import { accepted, asynchronous, MAX_TIMER_MS } from './fields.ts';

const DEFAULT_TIMEOUT_S = 30;
const CALL = { opcode: OPCODES.EXEC, name: 'EXEC' };
/** Commands of one caller at a time: each holds up to 2 MiB of output in the kernel. */
const MAX_COMMANDS = 8;
const running = new WeakMap<Kernel, Map<number, number>>();

/** @throws OVERLOAD */
async function withSlot<Result>(
  kernel: Kernel,
  callerId: number,
  work: () => Promise<Result>,
): Promise<Result> {
  const counts = running.getOrInsertComputed(kernel, () => new Map<number, number>());
  const count = counts.get(callerId) ?? 0;
  if (count >= MAX_COMMANDS) {
    throw new CloveError('OVERLOAD', `${MAX_COMMANDS} commands of this caller run already`);
  }
  counts.set(callerId, count + 1);
  try {
    return await work();
  } finally {
    const left = (counts.get(callerId) ?? 1) - 1;
    if (left === 0) counts.delete(callerId);
    else counts.set(callerId, left);
  }
}

export const exec = defineSyscall({
  opcode: OPCODES.EXEC,
  name: 'EXEC',
  summary:
    'Runs a command and answers when it has ended: an agent’s inside its own sandbox, an operator’s in a fresh one of its own.',
  request: z.object({
    command: z
      .string()
      .max(131_072)
      .nullish()
      .describe('For /bin/sh -c; without a shell where only some commands are granted.'),
    argv: z
      .array(z.string().max(131_072))
      .min(1)
      .max(4096)
      .nullish()
      .describe('In place of command: no shell.'),
    cwd: z.string().max(4095).nullish().describe('Inside; data, never part of a command line.'),
    timeout: z
      .number()
      .positive()
      .max(MAX_TIMER_MS / 1000)
      .nullish()
      .describe('Seconds; default 30. Then everything the command started is killed.'),
    separate: z.boolean().default(false).describe('stderr by itself; else it is part of stdout, in order.'),
    ...asynchronous,
  }),
  response: z.union([
    z.object({
      success: z.boolean().describe('Exit code 0.'),
      stdout: z.string().describe('At most 1 MiB; bytes that are not UTF-8 become U+FFFD.'),
      stderr: z.string(),
      exit_code: z.int().describe('-1 = ended by a signal or the time limit.'),
      signal: z.string().nullable(),
      timed_out: z.boolean(),
      truncated: z.boolean().describe('There was more output; it was read and dropped.'),
      duration_ms: z.number(),
      error: z.string().optional(),
      code: z.string().optional(),
      world: z.string().optional().describe('Whose shell ran it, where it was a world’s.'),
      virtual: z.literal(true).optional(),
    }),
    accepted,
  ]),
  permission: 'exec',
  audit: 'SYSCALL',
  replay: 'recorded',
  ordered: true,
  errorShape: { stdout: '', stderr: '', exit_code: -1 },
  async handle(request, context) {
    const { kernel, caller, signal } = context;
    const { permissions } = kernel;
    const wantedMs = Math.ceil((request.timeout ?? DEFAULT_TIMEOUT_S) * 1000);
    const mostMs = permissions.maxExecTimeMs(caller);
    const timeoutMs = mostMs === 0 ? wantedMs : Math.min(wantedMs, mostMs);
    assertNamed(request);
    const { argv, isBounded } = permissions.commandOf(caller, request);
    const command = { argv, cwd: request.cwd || null, timeoutMs, merged: !request.separate };
    const world = worldOf(context);
    const run = (until: AbortSignal) =>
      world?.interceptsCommands === true
        ? runInWorld(context, world, request, { ...command, signal: until })
        : runForCaller(context, { ...command, signal: until }, isBounded);
    if (request.async === true)
      return accept(context, CALL, request.request_id, run, {
        isTimedByWorld: world?.interceptsCommands === true,
      });
    return withSlot(kernel, caller.id, () => run(signal));
  },
});

/** What was permitted as an argv is quoted: the world's shell must not make more of it. */
async function runInWorld(
  context: SyscallContext,
  world: JoinedWorld,
  request: { command?: string | null | undefined; argv?: string[] | null | undefined },
  command: Command,
): Promise<CommandResult & { world: string; virtual: true }> {
  const isScript = request.command && command.argv.at(-1) === request.command;
  const script = isScript ? request.command : command.argv.map(quoted).join(' ');
  const { cwd, timeoutMs, merged, signal } = command;
  try {
    const result = await world.exec(memberOf(context), {
      script: script ?? '',
      cwd,
      timeoutMs,
      merged,
      signal,
    });
    return {
      success: result.exitCode === 0 && !result.timedOut,
      stdout: result.stdout,
      stderr: result.stderr,
      exit_code: result.exitCode,
      signal: result.timedOut ? 'SIGKILL' : null,
      timed_out: result.timedOut,
      truncated: result.truncated,
      duration_ms: result.durationMs,
      ...(result.timedOut ? { error: `timeout after ${timeoutMs} ms`, code: 'TIMEOUT' as const } : {}),
      world: world.id,
      virtual: true,
    };
  } catch (error) {
    throw inWorld(error, world);
  }
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

async function runForCaller(
  { kernel, caller }: SyscallContext,
  command: Command,
  isBounded: boolean,
): Promise<CommandResult> {
  if (caller.kind === 'operator') {
    return runInFreshSandbox(command, (argv) =>
      kernel.launcher.launchCommand(commandPlan(argv, command.cwd, kernel.options.sandbox)),
    );
  }
  const { sandbox, env, worldEnv, cwd } = await insideOf(kernel, caller);
  // Who may run only some programs must not say by a variable what these are.
  const safeEnv = isBounded ? { ...systemEnv(env), ...worldEnv, PATH: SYSTEM_PATH } : env;
  return runInSandbox(command, sandbox, safeEnv, cwd);
}

/** @throws BAD_REQUEST */
function assertNamed(request: {
  argv?: string[] | null | undefined;
  command?: string | null | undefined;
}): void {
  const parts = request.argv ?? (request.command ? [request.command] : null);
  if (parts === null) throw new CloveError('BAD_REQUEST', 'command required');
  if (parts.some((part) => part.includes('\0'))) {
    throw new CloveError('BAD_REQUEST', 'invalid request: command contains NUL');
  }
}

/** What the kernel itself has put there, and nothing that changes how a program works. */
function systemEnv(env: Readonly<Record<string, string>>): Record<string, string> {
  const kept = Object.entries(env).filter(([name]) => /^(HOME|LANG|CLOVE_[A-Z_]+)$/.test(name));
  return Object.fromEntries(kept);
}

export const execSyscalls = [exec] as const;
