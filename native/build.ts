// Compiles the native part: the addon, clove-init, the clock of worlds and what template processes need. Runs as a program too:
//   node native/build.ts [--sanitize]
import { execFile } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { CloveError } from '../errors/index.ts';
import {
  clockTarget,
  nativeTargets,
  startTarget,
  type Target,
  type Targets,
  zygoteTargets,
} from './build-targets.ts';
import { compileOnce, firstError, throwWhereInterrupted } from './compiler.ts';
import { packageRoot } from './package.ts';

export interface NativeFiles {
  /** The addon, to be loaded into this process. */
  readonly addon: string;
  /** The static program that becomes PID 1 of a sandbox. */
  readonly init: string;
}

/** What a template process needs (native/zygote). */
export interface ZygoteFiles {
  /** Preloaded into it, and called by Python. */
  readonly library: string;
  /** Node's way to the library: an addon. */
  readonly node: string;
}

export interface BuildOptions {
  /** AddressSanitizer and UBSan; for CI. Loaded when CLOVE_NATIVE_VARIANT=asan. */
  readonly sanitize?: boolean;
  /** Folder of the compiled files; default: build/ of the package, or the user's cache when that is read-only. */
  readonly output?: string;
  readonly onProgress?: (line: string) => void;
}

/** Where compiled files may be: the package itself, else the user's cache. */
function outputFolders(root: string): [own: string, cache: string] {
  const cache = process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache');
  return [path.join(root, 'build'), path.join(cache, 'clove', 'native')];
}

function writableFolder(folders: readonly string[]): string {
  for (const folder of folders) {
    try {
      mkdirSync(folder, { recursive: true, mode: 0o755 });
      accessSync(folder, constants.W_OK);
      return folder;
    } catch {
      // the next one
    }
  }
  throw new CloveError(
    'SETUP_FAILED',
    `the native part cannot be stored: ${folders.join(' and ')} are not writable`,
    {
      hint: 'Run `node native/build.ts` once as a user who may write there, or set XDG_CACHE_HOME.',
    },
  );
}

/** Paths of what is to be compiled: in the first folder that has all of it, or where it can be made. */
function find<Name extends string>(
  folders: readonly string[],
  targetsIn: (folder: string) => Targets<Name>,
): { targets: Targets<Name>; isBuilt: boolean } {
  for (const folder of folders) {
    const targets = targetsIn(folder);
    if (Object.values<Target>(targets).every(({ file }) => existsSync(file)))
      return { targets, isBuilt: true };
  }
  return { targets: targetsIn(writableFolder(folders)), isBuilt: false };
}

function filesOf<Name extends string>(targets: Targets<Name>): Readonly<Record<Name, string>> {
  const files = Object.entries<Target>(targets).map(([name, { file }]) => [name, file]);
  return Object.fromEntries(files) as Record<Name, string>;
}

/** Paths of the compiled files; compiles what is missing. Safe when several processes call it at once. @throws SETUP_FAILED */
function ensure<Name extends string>(
  folders: readonly string[],
  targetsIn: (folder: string) => Targets<Name>,
  onProgress: (line: string) => void = () => {},
): Readonly<Record<Name, string>> {
  const { targets, isBuilt } = find(folders, targetsIn);
  if (!isBuilt) for (const target of Object.values<Target>(targets)) compileOnce(target, onProgress);
  return filesOf(targets);
}

/** The folder of some sources. @throws SETUP_FAILED where there is none */
function checkSources(root: string, folder: string): void {
  if (!existsSync(path.join(root, 'native', folder)))
    throw new CloveError('SETUP_FAILED', `this installation of Clove has no native/${folder}`);
}

/**
 * Paths of the compiled files; compiles what is missing. Safe when several processes call it at once.
 * @throws SETUP_FAILED with a hint when there is no compiler or it fails.
 */
export function ensureNative({ sanitize = false, output, onProgress }: BuildOptions = {}): NativeFiles {
  const root = packageRoot();
  const folders = output === undefined ? outputFolders(root) : [output];
  return ensure(folders, (folder) => nativeTargets(root, folder, sanitize), onProgress);
}

/**
 * Path of the program that starts what takes no library in a world with its own time; compiles it when it is missing. Null: this
 * machine has none, since it is made for x86-64 alone. @throws SETUP_FAILED
 */
export function ensureClockStart(onProgress?: (line: string) => void): string | null {
  if (process.arch !== 'x64') return null;
  const root = packageRoot();
  return ensure(outputFolders(root), (folder) => ({ start: startTarget(root, folder) }), onProgress).start;
}

/**
 * Path of the library that agents of a world with its own time are given; compiles it when it is missing (a few seconds).
 * @throws SETUP_FAILED
 */
export function ensureClockLibrary(onProgress?: (line: string) => void): string {
  const root = packageRoot();
  checkSources(root, 'clock');
  return ensure(outputFolders(root), (folder) => ({ library: clockTarget(root, folder) }), onProgress)
    .library;
}

const ZYGOTE_FLAG = '--zygote';

/**
 * Paths of the files of a template process; compiles what is missing, in a process of its own, for whoever asks has a loop to
 * keep going. @throws SETUP_FAILED
 */
export async function ensureZygote(): Promise<ZygoteFiles> {
  const root = packageRoot();
  checkSources(root, 'zygote');
  const { targets, isBuilt } = find(outputFolders(root), (folder) => zygoteTargets(root, folder));
  if (isBuilt) return filesOf(targets);
  process.stderr.write('clove: compiling the library of templates with g++, once\n');
  await promisify(execFile)(process.execPath, [import.meta.filename, ZYGOTE_FLAG]).catch((error: unknown) => {
    throwWhereInterrupted(error);
    const stderr = String((error as { stderr?: unknown }).stderr ?? '');
    throw new CloveError('SETUP_FAILED', `the template library cannot be compiled: ${firstError(stderr)}`, {
      cause: error,
    });
  });
  return filesOf(targets);
}

if (process.argv[1] === import.meta.filename) {
  const started = performance.now();
  const onProgress = (line: string) => process.stderr.write(`${line}\n`);
  try {
    const root = packageRoot();
    if (process.argv.includes(ZYGOTE_FLAG))
      ensure(outputFolders(root), (folder) => zygoteTargets(root, folder), onProgress);
    const files = ensureNative({ sanitize: process.argv.includes('--sanitize'), onProgress });
    const clock = ensureClockLibrary(onProgress);
    const start = ensureClockStart(onProgress);
    process.stdout.write(`${files.addon}\n${files.init}\n${clock}\n${start ?? ''}\n`);
    process.stderr.write(`ready in ${((performance.now() - started) / 1000).toFixed(1)} s\n`);
  } catch (error) {
    const { message, hint, details } = error as CloveError;
    process.stderr.write(`${message}\n${hint ?? ''}\n${String(details?.stderr ?? '')}\n`);
    process.exitCode = 1;
  }
}
