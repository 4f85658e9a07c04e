import { readdirSync, readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import {
  cpuPercent,
  type ProcStat,
  parseCpuMhz,
  parseDiskstats,
  parseLoadAverage,
  parseMeminfo,
  parseNetDev,
  parseProcStat,
} from './proc-text.ts';
import { SampleWindow } from './sample-window.ts';

/** Figures of the whole machine. Bytes, percent 0 to 100, counters since boot. */
export interface SystemMetrics {
  /** ms since the epoch. */
  timestamp: number;
  cpu: {
    percent: number;
    per_core: number[];
    count: number;
    freq_mhz: number;
    load_avg: [number, number, number];
  };
  memory: {
    total: number;
    available: number;
    used: number;
    percent: number;
    buffers: number;
    cached: number;
  };
  swap: { total: number; used: number; free: number };
  disk: {
    read_bytes: number;
    write_bytes: number;
    read_ops: number;
    write_ops: number;
    /** Of the root file system. */
    used: number;
    total: number;
    percent: number;
  };
  network: {
    bytes_sent: number;
    bytes_recv: number;
    packets_sent: number;
    packets_recv: number;
    errors_in: number;
    errors_out: number;
  };
}

export class SystemSampler {
  readonly #cpu = new SampleWindow<ProcStat>(() => parseProcStat(readFileSync('/proc/stat', 'utf8')));

  async read(): Promise<SystemMetrics> {
    const { before, after } = await this.#cpu.current();
    return {
      timestamp: Date.now(),
      cpu: {
        percent: cpuPercent(before.sample.all, after.sample.all),
        per_core: after.sample.cores.map((core, at) => cpuPercent(before.sample.cores[at], core)),
        count: after.sample.cores.length,
        freq_mhz: parseCpuMhz(readFileSync('/proc/cpuinfo', 'utf8')),
        load_avg: parseLoadAverage(readFileSync('/proc/loadavg', 'utf8')),
      },
      ...readMemory(),
      disk: await readDisk(),
      network: readNetwork(),
    };
  }
}

function readMemory(): Pick<SystemMetrics, 'memory' | 'swap'> {
  const info = parseMeminfo(readFileSync('/proc/meminfo', 'utf8'));
  const of = (name: string): number => info.get(name) ?? 0;
  const total = of('MemTotal');
  const used = total - of('MemAvailable');
  return {
    memory: {
      total,
      available: of('MemAvailable'),
      used,
      percent: total === 0 ? 0 : (used / total) * 100,
      buffers: of('Buffers'),
      cached: of('Cached'),
    },
    swap: { total: of('SwapTotal'), used: of('SwapTotal') - of('SwapFree'), free: of('SwapFree') },
  };
}

async function readDisk(): Promise<SystemMetrics['disk']> {
  const disks = new Set(readdirSync('/sys/block'));
  const counters = parseDiskstats(readFileSync('/proc/diskstats', 'utf8'), disks);
  const root = await statfs('/');
  const total = root.blocks * root.bsize;
  const used = (root.blocks - root.bfree) * root.bsize;
  return {
    read_bytes: counters.readBytes,
    write_bytes: counters.writeBytes,
    read_ops: counters.readOps,
    write_ops: counters.writeOps,
    used,
    total,
    percent: total === 0 ? 0 : (used / total) * 100,
  };
}

function readNetwork(): SystemMetrics['network'] {
  const counters = parseNetDev(readFileSync('/proc/net/dev', 'utf8'));
  return {
    bytes_sent: counters.bytesSent,
    bytes_recv: counters.bytesReceived,
    packets_sent: counters.packetsSent,
    packets_recv: counters.packetsReceived,
    errors_in: counters.errorsIn,
    errors_out: counters.errorsOut,
  };
}
