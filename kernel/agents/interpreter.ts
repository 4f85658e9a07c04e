import { open } from 'node:fs/promises';
import path from 'node:path';
import { CloveError } from '../../errors/index.ts';
import type { SandboxMount } from '../../native/types.ts';
import { existing, exists, isExecutableFile, isInsideAnyway, whyTooBroad } from './host-paths.ts';

/** What PATH is inside. */
export const INSIDE_PATH = '/usr/local/bin:/usr/bin:/bin';
/** Where the kernel's own Node is put inside. */
const NODE_FOLDER = '/opt/node/bin';

export interface Interpreter {
  /** argv[0] inside. */
  readonly executable: string;
  /** Node agents get the SDK and its preload. */
  readonly isNode: boolean;
  /** Python agents get the SDK on their module path. */
  readonly isPython: boolean;
  readonly mounts: readonly SandboxMount[];
  readonly searchPath: string;
}

const BY_EXTENSION: Readonly<Record<string, string>> = {
  '.ts': 'node',
  '.mts': 'node',
  '.js': 'node',
  '.mjs': 'node',
  '.cjs': 'node',
  '.py': 'python3',
  '.sh': 'sh',
};

/** By the name of a program or its path. */
export function isPython(program: string): boolean {
  return /^python(\d+(\.\d+)*)?$/.test(path.basename(program));
}

export function interpreterNameFor(script: string): string {
  return BY_EXTENSION[path.extname(script).toLowerCase()] ?? 'python3';
}

/**
 * Finds an interpreter by name or path. `node` is always the kernel's own. One that a sandbox does not see anyway comes with
 * its installation (the folder above its bin/), read-only, at the same place. @throws NOT_FOUND, PATH_REFUSED
 */
export async function resolveInterpreter(name: string, ownFiles: boolean): Promise<Interpreter> {
  if (name === 'node') return ownNode(ownFiles);
  const found = name.includes('/') ? path.resolve(name) : await findProgram(name);
  if (found === null || !(await isExecutableFile(found))) {
    throw new CloveError('NOT_FOUND', `interpreter not found: ${name}`, {
      hint: 'Give an absolute path, or a name that is on the PATH of the kernel.',
    });
  }
  const isNode = /^node(js)?(-?\d+)?$/.test(path.basename(found));
  // On the host's own paths nothing is mounted; these are what Landlock has to let through.
  const mounts = await installationOf(found);
  return { executable: found, isNode, isPython: isPython(found), mounts, searchPath: INSIDE_PATH };
}

function ownNode(ownFiles: boolean): Interpreter {
  if (!ownFiles || isInsideAnyway(process.execPath)) {
    const { execPath } = process;
    return {
      executable: execPath,
      isNode: true,
      isPython: false,
      mounts: isInsideAnyway(execPath) ? [] : [{ source: execPath, target: execPath, readonly: true }],
      searchPath: INSIDE_PATH,
    };
  }
  const executable = `${NODE_FOLDER}/node`;
  return {
    executable,
    isNode: true,
    isPython: false,
    mounts: [{ source: process.execPath, target: executable, readonly: true }],
    searchPath: `${NODE_FOLDER}:${INSIDE_PATH}`,
  };
}

/** On the kernel's PATH; text files there are shims of version managers, which would not work inside. */
async function findProgram(name: string): Promise<string | null> {
  const folders = [...(process.env.PATH ?? '').split(':'), ...INSIDE_PATH.split(':')];
  for (const folder of folders) {
    if (!folder.startsWith('/')) continue;
    const candidate = path.join(folder, name);
    if ((await isExecutableFile(candidate)) && (await isElf(candidate))) return candidate;
  }
  return null;
}

async function isElf(file: string): Promise<boolean> {
  const handle = await open(file).catch(() => null);
  if (handle === null) return false;
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0);
    return bytesRead === 4 && buffer.equals(Buffer.from([0x7f, 0x45, 0x4c, 0x46]));
  } finally {
    await handle.close();
  }
}

/** A virtual environment and the installation it points to are two folders. */
async function installationOf(program: string): Promise<SandboxMount[]> {
  const real = (await existing(program))?.real ?? program;
  const folders = new Set<string>();
  for (const file of [program, real]) {
    if (isInsideAnyway(file)) continue;
    const bin = path.dirname(file);
    const isPrefix = path.basename(bin) === 'bin' || (await exists(path.join(bin, '..', 'pyvenv.cfg')));
    const folder = isPrefix ? path.dirname(bin) : file;
    const reason = isPrefix ? await whyTooBroad(folder) : null;
    folders.add(reason === null ? folder : file);
  }
  return [...folders].map((folder) => ({ source: folder, target: folder, readonly: true }));
}
