import { execFile } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
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
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureNative, hostCapabilities } from '../native/index.ts';
import { containerProgram } from '../native/testing/container.ts';

/** A kernel and its agents on hosts that allow less. Each kernel is a process under the filter of a container. */

const root = path.dirname(import.meta.dirname);
const isRoot = process.geteuid?.() === 0;
let folder: string;
let container: string;
beforeAll(() => {
  ensureNative();
  folder = mkdtempSync(path.join(tmpdir(), 'clove-restricted-'));
  chmodSync(folder, 0o755);
  writeFileSync(path.join(folder, 'secret'), 'open to all users of the host', { mode: 0o644 });
  if (isRoot) container = containerProgram(folder);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let serial = 0;

// biome-ignore lint/suspicious/noExplicitAny: answers are asserted on, field by field
type Answer = any;

/** Boots a kernel behind `prepare`, runs `body` with a client of it, and answers what that returns. */
async function onHost(prepare: readonly string[], body: string, owner = 0): Promise<Answer> {
  serial += 1;
  const place = path.join(folder, `host-${serial}`);
  const script = path.join(folder, `host-${serial}.mts`);
  const fixture = JSON.stringify(path.join(root, 'kernel/fixture.ts'));
  mkdirSync(place, { mode: 0o755 });
  chownSync(place, owner, owner);
  writeFileSync(
    script,
    `import { writeFileSync } from 'node:fs';
    import { TestKernel, until } from ${fixture};
    const kernel = await TestKernel.boot({
      runDirectory: ${JSON.stringify(path.join(place, 'run'))},
      dataDirectory: ${JSON.stringify(path.join(place, 'data'))},
    });
    let answer;
    try {
      const client = await kernel.connect();
      answer = await (async () => { ${body} })();
    } finally {
      await kernel.close();
    }
    console.log(JSON.stringify(answer));
    process.exit();`,
  );
  const [program = '', ...rest] = [
    ...prepare,
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    script,
  ];
  const env = { PATH: process.env.PATH, HOME: '/tmp' };
  const { stdout } = await promisify(execFile)(program, rest, { env, cwd: root });
  return JSON.parse(stdout);
}

const WALLS = [
  'pidns',
  'mntns',
  'netns',
  'ipcns',
  'utsns',
  'cgroupns',
  'root_ro',
  'proc_masked',
  'dev_min',
  'sys_hidden',
  'disk',
  'inodes',
];
const LIMITS = ['mem', 'swap', 'cpu', 'pids', 'freeze'];
const rowOf = (report: Answer[], layer: string) => report.find((row) => row.layer === layer);
const mark = `67.${process.pid}`;
const ECHO =
  "import { connect } from 'clove/sdk'; const clove = await connect(); console.log('told', await clove.echo('x'));";

/** An agent on the host's own paths goes through the folders above the kernel's Node: in a clone below /root it cannot. */
function canExecuteNode(): boolean {
  for (let at = process.execPath; at !== '/'; at = path.dirname(at))
    if ((statSync(at).mode & 0o001) === 0) return false;
  return true;
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

/** As in containers: the groups cannot be written. A tmpfs over each of them, in a mount namespace of this process alone. */
function withoutGroups(): string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => `mount -t tmpfs none ${line.split(' ')[4]}`);
  const script = [...mounts, 'exec "$@"'].join(' && ');
  return ['unshare', '--mount', '--propagation', 'private', '/bin/sh', '-c', script, 'sh'];
}

describe('root in a container with the engine’s default filter, capabilities and groups', () => {
  it('refuses what requires more, and runs an agent that can do with less, reporting every layer', async (context) => {
    if (!isRoot) context.skip('needs root');
    const answer = await onHost(
      [...withoutGroups(), container],
      `const isolation = { allow_degraded: ${JSON.stringify([...WALLS, ...LIMITS])} };
      const refused = await client.call('SPAWN', { command: ['/bin/true'] });
      const half = await client.call('SPAWN', { command: ['/bin/true'], isolation: { allow_degraded: ['pidns', 'netns'] } });
      const looking = await client.spawn({ command: ['/bin/sh', '-c', 'id -u; cat /etc/shadow; cat /etc/profile > /dev/null && echo unwalled; cat /proc/self/status'], isolation });
      const exit = await client.call('WAIT', { id: looking.id });
      const { stdout, stderr } = await client.call('LOGS', { id: looking.id });
      const node = ${canExecuteNode()} ? await client.run({ command: ['node', '--input-type=module', '-e', ${JSON.stringify(ECHO)}], isolation }) : null;
      const sleeper = 'sleep ${mark} > /dev/null 2>&1';
      const leaving = await client.spawn({ command: ['/bin/sh', '-c', '(setsid ' + sleeper + ' &); while [ ! -e ${folder}/go ]; do sleep 0.02; done; kill -9 $PPID; ' + sleeper], isolation });
      writeFileSync('${folder}/go', '');
      await client.call('WAIT', { id: leaving.id });
      const held = await client.spawn({ command: ['/bin/sh', '-c', '(setsid ' + sleeper + ' &) ; echo ready; ' + sleeper], isolation });
      await until(async () => (await client.call('LOGS', { id: held.id })).stdout.includes('ready'));
      await client.call('KILL', { id: held.id, grace_ms: 0 });
      await client.call('WAIT', { id: held.id });
      return { refused, half, layers: looking.isolation.layers, summary: looking.isolation, exit, stdout, stderr, node };`,
    );
    expect(answer.refused).toMatchObject({ success: false, code: 'SANDBOX_UNAVAILABLE' });
    expect(answer.refused.details).toMatchObject({ errno: 'EPERM', syscall: 'clone' });
    expect(answer.refused.hint).toMatch(/root/);
    expect(answer.half).toMatchObject({ success: false, code: 'SANDBOX_UNAVAILABLE' });
    for (const layer of WALLS)
      expect(rowOf(answer.layers, layer), layer).toMatchObject({
        requested: true,
        state: 'off',
        errno: 'EPERM',
      });
    // Of a user of its own the number of processes is limited all the same.
    expect(rowOf(answer.layers, 'pids')).toMatchObject({
      state: 'degraded',
      how: expect.stringContaining('RLIMIT_NPROC=64'),
    });
    for (const layer of LIMITS.filter((layer) => layer !== 'pids'))
      expect(rowOf(answer.layers, layer), layer).toMatchObject({ state: 'off' });
    for (const layer of ['uid', 'caps', 'nnp', 'seccomp', 'fds', 'env', 'session', 'pdeath', 'kill'])
      expect(rowOf(answer.layers, layer), layer).toMatchObject({ state: 'on' });
    expect(rowOf(answer.layers, 'kill').how).toMatch(/every process of uid \d+/);
    expect(answer.summary).toMatchObject({ fully_isolated: false, namespaces: { pid: false, mnt: false } });
    expect(answer.exit).toMatchObject({ exit_code: 0 });
    expect(Number.parseInt(answer.stdout, 10)).toBeGreaterThanOrEqual(200_000);
    expect(answer.stdout).not.toMatch(/root:/);
    if (hostCapabilities().landlockAbi > 0) expect(answer.stdout).not.toMatch(/unwalled/);
    expect(answer.stdout).toMatch(/CapBnd:\t0+\n/);
    expect(answer.stdout).toMatch(/NoNewPrivs:\t1\nSeccomp:\t2/);
    if (answer.node !== null) expect(answer.node).toMatchObject({ stdout: 'told x\n', exit_code: 0 });
    expect(commandLines().filter((line) => line.includes(`${mark}\0`))).toEqual([]);
  });
});

describe('root of a user namespace without another user', () => {
  it('gives agents every wall below a user namespace of their own, with clone in place of clone3', async (context) => {
    if (!isRoot || !hostCapabilities().userNamespaces) context.skip('needs root and user namespaces');
    const answer = await onHost(
      ['unshare', '-U', '--map-root-user', container, '--only-clone3', '--all-capabilities'],
      `const refused = await client.call('SPAWN', { command: ['/bin/true'] });
      const { id, isolation } = await client.spawn({ command: ['/bin/sh', '-c', 'cat /proc/self/status; ls /proc | grep -c "^[0-9]"'], isolation: { allow_degraded: ['uid', ...${JSON.stringify(LIMITS)}] } });
      const exit = await client.call('WAIT', { id });
      return { refused, layers: isolation.layers, exit, ...(await client.call('LOGS', { id })) };`,
    );
    expect(answer.refused).toMatchObject({
      success: false,
      code: 'SANDBOX_UNAVAILABLE',
      details: { layer: 'uid' },
    });
    expect(answer.exit).toMatchObject({ exit_code: 0 });
    for (const layer of [...WALLS, 'userns', 'caps', 'seccomp', 'kill'])
      expect(rowOf(answer.layers, layer), layer).toMatchObject({ state: 'on' });
    expect(rowOf(answer.layers, 'uid')).toMatchObject({ state: 'degraded' });
    expect(answer.stdout).toMatch(/CapBnd:\t0+\n/);
  });
});

describe('root where only clone3 is hidden', () => {
  it('has everything, agents of a template too', async (context) => {
    if (!isRoot) context.skip('needs root');
    const { cgroup, userNamespaces } = hostCapabilities();
    if (cgroup === 'none' || !userNamespaces) context.skip('needs cgroups and user namespaces');
    if (!existsSync('/usr/bin/python3')) context.skip('needs /usr/bin/python3');
    writeFileSync(path.join(folder, 'agent.py'), 'print("ran")\n', { mode: 0o644 });
    const answer = await onHost(
      [container, '--only-clone3', '--all-capabilities'],
      `const plain = await client.spawn({ command: ['/bin/cat', '/proc/self/cgroup'] });
      await client.call('WAIT', { id: plain.id });
      const forked = await client.spawn({ script: '${folder}/agent.py', python: '/usr/bin/python3', template: { runtime: 'python', preload: ['json'] } });
      const exit = await client.call('WAIT', { id: forked.id });
      return { plain: plain.isolation, forked: forked.isolation, template: forked.template, exit, groups: (await client.call('LOGS', { id: plain.id })).stdout };`,
    );
    expect(answer.plain).toMatchObject({ fully_isolated: true, off: [], degraded: [] });
    expect(answer.template).toEqual({ used: true, reason: null });
    expect(answer.forked).toMatchObject({ fully_isolated: true, off: [], degraded: [] });
    expect(answer.exit).toMatchObject({ exit_code: 0, log_tail: 'ran\n' });
    // Its own groups are the roots of what it sees: it was put into them before the namespace was made.
    expect(answer.groups).toMatch(/^0::\/$/m);
  });
});

describe('root with mounts and without pivot_root', () => {
  it('asks to allow that the host lies under the new root, and then shows nothing of it', async (context) => {
    if (!isRoot) context.skip('needs root');
    const answer = await onHost(
      [container, '--sys-admin'],
      `const refused = await client.call('SPAWN', { command: ['/bin/true'] });
      const { id, isolation } = await client.spawn({ command: ['/bin/sh', '-c', 'ls /; ls /..; cat ${folder}/secret; cat /proc/self/mounts'], isolation: { allow_degraded: ['mntns', ...${JSON.stringify(LIMITS)}] } });
      const exit = await client.call('WAIT', { id });
      return { refused, layers: isolation.layers, exit, ...(await client.call('LOGS', { id })) };`,
    );
    expect(answer.refused).toMatchObject({
      success: false,
      code: 'SANDBOX_UNAVAILABLE',
      details: { layer: 'mntns' },
    });
    expect(answer.stdout).not.toMatch(/\bhome\b|open to all/);
    expect(rowOf(answer.layers, 'mntns')).toMatchObject({ state: 'degraded', errno: 'EPERM' });
    expect(rowOf(answer.layers, 'root_ro')).toMatchObject({ state: 'on' });
  });
});

describe('a user with the engine’s default filter', () => {
  it('runs an agent with what is left when the request allows it', async (context) => {
    if (!isRoot) context.skip('needs root to become another user');
    const answer = await onHost(
      [container, '--user', String(200_000_000 + process.pid)],
      `const all = ${JSON.stringify([...WALLS, ...LIMITS, 'uid', 'caps', 'kill'])};
      const refused = await client.call('SPAWN', { command: ['/bin/true'], isolation: { allow_degraded: all.filter((layer) => layer !== 'caps') } });
      const { id, isolation } = await client.spawn({ command: ['/bin/true'], isolation: { allow_degraded: all } });
      return { refused, layers: isolation.layers, exit: await client.call('WAIT', { id }) };`,
      200_000_000 + process.pid,
    );
    expect(answer.refused).toMatchObject({
      success: false,
      code: 'SANDBOX_UNAVAILABLE',
      details: { layer: 'caps' },
    });
    expect(answer.exit).toMatchObject({ exit_code: 0 });
    for (const layer of ['nnp', 'seccomp', 'fds', 'session'])
      expect(rowOf(answer.layers, layer), layer).toMatchObject({ state: 'on' });
    for (const layer of ['caps', 'kill'])
      expect(rowOf(answer.layers, layer), layer).toMatchObject({ state: 'degraded' });
    expect(rowOf(answer.layers, 'uid')).toMatchObject({ requested: true, state: 'off', errno: 'EPERM' });
  });
});
