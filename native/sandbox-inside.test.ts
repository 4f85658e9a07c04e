import { execFileSync } from 'node:child_process';
import { closeSync, fstatSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { hostCapabilities, type OpenInsideOptions, type Sandbox, type SandboxExecSpec } from './index.ts';
import {
  cleanUp,
  noMoreDescriptorsThan,
  openDescriptors,
  readAll,
  startReady,
  TEST_UID,
  temporaryFolder,
  testParent,
} from './sandbox-testing.ts';

let sandbox: Sandbox;
let workspace: string;

beforeAll(async () => {
  workspace = path.join(temporaryFolder(), 'd');
  execFileSync('chown', [String(TEST_UID), workspace]);
  sandbox = await startReady(
    [
      '/bin/sh',
      '-c',
      'cd /work; echo hello > a; mkdir dir; echo deep > dir/b; ln -s a link; ln -s /etc/passwd out; ln -s dir dirlink; mkfifo fifo; ln a hard1; ln a hard2; echo one > single; ln -s /proc/self/root magic; echo ready; sleep 900',
    ],
    { mounts: [{ source: workspace, target: '/work', readonly: false }] },
  );
});

afterAll(async () => {
  sandbox.kill();
  await sandbox.exited;
  await cleanUp();
});

async function run(argv: readonly string[], changes: Partial<SandboxExecSpec> = {}) {
  const handle = await sandbox.exec({
    argv,
    env: { PATH: '/usr/bin:/bin' },
    cwd: '/work',
    stdin: null,
    timeoutMs: null,
    ...changes,
  });
  const [exit, stdout, stderr] = await Promise.all([
    handle.exited,
    readAll(handle.stdoutFd),
    readAll(handle.stderrFd),
  ]);
  return { ...exit, handle, stdout, stderr };
}

describe('a command run in a live sandbox', () => {
  it('has the same walls as the agent', async () => {
    const { stdout, exitCode } = await run([
      '/bin/sh',
      '-c',
      'for n in mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done; cat /proc/self/status',
    ]);
    expect(exitCode).toBe(0);
    for (const name of ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'])
      expect(stdout).toContain(readlinkSync(`/proc/${sandbox.pid}/ns/${name}`));
    expect(stdout).toMatch(new RegExp(`Uid:\\t${TEST_UID}\\t`));
    expect(stdout).toMatch(/NoNewPrivs:\t1/);
    expect(stdout).toMatch(/Seccomp:\t2/);
    expect(stdout).toMatch(/CapBnd:\t0000000000000000/);
  });

  it('is in the groups of the sandbox, and known by its number outside', async () => {
    const handle = await sandbox.exec({
      argv: ['/bin/sleep', '30'],
      env: {},
      cwd: '/',
      stdin: null,
      timeoutMs: null,
    });
    expect(sandbox.stats().processIds).toContain(handle.pid);
    // It is told of when the program has taken the place of clove-init for good, moments before the system shows its name.
    const commandLine = () => readFileSync(`/proc/${handle.pid}/cmdline`, 'utf8');
    await vi.waitUntil(() => commandLine() === '/bin/sleep\x0030\0', { timeout: 30_000 });
    handle.kill('SIGTERM');
    expect(await handle.exited).toMatchObject({ exitCode: null, signal: 'SIGTERM', timedOut: false });
    closeSync(handle.stdoutFd);
    closeSync(handle.stderrFd);
  });

  it('gets exactly its arguments, its environment, its directory and its input', async () => {
    const handle = await sandbox.exec({
      argv: ['/bin/sh', '-c', 'pwd; env; cat', '$(id)'],
      env: { ONLY: '1' },
      cwd: '/tmp',
      stdin: 'pipe',
      timeoutMs: null,
    });
    writeFileSync(handle.stdinFd as number, 'typed');
    closeSync(handle.stdinFd as number);
    expect(await readAll(handle.stdoutFd)).toBe('/tmp\nONLY=1\nPWD=/tmp\ntyped');
    await readAll(handle.stderrFd);
    expect(await handle.exited).toMatchObject({ exitCode: 0 });
  });

  it('sees no descriptor but its own three', async () => {
    expect((await run(['/bin/ls', '/proc/self/fd'])).stdout).toBe('0\n1\n2\n3\n');
  });

  it('is ended with its group when its time is over', async () => {
    const exit = await run(['/bin/sh', '-c', 'sleep 30 & sleep 30'], { timeoutMs: 100 });
    expect(exit).toMatchObject({ exitCode: null, signal: 'SIGKILL', timedOut: true });
    expect((await run(['/bin/sh', '-c', 'ps -eo comm | grep -c "^sleep"'])).stdout).toBe('1\n');
  });

  it('is given up when PID 1 does not answer, and does not run on unseen when it answers late', async (context) => {
    const { cgroup2Path } = hostCapabilities();
    if (cgroup2Path === null) context.skip('no cgroup v2 to stop a whole sandbox with');
    // An agent can bring this about: it stops the child that is about to become the command, and PID 1 waits for that.
    const silent = await startReady(['/bin/sh', '-c', 'echo ready; sleep 900'], { setupTimeoutMs: 500 });
    const freezer = path.join(String(cgroup2Path), testParent, silent.instance, 'cgroup.freeze');
    writeFileSync(freezer, '1');
    const command = { argv: ['/bin/sleep', '900'], env: {}, cwd: '/work', stdin: null, timeoutMs: null };
    await Promise.all([
      expect(silent.exec(command)).rejects.toMatchObject({ code: 'TIMEOUT' }),
      expect(silent.openInside('/etc/hosts', { flags: 'read', mode: 0 })).rejects.toMatchObject({
        code: 'TIMEOUT',
      }),
    ]);
    writeFileSync(freezer, '0');
    const processes = () => silent.stats().processIds.length;
    closeSync(await silent.openInside('/etc/hosts', { flags: 'read', mode: 0 }));
    await vi.waitUntil(() => processes() === 3, { timeout: 30_000 }); // PID 1, the shell, its sleep
    silent.kill();
    expect(await silent.exited).toMatchObject({ reason: 'killed' });
  });

  it('fails with the reason when the program or directory is not there', async () => {
    await expect(run(['/no/such'])).rejects.toMatchObject({
      code: 'EXEC_FAILED',
      details: { errno: 'ENOENT' },
    });
    await expect(run(['/work/a'])).rejects.toMatchObject({
      code: 'EXEC_FAILED',
      details: { errno: 'EACCES' },
    });
    await expect(run(['/bin/true'], { cwd: '/nowhere' })).rejects.toMatchObject({
      code: 'EXEC_FAILED',
      details: { errno: 'ENOENT' },
    });
    await expect(run(['/bin/true'], { cwd: '/proc/self/root' })).rejects.toMatchObject({
      details: { errno: 'ELOOP' },
    });
  });

  it('runs many at once and keeps no descriptor', async () => {
    await run(['/bin/true']);
    const before = openDescriptors();
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, i) => run(['/bin/sh', '-c', `echo ${i}; exit ${i}`])),
    );
    results.forEach(({ exitCode, stdout }, i) => {
      expect([exitCode, stdout]).toEqual([i, `${i}\n`]);
    });
    await noMoreDescriptorsThan(before);
  });
});

describe('a file opened as the agent sees it', () => {
  const options = (flags: OpenInsideOptions['flags']): OpenInsideOptions => ({ flags, mode: 0o640 });
  const read = async (name: string) => {
    const fd = await sandbox.openInside(name, options('read'));
    try {
      return readFileSync(fd, 'utf8');
    } finally {
      closeSync(fd);
    }
  };
  const refused = (name: string, flags: OpenInsideOptions['flags'], code: string) =>
    expect(sandbox.openInside(name, options(flags)), `${flags} ${name}`).rejects.toMatchObject({ code });

  it('reads regular files, relative to the working directory too, through linked directories', async () => {
    expect(await read('/work/single')).toBe('one\n');
    expect(await read('single')).toBe('one\n');
    expect(await read('/work/dirlink/b')).toBe('deep\n');
    expect(await read('/work/dir/../single')).toBe('one\n');
    expect(await read('/../../../work/single')).toBe('one\n');
  });

  it('shows the root of the sandbox, never that of the host', async () => {
    expect(await read('/etc/passwd')).toContain(`agent:x:${TEST_UID}`);
    await refused('/etc/shadow', 'read', 'NOT_FOUND');
    await refused('/../../../etc/shadow', 'read', 'NOT_FOUND');
    await refused('/root/.ssh/id', 'read', 'NOT_FOUND');
  });

  it('follows no final link, magic link, pipe, device, directory or window into the kernel', async () => {
    for (const name of ['/work/link', '/work/out', '/proc/self/root/etc/passwd', '/proc/self/exe'])
      await refused(name, 'read', 'PATH_REFUSED');
    for (const name of ['/work/fifo', '/work/dir', '/dev/zero', '/proc/meminfo', '/proc/self/status'])
      await refused(name, 'read', 'PATH_REFUSED');
    await refused('/work/magic/etc/passwd', 'read', 'PATH_REFUSED');
    await refused('/work/fifo', 'write', 'PATH_REFUSED');
    await refused('/work/dir', 'write', 'PATH_REFUSED');
    await refused('', 'read', 'PATH_REFUSED');
    await refused('/work/a\0b', 'read', 'PATH_REFUSED');
  });

  it('writes no file that has a second name, and does not empty it either', async () => {
    await refused('/work/hard1', 'write', 'PATH_REFUSED');
    await refused('/work/hard1', 'append', 'PATH_REFUSED');
    expect(readFileSync(path.join(workspace, 'a'), 'utf8')).toBe('hello\n');
    expect(await read('/work/hard1')).toBe('hello\n');
  });

  it('writes, appends and creates with the agent’s own rights', async () => {
    for (const [flags, text] of [
      ['write', 'first'],
      ['append', ' second'],
    ] as const) {
      const fd = await sandbox.openInside('/work/new', options(flags));
      writeFileSync(fd, text);
      closeSync(fd);
    }
    expect(await read('/work/new')).toBe('first second');
    const fd = await sandbox.openInside('/work/new', options('write'));
    expect(fstatSync(fd)).toMatchObject({ size: 0, uid: TEST_UID });
    expect(fstatSync(fd).mode & 0o777).toBe(0o640);
    closeSync(fd);
    await refused('/etc/passwd', 'write', 'FORBIDDEN');
    await refused('/usr/bin/true', 'append', 'FORBIDDEN');
    await refused('/new', 'write', 'FORBIDDEN');
  });

  it('answers when the sandbox has ended', async () => {
    const short = await startReady(['/bin/sh', '-c', 'echo ready; sleep 30']);
    short.kill();
    await short.exited;
    await expect(short.openInside('/etc/passwd', options('read'))).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    await expect(
      short.exec({ argv: ['/bin/true'], env: {}, cwd: '/', stdin: null, timeoutMs: null }),
    ).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(short.freeze()).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
