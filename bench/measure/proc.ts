/** Readings from /proc; every function answers null for a process that is gone. */
import { readFileSync } from 'node:fs';

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

/** 4 KiB on every machine Clove runs on except some arm64 kernels; read once from the auxiliary facts of this process. */
const PAGE_BYTES = pageSize();

function pageSize(): number {
  const kilobytes = /^KernelPageSize:\s+(\d+) kB/m.exec(read('/proc/self/smaps') ?? '')?.[1];
  return kilobytes === undefined ? 4096 : Number(kilobytes) * 1024;
}

export function residentBytes(pid: number): number | null {
  const pages = read(`/proc/${pid}/statm`)?.split(' ')[1];
  return pages === undefined ? null : Number(pages) * PAGE_BYTES;
}

/** Memory of a process and its children; what they share is counted once. null where the system does not tell. */
export function familyBytes(pid: number): number | null {
  const children = read(`/proc/${pid}/task/${pid}/children`);
  if (children === null) return null;
  const pids = [pid, ...children.trim().split(/\s+/).filter(Boolean).map(Number)];
  let sum = 0;
  for (const each of pids) {
    // A share of every page, by how many processes have it.
    const kilobytes = /^Pss:\s+(\d+) kB/m.exec(read(`/proc/${each}/smaps_rollup`) ?? '')?.[1];
    sum += kilobytes === undefined ? 0 : Number(kilobytes) * 1024;
  }
  return sum;
}

/** Largest resident set the process ever had. */
export function peakResidentBytes(pid: number): number | null {
  const kilobytes = /^VmHWM:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`) ?? '')?.[1];
  return kilobytes === undefined ? null : Number(kilobytes) * 1024;
}

/** CPU time the process has used, in ms, at the kernel's resolution of 10 ms. */
export function processCpuMs(pid: number): number | null {
  const fields = statFields(pid);
  return fields === null ? null : (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Start of the process in clock ticks since boot: with the pid it names one process for ever. */
export function processStartTicks(pid: number): string | null {
  return statFields(pid)?.[19] ?? null;
}

/** Fields of /proc/PID/stat from "state" (index 0) on; the command before may hold any character. */
function statFields(pid: number): string[] | null {
  const text = read(`/proc/${pid}/stat`);
  return text === null ? null : text.slice(text.lastIndexOf(')') + 2).split(' ');
}

export interface CpuTimes {
  /** Ticks all cores were busy, and in all. */
  readonly busy: number;
  readonly total: number;
}

export function machineCpuTimes(): CpuTimes | null {
  const line = read('/proc/stat')?.split('\n', 1)[0];
  if (line === undefined) return null;
  // user nice system idle iowait irq softirq steal; guest times are in user already.
  const ticks = line.trim().split(/\s+/).slice(1, 9).map(Number);
  const total = ticks.reduce((sum, value) => sum + value, 0);
  return { busy: total - (ticks[3] ?? 0) - (ticks[4] ?? 0), total };
}

export interface MachineMemory {
  readonly totalBytes: number;
  readonly availableBytes: number;
}

export function machineMemory(): MachineMemory | null {
  const text = read('/proc/meminfo');
  if (text === null) return null;
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]) * 1024;
  return { totalBytes: field('MemTotal'), availableBytes: field('MemAvailable') };
}

/** Share of the last 10 s (0..100) in which something waited for the resource; null without PSI. */
export function pressure(resource: 'cpu' | 'memory' | 'io'): number | null {
  const value = /^some avg10=([\d.]+)/.exec(read(`/proc/pressure/${resource}`) ?? '')?.[1];
  return value === undefined ? null : Number(value);
}
