import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { CloveError } from '../../errors/index.ts';

/** Mount points of the version 2 hierarchy, then of version 1 hierarchies in which agents have groups of their own. */
function mountsOf(mountInfo: string): { unified: string | null; byController: Map<string, string> } {
  let unified: string | null = null;
  const byController = new Map<string, string>();
  for (const line of mountInfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const mountPoint = before.split(' ')[4];
    const [type, , options = ''] = after.split(' ');
    if (mountPoint === undefined) continue;
    if (type === 'cgroup2') unified ??= mountPoint;
    if (type === 'cgroup')
      for (const controller of options.split(',')) byController.set(controller, mountPoint);
  }
  return { unified, byController };
}

/** Host folder of the control group in which a process is. @throws NOT_FOUND */
export function controlGroupOf(pid: number): string {
  let groups: string;
  let mounts: ReturnType<typeof mountsOf>;
  try {
    groups = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
    mounts = mountsOf(readFileSync('/proc/self/mountinfo', 'utf8'));
  } catch (cause) {
    throw new CloveError('NOT_FOUND', `process ${pid} is gone`, { cause });
  }
  for (const line of groups.trimEnd().split('\n')) {
    const [, controllers = '', name = '/'] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    const mountPoint =
      controllers === '' ? mounts.unified : mounts.byController.get(controllers.split(',')[0] ?? '');
    // Everybody is in the root: such a group says nothing about whose threads these are.
    if (mountPoint == null || name === '/') continue;
    const folder = path.join(mountPoint, name);
    if (existsSync(path.join(folder, 'cgroup.procs'))) return folder;
  }
  throw new CloveError('NOT_FOUND', `process ${pid} has no control group of its own`, {
    hint: 'Without a group nobody can say which threads belong to the agent, and nothing can be skipped.',
  });
}
