// Compiles the native part: one compiler call for the addon, one for clove-init. Runs as a program too:
//   node native/build.ts [--sanitize]
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import path from 'node:path';
import { CloveError } from '../errors/index.ts';
import { packageRoot } from './package.ts';

export interface NativeFiles {
  /** The addon, to be loaded into this process. */
  readonly addon: string;
  /** The static program that becomes PID 1 of a sandbox. */
  readonly init: string;
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

function targets(root: string, output: string, sanitize: boolean): { addon: Target; init: Target } {
  const require = createRequire(import.meta.url);
  const native = path.join(root, 'native');
  const sources = /\.(cc|h|def)$/;
  const common = ['-std=c++20', '-Wall', '-Wextra', '-Werror', '-fno-exceptions'];
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
  const initFiles = filesBelow(path.join(native, 'init'), sources);
  const addonFiles = filesBelow(path.join(native, 'addon'), sources);
  const variant = sanitize ? '-asan' : '';
  const addonHash = hashOf(addonFlags, [...addonFiles, ...initFiles.filter((file) => !file.endsWith('.cc'))]);
  const includes = [
    path.dirname(require.resolve('node-addon-api/package.json')),
    path.join(path.dirname(require.resolve('node-api-headers/package.json')), 'include'),
  ];
  return {
    addon: {
      file: path.join(output, `clove-${process.platform}-${process.arch}-${addonHash}${variant}.node`),
      sources: addonFiles.filter((file) => file.endsWith('.cc')),
      flags: [...addonFlags, ...includes.flatMap((folder) => ['-isystem', folder])],
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

const BUILD_TIMEOUT_MS = 180_000;

/** Runs `build` in one process at a time; the others wait for its result. */
function once(file: string, build: () => void): void {
  const lock = `${file}.lock`;
  while (!existsSync(file)) {
    try {
      closeSync(openSync(lock, 'wx'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const age = Date.now() - (statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
      if (age > BUILD_TIMEOUT_MS) rmSync(lock, { force: true });
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

function compile(target: Target, onProgress: (line: string) => void): void {
  const command = compiler();
  const unfinished = `${target.file}.${process.pid}.tmp`;
  onProgress(`compiling ${path.basename(target.file)} with ${command}`);
  try {
    execFileSync(command, [...target.flags, ...target.sources, '-o', unfinished], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: BUILD_TIMEOUT_MS,
    });
    renameSync(unfinished, target.file);
  } catch (error) {
    rmSync(unfinished, { force: true });
    const stderr = String((error as { stderr?: unknown }).stderr ?? '');
    throw new CloveError('SETUP_FAILED', `the native part cannot be compiled: ${firstError(stderr)}`, {
      cause: error,
      hint: 'clove needs a C++20 compiler and the headers of the C library (Debian: g++, libc6-dev; Fedora: gcc-c++).',
      details: { compiler: command, stderr: stderr.slice(0, 4000) },
    });
  }
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

if (process.argv[1] === import.meta.filename) {
  const started = performance.now();
  try {
    const files = ensureNative({
      sanitize: process.argv.includes('--sanitize'),
      onProgress: (line) => process.stderr.write(`${line}\n`),
    });
    process.stdout.write(`${files.addon}\n${files.init}\n`);
    process.stderr.write(`ready in ${((performance.now() - started) / 1000).toFixed(1)} s\n`);
  } catch (error) {
    const { message, hint, details } = error as CloveError;
    process.stderr.write(`${message}\n${hint ?? ''}\n${String(details?.stderr ?? '')}\n`);
    process.exitCode = 1;
  }
}
