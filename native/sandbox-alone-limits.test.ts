// Each limit alone, and what stops and ends a sandbox, with every wall taken away.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it, vi } from 'vitest';
import type { Layer } from './index.ts';
import { alone, isRoot, outcome, without } from './sandbox-alone-testing.ts';
import {
  cleanUp,
  type Outcome,
  type SpecChanges,
  startReady,
  temporaryFolder,
  testSpec,
} from './sandbox-testing.ts';

afterAll(cleanUp);

const WAIT = { timeout: 30_000 };

/** How an attack ended that says nothing. */
async function ending(
  layer: Layer,
  source: string,
  limits: SpecChanges['limits'],
): Promise<readonly [open: Outcome, held: Outcome]> {
  const changes = { limits: limits ?? {} };
  return [await outcome(source, without(), changes), await outcome(source, without(layer), changes)];
}

describe.skipIf(!isRoot)('each limit alone', () => {
  it('mem: who takes more ends', async () => {
    const [open, held] = await ending('mem', 'taken = bytearray(64 << 20)', { memoryBytes: 32 << 20 });
    expect(open).toMatchObject({ reason: 'exited', exitCode: 0 });
    expect(held.reason).toBe('oom');
  });

  it('swap: who takes more than memory does not take disk instead', async (context) => {
    if (!/^SwapTotal: +[1-9]\d{5}/m.test(readFileSync('/proc/meminfo', 'utf8')))
      context.skip('this machine has no swap');
    const limits = { memoryBytes: 32 << 20, swapBytes: 0 };
    const taken = 'taken = bytearray(64 << 20)';
    expect(await outcome(taken, without('mem'), { limits })).toMatchObject({ reason: 'exited' });
    expect(await outcome(taken, without('mem', 'swap'), { limits })).toMatchObject({ reason: 'oom' });
  });

  it('cpu: who computes waits', async () => {
    const burn = 'while time.process_time() < 0.15: pass';
    const [open, held] = await ending('cpu', burn, { cpuQuotaUs: 20_000 });
    expect(open).toMatchObject({ reason: 'exited', cpuThrottledUs: 0 });
    expect(held.reason).toBe('exited');
    expect(held.cpuThrottledUs).toBeGreaterThan(0);
  });

  it('pids: forks end', async () => {
    const forks = `
count = 0
try:
    while count < 40:
        if os.fork() == 0: time.sleep(600); os._exit(0)
        count += 1
except OSError: pass
tell(count)`;
    const [open, held] = await ending('pids', forks, { maxPids: 16 });
    expect(JSON.parse(open.stdout)).toEqual([40]);
    expect(JSON.parse(held.stdout)[0]).toBeLessThan(16);
  });

  it('cpuset: other processors are not used', async (context) => {
    if (os.cpus().length < 2) context.skip('this machine has one processor');
    await alone('cpuset', {
      source: 'tell(len(os.sched_getaffinity(0)))',
      changes: { limits: { cpus: '0' } },
      open: [os.cpus().length],
      held: [1],
    });
  });

  it('fsize: no file grows beyond it', async () => {
    await alone('fsize', {
      source: `
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
# Not of O_TMPFILE, which a root in layers has only since Linux 6.3.
tell(attempt(lambda: os.ftruncate(os.memfd_create('big'), 2 << 20)))`,
      changes: { limits: { fileSizeBytes: 1 << 20 } },
      open: ['done'],
      held: ['EFBIG'],
    });
  });

  it('nofile: no more descriptors than so many', async () => {
    await alone('nofile', {
      source: 'tell(attempt(lambda: [os.dup(0) for _ in range(200)] and None))',
      changes: { limits: { maxOpenFiles: 64 } },
      open: ['done'],
      held: ['EMFILE'],
    });
  });

  const scratch = {
    needs: ['mntns'],
    changes: { limits: { tmpfsBytes: 1 << 20, tmpfsInodes: 100 } },
  } as const;

  it('disk: scratch space ends', async () => {
    const source = `tell(attempt(lambda: open('/tmp/big', 'wb').write(bytes(2 << 20))))`;
    await alone('disk', { ...scratch, source, open: ['done'], held: ['ENOSPC'] });
  });

  it('inodes: the number of files ends', async () => {
    const source = `tell(attempt(lambda: [open('/tmp/%d' % n, 'w').close() for n in range(200)]))`;
    await alone('inodes', { ...scratch, source, open: ['done'], held: ['ENOSPC'] });
  });
});

/** Command lines of this machine's processes that are exactly this. */
function running(command: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8') === `${command.replaceAll(' ', '\0')}\0`;
      } catch {
        return false;
      }
    })
    .map(Number);
}

describe.skipIf(!isRoot)('stop and end alone', () => {
  it('freeze, kill: everything stands still, then nothing is left, of sessions that ignore every signal', async () => {
    const mark = `677.${process.pid}`;
    const script = `trap '' TERM HUP INT; (setsid sleep ${mark} &); setsid sleep ${mark} & echo ready; while :; do :; done`;
    const sandbox = await startReady(['/bin/sh', '-c', script], { cwd: '/tmp', disable: without() });
    const sleepers = () => running(`sleep ${mark}`);
    const ticks = () => readFileSync(`/proc/${sandbox.pid}/stat`, 'utf8').split(' ')[13];
    await vi.waitUntil(() => sleepers().length === 2, WAIT);
    await sandbox.freeze();
    const before = ticks();
    await sleep(100);
    expect(ticks()).toBe(before);
    await sandbox.thaw();
    await vi.waitUntil(() => ticks() !== before, WAIT);
    sandbox.kill();
    expect(await sandbox.exited).toMatchObject({ reason: 'killed' });
    expect(sleepers()).toEqual([]);
  });

  it('pdeath: nobody survives the kernel process', async () => {
    const script = path.join(temporaryFolder(), 'kernel.mts');
    const ending = async (kept: readonly Layer[], mark: string) => {
      const spec = {
        ...testSpec(['/bin/sleep', mark], { cwd: '/tmp', disable: without(...kept) }),
        stdout: 1,
        stderr: 2,
      };
      writeFileSync(
        script,
        `import { launch } from ${JSON.stringify(path.join(import.meta.dirname, 'index.ts'))};
        await launch(${JSON.stringify(spec)});
        process.kill(process.pid, 'SIGKILL');`,
      );
      expect(spawnSync(process.execPath, [script], { stdio: 'ignore' }).signal).toBe('SIGKILL');
    };
    const [open, held] = [`678.${process.pid}`, `679.${process.pid}`] as const;
    await ending([], open);
    expect(running(`/bin/sleep ${open}`).length).toBe(1);
    for (const pid of running(`/bin/sleep ${open}`)) process.kill(pid, 'SIGKILL');
    await ending(['pdeath'], held);
    await vi.waitUntil(() => running(`/bin/sleep ${held}`).length === 0, WAIT);
  });
});
