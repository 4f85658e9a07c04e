import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseCounters } from './proc-text.ts';

/** Figures of one cgroup. Bytes and µs; -1 = no limit. */
export interface CgroupMetrics {
  /** ms since the epoch. */
  timestamp: number;
  cgroup_path: string;
  valid: true;
  cpu: {
    usage_usec: number;
    user_usec: number;
    system_usec: number;
    throttled_usec: number;
    nr_periods: number;
    nr_throttled: number;
    quota_usec: number;
    period_usec: number;
  };
  memory: {
    current: number;
    min: number;
    low: number;
    high: number;
    max: number;
    peak: number;
    swap_current: number;
    swap_max: number;
    oom_kills: number;
  };
  pids: { current: number; max: number };
  io: { read_bytes: number; write_bytes: number; read_ops: number; write_ops: number };
}

/** Where each controller's hierarchy starts for this process: controller name, or `unified` for version 2. */
export type CgroupRoots = ReadonlyMap<string, string>;

/** Version 1 says "no limit" with the largest multiple of the page size. */
const V1_UNLIMITED = 2 ** 62;

/** From /proc/self/mountinfo and /proc/self/cgroup. Paths of cgroups are below the process's own cgroup. */
export function findCgroupRoots(mountinfo: string, ownCgroups: string): CgroupRoots {
  const own = new Map<string, string>();
  for (const line of ownCgroups.trim().split('\n')) {
    const [, controllers = '', at = '/'] = line.match(/^\d+:([^:]*):(.*)$/) ?? [];
    for (const controller of controllers === '' ? ['unified'] : controllers.split(','))
      own.set(controller, at);
  }
  const roots = new Map<string, string>();
  for (const line of mountinfo.trim().split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const [, , , mountRoot = '/', mountPoint = ''] = before.split(' ');
    const [type, , options = ''] = after.split(' ');
    if (type === 'cgroup2') roots.set('unified', join(mountPoint, mountRoot, own.get('unified')));
    if (type !== 'cgroup') continue;
    for (const option of options.split(',')) {
      if (own.has(option)) roots.set(option, join(mountPoint, mountRoot, own.get(option)));
    }
  }
  return roots;
}

/** Relative, of plain names only: nothing that climbs, no matter how it is spelt. */
export function isCgroupPath(cgroupPath: string): boolean {
  return (
    cgroupPath.length <= 512 &&
    /^[A-Za-z0-9_@:.-]+(\/[A-Za-z0-9_@:.-]+)*$/.test(cgroupPath) &&
    cgroupPath.split('/').every((name) => !/^\.+$/.test(name))
  );
}

/** null when no hierarchy has such a cgroup. */
export function readCgroup(roots: CgroupRoots, cgroupPath: string): CgroupMetrics | null {
  if (!isCgroupPath(cgroupPath)) return null;
  const directory = (controller: string): CgroupDirectory | null => {
    const legacy = roots.get(controller);
    const root = legacy ?? roots.get('unified');
    if (root === undefined) return null;
    const at = path.join(root, cgroupPath);
    return existsSync(at) ? new CgroupDirectory(at, legacy === undefined) : null;
  };
  const cpu = directory('cpu');
  const memory = directory('memory');
  const pids = directory('pids');
  if (cpu === null && memory === null && pids === null) return null;
  return {
    timestamp: Date.now(),
    cgroup_path: cgroupPath,
    valid: true,
    cpu: readCpu(cpu, directory('cpuacct')),
    memory: readMemory(memory),
    pids: { current: pids?.number('pids.current') ?? 0, max: pids?.limit('pids.max') ?? -1 },
    io: readIo(directory('blkio')),
  };
}

function readCpu(cpu: CgroupDirectory | null, accounting: CgroupDirectory | null): CgroupMetrics['cpu'] {
  const stat = cpu?.counters('cpu.stat') ?? new Map<string, number>();
  const of = (name: string): number => stat.get(name) ?? 0;
  if (cpu?.unified === true) {
    const [quota = 'max', period = '100000'] = cpu.text('cpu.max').trim().split(' ');
    return {
      usage_usec: of('usage_usec'),
      user_usec: of('user_usec'),
      system_usec: of('system_usec'),
      throttled_usec: of('throttled_usec'),
      nr_periods: of('nr_periods'),
      nr_throttled: of('nr_throttled'),
      quota_usec: quota === 'max' || quota === '' ? -1 : Number(quota),
      period_usec: Number(period),
    };
  }
  const usec = (file: string): number => Math.floor((accounting?.number(file) ?? 0) / 1000);
  return {
    usage_usec: usec('cpuacct.usage'),
    user_usec: usec('cpuacct.usage_user'),
    system_usec: usec('cpuacct.usage_sys'),
    throttled_usec: Math.floor(of('throttled_time') / 1000),
    nr_periods: of('nr_periods'),
    nr_throttled: of('nr_throttled'),
    quota_usec: cpu?.limit('cpu.cfs_quota_us') ?? -1,
    period_usec: cpu?.number('cpu.cfs_period_us') ?? 100_000,
  };
}

function readMemory(memory: CgroupDirectory | null): CgroupMetrics['memory'] {
  if (memory === null) {
    return {
      current: 0,
      min: 0,
      low: 0,
      high: -1,
      max: -1,
      peak: 0,
      swap_current: 0,
      swap_max: -1,
      oom_kills: 0,
    };
  }
  if (memory.unified) {
    return {
      current: memory.number('memory.current'),
      min: memory.number('memory.min'),
      low: memory.number('memory.low'),
      high: memory.limit('memory.high'),
      max: memory.limit('memory.max'),
      peak: memory.number('memory.peak'),
      swap_current: memory.number('memory.swap.current'),
      swap_max: memory.limit('memory.swap.max'),
      oom_kills: memory.counters('memory.events').get('oom_kill') ?? 0,
    };
  }
  const current = memory.number('memory.usage_in_bytes');
  const max = memory.limit('memory.limit_in_bytes');
  const both = memory.limit('memory.memsw.limit_in_bytes');
  return {
    current,
    min: 0,
    low: 0,
    high: -1,
    max,
    peak: memory.number('memory.max_usage_in_bytes'),
    // Version 1 accounts memory and swap together.
    swap_current: Math.max(0, memory.number('memory.memsw.usage_in_bytes') - current),
    swap_max: both === -1 || max === -1 ? -1 : Math.max(0, both - max),
    oom_kills: memory.counters('memory.oom_control').get('oom_kill') ?? 0,
  };
}

function readIo(io: CgroupDirectory | null): CgroupMetrics['io'] {
  const sum = { read_bytes: 0, write_bytes: 0, read_ops: 0, write_ops: 0 };
  if (io === null) return sum;
  if (io.unified) {
    const fields = {
      rbytes: 'read_bytes',
      wbytes: 'write_bytes',
      rios: 'read_ops',
      wios: 'write_ops',
    } as const;
    for (const [, name, value] of io.text('io.stat').matchAll(/\b(rbytes|wbytes|rios|wios)=(\d+)/g)) {
      sum[fields[name as keyof typeof fields]] += Number(value);
    }
    return sum;
  }
  for (const [file, unit] of [
    ['blkio.throttle.io_service_bytes', 'bytes'],
    ['blkio.throttle.io_serviced', 'ops'],
  ] as const) {
    for (const [, kind, value] of io.text(file).matchAll(/^\d+:\d+ (Read|Write) (\d+)$/gm)) {
      sum[`${kind === 'Read' ? 'read' : 'write'}_${unit}`] += Number(value);
    }
  }
  return sum;
}

class CgroupDirectory {
  readonly unified: boolean;
  readonly #path: string;

  constructor(directory: string, unified: boolean) {
    this.#path = directory;
    this.unified = unified;
  }

  /** '' for a file that this kernel or this cgroup does not have. */
  text(file: string): string {
    try {
      return readFileSync(path.join(this.#path, file), 'utf8');
    } catch {
      return '';
    }
  }

  number(file: string): number {
    const value = Number.parseInt(this.text(file), 10);
    return Number.isNaN(value) ? 0 : value;
  }

  /** -1 = none. */
  limit(file: string): number {
    const value = Number.parseInt(this.text(file), 10);
    return Number.isNaN(value) || value < 0 || value >= V1_UNLIMITED ? -1 : value;
  }

  counters(file: string): ReadonlyMap<string, number> {
    return parseCounters(this.text(file));
  }
}

/** The process's own cgroup as seen through one mount, which may show only a part of the hierarchy. */
function join(mountPoint: string, mountRoot: string, own = '/'): string {
  const inside = mountRoot !== '/' && own.startsWith(mountRoot) ? own.slice(mountRoot.length) : own;
  return path.resolve(mountPoint, `./${inside}`);
}
