// Hosts other than this one: no privilege, only cgroup v1, only cgroup v2. Each is a child process whose view of the
// machine is narrower; nothing of the machine itself is changed.
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  ensureNative,
  type HostCapabilities,
  hostCapabilities,
  type LayerReport,
  type SandboxExit,
} from './index.ts';
import { cleanUp, TEST_UID, temporaryFolder } from './sandbox-testing.ts';

afterAll(cleanUp);
beforeAll(() => {
  ensureNative();
});

interface Answer {
  readonly host: HostCapabilities;
  readonly layers?: readonly LayerReport[];
  readonly exit?: SandboxExit;
  readonly stdout?: string;
  readonly error?: { readonly code: string; readonly hint: string; readonly details: Record<string, string> };
  readonly more?: unknown;
}

/** Runs `body` in a child process; it sees launch, testSpec, shell, startReady, LAYERS and answers what it returns. */
async function onHost(
  prepare: readonly string[],
  body: string,
  options: { uid?: number } = {},
): Promise<Answer> {
  const script = path.join(temporaryFolder(), 'host.mts');
  const from = (name: string) => JSON.stringify(path.join(import.meta.dirname, name));
  writeFileSync(
    script,
    `import { launch, hostCapabilities, LAYERS } from ${from('index.ts')};
    import { shell, startReady, testSpec, cleanUp, EVERY_LAYER } from ${from('sandbox-testing.ts')};
    const told = async ({ sandbox, stdout, ...exit }) => ({ layers: sandbox.layers, stdout, exit });
    const answer = await (async () => { ${body} })().catch((error) => ({ error: { code: error.code, hint: error.hint, details: error.details } }));
    await cleanUp();
    console.log(JSON.stringify({ host: hostCapabilities(), ...answer }));`,
  );
  const argv = [...prepare, process.execPath, '--disable-warning=ExperimentalWarning', script];
  const { stdout } = await promisify(execFile)(argv[0] as string, argv.slice(1), {
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
    env: { PATH: process.env.PATH, HOME: '/tmp' },
  });
  return JSON.parse(stdout) as Answer;
}

function commandLines(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch {
        return '';
      }
    });
}

const stateOf = (answer: Answer, layer: string) => answer.layers?.find((report) => report.layer === layer);

describe('a kernel without privilege', () => {
  const uid = TEST_UID;

  it('refuses what needs root, with a hint', async () => {
    const answer = await onHost([], `return told(await shell('true', { require: ['uid'] }));`, { uid });
    expect(answer.error).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      hint: expect.stringContaining('root'),
    });
    const limits = await onHost([], `return told(await shell('true', { require: ['mem'] }));`, { uid });
    expect(limits.error).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      details: { layer: 'mem', stage: 'cgroup_memory' },
      hint: expect.stringContaining('root'),
    });
  });

  it('builds the same walls in a user namespace, and says what is less', async (context) => {
    if (!hostCapabilities().userNamespaces) context.skip('this machine has no user namespaces');
    const walls = `['pidns', 'mntns', 'netns', 'ipcns', 'utsns', 'cgroupns', 'root_ro', 'proc_masked', 'dev_min', 'sys_hidden', 'caps', 'nnp', 'seccomp', 'landlock', 'fds', 'session', 'pdeath', 'disk', 'inodes', 'fsize', 'nofile', 'kill', 'userns']`;
    const answer = await onHost(
      [],
      `return told(await shell('id -u; cat /proc/self/uid_map /proc/self/status; cat /etc/shadow /proc/keys; ls /opt/z | head -1; touch /work/x && echo ok; kill -9 1; unshare -U true && echo nested; exit 3',
        { require: ${walls}, mounts: [{ source: '/usr/share', target: '/opt/z', readonly: true }] }));`,
      { uid },
    );
    expect(answer.error).toBeUndefined();
    expect(answer.exit).toMatchObject({ reason: 'exited', exitCode: 3 });
    expect(answer.stdout).toMatch(/CapBnd:\t0000000000000000/);
    expect(answer.stdout).toMatch(/Seccomp:\t2/);
    expect(answer.stdout).toMatch(/ok\n$/);
    expect(stateOf(answer, 'uid')).toMatchObject({ state: 'degraded', errno: 'EPERM' });
    expect(stateOf(answer, 'userns')).toMatchObject({ state: 'on' });
    expect(stateOf(answer, 'mem')).toMatchObject({ state: 'off', requested: true });
  });

  it('supervises without any sandbox, and leaves no descendant behind', async () => {
    const mark = `61.${process.pid}`;
    const answer = await onHost(
      [],
      `const disable = LAYERS.filter((layer) => !['kill', 'nofile'].includes(layer));
      const sleeper = 'sleep ${mark} > /dev/null 2>&1';
      const result = await told(await shell('setsid ' + sleeper + ' & ' + sleeper + ' & (' + sleeper + ' &) ; sleep 0.05; exit 4', { disable, require: [], cwd: '/' }));
      const held = await startReady(['/bin/sh', '-c', sleeper + ' & echo ready; ' + sleeper], { disable, require: [], cwd: '/' });
      held.kill();
      return { ...result, more: (await held.exited).reason };`,
      { uid },
    );
    expect(answer.more).toBe('killed');
    expect(commandLines().filter((line) => line.includes(`${mark}\0`))).toEqual([]);
    expect(answer.exit).toMatchObject({ reason: 'exited', exitCode: 4 });
    expect(answer.exit?.memoryPeakBytes).toBeLessThan(30 << 20);
    expect(stateOf(answer, 'kill')).toMatchObject({ state: 'degraded' });
  });
});

/** A child's own view of /sys/fs/cgroup: some hierarchies covered, in a mount namespace of its own. */
function covering(mountPoints: readonly string[]): string[] {
  const cover = mountPoints.map((point) => `mount -t tmpfs none ${point}`).join(' && ');
  return ['unshare', '--mount', '--propagation', 'private', '/bin/sh', '-c', `${cover} && exec "$@"`, 'sh'];
}

function cgroupMounts(type: 'cgroup' | 'cgroup2'): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(` - ${type} `))
    .map((line) => line.split(' ')[4] as string);
}

const needsBoth = () => process.geteuid?.() === 0 && hostCapabilities().cgroup === 'hybrid';

describe('a host with cgroup v1 only', () => {
  it('limits, freezes, kills while frozen, and cleans up', async (context) => {
    if (!needsBoth()) context.skip('needs root and both versions of cgroups');
    const answer = await onHost(
      covering(cgroupMounts('cgroup2')),
      `const sandbox = await startReady(['/bin/sh', '-c', 'echo ready; while :; do :; done']);
      await sandbox.freeze();
      const frozen = sandbox.stats().processIds.length;
      sandbox.kill();
      const killed = await sandbox.exited;
      const thawed = await startReady(['/bin/sh', '-c', 'echo ready; sleep 30']);
      await thawed.freeze();
      await thawed.thaw();
      thawed.kill('timeout');
      const oom = await shell('head -c 60M /dev/zero > /tmp/a', { limits: { memoryBytes: 16 << 20, tmpfsBytes: 128 << 20, fileSizeBytes: null } });
      return { layers: sandbox.layers, exit: killed, more: [frozen, (await thawed.exited).reason, oom.reason] };`,
    );
    expect(answer.error).toBeUndefined();
    expect(answer.host.cgroup).toBe('v1');
    expect(answer.exit).toMatchObject({ reason: 'killed' });
    expect(answer.more).toEqual([2, 'timeout', 'oom']);
    expect(stateOf(answer, 'freeze')).toMatchObject({ state: 'on', how: 'cgroup1:freezer.state' });
    expect(stateOf(answer, 'kill')).toMatchObject({ state: 'on', how: expect.stringContaining('PID 1') });
  });

  it('freezes a shell in the midst of its vforks, each time', async (context) => {
    if (!needsBoth()) context.skip('needs root and both versions of cgroups');
    const rounds = 200;
    const answer = await onHost(
      covering(cgroupMounts('cgroup2')),
      `const sandbox = await startReady(['/bin/sh', '-c', 'echo ready; while :; do /bin/true; done']);
      for (let round = 0; round < ${rounds}; round++) {
        await sandbox.freeze();
        await sandbox.thaw();
      }
      await sandbox.freeze();
      sandbox.kill();
      return { exit: await sandbox.exited };`,
    );
    expect(answer.error).toBeUndefined();
    expect(answer.exit).toMatchObject({ reason: 'killed' });
  });
});

describe('a host that gives the number of an ended process to another', () => {
  it('has nobody else signalled or ended in its stead', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('needs root');
    // clone3 with a number of choice, in a pid namespace of its own.
    const innocent = `
import ctypes, os, struct, sys, time
libc = ctypes.CDLL(None)
wanted = (ctypes.c_int * 1)(int(sys.argv[1]))
arguments = struct.pack('<11Q', 0, 0, 0, 0, 17, 0, 0, 0, ctypes.addressof(wanted), 1, 0)
pid = libc.syscall(435, arguments, len(arguments))
if pid == 0: os.execv('/bin/sleep', ['sleep', '600'])
print(pid, flush=True)
_, status = os.waitpid(pid, 0)
os._exit(status & 0x7f)`;
    const answer = await onHost(
      ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'],
      `const { spawn } = await import('node:child_process');
      const { once } = await import('node:events');
      const sandbox = await startReady(['/bin/sh', '-c', 'echo ready; sleep 600']);
      sandbox.kill();
      await sandbox.exited;
      const other = spawn('/usr/bin/python3', ['-I', '-c', ${JSON.stringify(innocent)}, String(sandbox.pid)]);
      const [said] = await once(other.stdout, 'data');
      sandbox.signal('SIGKILL');
      sandbox.kill();
      const late = await sandbox.freeze().catch((error) => error.code);
      const ended = once(other, 'exit');
      process.kill(Number(said), 'SIGUSR1'); // the first to reach it
      return { more: [Number(said) === sandbox.pid, late, (await ended)[0]] };`,
    );
    expect(answer.error).toBeUndefined();
    expect(answer.more).toEqual([true, 'NOT_FOUND', 10]);
  });
});

describe('a host with hierarchies mounted at a second place', () => {
  it('makes one group in each, and limits, freezes and ends as elsewhere', async (context) => {
    if (!needsBoth()) context.skip('needs root and both versions of cgroups');
    const again = [...cgroupMounts('cgroup'), ...cgroupMounts('cgroup2')]
      .map((point, index) => `mkdir -p /mnt/${index} && mount --bind ${point} /mnt/${index}`)
      .join(' && ');
    const prepare = ['unshare', '--mount', '--propagation', 'private', '/bin/sh', '-c'];
    const answer = await onHost(
      [...prepare, `mount -t tmpfs none /mnt && ${again} && exec "$@"`, 'sh'],
      `const sandbox = await startReady(['/bin/sh', '-c', 'echo ready; sleep 30']);
      await sandbox.freeze();
      sandbox.kill();
      const oom = await shell('head -c 60M /dev/zero > /tmp/a', { limits: { memoryBytes: 16 << 20, tmpfsBytes: 128 << 20, fileSizeBytes: null } });
      return { layers: sandbox.layers, exit: await sandbox.exited, more: oom.reason };`,
    );
    expect(answer.error).toBeUndefined();
    expect(answer.exit).toMatchObject({ reason: 'killed' });
    expect(answer.more).toBe('oom');
    for (const layer of ['mem', 'cpu', 'pids', 'freeze', 'kill'])
      expect(stateOf(answer, layer)?.state).toBe('on');
  });
});

describe('a host whose cgroup v2 has none of the controllers', () => {
  it('places, freezes and kills, refuses limits, and never pretends', async (context) => {
    if (!needsBoth()) context.skip('needs root and both versions of cgroups');
    const prepare = covering(cgroupMounts('cgroup'));
    const refused = await onHost(prepare, `return told(await shell('true'));`);
    expect(refused.host).toMatchObject({ cgroup: 'v2', cgroupControllers: [] });
    expect(refused.error).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      details: { layer: 'mem', errno: 'ENOENT' },
    });
    const answer = await onHost(
      prepare,
      `const limits = ['mem', 'swap', 'cpu', 'pids'];
      const sandbox = await startReady(['/bin/sh', '-c', 'echo ready; sleep 30'], { require: EVERY_LAYER.filter((layer) => !limits.includes(layer)) });
      await sandbox.freeze();
      sandbox.kill();
      return { layers: sandbox.layers, exit: await sandbox.exited };`,
    );
    expect(answer.exit).toMatchObject({ reason: 'killed' });
    for (const layer of ['mem', 'cpu'])
      expect(stateOf(answer, layer)).toMatchObject({ state: 'off', requested: true, errno: 'ENOENT' });
    expect(stateOf(answer, 'pids')).toMatchObject({
      state: 'degraded',
      errno: 'ENOENT',
      how: expect.stringContaining('RLIMIT_NPROC=64'),
    });
    expect(stateOf(answer, 'kill')).toMatchObject({ state: 'on', how: 'cgroup2:cgroup.kill' });
  });
});
