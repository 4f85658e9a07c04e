// What is compiled of the native part: files, flags, and the names of the results.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

/** One compiled file. */
export interface Target {
  readonly file: string;
  readonly sources: readonly string[];
  readonly flags: readonly string[];
}

/** By what they are called in the answer to whoever asks for them. */
export type Targets<Name extends string> = Readonly<Record<Name, Target>>;

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
export function zygoteTargets(root: string, output: string): Targets<'library' | 'node'> {
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

export function nativeTargets(root: string, output: string, sanitize: boolean): Targets<'addon' | 'init'> {
  const native = path.join(root, 'native');
  const optimise = sanitize ? ['-O1', '-g', '-fno-omit-frame-pointer'] : ['-O2'];
  const addonFlags = [
    ...WARNINGS,
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
    ...WARNINGS,
    ...optimise,
    ...(sanitize ? ['-fsanitize=undefined', '-fsanitize-undefined-trap-on-error'] : []),
    // No library at all (init/runtime.cc): starting one costs more than everything clove-init does before its first call.
    ...['-static', '-nostdlib', '-fno-rtti', '-fno-stack-protector', '-fno-threadsafe-statics'],
    ...['-fno-asynchronous-unwind-tables', ...(process.arch === 'x64' ? ['-fcf-protection=none'] : [])],
  ];
  const initFiles = [...filesBelow(path.join(native, 'init'), SOURCES), ...sharedClockFiles(root)];
  const addonFiles = filesBelow(path.join(native, 'addon'), SOURCES);
  const variant = sanitize ? '-asan' : '';
  const addonHash = hashOf(addonFlags, [
    ...addonFiles,
    ...initFiles.filter((file) => !file.endsWith('.cc')),
    path.join(native, 'clock', 'page.h'),
  ]);
  return {
    init: {
      file: path.join(output, `clove-init-${hashOf(initFlags, initFiles)}${variant}`),
      sources: initFiles.filter((file) => file.endsWith('.cc')),
      flags: initFlags,
    },
    addon: {
      file: path.join(output, `clove-${process.platform}-${process.arch}-${addonHash}${variant}.node`),
      sources: addonFiles.filter((file) => file.endsWith('.cc')),
      flags: [...addonFlags, ...includesOf()],
    },
  };
}

/** It lives in other people's programs: no runtime of its own, and nothing that a detected fault could print with. */
export function clockTarget(root: string, output: string): Target {
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
export function startTarget(root: string, output: string): Target {
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
