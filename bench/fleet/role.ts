import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { AgentPermissions, Role } from './types.ts';

const MIB = 2 ** 20;

/** What a role may do, said in full. */
export type Rights = Extract<AgentPermissions, object>;

/**
 * An agent of a scenario in `folder`: a script of its `agents`, which uses its `lib` unless it is Python. It has a small machine, and may do
 * nothing but what `can` says.
 */
export function leastRole(folder: string, title: string, file: string, can: Rights): Role {
  return {
    title,
    program: { script: pathToFileURL(path.join(folder, 'agents', file)) },
    ...(file.endsWith('.py')
      ? {}
      : {
          mounts: ['agents', 'lib']
            .map((name) => path.join(folder, name))
            .map((place) => ({ source: place, target: place })),
        }),
    limits: { memory: 128 * MIB, cpu: 1, max_pids: 32 },
    permissions: { can_exec: false, can_read: false, can_write: false, can_think: false, ...can },
  };
}
