import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { CloveError } from '../errors/index.ts';
import type { PressureControl } from './chaos/target.ts';

const PAGE_BYTES = 4096;

/** Where the group of a process is for one controller, in whichever hierarchy has it. @throws NOT_FOUND */
export function groupOf(
  pid: number,
  controller: 'memory' | 'cpu',
): { readonly folder: string; readonly version: 1 | 2 } {
  let groups: string;
  try {
    groups = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
  } catch (cause) {
    throw new CloveError('NOT_FOUND', `process ${pid} is gone`, { cause });
  }
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  for (const line of groups.split('\n')) {
    const [, controllers = '', name = ''] = line.split(/:(.*?):/);
    if (!controllers.split(',').includes(controller)) continue;
    const mount = mounts.find((entry) => new RegExp(` - cgroup \\S+ (\\S+,)?${controller}(,|$)`).test(entry));
    if (mount !== undefined) return { folder: path.join(mount.split(' ')[4] as string, name), version: 1 };
  }
  const unified = mounts.find((entry) => entry.includes(' - cgroup2 '))?.split(' ')[4];
  const name = /^0::(.+)$/m.exec(groups)?.[1];
  if (unified !== undefined && name !== undefined) {
    const folder = path.join(unified, name);
    if (read(folder, controller === 'memory' ? 'memory.max' : 'cpu.max') !== null)
      return { folder, version: 2 };
  }
  throw new CloveError('NOT_FOUND', `the machine has no control groups of ${controller} for process ${pid}`);
}

function read(folder: string, name: string): string | null {
  try {
    return readFileSync(path.join(folder, name), 'utf8').trim();
  } catch {
    return null;
  }
}

/** Writes and says how to take it back; a group that is gone needs no taking back. */
function change(folder: string, name: string, value: string): () => void {
  const file = path.join(folder, name);
  const before = readFileSync(file, 'utf8').trim();
  writeFileSync(file, value);
  return () => {
    try {
      writeFileSync(file, before);
    } catch {
      // The agent has ended, and its group with it.
    }
  };
}

/** Limits of the control groups that agents are in, tightened while an event lasts. An agent that is started anew is not under it. */
export function processPressure(pidOf: (memberId: number) => number | null): PressureControl {
  const alive = (memberId: number) => {
    const pid = pidOf(memberId);
    if (pid === null) throw new CloveError('NOT_FOUND', `member ${memberId} has no process`);
    return pid;
  };
  return {
    memory(memberId, percent) {
      const { folder, version } = groupOf(alive(memberId), 'memory');
      const [limitFile, usageFile] =
        version === 1 ? ['memory.limit_in_bytes', 'memory.usage_in_bytes'] : ['memory.max', 'memory.current'];
      const limit = Number(read(folder, limitFile));
      if (!Number.isFinite(limit) || limit > 2 ** 50)
        throw new CloveError(
          'BAD_REQUEST',
          `member ${memberId} has no limit of memory that could be lowered`,
        );
      // Below what is in use the kernel would refuse (version 1) or kill at once (version 2): from here on there is no more.
      const usage = Number(read(folder, usageFile));
      const wanted = Math.max(limit * (1 - percent / 100), usage + PAGE_BYTES);
      return change(folder, limitFile, String(Math.min(limit, Math.ceil(wanted / PAGE_BYTES) * PAGE_BYTES)));
    },
    cpu(memberId, percent) {
      const { folder, version } = groupOf(alive(memberId), 'cpu');
      const share = 1 - percent / 100;
      if (version === 1) {
        const quota = Number(read(folder, 'cpu.cfs_quota_us'));
        const period = Number(read(folder, 'cpu.cfs_period_us'));
        return change(
          folder,
          'cpu.cfs_quota_us',
          String(Math.max(1000, Math.round((quota < 0 ? period : quota) * share))),
        );
      }
      const [quota = 'max', period = '100000'] = (read(folder, 'cpu.max') ?? '').split(' ');
      const now = quota === 'max' ? Number(period) : Number(quota);
      return change(folder, 'cpu.max', `${Math.max(1000, Math.round(now * share))} ${period}`);
    },
  };
}
