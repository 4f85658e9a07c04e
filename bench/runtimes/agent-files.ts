/** What an agent of the bench sees of the host: the code it runs, read-only, and nothing else of the installation. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, cp, readdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { CloveError } from '../../errors/index.ts';
import { isOpen, isPassable, openCopy } from '../../kernel/agents/open-copy.ts';
import { packageRoot } from '../../native/package.ts';
import type { SyscallRequest } from '../../sdk/typescript/index.ts';
import type { PythonProgram } from '../scenario.ts';
import { pythonHostPath, SINGLE_THREADED, workerEnvironment } from './child.ts';

const run = promisify(execFile);
/** The folder above bench/: the repository, or dist/ in a published package. */
const CODE_ROOT = dirname(dirname(import.meta.dirname));
const EXTENSION = extname(import.meta.filename);
const CODE = ['bench', 'errors', 'kernel/protocol', 'kernel/wire', 'scenarios', 'sdk', 'worlds'];
const SYSTEM = ['/usr/', '/bin/', '/lib/', '/lib64/'];
const COMPILE_CACHE = '/opt/compile-cache';

export interface AgentMount {
  readonly source: string;
  readonly target: string;
  readonly readonly: boolean;
}

export interface AgentProgram {
  readonly command: readonly string[];
  readonly mounts: readonly AgentMount[];
}

/** Where things go that agents see. */
export interface AgentDirectories {
  /** Null: agents have no compile cache. */
  readonly compileCache: string | null;
  /** Copies for agents; null where they have the host's own paths and nothing can be shown elsewhere. */
  readonly scratch: string | null;
}

/** How agents of the bench are started: a command line, or a script with its interpreter. */
export interface AgentStart {
  readonly request: Pick<SyscallRequest<'SPAWN'>, 'command' | 'script' | 'python' | 'env'>;
  readonly mounts: readonly AgentMount[];
}

/** The kernel brings the interpreter's installation, the host's folder and the SDK along. */
export async function pythonAgent(
  program: PythonProgram,
  readOnlyPaths: readonly string[],
  scratch: string | null,
): Promise<AgentStart> {
  return {
    request: {
      script: pythonHostPath('agent_host'),
      python: program.interpreter,
      env: { ...SINGLE_THREADED },
    },
    mounts: await openMounts([dirname(program.script), ...readOnlyPaths], scratch),
  };
}

export async function nodeAgent(
  worker: URL,
  readOnlyPaths: readonly string[],
  directories: AgentDirectories,
): Promise<AgentStart> {
  const { command, mounts } = await agentProgram(worker, readOnlyPaths, directories);
  return { request: { command: [...command] }, mounts };
}

/**
 * Node's compile cache lives in a folder whose name ends in the user's number, and every agent has a user of its own. So the
 * agent makes a cache folder in its own /tmp that leads to the shared, read-only one.
 */
const ENTRY = `
const [cacheName, main] = process.argv.slice(1);
if (cacheName !== '') {
  const name = cacheName.replace(/[^-]*$/, String(process.getuid()));
  require('node:fs').symlinkSync('${COMPILE_CACHE}', '/tmp/' + name);
  require('node:module').enableCompileCache('/tmp');
}
import(main).then((module) => module.main());
`;

export async function agentProgram(
  worker: URL,
  readOnlyPaths: readonly string[],
  { compileCache, scratch }: AgentDirectories,
): Promise<AgentProgram> {
  const cache =
    compileCache === null || scratch === null ? null : await warmCompileCache(worker, compileCache, scratch);
  const seedrandom = dirname(createRequire(import.meta.url).resolve('seedrandom/package.json'));
  const code = CODE.map((part) => join(CODE_ROOT, part)).filter((folder) => existsSync(folder));
  const workerFolder = dirname(fileURLToPath(worker));
  const paths = [
    process.execPath,
    join(packageRoot(), 'package.json'),
    seedrandom,
    ...code,
    workerFolder,
    ...readOnlyPaths,
  ];
  const mounts = await openMounts(paths, scratch);
  if (cache !== null) mounts.push({ source: cache, target: COMPILE_CACHE, readonly: true });
  const main = new URL(`../worker/agent-host${EXTENSION}`, import.meta.url);
  return {
    command: [
      process.execPath,
      '--input-type=commonjs',
      '--eval',
      ENTRY,
      cache === null ? '' : basename(cache),
      main.href,
    ],
    mounts,
  };
}

/** As they are where every user can read them, else from copies. @throws CONFIG where there can be none */
async function openMounts(paths: readonly string[], scratch: string | null): Promise<AgentMount[]> {
  return await Promise.all(
    outermost(paths)
      .filter((path) => !SYSTEM.some((folder) => path.startsWith(folder)))
      .map(async (path, index) => ({
        source:
          scratch === null ? await requireOpen(path) : await openCopy(path, join(scratch, `open-${index}`)),
        target: path,
        readonly: true,
      })),
  );
}

async function requireOpen(path: string): Promise<string> {
  for (let at = path; ; at = dirname(at)) {
    if (!(at === path ? await isOpen(at) : await isPassable(at)))
      throw new CloveError('CONFIG', `${at} is closed to other users, and agents have users of their own`, {
        hint: 'This host allows no mounts: agents read programs where they lie. Open them (chmod o+rX), or go without sandboxes: --runtime process.',
      });
    if (at === dirname(at)) return path;
  }
}

/** Without the paths that lie inside another one of them. */
function outermost(paths: readonly string[]): string[] {
  const unique = [...new Set(paths)];
  return unique.filter((path) => !unique.some((other) => other !== path && path.startsWith(`${other}/`)));
}

/**
 * A copy of the filled cache that every user may read (Node's own files are for their owner alone); null when Node could not make
 * one: agents then start slower, nothing else changes.
 */
async function warmCompileCache(worker: URL, directory: string, scratch: string): Promise<string | null> {
  const script = fileURLToPath(new URL(`../worker/warm-host${EXTENSION}`, import.meta.url));
  const { stdout } = await run(process.execPath, [script, worker.href], {
    env: workerEnvironment(directory),
    timeout: 30_000,
  });
  const folder = stdout.split('\n').at(-1) ?? '';
  if (folder === '' || !existsSync(folder)) return null;
  const copy = join(scratch, basename(folder));
  await cp(folder, copy, { recursive: true });
  await chmod(copy, 0o755);
  for (const entry of await readdir(copy)) await chmod(join(copy, entry), 0o644);
  return copy;
}
