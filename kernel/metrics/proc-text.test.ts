import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  cpuPercent,
  parseCounters,
  parseCpuMhz,
  parseDiskstats,
  parseLoadAverage,
  parseMeminfo,
  parseNetDev,
  parsePidStat,
  parseProcStat,
  parseStatm,
} from './proc-text.ts';

describe('readers of /proc', () => {
  it('counts idle and waiting for disks as not busy, and guests once', () => {
    const stat = parseProcStat(
      'cpu  100 10 50 800 40 0 0 0 60 5\ncpu0 50 5 25 400 20 0 0 0 30 0\nintr 1 2\n',
    );
    expect(stat.all).toEqual({ total: 1000, busy: 160 });
    expect(stat.cores).toEqual([{ total: 500, busy: 80 }]);
  });

  it('gives the share of two samples, and 0 where there is nothing to compare', () => {
    expect(cpuPercent({ total: 1000, busy: 100 }, { total: 1200, busy: 150 })).toBe(25);
    expect(cpuPercent({ total: 1000, busy: 100 }, { total: 1000, busy: 100 })).toBe(0);
    expect(cpuPercent(undefined, { total: 1000, busy: 100 })).toBe(0);
    // Counters of a core may go back when it was unplugged.
    expect(cpuPercent({ total: 1000, busy: 900 }, { total: 1100, busy: 100 })).toBe(0);
  });

  it('reads memory in bytes', () => {
    const info = parseMeminfo('MemTotal:       24684092 kB\nHugePages_Total:       3\nActive(anon):  8 kB\n');
    expect(info.get('MemTotal')).toBe(24684092 * 1024);
    expect(info.get('HugePages_Total')).toBe(3);
    expect(info.get('Active(anon)')).toBe(8192);
  });

  it('sums whole disks, also those whose names end in a digit, and neither partitions nor what is made of others', () => {
    const line = (name: string): string => ` 8 0 ${name} 10 0 100 5 20 0 200 5 0 0 0`;
    const names = ['sda', 'sda1', 'nvme0n1', 'nvme0n1p1', 'mmcblk0', 'loop0', 'zram0', 'dm-0', 'md0'];
    const disks = new Set(['sda', 'nvme0n1', 'mmcblk0', 'loop0', 'zram0', 'dm-0', 'md0']);
    expect(parseDiskstats(names.map(line).join('\n'), disks)).toEqual({
      readOps: 30,
      readBytes: 3 * 100 * 512,
      writeOps: 60,
      writeBytes: 3 * 200 * 512,
    });
  });

  it('sums all interfaces but lo', () => {
    const text = [
      'Inter-|   Receive                     |  Transmit',
      ' face |bytes    packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed',
      '    lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0',
      '  eth0: 1000 10 1 0 0 0 0 0 2000 20 2 0 0 0 0 0',
      'eth0:1: 5 1 0 0 0 0 0 0 6 1 0 0 0 0 0 0',
    ].join('\n');
    expect(parseNetDev(text)).toEqual({
      bytesReceived: 1005,
      packetsReceived: 11,
      errorsIn: 1,
      bytesSent: 2006,
      packetsSent: 21,
      errorsOut: 2,
    });
  });

  it('reads the load and the clocks, which not every machine tells', () => {
    expect(parseLoadAverage('2.60 1.42 0.66 4/114 15009\n')).toEqual([2.6, 1.42, 0.66]);
    expect(parseCpuMhz('cpu MHz\t\t: 2000.0\nx\ncpu MHz\t\t: 3000.0\n')).toBe(2500);
    expect(parseCpuMhz('processor : 0\n')).toBe(0);
  });

  it.each(['cat', 'a b', 'x) R 1 (y', '((', 'tab\there', ') S 9 9'])('reads a process called %j', (name) => {
    const text = `42 (${name}) S 7 42 42 0 -1 4194304 97 0 0 0 11 22 0 0 20 -5 3 0 149306 3133440 410\n`;
    expect(parsePidStat(text)).toEqual({
      pid: 42,
      name,
      state: 'S',
      ppid: 7,
      userTicks: 11,
      systemTicks: 22,
      priority: 20,
      nice: -5,
      threads: 3,
    });
  });

  it('reads counters with and without colons, and skips other lines', () => {
    const counters = parseCounters('rchar: 6976\nwrite_bytes: 5\nusage_usec 77\nbig table 1 2\nx -1\n');
    expect([...counters]).toEqual([
      ['rchar', 6976],
      ['write_bytes', 5],
      ['usage_usec', 77],
    ]);
    expect(parseStatm('765 442 414 5 0 123 0\n')).toEqual({
      size: 765,
      resident: 442,
      shared: 414,
      data: 123,
    });
  });

  it('understands this machine', () => {
    const read = (file: string): string => readFileSync(file, 'utf8');
    const stat = parseProcStat(read('/proc/stat'));
    expect(stat.cores.length).toBeGreaterThan(0);
    expect(stat.all.total).toBeGreaterThan(stat.all.busy);
    expect(parseMeminfo(read('/proc/meminfo')).get('MemTotal')).toBeGreaterThan(0);
    expect(parsePidStat(read('/proc/self/stat'))).toMatchObject({ pid: process.pid, ppid: process.ppid });
  });
});
