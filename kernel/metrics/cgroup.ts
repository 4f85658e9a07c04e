import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parseCounters } from './proc-text.ts';

/** Figures of one cgroup. Bytes and µs; -1 = no limit. */
export interface CgroupMetrics {
  /** ms since the epoch. */
  timestamp: number;
  cgroup_path: string;
  valid: true;
  /** What is accounted for this cgroup here; the figures of the rest are 0. */
  controllers: CgroupController[];
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

export type CgroupController = 'cpu' | 'cpuacct' | 'memory' | 'pids' | 'io';

/**
 * Where each hierarchy may hold the cgroups of this kernel, by controller name or `unified` for version 2: at its top,
 * or below the own cgroup of this process where it could not write at the top.
 */
export type CgroupRoots = ReadonlyMap<string, readonly string[]>;

/** Version 1 says "no limit" with the largest multiple of the page size. */
const V1_UNLIMITED = 2 ** 62;

/** From /proc/self/mountinfo and /proc/self/cgroup. */
export function findCgroupRoots(mountinfo: string, ownCgroups: string): CgroupRoots {
  const own = new Map<string, string>();
  for (const line of ownCgroups.trim().split('\n')) {
    const [, controllers = '', at = '/'] = line.match(/^\d+:([^:]*):(.*)$/) ?? [];
    for (const controller of controllers === '' ? ['unified'] : controllers.split(','))
      own.set(controller, at);
  }
  const roots = new Map<string, readonly string[]>();
  for (const line of mountinfo.trim().split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const [, , , mountRoot = '/', mountPoint = ''] = before.split(' ');
    const [type, , options = ''] = after.split(' ');
    if (type === 'cgroup2') roots.set('unified', bases(mountPoint, mountRoot, own.get('unified')));
    if (type !== 'cgroup') continue;
    for (const option of options.split(',')) {
      if (own.has(option)) roots.set(option, bases(mountPoint, mountRoot, own.get(option)));
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
  const unified = findDirectory(roots.get('unified') ?? [], cgroupPath, true);
  // A hierarchy of version 1 has only the controllers it was mounted with, that of version 2 what the others leave.
  const of = (controller: string): CgroupDirectory | null => {
    const legacy = roots.get(controller);
    return legacy === undefined ? unified : findDirectory(legacy, cgroupPath, false);
  };
  const cpu = of('cpu');
  // The time used is known to version 2 even where the cpu controller is not its own.
  const used = roots.has('cpuacct') ? (of('cpuacct') ?? unified) : unified;
  const [memory, pids, io] = [of('memory'), of('pids'), of('blkio')];
  const accounted = {
    cpu: cpu?.has(cpu.unified ? 'cpu.max' : 'cpu.cfs_quota_us'),
    cpuacct: used?.has(used.unified ? 'cpu.stat' : 'cpuacct.usage'),
    memory: memory?.has(memory.unified ? 'memory.current' : 'memory.usage_in_bytes'),
    pids: pids?.has('pids.current'),
    io: io?.has(io.unified ? 'io.stat' : 'blkio.throttle.io_service_bytes'),
  };
  const controllers = (Object.keys(accounted) as CgroupController[]).filter(
    (name) => accounted[name] === true,
  );
  if (controllers.length === 0) return null;
  return {
    timestamp: Date.now(),
    cgroup_path: cgroupPath,
    valid: true,
    controllers,
    cpu: readCpu(cpu, used),
    memory: readMemory(memory),
    pids: { current: pids?.number('pids.current') ?? 0, max: pids?.limit('pids.max') ?? -1 },
    io: readIo(io),
  };
}

/** A file of a cgroup in one hierarchy, or in that of version 2 where the controller has none of its own; null = nowhere. */
export function findCgroupFile(
  roots: CgroupRoots,
  controller: string,
  cgroupPath: string,
  file: string,
): string | null {
  const folders = roots.get(controller) ?? roots.get('unified') ?? [];
  return folders.map((root) => path.join(root, cgroupPath, file)).find((each) => existsSync(each)) ?? null;
}

function findDirectory(
  roots: readonly string[],
  cgroupPath: string,
  unified: boolean,
): CgroupDirectory | null {
  const found = roots.map((root) => path.join(root, cgroupPath)).find((directory) => existsSync(directory));
  return found === undefined ? null : new CgroupDirectory(found, unified);
}

function readCpu(cpu: CgroupDirectory | null, used: CgroupDirectory | null): CgroupMetrics['cpu'] {
  const throttling = cpu?.counters('cpu.stat') ?? new Map<string, number>();
  const time = readCpuTime(used);
  const periods = {
    nr_periods: throttling.get('nr_periods') ?? 0,
    nr_throttled: throttling.get('nr_throttled') ?? 0,
  };
  if (cpu?.unified === true) {
    const [quota = 'max', period = '100000'] = cpu.text('cpu.max').trim().split(' ');
    return {
      ...time,
      ...periods,
      throttled_usec: throttling.get('throttled_usec') ?? 0,
      quota_usec: quota === 'max' || quota === '' ? -1 : Number(quota),
      period_usec: Number(period),
    };
  }
  return {
    ...time,
    ...periods,
    throttled_usec: Math.floor((throttling.get('throttled_time') ?? 0) / 1000),
    quota_usec: cpu?.limit('cpu.cfs_quota_us') ?? -1,
    period_usec: cpu?.number('cpu.cfs_period_us') ?? 100_000,
  };
}

function readCpuTime(
  used: CgroupDirectory | null,
): Pick<CgroupMetrics['cpu'], 'usage_usec' | 'user_usec' | 'system_usec'> {
  if (used?.unified === true) {
    const stat = used.counters('cpu.stat');
    const of = (name: string): number => stat.get(name) ?? 0;
    return { usage_usec: of('usage_usec'), user_usec: of('user_usec'), system_usec: of('system_usec') };
  }
  const usec = (file: string): number => Math.floor((used?.number(file) ?? 0) / 1000);
  return {
    usage_usec: usec('cpuacct.usage'),
    user_usec: usec('cpuacct.usage_user'),
    system_usec: usec('cpuacct.usage_sys'),
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

  has(file: string): boolean {
    return existsSync(path.join(this.#path, file));
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

/** The top of a mount, and the process's own cgroup as seen through it, which may show only a part of the hierarchy. */
function bases(mountPoint: string, mountRoot: string, own = '/'): string[] {
  const inside = mountRoot !== '/' && own.startsWith(mountRoot) ? own.slice(mountRoot.length) : own;
  return [...new Set([mountPoint, path.resolve(mountPoint, `./${inside}`)])];
}
