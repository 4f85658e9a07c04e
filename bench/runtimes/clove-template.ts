/** The template that trials of the `clove` runtime are forked from: it has loaded the worker, and run what the worker warms up with. */
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';
import type { SyscallRequest } from '../../sdk/typescript/index.ts';
import type { PythonProgram } from '../scenario.ts';
import type { AgentMount } from './agent-files.ts';
import { pythonHostPath } from './child.ts';

const EXTENSION = extname(import.meta.filename);

export interface TrialTemplate {
  /** Of SPAWN: the script of a trial, which reads its order as every agent of the bench does, and the template. */
  readonly request: Pick<SyscallRequest<'SPAWN'>, 'script' | 'python' | 'template'>;
  /** A script that does nothing. */
  readonly probe: string;
}

/** Files of a template in `scratch`, readable for every user. */
export async function trialTemplate(
  worker: URL,
  mounts: readonly AgentMount[],
  scratch: string,
  memoryBytes: number,
): Promise<TrialTemplate> {
  const folder = join(scratch, 'template');
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o755);
  const host = new URL(`../worker/agent-host${EXTENSION}`, import.meta.url).href;
  const rehearsal = new URL(`../worker/rehearse${EXTENSION}`, import.meta.url).href;
  const files = {
    'probe.mjs': '',
    'trial.mjs': `import { main } from ${JSON.stringify(host)};\nawait main();\n`,
    // A worker need not have anything to warm up. Last, so that its code is the hottest.
    'warm.mjs': `import { rehearse } from ${JSON.stringify(rehearsal)};
import * as worker from ${JSON.stringify(worker.href)};
export async function warmUp() {
  await rehearse();
  await worker.warmUp?.();
}
`,
  };
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(folder, name), content);
    await chmod(join(folder, name), 0o644);
  }
  return {
    request: {
      script: join(folder, 'trial.mjs'),
      template: {
        runtime: 'node',
        warm_up: [join(folder, 'warm.mjs')],
        mounts: [
          ...mounts.map(({ source, target }) => ({ source, target })),
          { source: folder, target: folder },
        ],
        memory: memoryBytes,
      },
    },
    probe: join(folder, 'probe.mjs'),
  };
}

/** The same for a worker in Python: its modules are loaded, and the worker itself, which may have something to warm up. */
export async function pythonTemplate(
  program: PythonProgram,
  mounts: readonly AgentMount[],
  scratch: string,
  memoryBytes: number,
): Promise<TrialTemplate> {
  const folder = join(scratch, 'template');
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o755);
  const probe = join(folder, 'probe.py');
  const warm = join(folder, 'clove_bench_warm.py');
  const host = pythonHostPath('agent_host');
  // As the host of a trial loads them: what is loaded already is not read and compiled by each.
  const warming = `import sys
sys.path.insert(0, ${JSON.stringify(dirname(host))})
import execute
worker = execute.load(${JSON.stringify(program.script)})
def warm_up():
    getattr(worker, "warm_up", lambda: None)()
`;
  for (const [file, content] of [
    [probe, ''],
    [warm, warming],
  ] as const) {
    await writeFile(file, content);
    await chmod(file, 0o644);
  }
  return {
    request: {
      script: host,
      python: program.interpreter,
      template: {
        runtime: 'python',
        // What an agent of the bench tells its result with.
        preload: [...program.preload, 'clove_sdk'],
        warm_up: [warm],
        mounts: [
          ...mounts.map(({ source, target }) => ({ source, target })),
          ...[folder, dirname(host)].map((own) => ({ source: own, target: own })),
        ],
        memory: memoryBytes,
      },
    },
    probe,
  };
}
