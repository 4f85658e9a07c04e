// What a template process is started with. How it works: native/zygote/serve.cc and docs/design/zygote.md.
import { readFileSync } from 'node:fs';
import { chmod, copyFile, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { ensureZygote } from './build.ts';
import { packageRoot } from './package.ts';
import { sandboxFace } from './sandbox-native.ts';
import type { Layer } from './types.ts';

/** Where the staged files are inside. */
export const ZYGOTE_TARGET = '/opt/clove-zygote';
/** What a template writes to its standard output when it takes requests. */
export const ZYGOTE_READY = 'clove template ready\n';
/** Agents cannot have more than their template. */
export const ZYGOTE_OPEN_FILES = 4096;

const LIBRARY = `${ZYGOTE_TARGET}/libclove_zygote.so`;

/** After the last launch from the template of this user: what waits to become an agent of it ends. */
export function endSpares(templateUid: number): void {
  sandboxFace().endSpares(templateUid);
}

export type ZygoteRuntime = 'node' | 'python';

/**
 * What a template itself does without. Landlock would forbid its agents their mounts. Where cgroup v2 is mounted with nsdelegate (systemd does), a cgroup
 * namespace is a wall for processes, too: of one in its own group, none could be born into an agent's. Agents have every layer all the same.
 */
export function layersOffInTemplate(
  mountinfo: string = readFileSync('/proc/self/mountinfo', 'utf8'),
): Layer[] {
  const isWall = / - cgroup2 \S+ (?:\S+,)?nsdelegate(?:,|$)/m.test(mountinfo);
  return isWall ? ['landlock', 'cgroupns'] : ['landlock'];
}

/** Copies what templates load into a folder that is mounted at ZYGOTE_TARGET. @throws SETUP_FAILED */
export async function stageZygote(folder: string): Promise<void> {
  const { library, node } = await ensureZygote();
  const sources = path.join(packageRoot(), 'native', 'zygote');
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const files = [
    [library, 'libclove_zygote.so'],
    [node, 'clove_zygote.node'],
    [path.join(sources, 'node_template.cjs'), 'node_template.cjs'],
    [path.join(sources, 'clove_template.py'), 'clove_template.py'],
  ] as const;
  for (const [source, name] of files) {
    await copyFile(source, path.join(folder, name));
    await chmod(path.join(folder, name), 0o644);
  }
}

export interface ZygoteProgram {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/**
 * The command line and variables of a template. `preload` are modules: names, or absolute paths; `warmUp` those of which an
 * exported function (warmUp in Node, warm_up in Python) is called once, so that agents start with hot code.
 */
export function zygoteProgram(
  runtime: ZygoteRuntime,
  executable: string,
  load: { readonly preload: readonly string[]; readonly warmUp: readonly string[] },
  flags: readonly string[] = [],
): ZygoteProgram {
  const env = {
    LD_PRELOAD: LIBRARY,
    CLOVE_ZYGOTE_LIBRARY: LIBRARY,
    CLOVE_TEMPLATE: JSON.stringify({ preload: load.preload, warmUp: load.warmUp }),
  };
  if (runtime === 'node') {
    // No thread that work is handed to: none of them would be there after a fork.
    const threads = ['--single-threaded', '--v8-pool-size=0', '--disable-sigusr1'];
    // What was warmed up stays compiled: full collections come late, for they drop optimised code whose objects are gone.
    threads.push('--no-flush-bytecode', '--initial-old-space-size=64');
    return { argv: [executable, ...threads, ...flags, `${ZYGOTE_TARGET}/node_template.cjs`], env };
  }
  const start = `import sys; sys.path.insert(0, ${JSON.stringify(ZYGOTE_TARGET)}); import clove_template; clove_template.main()`;
  return {
    argv: [executable, ...flags, '-c', start],
    // Numeric libraries start a thread per core when they are loaded.
    env: { ...env, OPENBLAS_NUM_THREADS: '1', OMP_NUM_THREADS: '1', MKL_NUM_THREADS: '1' },
  };
}
