import { Socket } from 'node:net';
import { CloveError, isCloveError } from '../../errors/index.ts';
import type { Sandbox } from '../../native/types.ts';
import { drain } from './drain.ts';

const MAX_OUTPUT_BYTES = 2 ** 20;
/** What a command may leave behind in the background holds its output open: it is not waited for. */
const DRAIN_MS = 200;

export interface Command {
  readonly argv: readonly string[];
  /** null = where the sandbox starts. */
  readonly cwd: string | null;
  readonly timeoutMs: number;
  /** stdout and stderr in one, in the order they were written. */
  readonly merged: boolean;
  readonly signal: AbortSignal;
}

export interface CommandResult {
  success: boolean;
  stdout: string;
  stderr: string;
  exit_code: number;
  signal: string | null;
  timed_out: boolean;
  truncated: boolean;
  duration_ms: number;
  error?: string;
  code?: string;
}

/** One pipe for both streams keeps their order. The command is handed over as arguments: none of it is shell text. */
function effectiveArgv(command: Command): readonly string[] {
  return command.merged ? ['/bin/sh', '-c', 'exec "$@" 2>&1', 'sh', ...command.argv] : command.argv;
}

/** @throws EXEC_FAILED, CANCELLED, IO … */
export async function runInSandbox(
  command: Command,
  sandbox: Sandbox,
  env: Readonly<Record<string, string>>,
  defaultCwd: string,
): Promise<CommandResult> {
  const started = performance.now();
  const handle = await sandbox.exec({
    argv: effectiveArgv(command),
    env,
    cwd: command.cwd ?? defaultCwd,
    stdin: null,
    timeoutMs: command.timeoutMs,
  });
  const onAbort = () => handle.kill('SIGKILL');
  command.signal.addEventListener('abort', onAbort, { once: true });
  if (command.signal.aborted) onAbort();
  const stdout = collect(handle.stdoutFd);
  const stderr = collect(handle.stderrFd);
  const exit = await handle.exited;
  command.signal.removeEventListener('abort', onAbort);
  return result(command, exit, await stdout.finish(), await stderr.finish(), performance.now() - started);
}

/** @throws SANDBOX_UNAVAILABLE, EXEC_FAILED, OVERLOAD, CANCELLED … */
export async function runInFreshSandbox(
  command: Command,
  launch: (argv: readonly string[]) => Promise<Sandbox>,
): Promise<CommandResult> {
  const started = performance.now();
  const sandbox = await launch(effectiveArgv(command)).catch((error: unknown) => {
    if (!isCloveError(error)) throw error;
    throw new CloveError(error.code, `failed to execute command: ${error.message}`, {
      cause: error,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      ...(error.details === undefined ? {} : { details: error.details }),
    });
  });
  const onAbort = () => sandbox.kill('killed');
  const timer = setTimeout(() => sandbox.kill('timeout'), command.timeoutMs);
  command.signal.addEventListener('abort', onAbort, { once: true });
  if (command.signal.aborted) onAbort();
  const stdout = collect(sandbox.stdoutFd);
  const stderr = collect(sandbox.stderrFd);
  const exit = await sandbox.exited;
  clearTimeout(timer);
  command.signal.removeEventListener('abort', onAbort);
  return result(
    command,
    { ...exit, timedOut: exit.reason === 'timeout' },
    await stdout.finish(),
    await stderr.finish(),
    performance.now() - started,
  );
}

interface Ended {
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly timedOut: boolean;
}

function result(
  command: Command,
  exit: Ended,
  stdout: Output,
  stderr: Output,
  durationMs: number,
): CommandResult {
  const failure = exit.timedOut
    ? { error: `command timeout after ${command.timeoutMs / 1000} s`, code: 'TIMEOUT' }
    : {};
  return {
    success: exit.exitCode === 0 && !exit.timedOut,
    stdout: stdout.text,
    stderr: stderr.text,
    exit_code: exit.timedOut ? -1 : (exit.exitCode ?? -1),
    signal: exit.signal,
    timed_out: exit.timedOut,
    truncated: stdout.truncated || stderr.truncated,
    duration_ms: Math.round(durationMs * 1000) / 1000,
    ...failure,
  };
}

interface Output {
  readonly text: string;
  readonly truncated: boolean;
}

/** Keeps the first bytes of a pipe and reads on, so that a chatty command ends all the same. */
function collect(fd: number | null): { finish(): Promise<Output> } {
  if (fd === null) return { finish: async () => ({ text: '', truncated: false }) };
  const chunks: Buffer[] = [];
  let keptBytes = 0;
  let truncated = false;
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const socket = new Socket({ fd, readable: true, writable: false });
  socket.on('data', (chunk: Buffer) => {
    const room = MAX_OUTPUT_BYTES - keptBytes;
    if (chunk.length > room) truncated = true;
    if (room === 0) return;
    const kept = chunk.length > room ? chunk.subarray(0, room) : chunk;
    keptBytes += kept.length;
    chunks.push(kept);
  });
  socket.on('error', () => socket.destroy());
  socket.on('close', () => resolve());
  return {
    finish: async () => {
      await drain({ ended, readBytes: () => socket.bytesRead, giveUp: () => socket.destroy() }, DRAIN_MS);
      return { text: Buffer.concat(chunks).toString('utf8'), truncated };
    },
  };
}
