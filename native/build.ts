// Compiles the native part: the addon, clove-init, the clock of worlds and what template processes need. Runs as a program too:
//   node native/build.ts [--sanitize]
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { CloveError } from '../errors/index.ts';
import type { CompileJob } from './compile.ts';
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

interface Target {
  readonly file: string;
  readonly sources: readonly string[];
  readonly flags: readonly string[];
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

function compiler(): string {
  for (const candidate of [process.env.CXX, 'g++', 'clang++']) {
    if (candidate && spawnSync(candidate, ['--version'], { stdio: 'ignore' }).status === 0) return candidate;
  }
  throw new CloveError('SETUP_FAILED', 'no C++ compiler was found', {
    hint: 'Install one (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++), or set CXX.',
  });
}

function filesBelow(folder: string, pattern: RegExp): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => pattern.test(name))
    .map((name) => path.join(folder, name))
    .sort();
}

/** Flags and sources decide the name, so a changed file is never mistaken for a built one. */
function hashOf(flags: readonly string[], files: readonly string[]): string {
  const hash = createHash('sha256').update(flags.join('\0'));
  for (const file of files) hash.update(path.basename(file)).update(readFileSync(file));
  return hash.digest('hex').slice(0, 16);
}

function includesOf(): string[] {
  const require = createRequire(import.meta.url);
  return [
    path.dirname(require.resolve('node-addon-api/package.json')),
    path.join(path.dirname(require.resolve('node-api-headers/package.json')), 'include'),
  ].flatMap((folder) => ['-isystem', folder]);
}

/** What of the clock whoever starts programs needs, too. */
function sharedClockFiles(root: string): string[] {
  return ['program.h', 'raw.h'].map((name) => path.join(root, 'native', 'clock', name));
}

const SOURCES = /\.(cc|h|def)$/;
const WARNINGS = ['-std=c++20', '-Wall', '-Wextra', '-Werror', '-fno-exceptions'];

/** Both run inside interpreters, never with a sanitizer: that would have to come first in a process that is not ours. */
function zygoteTargets(root: string, output: string): Readonly<Record<keyof ZygoteFiles, Target>> {
  const common = [...WARNINGS, '-O2', '-fPIC', '-shared', '-fvisibility=hidden', '-pthread'];
  const libraryFlags = [
    ...common,
    '-fno-rtti',
    '-DCLOVE_ZYGOTE',
    '-DCLOVE_FIRST_FD=512',
    '-Wl,-Bsymbolic,-z,defs',
  ];
  const own = filesBelow(path.join(root, 'native', 'zygote'), SOURCES);
  const nodeFile = path.join(root, 'native', 'zygote', 'node.cc');
  // An agent gives up its rights by the very sources of clove-init; the C library takes the place of its small runtime.
  const init = filesBelow(path.join(root, 'native', 'init'), SOURCES);
  const shared = new Set(['drop.cc', 'landlock.cc', 'order.cc', 'report.cc']);
  const library = [
    path.join(root, 'native', 'addon', 'zygote_request.h'),
    ...own.filter((file) => file !== nodeFile),
    ...init.filter((file) => !file.endsWith('.cc') || shared.has(path.basename(file))),
  ];
  const nodeFlags = [...common, '-DNAPI_VERSION=9', '-DNAPI_DISABLE_CPP_EXCEPTIONS'];
  return {
    library: {
      file: path.join(output, `libclove-zygote-${process.arch}-${hashOf(libraryFlags, library)}.so`),
      sources: library.filter((file) => file.endsWith('.cc')),
      flags: libraryFlags,
    },
    node: {
      file: path.join(output, `clove-zygote-${process.arch}-${hashOf(nodeFlags, own)}.node`),
      sources: [nodeFile],
      flags: [...nodeFlags, ...includesOf()],
    },
  };
}

function targets(root: string, output: string, sanitize: boolean): { addon: Target; init: Target } {
  const native = path.join(root, 'native');
  const sources = SOURCES;
  const common = WARNINGS;
  const optimise = sanitize ? ['-O1', '-g', '-fno-omit-frame-pointer'] : ['-O2'];
  const addonFlags = [
    ...common,
    ...optimise,
    ...(sanitize ? ['-fsanitize=address,undefined'] : []),
    ...[
      '-fPIC',
      '-shared',
      '-fvisibility=hidden',
      '-pthread',
      '-DNAPI_VERSION=9',
      '-DNAPI_DISABLE_CPP_EXCEPTIONS',
    ],
  ];
  // A static program has no runtime to report with: a detected fault traps.
  const initFlags = [
    ...common,
    ...optimise,
    ...(sanitize ? ['-fsanitize=undefined', '-fsanitize-undefined-trap-on-error'] : []),
    // No library at all (init/runtime.cc): starting one costs more than everything clove-init does before its first call.
    ...['-static', '-nostdlib', '-fno-rtti', '-fno-stack-protector', '-fno-threadsafe-statics'],
    ...['-fno-asynchronous-unwind-tables', ...(process.arch === 'x64' ? ['-fcf-protection=none'] : [])],
  ];
  const initFiles = [...filesBelow(path.join(native, 'init'), sources), ...sharedClockFiles(root)];
  const addonFiles = filesBelow(path.join(native, 'addon'), sources);
  const variant = sanitize ? '-asan' : '';
  const addonHash = hashOf(addonFlags, [
    ...addonFiles,
    ...initFiles.filter((file) => !file.endsWith('.cc')),
    path.join(native, 'clock', 'page.h'),
  ]);
  return {
    addon: {
      file: path.join(output, `clove-${process.platform}-${process.arch}-${addonHash}${variant}.node`),
      sources: addonFiles.filter((file) => file.endsWith('.cc')),
      flags: [...addonFlags, ...includesOf()],
    },
    init: {
      file: path.join(output, `clove-init-${hashOf(initFlags, initFiles)}${variant}`),
      sources: initFiles.filter((file) => file.endsWith('.cc')),
      flags: initFlags,
    },
  };
}

function sleepMs(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

const BUILD_TIMEOUT_MS = 600_000;

/**
 * Runs `build` in one process at a time; the others wait for its result. Whoever waits for a builder that has died (or, in another
 * container, cannot be seen) builds itself: two at once cost time and nothing else, for files get their names when they are whole.
 */
function once(file: string, build: () => void): void {
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
      if (!existsSync(file)) build();
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
function throwWhereInterrupted(error: unknown): void {
  const { signal } = error as { signal?: unknown };
  if (signal !== 'SIGINT' && signal !== 'SIGTERM') return;
  throw new CloveError('CANCELLED', 'interrupted while the native part was being compiled', { cause: error });
}

function firstError(stderr: string): string {
  const lines = stderr.split('\n').filter((line) => line !== '');
  return lines.find((line) => / error: |cannot find/.test(line)) ?? lines[0] ?? 'the compiler gave no reason';
}

/**
 * Paths of the compiled files; compiles what is missing. Safe when several processes call it at once.
 * @throws SETUP_FAILED with a hint when there is no compiler or it fails.
 */
export function ensureNative({
  sanitize = false,
  output,
  onProgress = () => {},
}: BuildOptions = {}): NativeFiles {
  const root = packageRoot();
  const folders = output === undefined ? outputFolders(root) : [output];
  for (const folder of folders) {
    const { addon, init } = targets(root, folder, sanitize);
    if (existsSync(addon.file) && existsSync(init.file)) return { addon: addon.file, init: init.file };
  }
  const { addon, init } = targets(root, writableFolder(folders), sanitize);
  for (const target of [init, addon]) once(target.file, () => compile(target, onProgress));
  return { addon: addon.file, init: init.file };
}

/** It lives in other people's programs: no runtime of its own, and nothing that a detected fault could print with. */
function clockTarget(root: string, output: string): Target {
  const flags = [
    ...[
      ...WARNINGS,
      '-O2',
      '-fPIC',
      '-shared',
      '-fvisibility=hidden',
      '-fno-rtti',
      '-fno-threadsafe-statics',
    ],
    ...['-ftls-model=initial-exec', '-static-libgcc', '-pthread', '-Wl,--as-needed'],
  ];
  const start = path.join(root, 'native', 'clock', 'start');
  const files = filesBelow(path.join(root, 'native', 'clock'), SOURCES).filter(
    (file) => !file.startsWith(start),
  );
  return {
    file: path.join(output, `libclove_clock-${process.arch}-${hashOf(flags, files)}.so`),
    sources: files.filter((file) => file.endsWith('.cc')),
    flags,
  };
}

/**
 * Starts the programs into which the library cannot be put. It stays in their memory: no library at all, and in a place where nobody
 * else wants to be (below that of Go's heap, above that of programs with fixed addresses).
 */
function startTarget(root: string, output: string): Target {
  const flags = [
    ...[...WARNINGS, '-O2', '-static', '-nostdlib', '-fPIE', '-no-pie', '-fno-rtti'],
    ...['-fno-stack-protector', '-fno-threadsafe-statics', '-fno-asynchronous-unwind-tables'],
    ...['-fno-tree-loop-distribute-patterns', '-fcf-protection=none'],
    ...['-Wl,-Ttext-segment=0x3000000000', '-Wl,--build-id=none', '-Wl,-z,noexecstack'],
  ];
  const clock = path.join(root, 'native', 'clock');
  const files = filesBelow(path.join(clock, 'start'), SOURCES);
  const headers = ['moments.h', 'page.h', 'program.h', 'raw.h', 'schedule.h', 'waits.h'].map((name) =>
    path.join(clock, name),
  );
  return {
    file: path.join(output, `clove-start-${hashOf(flags, [...files, ...headers])}`),
    sources: files.filter((file) => file.endsWith('.cc')),
    flags,
  };
}

/**
 * Path of the program that starts what takes no library in a world with its own time; compiles it when it is missing. Null: this
 * machine has none, since it is made for x86-64 alone. @throws SETUP_FAILED
 */
export function ensureClockStart(onProgress: (line: string) => void = () => {}): string | null {
  if (process.arch !== 'x64') return null;
  const root = packageRoot();
  const folders = outputFolders(root);
  for (const folder of folders) {
    const { file } = startTarget(root, folder);
    if (existsSync(file)) return file;
  }
  const target = startTarget(root, writableFolder(folders));
  once(target.file, () => compile(target, onProgress));
  return target.file;
}

/**
 * Path of the library that agents of a world with its own time are given; compiles it when it is missing (a few seconds).
 * @throws SETUP_FAILED
 */
export function ensureClockLibrary(onProgress: (line: string) => void = () => {}): string {
  const root = packageRoot();
  if (!existsSync(path.join(root, 'native', 'clock')))
    throw new CloveError('SETUP_FAILED', 'this installation of Clove has no native/clock');
  const folders = outputFolders(root);
  for (const folder of folders) {
    const { file } = clockTarget(root, folder);
    if (existsSync(file)) return file;
  }
  const target = clockTarget(root, writableFolder(folders));
  once(target.file, () => compile(target, onProgress));
  return target.file;
}

const ZYGOTE_FLAG = '--zygote';

/**
 * Paths of the files of a template process; compiles what is missing, in a process of its own, for whoever asks has a loop to
 * keep going. @throws SETUP_FAILED
 */
export async function ensureZygote(): Promise<ZygoteFiles> {
  const root = packageRoot();
  if (!existsSync(path.join(root, 'native', 'zygote'))) {
    throw new CloveError('SETUP_FAILED', 'this installation of Clove has no native/zygote');
  }
  const folders = outputFolders(root);
  for (const folder of folders) {
    const { library, node } = zygoteTargets(root, folder);
    if (existsSync(library.file) && existsSync(node.file)) return { library: library.file, node: node.file };
  }
  const { library, node } = zygoteTargets(root, writableFolder(folders));
  process.stderr.write('clove: compiling the library of templates with g++, once\n');
  await promisify(execFile)(process.execPath, [import.meta.filename, ZYGOTE_FLAG]).catch((error: unknown) => {
    throwWhereInterrupted(error);
    const stderr = String((error as { stderr?: unknown }).stderr ?? '');
    throw new CloveError('SETUP_FAILED', `the template library cannot be compiled: ${firstError(stderr)}`, {
      cause: error,
    });
  });
  return { library: library.file, node: node.file };
}

function buildZygote(onProgress: (line: string) => void): void {
  const root = packageRoot();
  for (const target of Object.values(zygoteTargets(root, writableFolder(outputFolders(root)))))
    once(target.file, () => compile(target, onProgress));
}

if (process.argv[1] === import.meta.filename) {
  const started = performance.now();
  try {
    if (process.argv.includes(ZYGOTE_FLAG)) buildZygote((line) => process.stderr.write(`${line}\n`));
    const files = ensureNative({
      sanitize: process.argv.includes('--sanitize'),
      onProgress: (line) => process.stderr.write(`${line}\n`),
    });
    const clock = ensureClockLibrary((line) => process.stderr.write(`${line}\n`));
    const start = ensureClockStart((line) => process.stderr.write(`${line}\n`));
    process.stdout.write(`${files.addon}\n${files.init}\n${clock}\n${start ?? ''}\n`);
    process.stderr.write(`ready in ${((performance.now() - started) / 1000).toFixed(1)} s\n`);
  } catch (error) {
    const { message, hint, details } = error as CloveError;
    process.stderr.write(`${message}\n${hint ?? ''}\n${String(details?.stderr ?? '')}\n`);
    process.exitCode = 1;
  }
}
