import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { ensureNative } from '../native/index.ts';
import { type Answer, TestClient, TestKernel, until } from './fixture.ts';
import { createKernel } from './kernel.ts';
import type { UserKernelOptions } from './options.ts';
import { RawClient } from './wire/testing.ts';

const kernels: TestKernel[] = [];
async function boot(options?: Parameters<typeof TestKernel.boot>[0]): Promise<TestKernel> {
  const kernel = await TestKernel.boot(options);
  kernels.push(kernel);
  return kernel;
}
afterEach(async () => {
  for (const kernel of kernels.splice(0)) await kernel.close();
});

const isGone = (pid: number) => !existsSync(`/proc/${pid}`) || /^State:\t[ZX]/m.test(statusOf(pid));
const statusOf = (pid: number) => {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return 'State:\tX';
  }
};
const cgroupsOf = (bootId: string) => globSync(`/sys/fs/cgroup/**/clove/${bootId}`, { withFileTypes: false });

describe('a kernel', () => {
  it('leaves nothing of its boot behind: processes, socket, folders, cgroups', async () => {
    const kernel = await boot();
    const client = await kernel.connect();
    const pids: number[] = [];
    for (const command of [
      ['/bin/sleep', '60'],
      ['/bin/sh', '-c', 'trap "" TERM; while :; do sleep 1; done'],
    ]) {
      pids.push((await client.spawn({ command, restart_policy: 'always' })).pid);
    }
    const paused = await client.spawn({ command: ['/bin/sleep', '60'] });
    await client.call('PAUSE', { id: paused.id });
    pids.push(paused.pid);
    expect(cgroupsOf(kernel.running.bootId).length).toBeGreaterThan(0);
    await kernel.running.close();
    for (const pid of pids) expect(isGone(pid)).toBe(true);
    expect(existsSync(kernel.running.socketPath)).toBe(false);
    expect(readdirSync(path.join(kernel.folder, 'run'))).toEqual([]);
    expect(cgroupsOf(kernel.running.bootId)).toEqual([]);
    await kernel.running.close();
  });

  it('is the only one of its data directory and of its socket', async () => {
    const { folder, running } = await boot();
    const other = { runDirectory: path.join(folder, 'run'), logLevel: 'silent' as const };
    await expect(
      createKernel({
        ...other,
        socketPath: path.join(folder, 'two.sock'),
        dataDirectory: path.join(folder, 'data'),
      }),
    ).rejects.toMatchObject({ code: 'ALREADY_RUNNING' });
    await expect(
      createKernel({ ...other, socketPath: running.socketPath, dataDirectory: path.join(folder, 'data2') }),
    ).rejects.toMatchObject({ code: 'ALREADY_RUNNING' });
    // The one that was refused has taken nothing from the one that serves.
    expect(existsSync(running.socketPath)).toBe(true);
    expect(readdirSync(path.join(folder, 'run')).filter((name) => name.endsWith('.lock'))).toHaveLength(1);
  });

  it('takes over a socket file that nobody answers at', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'clove-stale-'));
    const socketPath = path.join(folder, 'clove.sock');
    try {
      const { default: net } = await import('node:net');
      const server = net.createServer().listen(socketPath);
      await once(server, 'listening');
      // Closed without unlinking, as after kill -9.
      const child = spawn(process.execPath, [
        '-e',
        `require('node:net').createServer().listen(${JSON.stringify(`${socketPath}.dead`)}, () => process.kill(process.pid, 'SIGKILL'))`,
      ]);
      await once(child, 'exit');
      server.close();
      const kernel = await boot({ socketPath: `${socketPath}.dead` });
      expect(await (await kernel.connect()).callText(0, 'x')).toBe('x');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('refuses options that make no sense, with the reason', async () => {
    await expect(createKernel({ socketPath: `/tmp/${'x'.repeat(120)}` })).rejects.toMatchObject({
      code: 'CONFIG',
    });
    await expect(createKernel({ maxAgents: 0 })).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringContaining('maxAgents'),
    });
  });

  it('neither shares a folder that is open to others nor closes one that is in use', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'clove-open-'));
    const socketPath = path.join(folder, 'clove.sock');
    const shared = path.join(folder, 'shared');
    try {
      mkdirSync(shared);
      chmodSync(shared, 0o777);
      writeFileSync(path.join(shared, 'theirs'), '');
      await expect(createKernel({ socketPath, dataDirectory: shared })).rejects.toMatchObject({
        code: 'CONFIG',
      });
      expect(statSync(shared).mode & 0o777).toBe(0o777);
      rmSync(path.join(shared, 'theirs'));
      await boot({ dataDirectory: shared });
      expect(statSync(shared).mode & 0o777).toBe(0o700);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('hears only users it was told of', async (ctx) => {
    if (process.geteuid?.() !== 0) ctx.skip('needs root to become somebody else');
    const nobody = 65_534;
    const folder = mkdtempSync(path.join(tmpdir(), 'clove-users-'));
    chmodSync(folder, 0o755);
    const source = `const s = require('node:net').connect(process.argv[1], () => s.write(Buffer.from('544e4741000000000001000000000000007a', 'hex')));
      s.on('data', (data) => { console.log('answered ' + data.subarray(17)); s.end(); });
      s.on('error', (error) => console.log(error.code)); s.on('close', () => console.log('closed'));`;
    const asNobody = async (socketPath: string) => {
      const child = spawn(process.execPath, ['-e', source, socketPath], {
        uid: nobody,
        gid: nobody,
        cwd: '/',
      });
      const chunks: Buffer[] = [];
      child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
      await once(child, 'close');
      return Buffer.concat(chunks).toString();
    };
    try {
      const closed = await boot({ socketPath: path.join(folder, 'a.sock') });
      expect(await asNobody(closed.running.socketPath)).toBe('EACCES\nclosed\n');
      chmodSync(closed.running.socketPath, 0o666);
      expect(await asNobody(closed.running.socketPath)).not.toContain('answered');
      const open = await boot({ socketPath: path.join(folder, 'b.sock'), operatorUids: [nobody] });
      expect(await asNobody(open.running.socketPath)).toBe('answered z\nclosed\n');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('without sandbox says so to every client and in every report', async () => {
    const kernel = await boot({ sandbox: 'off' });
    const client = await kernel.connect();
    expect((await client.call('HELLO')).features.sandbox).toBe(false);
    const { isolation, id } = await client.spawn({
      command: ['/bin/sh', '-c', 'echo $CLOVE_SOCKET; test -S $CLOVE_SOCKET && echo there'],
    });
    expect(isolation.fully_isolated).toBe(false);
    expect(isolation.off).toContain('mntns');
    await client.call('WAIT', { id });
    expect((await client.call('LOGS', { id })).stdout).toMatch(/a\d+\.sock\nthere\n$/);
    expect(await client.call('EXEC', { command: 'echo hi' })).toMatchObject({
      stdout: 'hi\n',
      success: true,
    });
  });
});

describe('the daemon', () => {
  interface Daemon {
    readonly pid: number;
    readonly ready: Answer;
    readonly exited: Promise<unknown[]>;
    readonly folder: string;
    readonly socketPath: string;
  }
  const folders: string[] = [];
  const started: Daemon[] = [];
  afterEach(async () => {
    for (const daemon of started.splice(0)) {
      if (!isGone(daemon.pid)) process.kill(daemon.pid, 'SIGKILL');
      await daemon.exited;
    }
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  });

  async function start(
    folder = mkdtempSync(path.join(tmpdir(), 'clove-daemon-')),
    { uid, ...more }: UserKernelOptions & { uid?: number } = {},
  ): Promise<Daemon> {
    folders.push(folder);
    const socketPath = path.join(folder, 'clove.sock');
    const options = {
      socketPath,
      dataDirectory: path.join(folder, 'data'),
      runDirectory: path.join(folder, 'run'),
      logLevel: 'silent',
      drainMs: 100,
      readyFd: 3,
      ...more,
    };
    const source = `import { runDaemon } from ${JSON.stringify(path.join(import.meta.dirname, 'daemon.ts'))};
      process.exitCode = await runDaemon(${JSON.stringify(options)});`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
      stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
      ...(uid === undefined
        ? {}
        : {
            uid,
            gid: uid,
            env: { ...process.env, XDG_RUNTIME_DIR: folder, XDG_CACHE_HOME: path.join(folder, 'cache') },
          }),
    });
    const exited = once(child, 'exit');
    const [line] = await once(child.stdio[3] as NodeJS.ReadableStream, 'data');
    const daemon = { pid: child.pid ?? 0, ready: JSON.parse(String(line)), exited, folder, socketPath };
    started.push(daemon);
    return daemon;
  }

  it('of an unprivileged user refuses what it cannot protect, and runs agents bare only when told to', async (ctx) => {
    if (process.geteuid?.() !== 0) ctx.skip('needs root to become somebody else');
    const nobody = 65_534;
    const isReadable = spawnSync(
      process.execPath,
      ['-e', `fs.accessSync(${JSON.stringify(import.meta.filename)})`],
      {
        uid: nobody,
        gid: nobody,
      },
    );
    if (isReadable.status !== 0) ctx.skip('the sources cannot be read by other users');
    for (const sandbox of ['required', 'off'] as const) {
      const folder = mkdtempSync(path.join(tmpdir(), 'clove-daemon-'));
      // The native part as it is built already: compiling it again for another user takes long.
      const cache = path.join(folder, 'cache', 'clove', 'native');
      mkdirSync(cache, { recursive: true });
      const files = ensureNative();
      for (const file of [files.addon, files.init]) cpSync(file, path.join(cache, path.basename(file)));
      chownSync(cache, nobody, nobody);
      chownSync(folder, nobody, nobody);
      const daemon = await start(folder, { sandbox, uid: nobody });
      expect(daemon.ready).toMatchObject({ ready: true });
      const client = new TestClient(await RawClient.connect(daemon.socketPath));
      const answer = await client.call('SPAWN', { command: ['/bin/sh', '-c', 'id -u'] });
      if (sandbox === 'required') {
        expect(answer).toMatchObject({ success: false, code: 'SANDBOX_UNAVAILABLE' });
        expect(answer.hint).toBeTypeOf('string');
      } else {
        await client.call('WAIT', { id: answer.id });
        expect((await client.call('LOGS', { id: answer.id })).stdout).toBe(`${nobody}\n`);
        expect(answer.isolation.off).toEqual(expect.arrayContaining(['uid', 'mem', 'seccomp']));
      }
      await client.close();
      process.kill(daemon.pid, 'SIGTERM');
      expect((await daemon.exited)[0]).toBe(0);
    }
  });

  it('says when it is ready, and stops on SIGTERM with nothing left', async () => {
    const daemon = await start();
    expect(daemon.ready).toMatchObject({ ready: true, socket: daemon.socketPath, pid: daemon.pid });
    const client = new TestClient(await RawClient.connect(daemon.socketPath));
    const { pid } = await client.spawn({ command: ['/bin/sleep', '60'] });
    process.kill(daemon.pid, 'SIGTERM');
    expect((await daemon.exited)[0]).toBe(0);
    expect(isGone(pid)).toBe(true);
    expect(readdirSync(path.join(daemon.folder, 'run'))).toEqual([]);
    await client.close();
  });

  it('stops on the first of two SIGTERM, in the midst of starts, and the next one finds all in order', async () => {
    const daemon = await start();
    const client = new TestClient(await RawClient.connect(daemon.socketPath));
    for (let n = 0; n < 60; n += 1)
      client.send('SPAWN', {
        command: ['/bin/sh', '-c', "trap '' TERM; sleep 600"],
        name: `storm-${n}`,
        persist: true,
      });
    const first = await client.next();
    process.kill(daemon.pid, 'SIGTERM');
    process.kill(daemon.pid, 'SIGTERM');
    expect((await daemon.exited)[0]).toBe(0);
    expect(isGone(first.pid)).toBe(true);
    expect(readdirSync(path.join(daemon.folder, 'run'))).toEqual([]);
    expect(cgroupsOf(daemon.ready.boot)).toEqual([]);
    await client.close();
    const next = await start(daemon.folder);
    expect(next.ready).toMatchObject({ ready: true });
    const after = new TestClient(await RawClient.connect(next.socketPath));
    expect(await after.call('AUDIT_VERIFY', {})).toMatchObject({ ok: true });
    await until(async () => (await after.call('LIST')).some(({ id }: Answer) => id === first.id));
    await after.close();
  });

  it('without descriptors to give serves whom it knows, turns others away, and recovers', async () => {
    const daemon = await start();
    const known = new TestClient(await RawClient.connect(daemon.socketPath));
    const { id } = await known.spawn({ command: ['/bin/sleep', '600'], name: 'there' });
    const descriptors = readdirSync(`/proc/${daemon.pid}/fd`);
    const limit = (count: number) =>
      expect(spawnSync('prlimit', ['--pid', String(daemon.pid), `--nofile=${count}:`]).status).toBe(0);
    limit(descriptors.length + 8);
    const clients: RawClient[] = [];
    for (let n = 0; n < 300; n += 1) clients.push(await RawClient.connect(daemon.socketPath));
    const isServed = async (client: RawClient) => {
      const answer = client.call({ opcode: 0, payload: 'x' });
      return answer.then(
        () => true,
        () => false,
      );
    };
    const served = await Promise.all(clients.map(isServed));
    expect(served).toContain(false);
    for (let n = 0; n < 5; n += 1) {
      expect(await known.call('LIST')).toMatchObject([{ id, name: 'there', running: true }]);
      const refused = await known.call('SPAWN', { command: ['/bin/true'] });
      expect(refused).toMatchObject({ success: false, code: expect.any(String), error: expect.any(String) });
    }
    for (const client of clients) await client.close();
    limit(1024);
    const after = new TestClient(await RawClient.connect(daemon.socketPath));
    expect(await after.run({ command: ['/bin/echo', 'fine'] })).toMatchObject({ stdout: 'fine\n' });
    await after.close();
    await known.close();
  });

  it('says why it cannot start', async () => {
    const first = await start();
    const second = await start(first.folder);
    expect(second.ready).toMatchObject({ ready: false, error: { code: 'ALREADY_RUNNING' } });
    expect((await second.exited)[0]).toBe(1);
  });

  it('takes its agents along when it is killed with -9, and the next one clears up', async () => {
    const daemon = await start();
    const client = new TestClient(await RawClient.connect(daemon.socketPath));
    const pids: number[] = [];
    for (let n = 0; n < 5; n += 1) {
      const answer = await client.spawn({
        command: ['/bin/sh', '-c', "trap '' TERM HUP; setsid sleep 60 & sleep 60"],
        restart_policy: 'always',
      });
      pids.push(answer.pid);
    }
    // Now: once it is dead, any other kernel that starts on this machine clears them up.
    expect(cgroupsOf(daemon.ready.boot).length).toBeGreaterThan(0);
    process.kill(daemon.pid, 'SIGKILL');
    await daemon.exited;
    await until(() => pids.every(isGone));
    const next = await start(daemon.folder);
    expect(next.ready).toMatchObject({ ready: true });
    expect(cgroupsOf(daemon.ready.boot)).toEqual([]);
    expect(
      readdirSync(path.join(daemon.folder, 'run')).some((name) => name.includes(daemon.ready.boot)),
    ).toBe(false);
    await client.close();
  });

  it('is cleared up after by any other kernel, also when its folder is gone; one that lives is not', async () => {
    const [dead, live] = [await start(), await start()];
    for (const daemon of [dead, live]) {
      const client = new TestClient(await RawClient.connect(daemon.socketPath));
      await client.spawn({ command: ['/bin/sleep', '600'] });
      await client.close();
      expect(cgroupsOf(daemon.ready.boot).length).toBeGreaterThan(0);
    }
    process.kill(dead.pid, 'SIGKILL');
    await dead.exited;
    rmSync(dead.folder, { recursive: true, force: true });
    await start();
    expect(cgroupsOf(dead.ready.boot)).toEqual([]);
    expect(cgroupsOf(live.ready.boot).length).toBeGreaterThan(0);
  });
});

describe('the log', () => {
  it('has no line of an agent’s own making', async () => {
    const kernel = await boot();
    const client = await kernel.connect();
    const file = path.join(kernel.folder, 'name');
    writeFileSync(file, '');
    expect(await client.call('SPAWN', { command: ['/bin/true'], name: 'a\n{"level":60}' })).toMatchObject({
      code: 'BAD_REQUEST',
    });
  });
});
