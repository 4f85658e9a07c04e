import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { commandPlan } from '../agents/command.ts';
import { accept } from '../async/accept.ts';
import { type Command, type CommandResult, runInFreshSandbox, runInSandbox } from '../exec/run.ts';
import type { Kernel } from '../kernel.ts';
import { SYSTEM_PATH } from '../permissions/commands.ts';
import { OPCODES } from '../protocol/opcodes.ts';
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
    const run = (until: AbortSignal) => runForCaller(context, { ...command, signal: until }, isBounded);
    if (request.async === true) return accept(context, CALL, request.request_id, run);
    return withSlot(kernel, caller.id, () => run(signal));
  },
});

async function runForCaller(
  { kernel, caller }: SyscallContext,
  command: Command,
  isBounded: boolean,
): Promise<CommandResult> {
  if (caller.kind === 'operator') {
    return runInFreshSandbox(command, (argv) =>
      kernel.launcher.launchCommand(commandPlan(argv, command.cwd, kernel.options.sandbox === 'off')),
    );
  }
  const agent = kernel.agents.get(caller.id);
  const sandbox = agent?.sandbox;
  if (agent === undefined || sandbox === null || sandbox === undefined) {
    throw new CloveError('NOT_FOUND', 'the agent has ended');
  }
  const { env, cwd } = agent.plan.sandbox;
  // Who may run only some programs must not say by a variable what these are.
  const safeEnv = isBounded ? { ...systemEnv(env), PATH: SYSTEM_PATH } : env;
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
