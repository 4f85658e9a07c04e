import { execFile } from 'node:child_process';
import { closeSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { launch } from './index.ts';
import {
  cleanUp,
  leftoverGroups,
  noGroupsLeft,
  noMoreDescriptorsThan,
  openDescriptors,
  processesOfTestUser,
  readAll,
  runToEnd,
  shell,
  startReady,
  temporaryFolder,
  testSpec,
} from './sandbox-testing.ts';

afterAll(cleanUp);

describe('the life of a sandbox', () => {
  it('reports the exit status of the program', async () => {
    expect(await runToEnd(['/bin/true'])).toMatchObject({
      reason: 'exited',
      exitCode: 0,
      signal: null,
      oomKills: 0,
    });
    expect(await shell('exit 42')).toMatchObject({ reason: 'exited', exitCode: 42, signal: null });
  });

  it('reports the signal that ended the program', async () => {
    expect(await shell('kill -SEGV $$')).toMatchObject({
      reason: 'signal',
      exitCode: null,
      signal: 'SIGSEGV',
    });
  });

  it('says how much the tree used', async () => {
    const exit = await runToEnd([
      '/usr/bin/python3',
      '-c',
      'x = bytearray(30 << 20)\nfor i in range(3000000): pass',
    ]);
    expect(exit).toMatchObject({ reason: 'exited', exitCode: 0 });
    expect(exit.memoryPeakBytes).toBeGreaterThan(30 << 20);
    expect(exit.cpuUserUs).toBeGreaterThan(10_000);
    expect(exit.wallUs).toBeGreaterThan(10_000);
  });

  it('counts the time of processes that were killed and never waited for', async () => {
    const exit = await shell('(while :; do :; done) & sleep 0.3');
    expect(exit.cpuUserUs + exit.cpuSystemUs).toBeGreaterThan(15_000);
  });

  it('finds a program without a slash in the PATH of its own environment', async () => {
    expect((await runToEnd(['echo', 'hello'])).stdout).toBe('hello\n');
  });

  it('tells a program that does not exist from one that may not run', async () => {
    const missing = launch(testSpec(['/usr/bin/no-such-program']));
    await expect(missing).rejects.toMatchObject({
      code: 'EXEC_FAILED',
      details: { errno: 'ENOENT', stage: 'exec' },
    });
    await expect(launch(testSpec(['no-such-program']))).rejects.toMatchObject({
      code: 'EXEC_FAILED',
      details: { errno: 'ENOENT' },
    });
    await expect(launch(testSpec(['/etc/passwd']))).rejects.toMatchObject({
      code: 'EXEC_FAILED',
      details: { errno: 'EACCES' },
    });
  });

  it('passes argv, stdin, stdout and stderr unchanged', async () => {
    const sandbox = await launch(
      testSpec(['/bin/sh', '-c', 'cat; printf "%s|" "$@" >&2', 'x', '', 'a b', '$(id)'], { stdin: 'pipe' }),
    );
    writeFileSync(sandbox.stdinFd as number, 'from the host');
    closeSync(sandbox.stdinFd as number);
    expect(await readAll(sandbox.stdoutFd)).toBe('from the host');
    expect(await readAll(sandbox.stderrFd)).toBe('|a b|$(id)|');
    await sandbox.exited;
  });

  it('closes its end of stdout when the agent closes it, not only at its end', async () => {
    const sandbox = await launch(testSpec(['/bin/sh', '-c', 'exec >&-; exec sleep 30']));
    expect(await readAll(sandbox.stdoutFd)).toBe('');
    sandbox.kill();
    void readAll(sandbox.stderrFd);
    expect(await sandbox.exited).toMatchObject({ reason: 'killed', signal: 'SIGKILL' });
  });

  it('delivers a signal to the main process only', async () => {
    const sandbox = await startReady([
      '/bin/sh',
      '-c',
      'trap "exit 7" TERM; echo ready; while :; do sleep 0.01; done',
    ]);
    sandbox.signal('SIGTERM');
    expect(await sandbox.exited).toMatchObject({ reason: 'exited', exitCode: 7 });
    sandbox.signal('SIGTERM');
    sandbox.kill();
    expect(sandbox.stats().processIds).toEqual([]);
  });

  it('tells a timeout from a kill', async () => {
    const sandbox = await startReady(['/bin/sh', '-c', 'echo ready; sleep 30']);
    sandbox.kill('timeout');
    expect(await sandbox.exited).toMatchObject({ reason: 'timeout', exitCode: null, signal: 'SIGKILL' });
  });

  it('ends a tree of two hundred sessions that ignore signals', async () => {
    const tree = `
import os, signal, time
for i in range(200):
    if os.fork() == 0:
        os.setsid()
        for s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)
        time.sleep(60); os._exit(0)
print("ready", flush=True); time.sleep(60)`;
    const sandbox = await startReady(['/usr/bin/python3', '-c', tree], { limits: { maxPids: 256 } });
    expect(sandbox.stats().pids).toBeGreaterThan(200);
    sandbox.kill();
    await sandbox.exited;
    expect(processesOfTestUser()).toEqual([]);
    await noGroupsLeft();
  });

  it('takes everything along when the main process ends', async () => {
    expect(await shell('(setsid sleep 60 &) ; (sleep 60 &) ; exit 3')).toMatchObject({
      reason: 'exited',
      exitCode: 3,
    });
    expect(processesOfTestUser()).toEqual([]);
  });

  it('freezes every process and thaws them again', async () => {
    const burn = 'echo ready; (while :; do :; done) & while :; do :; done';
    const sandbox = await startReady(['/bin/sh', '-c', burn]);
    const used = () => sandbox.stats().cpuUsageUs;
    await sandbox.freeze();
    const before = used();
    await sleep(120);
    expect(used() - before).toBe(0);
    await expect(
      sandbox.exec({ argv: ['/bin/true'], env: {}, cwd: '/', stdin: null, timeoutMs: null }),
    ).rejects.toMatchObject({ code: 'CONFLICT' });
    await sandbox.thaw();
    await vi.waitUntil(() => used() > before, { timeout: 10_000 });
    await sandbox.freeze();
    sandbox.kill();
    expect(await sandbox.exited).toMatchObject({ reason: 'killed' });
  });

  it('shows what a running sandbox uses', async () => {
    const sandbox = await startReady(['/bin/sh', '-c', 'echo ready; sleep 60']);
    const stats = sandbox.stats();
    expect(stats).toMatchObject({ memoryLimitBytes: 128 * 2 ** 20, pidsLimit: 64, oomKills: 0 });
    expect(stats.processIds).toContain(sandbox.pid);
    expect(stats.processIds).toContain(sandbox.initPid);
    expect(stats.memoryBytes).toBeGreaterThan(0);
    sandbox.kill();
    await sandbox.exited;
  });

  it('leaves nothing after a hundred sandboxes', async () => {
    await runToEnd(['/bin/true']);
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
    const groups = readFileSync('/proc/self/cgroup', 'utf8');
    const descriptors = openDescriptors();
    for (let round = 0; round < 25; round++) {
      await Promise.all([1, 2, 3, 4].map(() => runToEnd(['/bin/true'], { stdout: 2, stderr: 2 })));
    }
    await noMoreDescriptorsThan(descriptors);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).toBe(mounts);
    expect(readFileSync('/proc/self/cgroup', 'utf8')).toBe(groups);
    await noGroupsLeft();
    expect(processesOfTestUser()).toEqual([]);
    const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8');
    expect(
      children
        .split(' ')
        .filter((pid) => pid !== '' && /clove-init/.test(readFileSync(`/proc/${pid}/comm`, 'utf8'))),
    ).toEqual([]);
  });

  it('does not take children from Node', async () => {
    const node = promisify(execFile)('/bin/sh', ['-c', 'sleep 0.2; echo mine']);
    await Promise.all([1, 2, 3].map(() => runToEnd(['/bin/true'])));
    expect((await node).stdout).toBe('mine\n');
  });

  it('dies with the process that made it', async () => {
    const folder = temporaryFolder();
    const script = path.join(folder, 'kernel.mts');
    mkdirSync(path.join(folder, 'out'));
    const spec = { ...testSpec(['/bin/sleep', '60']), stdout: 1, stderr: 2 };
    writeFileSync(
      script,
      `import { launch } from ${JSON.stringify(path.join(import.meta.dirname, 'index.ts'))};
      const sandbox = await launch(${JSON.stringify(spec)});
      process.stdout.write(String(sandbox.initPid));
      process.kill(process.pid, 'SIGKILL');`,
    );
    const killed = await promisify(execFile)(process.execPath, [script]).catch(
      (error: { stdout: string; signal: string }) => error,
    );
    expect(killed).toMatchObject({ signal: 'SIGKILL' });
    await vi.waitUntil(() => processesOfTestUser().length === 0, { timeout: 10_000 });
    expect(leftoverGroups().length).toBeGreaterThan(0);
    await cleanUp();
    expect(leftoverGroups()).toEqual([]);
  });
});
