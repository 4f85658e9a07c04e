// Runs the compiler: one at a time for each file, whoever asks for it.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { CloveError } from '../errors/index.ts';
import type { Target } from './build-targets.ts';
import type { CompileJob } from './compile.ts';

function compiler(): string {
  for (const candidate of [process.env.CXX, 'g++', 'clang++']) {
    if (candidate && spawnSync(candidate, ['--version'], { stdio: 'ignore' }).status === 0) return candidate;
  }
  throw new CloveError('SETUP_FAILED', 'no C++ compiler was found', {
    hint: 'Install one (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++), or set CXX.',
  });
}

function sleepMs(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

const BUILD_TIMEOUT_MS = 600_000;

/**
 * Compiles in one process at a time; the others wait for its result. Whoever waits for a builder that has died (or, in another
 * container, cannot be seen) builds itself: two at once cost time and nothing else, for files get their names when they are whole.
 */
export function compileOnce(target: Target, onProgress: (line: string) => void): void {
  const { file } = target;
  const lock = `${file}.lock`;
  while (!existsSync(file)) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      if (isAbandoned(lock)) rmSync(lock, { force: true });
      sleepMs(50);
      continue;
    }
    try {
      if (!existsSync(file)) compile(target, onProgress);
    } finally {
      rmSync(lock, { force: true });
    }
  }
}

function isAbandoned(lock: string): boolean {
  const made = statSync(lock, { throwIfNoEntry: false });
  if (made === undefined) return false;
  if (Date.now() - made.mtimeMs > BUILD_TIMEOUT_MS) return true;
  try {
    const pid = Number(readFileSync(lock, 'utf8'));
    // Empty: it is being written.
    if (pid > 0) process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

function compile(target: Target, onProgress: (line: string) => void): void {
  const command = compiler();
  const unfinished = `${target.file}.${process.pid}.tmp`;
  const objects = `${unfinished}.objects`;
  onProgress(`compiling ${path.basename(target.file)} with ${command}`);
  try {
    mkdirSync(objects, { recursive: true, mode: 0o700 });
    const { flags, sources } = target;
    const job: CompileJob = { compiler: command, flags, sources, objects, output: unfinished };
    const extension = path.extname(import.meta.filename);
    execFileSync(process.execPath, [path.join(import.meta.dirname, `compile${extension}`)], {
      input: JSON.stringify(job),
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: BUILD_TIMEOUT_MS,
    });
    renameSync(unfinished, target.file);
  } catch (error) {
    rmSync(unfinished, { force: true });
    throwWhereInterrupted(error);
    const stderr = String((error as { stderr?: unknown }).stderr ?? '');
    throw new CloveError('SETUP_FAILED', `the native part cannot be compiled: ${firstError(stderr)}`, {
      cause: error,
      hint: 'clove needs a C++20 compiler and the headers of the C library (Debian: g++, libc6-dev; Fedora: gcc-c++).',
      details: { compiler: command, stderr: stderr.slice(0, 4000) },
    });
  } finally {
    rmSync(objects, { recursive: true, force: true });
  }
}

/** A Ctrl-C goes to the compiler, too. @throws CANCELLED */
export function throwWhereInterrupted(error: unknown): void {
  const { signal } = error as { signal?: unknown };
  if (signal !== 'SIGINT' && signal !== 'SIGTERM') return;
  throw new CloveError('CANCELLED', 'interrupted while the native part was being compiled', { cause: error });
}

export function firstError(stderr: string): string {
  const lines = stderr.split('\n').filter((line) => line !== '');
  return lines.find((line) => / error: |cannot find/.test(line)) ?? lines[0] ?? 'the compiler gave no reason';
}
