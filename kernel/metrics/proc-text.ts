/** Readers of the text forms of /proc. Each takes a whole file; all sizes come out in bytes, all times in their own unit. */

export interface CpuTimes {
  /** Clock ticks since boot, of everything and of everything but idling. */
  readonly total: number;
  readonly busy: number;
}

export interface ProcStat {
  readonly all: CpuTimes;
  readonly cores: readonly CpuTimes[];
}

/** /proc/stat */
export function parseProcStat(text: string): ProcStat {
  let all: CpuTimes = { total: 0, busy: 0 };
  const cores: CpuTimes[] = [];
  for (const line of text.split('\n')) {
    if (!line.startsWith('cpu')) continue;
    const [label, ...ticks] = line.split(/\s+/);
    // user nice system idle iowait irq softirq steal; guest time is counted in user already.
    const counted = ticks.slice(0, 8).map(Number);
    const total = counted.reduce((sum, each) => sum + each, 0);
    const times = { total, busy: total - (counted[3] ?? 0) - (counted[4] ?? 0) };
    if (label === 'cpu') all = times;
    else cores.push(times);
  }
  return { all, cores };
}

/** Share of busy time between two samples, 0 to 100; 0 when no time has passed. */
export function cpuPercent(before: CpuTimes | undefined, after: CpuTimes): number {
  if (before === undefined) return 0;
  const total = after.total - before.total;
  return total <= 0 ? 0 : Math.min(100, Math.max(0, ((after.busy - before.busy) / total) * 100));
}

/** /proc/meminfo */
export function parseMeminfo(text: string): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  for (const [, name, amount, unit] of text.matchAll(/^(\S+):\s+(\d+)( kB)?$/gm)) {
    values.set(name as string, Number(amount) * (unit === undefined ? 1 : 1024));
  }
  return values;
}

export interface DiskCounters {
  readonly readBytes: number;
  readonly writeBytes: number;
  readonly readOps: number;
  readonly writeOps: number;
}

/** /proc/diskstats counts sectors of 512 bytes, whatever the disk's own are. */
const SECTOR_BYTES = 512;
/** Not disks, or made of other disks that are counted themselves. */
const VIRTUAL_DISK = /^(loop|ram|zram|dm-|md)\d*/;

/** /proc/diskstats, summed over the whole disks among its lines: those in `disks` (names of /sys/block). */
export function parseDiskstats(text: string, disks: ReadonlySet<string>): DiskCounters {
  const sum = { readBytes: 0, writeBytes: 0, readOps: 0, writeOps: 0 };
  for (const line of text.split('\n')) {
    const fields = line.trim().split(/\s+/);
    const name = fields[2];
    if (name === undefined || !disks.has(name) || VIRTUAL_DISK.test(name)) continue;
    sum.readOps += Number(fields[3]);
    sum.readBytes += Number(fields[5]) * SECTOR_BYTES;
    sum.writeOps += Number(fields[7]);
    sum.writeBytes += Number(fields[9]) * SECTOR_BYTES;
  }
  return sum;
}

export interface NetworkCounters {
  readonly bytesReceived: number;
  readonly packetsReceived: number;
  readonly errorsIn: number;
  readonly bytesSent: number;
  readonly packetsSent: number;
  readonly errorsOut: number;
}

/** /proc/net/dev, summed over all interfaces but lo. */
export function parseNetDev(text: string): NetworkCounters {
  const sum = {
    bytesReceived: 0,
    packetsReceived: 0,
    errorsIn: 0,
    bytesSent: 0,
    packetsSent: 0,
    errorsOut: 0,
  };
  for (const line of text.split('\n')) {
    const colon = line.lastIndexOf(':');
    if (colon < 0 || line.slice(0, colon).trim() === 'lo') continue;
    const fields = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/)
      .map(Number);
    if (fields.length < 16) continue;
    sum.bytesReceived += fields[0] as number;
    sum.packetsReceived += fields[1] as number;
    sum.errorsIn += fields[2] as number;
    sum.bytesSent += fields[8] as number;
    sum.packetsSent += fields[9] as number;
    sum.errorsOut += fields[10] as number;
  }
  return sum;
}

/** /proc/loadavg: over 1, 5 and 15 minutes. */
export function parseLoadAverage(text: string): [number, number, number] {
  const [one = 0, five = 0, fifteen = 0] = text.split(' ').slice(0, 3).map(Number);
  return [one, five, fifteen];
}

/** Mean of the cores' clocks in /proc/cpuinfo; 0 where the machine does not tell. */
export function parseCpuMhz(text: string): number {
  const clocks = [...text.matchAll(/^cpu MHz\s*:\s*([\d.]+)/gm)].map((match) => Number(match[1]));
  return clocks.length === 0 ? 0 : clocks.reduce((sum, each) => sum + each, 0) / clocks.length;
}

export interface PidStat {
  readonly pid: number;
  readonly name: string;
  readonly state: string;
  readonly ppid: number;
  /** Clock ticks. */
  readonly userTicks: number;
  readonly systemTicks: number;
  readonly priority: number;
  readonly nice: number;
  readonly threads: number;
}

/** /proc/<pid>/stat. The name stands in brackets and may itself hold blanks and brackets: only the last one ends it. */
export function parsePidStat(text: string): PidStat {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  const fields = text
    .slice(close + 2)
    .trim()
    .split(' ');
  const number = (at: number): number => Number(fields[at] ?? 0);
  return {
    pid: Number(text.slice(0, open)),
    name: text.slice(open + 1, close),
    state: fields[0] ?? '?',
    ppid: number(1),
    userTicks: number(11),
    systemTicks: number(12),
    priority: number(15),
    nice: number(16),
    threads: number(17),
  };
}

/** Lines of `name value` or `name: value`: /proc/<pid>/io, memory.stat, cpu.stat. Lines of other forms are skipped. */
export function parseCounters(text: string): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  for (const [, name, value] of text.matchAll(/^([A-Za-z_.]+):? (\d+)$/gm)) {
    values.set(name as string, Number(value));
  }
  return values;
}

/** /proc/<pid>/statm, in pages: size resident shared text lib data dt. */
export function parseStatm(text: string): { size: number; resident: number; shared: number; data: number } {
  const fields = text.split(' ').map(Number);
  return { size: fields[0] ?? 0, resident: fields[1] ?? 0, shared: fields[2] ?? 0, data: fields[5] ?? 0 };
}
