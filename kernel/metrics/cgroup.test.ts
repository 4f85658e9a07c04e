import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findCgroupRoots, isCgroupPath, readCgroup } from './cgroup.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-cgroup-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

function writeFiles(directory: string, files: Readonly<Record<string, string>>): void {
  const at = path.join(folder, directory);
  mkdirSync(at, { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(at, name), `${text}\n`);
}

describe('cgroup figures', () => {
  it('finds the top of every hierarchy and the own cgroup of this process in it', () => {
    const roots = findCgroupRoots(
      [
        '32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct',
        '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory',
        '36 31 0:33 /docker/abc /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids',
        '41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw',
        '42 31 0:39 / /tmp rw - tmpfs tmpfs rw,cpu',
      ].join('\n'),
      '4:memory:/api/x\n3:pids:/docker/abc/inner\n2:cpu,cpuacct:/\n0::/user.slice\n',
    );
    expect([...roots].toSorted()).toEqual([
      ['cpu', ['/sys/fs/cgroup/cpu,cpuacct']],
      ['cpuacct', ['/sys/fs/cgroup/cpu,cpuacct']],
      ['memory', ['/sys/fs/cgroup/memory', '/sys/fs/cgroup/memory/api/x']],
      ['pids', ['/sys/fs/cgroup/pids', '/sys/fs/cgroup/pids/inner']],
      ['unified', ['/sys/fs/cgroup/unified', '/sys/fs/cgroup/unified/user.slice']],
    ]);
  });

  it('reads version 2', () => {
    writeFiles('v2/clove/a', {
      'cpu.stat':
        'usage_usec 100\nuser_usec 60\nsystem_usec 40\nnr_periods 5\nnr_throttled 2\nthrottled_usec 7',
      'cpu.max': '50000 100000',
      'memory.current': '4096',
      'memory.min': '0',
      'memory.low': '1',
      'memory.high': 'max',
      'memory.max': '268435456',
      'memory.peak': '8192',
      'memory.swap.current': '12',
      'memory.swap.max': '0',
      'memory.events': 'low 0\noom 3\noom_kill 2\noom_group_kill 1',
      'pids.current': '3',
      'pids.max': 'max',
      'io.stat':
        '8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=5 wbytes=0 rios=1 wios=0',
    });
    const roots = new Map([['unified', [path.join(folder, 'nothing'), path.join(folder, 'v2')]]]);
    expect(readCgroup(roots, 'clove/a')).toMatchObject({
      cgroup_path: 'clove/a',
      valid: true,
      controllers: ['cpu', 'cpuacct', 'memory', 'pids', 'io'],
      cpu: {
        usage_usec: 100,
        user_usec: 60,
        system_usec: 40,
        throttled_usec: 7,
        nr_periods: 5,
        nr_throttled: 2,
        quota_usec: 50_000,
        period_usec: 100_000,
      },
      memory: {
        current: 4096,
        min: 0,
        low: 1,
        high: -1,
        max: 268435456,
        peak: 8192,
        swap_current: 12,
        swap_max: 0,
        oom_kills: 2,
      },
      pids: { current: 3, max: -1 },
      io: { read_bytes: 15, write_bytes: 20, read_ops: 2, write_ops: 2 },
    });
  });

  it('reads version 1, whose times are in ns and whose swap is counted with the memory', () => {
    writeFiles('cpu/c', {
      'cpu.stat': 'nr_periods 5\nnr_throttled 2\nthrottled_time 7000',
      'cpu.cfs_quota_us': '-1',
      'cpu.cfs_period_us': '100000',
      'cpuacct.usage': '100000',
      'cpuacct.usage_user': '60000',
      'cpuacct.usage_sys': '40000',
    });
    writeFiles('memory/c', {
      'memory.usage_in_bytes': '4096',
      'memory.limit_in_bytes': '100000',
      'memory.max_usage_in_bytes': '8192',
      'memory.memsw.usage_in_bytes': '5096',
      'memory.memsw.limit_in_bytes': '9223372036854771712',
      'memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 4',
    });
    writeFiles('pids/c', { 'pids.current': '2', 'pids.max': '64' });
    writeFiles('blkio/c', {
      'blkio.throttle.io_service_bytes': '8:0 Read 10\n8:0 Write 20\n8:0 Total 30\nTotal 30',
      'blkio.throttle.io_serviced': '8:0 Read 1\n8:0 Write 2\nTotal 3',
    });
    const roots = new Map(
      ['cpu', 'memory', 'pids', 'blkio'].map((name) => [name, [path.join(folder, name)]] as const),
    ).set('cpuacct', [path.join(folder, 'cpu')]);
    expect(readCgroup(roots, 'c')).toMatchObject({
      cpu: {
        usage_usec: 100,
        user_usec: 60,
        system_usec: 40,
        throttled_usec: 7,
        nr_periods: 5,
        quota_usec: -1,
      },
      memory: {
        current: 4096,
        max: 100_000,
        high: -1,
        peak: 8192,
        swap_current: 1000,
        swap_max: -1,
        oom_kills: 4,
      },
      pids: { current: 2, max: 64 },
      io: { read_bytes: 10, write_bytes: 20, read_ops: 1, write_ops: 2 },
    });
  });

  it('tells what is not accounted, and takes the time used from version 2 where version 1 does not count it', () => {
    writeFiles('cpu/c', {
      'cpu.cfs_quota_us': '20000',
      'cpu.cfs_period_us': '100000',
      'cpu.stat': 'nr_periods 3',
    });
    writeFiles('v2/c', { 'cpu.stat': 'usage_usec 100\nuser_usec 60\nsystem_usec 40' });
    const roots = new Map([
      ['cpu', [path.join(folder, 'cpu')]],
      ['cpuacct', [path.join(folder, 'cpuacct')]],
      ['memory', [path.join(folder, 'memory')]],
      ['blkio', [path.join(folder, 'blkio')]],
      ['unified', [path.join(folder, 'v2')]],
    ]);
    expect(readCgroup(roots, 'c')).toMatchObject({
      controllers: ['cpu', 'cpuacct'],
      cpu: { usage_usec: 100, user_usec: 60, system_usec: 40, quota_usec: 20_000, nr_periods: 3 },
      memory: { current: 0, max: -1 },
    });
  });

  it('says that there is none instead of reporting zeros', () => {
    expect(readCgroup(new Map([['unified', [folder]]]), 'clove/none')).toBeNull();
    expect(readCgroup(new Map(), 'clove/none')).toBeNull();
  });

  it.each([
    '../x',
    'clove/../../x',
    '/clove',
    'clove//a',
    'clove/',
    '',
    '.',
    'clove/.',
    'a/.../b',
    'a\u0000',
    'a\nb',
    'ä',
  ])('takes %j for no path of a cgroup', (cgroupPath) => {
    expect(isCgroupPath(cgroupPath)).toBe(false);
    mkdirSync(path.join(folder, 'inner'));
    expect(readCgroup(new Map([['unified', [path.join(folder, 'inner')]]]), cgroupPath)).toBeNull();
  });
});
