import { readdirSync, readFileSync } from 'node:fs';
import { parseCounters, parsePidStat, parseStatm } from './proc-text.ts';

/** Linux counts process times in ticks of this length for user space, whatever its own timer does. */
const TICK_MS = 10;
const PAGE_BYTES = 4096;
const MAX_COMMAND_LINE = 4096;

/**
 * A process and everything below it: who it is comes from the first process, times, sizes and counts are sums over all.
 * Memory that processes share is counted for each of them; the cgroup's figure counts it once.
 */
export interface ProcessMetrics {
  /** ms since the epoch. */
  timestamp: number;
  pid: number;
  ppid: number;
  name: string;
  state: string;
  cmdline: string;
  /** Percent of one core. */
  cpu: { percent: number; time_user_ms: number; time_system_ms: number; priority: number; nice: number };
  memory: { rss: number; vms: number; shared: number; data: number; percent: number };
  io: { read_bytes: number; write_bytes: number; read_ops: number; write_ops: number };
  threads: number;
  fds: number;
  processes: number;
}

/** null when the process is gone. `processIds`: the whole tree where it is known, else it is walked. */
export function readProcessTree(
  pid: number,
  processIds: readonly number[],
  figures: { readonly cpuPercent: number; readonly totalMemoryBytes: number },
): ProcessMetrics | null {
  const ids = processIds.includes(pid) ? processIds : descendants(pid);
  const main = readText(`/proc/${pid}/stat`);
  if (main === null) return null;
  const stat = parsePidStat(main);
  const metrics: ProcessMetrics = {
    timestamp: Date.now(),
    pid,
    ppid: stat.ppid,
    name: stat.name,
    state: stat.state,
    cmdline: commandLine(pid),
    cpu: {
      percent: figures.cpuPercent,
      time_user_ms: 0,
      time_system_ms: 0,
      priority: stat.priority,
      nice: stat.nice,
    },
    memory: { rss: 0, vms: 0, shared: 0, data: 0, percent: 0 },
    io: { read_bytes: 0, write_bytes: 0, read_ops: 0, write_ops: 0 },
    threads: 0,
    fds: 0,
    processes: 0,
  };
  for (const each of ids) addProcess(metrics, each);
  const total = figures.totalMemoryBytes;
  metrics.memory.percent = total === 0 ? 0 : (metrics.memory.rss / total) * 100;
  return metrics;
}

/** CPU time of processes in ms; those that are gone count nothing. */
export function processCpuMs(processIds: readonly number[]): number {
  let sum = 0;
  for (const pid of processIds) {
    const text = readText(`/proc/${pid}/stat`);
    if (text === null) continue;
    const { userTicks, systemTicks } = parsePidStat(text);
    sum += (userTicks + systemTicks) * TICK_MS;
  }
  return sum;
}

/** The process and all below it, as far as they can be read. */
export function descendants(pid: number): number[] {
  const found = [pid];
  for (let at = 0; at < found.length; at += 1) {
    for (const task of listDirectory(`/proc/${found[at]}/task`)) {
      const children = readText(`/proc/${found[at]}/task/${task}/children`) ?? '';
      found.push(...children.split(' ').filter(Boolean).map(Number));
    }
  }
  return found;
}

function addProcess(metrics: ProcessMetrics, pid: number): void {
  const text = readText(`/proc/${pid}/stat`);
  if (text === null) return;
  const stat = parsePidStat(text);
  const pages = parseStatm(readText(`/proc/${pid}/statm`) ?? '');
  const io = parseCounters(readText(`/proc/${pid}/io`) ?? '');
  metrics.cpu.time_user_ms += stat.userTicks * TICK_MS;
  metrics.cpu.time_system_ms += stat.systemTicks * TICK_MS;
  metrics.memory.rss += pages.resident * PAGE_BYTES;
  metrics.memory.vms += pages.size * PAGE_BYTES;
  metrics.memory.shared += pages.shared * PAGE_BYTES;
  metrics.memory.data += pages.data * PAGE_BYTES;
  metrics.io.read_bytes += io.get('read_bytes') ?? 0;
  metrics.io.write_bytes += io.get('write_bytes') ?? 0;
  metrics.io.read_ops += io.get('syscr') ?? 0;
  metrics.io.write_ops += io.get('syscw') ?? 0;
  metrics.threads += stat.threads;
  metrics.fds += listDirectory(`/proc/${pid}/fd`).length;
  metrics.processes += 1;
}

function commandLine(pid: number): string {
  const text = readText(`/proc/${pid}/cmdline`) ?? '';
  return text.replace(/\0+$/, '').replaceAll('\0', ' ').slice(0, MAX_COMMAND_LINE);
}

/** Processes end while they are looked at: what cannot be read is not there. */
function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function listDirectory(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
