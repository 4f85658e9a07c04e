import { closeSync, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { hostCapabilities, launch } from './index.ts';
import { cleanUp, runToEnd, shell, startReady, testParent, testSpec } from './sandbox-testing.ts';

afterAll(cleanUp);

const python = (script: string, changes = {}) => runToEnd(['/usr/bin/python3', '-I', '-c', script], changes);

describe('limits bind', () => {
  it('ends the whole tree when memory runs out, whoever was hit', async () => {
    const eater = await python('x = []\nwhile True: x.append(bytearray(1 << 20))', {
      limits: { memoryBytes: 32 << 20 },
    });
    expect(eater).toMatchObject({ reason: 'oom' });
    expect(eater.oomKills).toBeGreaterThan(0);
    expect(eater.memoryPeakBytes).toBeLessThanOrEqual(32 << 20);
    // The main process is small and would live on.
    const child = await shell('python3 -I -c "x = []\nwhile True: x.append(bytearray(1 << 20))"; sleep 30', {
      limits: { memoryBytes: 32 << 20 },
    });
    expect(child).toMatchObject({ reason: 'oom', signal: 'SIGKILL' });
  });

  it('charges scratch space to the same limit', async () => {
    const exit = await shell('head -c 60M /dev/zero > /tmp/a; echo survived', {
      limits: { memoryBytes: 32 << 20, tmpfsBytes: 128 << 20, fileSizeBytes: null },
    });
    expect(exit).toMatchObject({ reason: 'oom' });
  });

  it('refuses forks beyond the number of processes and counts the refusals', async () => {
    const exit = await python(
      'import os, time\nn = 0\ntry:\n  while True:\n    if os.fork() == 0: time.sleep(30)\n    n += 1\nexcept OSError as e: print(n, e.errno)',
      { limits: { maxPids: 16 }, uid: 230_001, gid: 230_001 },
    );
    expect(exit.stdout).toBe('14 11\n');
    expect(exit.pidsRefused).toBeGreaterThan(0);
  });

  it('holds a fork bomb', async () => {
    const bomb = await launch(
      testSpec(['/bin/sh', '-c', '(f() { f | f & }; f) 2> /dev/null & exec sleep 30'], {
        limits: { maxPids: 24 },
        stdout: 'pipe',
      }),
    );
    await sleep(150);
    expect(bomb.stats().pids).toBeLessThanOrEqual(24);
    bomb.kill();
    expect(await bomb.exited).toMatchObject({ reason: 'killed' });
    closeSync(bomb.stdoutFd as number);
    closeSync(bomb.stderrFd as number);
  });

  it('throttles the processor to the quota', async () => {
    const sandbox = await startReady(
      ['/bin/sh', '-c', 'echo ready; (while :; do :; done) & while :; do :; done'],
      {
        limits: { cpuQuotaUs: 20_000 },
      },
    );
    await vi.waitUntil(() => sandbox.stats().cpuThrottledPeriods >= 3, { timeout: 20_000 });
    sandbox.kill();
    const exit = await sandbox.exited;
    // A fifth of one processor; a period more at either end.
    expect(exit.cpuUserUs + exit.cpuSystemUs).toBeLessThan((exit.wallUs / 5) * 1.3 + 40_000);
    expect(exit.cpuThrottledUs).toBeGreaterThan(0);
  });

  it('keeps the agent on the processors it was given', async () => {
    expect((await shell('nproc', { limits: { cpus: '0' } })).stdout).toBe('1\n');
    await expect(
      launch(testSpec(['/bin/true'], { limits: { cpus: '900' }, require: ['cpuset'] })),
    ).rejects.toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      details: { stage: 'cgroup_cpuset', layer: 'cpuset' },
    });
  });

  it('gives every scratch place a size and a number of files', async () => {
    const script = `
import os, errno
for d in ("/work", "/tmp", "/run", "/dev/shm"):
    try:
        with open(d + "/big", "wb") as f:
            while True: f.write(b"x" * 65536); f.flush()
    except OSError as e: print(d, os.path.getsize(d + "/big"), errno.errorcode[e.errno])
    os.remove(d + "/big")
    n = 0
    try:
        while True: open(d + "/%d" % n, "w").close(); n += 1
    except OSError as e: print(n < 100, errno.errorcode[e.errno])`;
    const { stdout } = await python(script, { limits: { tmpfsBytes: 1 << 20, tmpfsInodes: 100 } });
    expect(stdout).toBe(
      ['/work', '/tmp', '/run', '/dev/shm'].map((place) => `${place} 1048576 ENOSPC\nTrue ENOSPC\n`).join(''),
    );
  });

  it('bounds the size of a file and the number of open ones', async () => {
    const script = `
import errno, os, signal, resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try: os.truncate(os.open("/tmp/x", os.O_CREAT | os.O_RDWR), 1 << 40)
except OSError as e: print(errno.errorcode[e.errno])
fds = []
try:
    while True: fds.append(os.dup(0))
except OSError as e: print(errno.errorcode[e.errno], max(fds))
for name in ("RLIMIT_NOFILE", "RLIMIT_CORE"):
    try: resource.setrlimit(getattr(resource, name), (1 << 16, 1 << 16)); print("raised")
    except ValueError: print("kept")`;
    const { stdout } = await python(script, { limits: { fileSizeBytes: 1 << 20, maxOpenFiles: 64 } });
    expect(stdout).toBe('EFBIG\nEMFILE 63\nkept\nkept\n');
  });

  it('leaves the priority and the oom score of the kernel alone', async () => {
    const { stdout } = await python(
      'import os, errno\nprint(open("/proc/self/oom_score_adj").read().strip())\ntry: os.nice(-5)\nexcept OSError as e: print(errno.errorcode[e.errno])\ntry: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))\nexcept OSError as e: print(errno.errorcode[e.errno])',
    );
    expect(stdout).toBe('500\nEPERM\nEPERM\n');
  });

  it('leaves a limit alone that was not asked for, and says so', async () => {
    const { sandbox } = await runToEnd(['/bin/true'], {
      limits: { memoryBytes: null, swapBytes: null, cpuQuotaUs: null, maxPids: null, fileSizeBytes: null },
      require: [],
    });
    for (const layer of ['mem', 'swap', 'cpu', 'pids', 'cpuset', 'fsize']) {
      expect(sandbox.layers.find((report) => report.layer === layer)).toMatchObject({
        state: 'n/a',
        requested: false,
      });
    }
  });

  it('lets all agents together weigh as much as one process for every processor, not as one', async () => {
    const { sandbox } = await runToEnd(['/bin/true']);
    const how = sandbox.layers.find(({ layer }) => layer === 'cpu')?.how ?? '';
    const [, file, weight] = /; all agents together (cpu\.(?:shares|weight))=(\d+)$/.exec(how) ?? [];
    const standard = file === 'cpu.shares' ? 1024 : 100;
    // Another value than ours is a decision of whoever runs this machine.
    expect(Number(weight)).not.toBe(os.cpus().length > 1 ? standard : 0);
    const { cgroup } = hostCapabilities();
    const parents = cgroup === 'v2' ? '/sys/fs/cgroup' : '/sys/fs/cgroup/cpu';
    for (const group of ['clove', testParent])
      expect(readFileSync(path.join(parents, group, file ?? ''), 'utf8')).toBe(`${weight}\n`);
  });

  it('applies weights', async () => {
    const { sandbox } = await runToEnd(['/bin/true'], { limits: { cpuShares: 512, cpuQuotaUs: null } });
    expect(sandbox.layers.find(({ layer }) => layer === 'cpu')?.how).toMatch(/cpu\.(shares=512|weight=\d+)/);
  });
});
