/** What the runtimes of plain processes share: starting a worker process, and keeping the end of its output. */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { extname } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { PythonProgram } from '../scenario.ts';
import { LOG_TAIL_BYTES } from '../worker/order.ts';
import type { RuntimeContext } from './runtime.ts';

/** A leak may grow this far beyond the trial's limit where nothing stops it: far enough to be seen, not to take the machine. */
export const LEAK_BEYOND_LIMIT_BYTES = 1.5 * 1024 ** 3;

export type HostModule = 'process-host' | 'thread-host' | 'sequential-host';

export function startWorker(
  module: HostModule,
  args: readonly string[],
  stdio: StdioOptions,
  context: RuntimeContext,
): ChildProcess {
  const script = fileURLToPath(
    new URL(`../worker/${module}${extname(import.meta.filename)}`, import.meta.url),
  );
  return startProgram([process.execPath, script, ...args], stdio, context);
}

/** A worker of a program in Python: `host` is the name of a file in worker/python. */
export function startPython(
  host: PythonHost,
  program: PythonProgram,
  args: readonly string[],
  stdio: StdioOptions,
  context: RuntimeContext,
): ChildProcess {
  return startProgram([program.interpreter, pythonHostPath(host), ...args], stdio, context, SINGLE_THREADED);
}

export type PythonHost = 'process_host' | 'pool_host' | 'agent_host';

export function pythonHostPath(host: PythonHost): string {
  return fileURLToPath(new URL(`../worker/python/${host}.py`, import.meta.url));
}

/** A trial has one core: libraries that start a thread for each of the machine's only get in their own way. */
export const SINGLE_THREADED = {
  OMP_NUM_THREADS: '1',
  OPENBLAS_NUM_THREADS: '1',
  PYTHONDONTWRITEBYTECODE: '1',
} as const;

function startProgram(
  [executable = '', ...args]: readonly string[],
  stdio: StdioOptions,
  context: RuntimeContext,
  environment: Readonly<Record<string, string>> = {},
): ChildProcess {
  const child = spawn(executable, args, {
    stdio,
    cwd: tmpdir(),
    env: { ...workerEnvironment(context.compileCacheDirectory), ...environment },
    // A process group of its own: killed as a whole, and out of reach of the terminal's Ctrl-C.
    detached: true,
  });
  const pid = child.pid;
  if (pid !== undefined) {
    context.guard.add(pid);
    child.once('close', () => context.guard.remove(pid));
  }
  return child;
}

/** As an order names it. */
export function workerOf({ program, worker }: Pick<RuntimeContext, 'program' | 'worker'>): string {
  return program === undefined ? worker.href : program.script;
}

/** Options of the bench's own Node (inspector, test runner, coverage) are not for workers. */
export function workerEnvironment(compileCacheDirectory: string): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _, NODE_V8_COVERAGE: __, ...env } = process.env;
  return { ...env, NODE_COMPILE_CACHE: compileCacheDirectory };
}

/** Ends the worker and everything it started; the group keeps the number from being given to anybody else. */
export function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // already gone
  }
}

/** Keeps the last 8 KiB of everything the streams give. */
export function tailOf(...streams: (Readable | null)[]): () => string {
  let tail = Buffer.alloc(0);
  for (const stream of streams) {
    stream?.on('data', (chunk: Buffer) => {
      tail = Buffer.concat([tail, chunk]);
      if (tail.length > LOG_TAIL_BYTES) tail = tail.subarray(tail.length - LOG_TAIL_BYTES);
    });
    stream?.on('error', () => {});
  }
  return () => tail.toString('utf8');
}
