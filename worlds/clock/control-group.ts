import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { CloveError } from '../../errors/index.ts';

const HINT =
  'Mount the version 2 hierarchy (mount -t cgroup2 none /sys/fs/cgroup/unified), even beside version 1 controllers.';

/** Where the version 2 hierarchy is mounted; null = nowhere. The first kernel file system of that type wins. */
export function unifiedMount(): string | null {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((entry) => entry.includes(' - cgroup2 '));
  return line?.split(' ')[4] ?? null;
}

/**
 * Host folder of the version 2 control group in which a process is: version 1 lists are cached while somebody reads them, and
 * cannot say who is there now. @throws NOT_FOUND
 */
export function controlGroupOf(pid: number): string {
  const mountPoint = unifiedMount();
  if (mountPoint === null)
    throw new CloveError('NOT_FOUND', 'no version 2 control group hierarchy is mounted', { hint: HINT });
  let groups: string;
  try {
    groups = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
  } catch (cause) {
    throw new CloveError('NOT_FOUND', `process ${pid} is gone`, { cause });
  }
  const name = /^0::(.*)$/m.exec(groups)?.[1] ?? '/';
  const folder = path.join(mountPoint, name);
  // Everybody is in the root: such a group says nothing about whose threads these are.
  if (name === '/' || !existsSync(path.join(folder, 'cgroup.threads')))
    throw new CloveError('NOT_FOUND', `process ${pid} has no version 2 control group of its own`, {
      hint: HINT,
    });
  return folder;
}
