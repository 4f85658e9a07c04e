import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { describe, expect, it, vi } from 'vitest';
import { Metrics } from './metrics.ts';
import { descendants, processCpuMs, readProcessTree } from './process-tree.ts';

describe('figures of the machine', () => {
  it('are within what the machine has', async () => {
    const metrics = new Metrics({
      agents: { get: () => undefined, list: () => [] },
      cgroupParent: 'clove/test',
    });
    const [system, again] = await Promise.all([metrics.system(), metrics.system()]);
    expect(again.cpu.percent).toBe(system.cpu.percent);
    expect(system.cpu.count).toBe(system.cpu.per_core.length);
    for (const percent of [
      system.cpu.percent,
      ...system.cpu.per_core,
      system.memory.percent,
      system.disk.percent,
    ]) {
      expect(percent).toBeGreaterThanOrEqual(0);
      expect(percent).toBeLessThanOrEqual(100);
    }
    expect(system.memory.total).toBe(totalmem());
    expect(system.memory.used + system.memory.available).toBe(system.memory.total);
    expect(system.swap.used + system.swap.free).toBe(system.swap.total);
    expect(system.disk.used).toBeLessThanOrEqual(system.disk.total);
    expect(await metrics.agent(1)).toBeNull();
    expect(await metrics.allAgents()).toEqual([]);
  });

  it.each(['clove/test/../other', 'clove/other', 'clove/testing', '', '..', '/', 'clove'])(
    'do not include the cgroup %j',
    (cgroupPath) => {
      const metrics = new Metrics({
        agents: { get: () => undefined, list: () => [] },
        cgroupParent: 'clove/test',
      });
      expect(metrics.cgroup(cgroupPath)).toBeNull();
    },
  );
});

describe('figures of a process tree', () => {
  it('are sums over all of its processes', async () => {
    // The shell prints its child's pid once the child runs; both hold memory, threads and files.
    const shell = spawn('/bin/sh', ['-c', 'sleep 60 & echo $!; wait'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const exited = once(shell, 'exit');
    try {
      const [line] = (await once(shell.stdout, 'data')) as [Buffer];
      const child = Number(line.toString());
      const pid = shell.pid as number;
      expect(descendants(pid)).toEqual([pid, child]);
      // The fork becomes the program only a moment later.
      await vi.waitFor(() => expect(readFileSync(`/proc/${child}/comm`, 'utf8')).toBe('sleep\n'));
      const figures = { cpuPercent: 12.5, totalMemoryBytes: totalmem() };
      const tree = readProcessTree(pid, [], figures);
      const leaf = readProcessTree(child, [], figures);
      expect(tree).toMatchObject({ pid, ppid: process.pid, name: 'sh', processes: 2, threads: 2 });
      expect(tree?.cmdline).toBe('/bin/sh -c sleep 60 & echo $!; wait');
      expect(tree?.cpu.percent).toBe(12.5);
      expect(leaf).toMatchObject({ pid: child, ppid: pid, name: 'sleep', processes: 1 });
      expect(tree?.memory.rss).toBeGreaterThan(leaf?.memory.rss ?? Number.POSITIVE_INFINITY);
      expect(tree?.fds).toBeGreaterThan(leaf?.fds ?? Number.POSITIVE_INFINITY);
      expect(processCpuMs([pid, child])).toBeGreaterThanOrEqual(0);
      process.kill(child);
    } finally {
      shell.kill('SIGKILL');
      await exited;
    }
  });

  it('are null when the process is gone', async () => {
    const gone = spawn('/bin/true');
    await once(gone, 'exit');
    expect(readProcessTree(gone.pid as number, [], { cpuPercent: 0, totalMemoryBytes: 1 })).toBeNull();
    expect(processCpuMs([gone.pid as number])).toBe(0);
  });
});
