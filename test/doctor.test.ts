import { execFile, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureNative, hostCapabilities } from '../native/index.ts';
import { containerProgram } from '../native/testing/container.ts';

/** `clove doctor` on machines other than this one: each a child process that sees or may less. Nothing of the machine is changed. */

const root = path.dirname(import.meta.dirname);
const UID = 200_000_000 + process.pid;
let folder: string;
beforeAll(() => {
  ensureNative();
  folder = mkdtempSync(path.join(tmpdir(), 'clove-doctor-test-'));
  chmodSync(folder, 0o755);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Layer {
  readonly layer: string;
  readonly requested: boolean;
  readonly state: string;
  readonly how: string;
  readonly errno: string | null;
  readonly remedy: string | null;
}
interface Result {
  readonly status: number;
  readonly ok: boolean;
  readonly strength: string;
  readonly tookMs: number;
  readonly host: Readonly<Record<string, unknown>>;
  readonly layers: readonly Layer[];
  readonly error: { readonly message: string; readonly hint: string | null } | null;
}

function doctor(prepare: readonly string[], args: readonly string[] = []): Promise<Result> {
  const cli = [process.execPath, '--disable-warning=ExperimentalWarning', path.join(root, 'cli/main.ts')];
  const [program = '', ...rest] = [...prepare, ...cli, 'doctor', '--json', ...args];
  return new Promise((resolve, reject) => {
    const env = { PATH: process.env.PATH, HOME: '/tmp' };
    execFile(program, rest, { env, cwd: root }, (error, stdout, stderr) => {
      if (stdout === '') reject(new Error(`doctor says nothing: ${stderr}`, { cause: error }));
      else resolve({ status: Number(error?.code ?? 0), ...JSON.parse(stdout) });
    });
  });
}

const missing = ({ layers }: Result) =>
  layers.filter(({ requested, state }) => requested && (state === 'off' || state === 'degraded'));
const named = (layers: readonly Layer[]) => layers.map(({ layer }) => layer);

const isRoot = process.geteuid?.() === 0;
const asUser = ['setpriv', '--reuid', String(UID), '--regid', String(UID), '--clear-groups', '--'];
const hasPython = spawnSync('/usr/bin/python3', ['-c', '']).status === 0;

/** The hierarchies of this machine. */
const cgroupMounts = () =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => ({ point: line.split(' ')[4] ?? '', options: line.split(' ').at(-1) ?? '' }));
const covered = (mounts: readonly string[]) =>
  mounts.map((mount) => `mount -t tmpfs none ${mount}`).join(' && ');

/** A mount namespace of its own in which the mounts are changed first. */
const inOwnMounts = (change: string): string[] => [
  'unshare',
  '--mount',
  '--propagation',
  'private',
  '/bin/sh',
  '-c',
  `${change} && exec "$@"`,
  'sh',
];

/** Runs a command under a seccomp filter. `rules`: Python that adds to `program`, with the number of the call loaded. */
const filterOf = (rules: string) => `
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
stmt = lambda code, k: struct.pack('HBBI', code, 0, 0, k)
jump = lambda code, k, yes, no: struct.pack('HBBI', code, yes, no, k)
ALLOW, EPERM, ENOSYS = 0x7fff0000, 0x00050001, 0x00050026
program = [stmt(0x20, 0)]
${rules}
program += [stmt(0x06, ALLOW)]
class Program(ctypes.Structure): _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_char_p)]
text = b''.join(program)
held = ctypes.create_string_buffer(text, len(text))
loaded = Program(len(program), ctypes.cast(held, ctypes.c_char_p))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(loaded), 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
`;

/** A Linux without Landlock. */
const NO_LANDLOCK = filterOf('program += [jump(0x15, 444, 0, 1), stmt(0x06, ENOSYS)]');

describe('clove doctor', () => {
  it('finds every layer on as root, and leaves nothing behind', async (context) => {
    if (!isRoot) context.skip('needs root');
    const { cgroup } = hostCapabilities();
    if (cgroup === 'none') context.skip('this machine has no cgroups');
    const result = await doctor([]);
    expect(result).toMatchObject({ status: 0, ok: true, strength: 'full', error: null });
    expect(missing(result)).toEqual([]);
    expect(result.tookMs).toBeGreaterThan(0);
    expect(result.layers.length).toBeGreaterThan(30);
    const groups = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => / - cgroup2? /.test(line))
      .flatMap((line) => {
        try {
          return readdirSync(`${line.split(' ')[4]}/clove`);
        } catch {
          return [];
        }
      });
    expect(groups.filter((name) => name.includes('doctor'))).toEqual([]);
  });

  it('says as a user what only root can have, and what to do', async (context) => {
    if (!isRoot) context.skip('needs root to become another user');
    if (!hostCapabilities().userNamespaces) context.skip('this machine has no user namespaces');
    const result = await doctor(asUser);
    expect(result).toMatchObject({ status: 1, ok: false, strength: 'reduced', error: null });
    expect(named(missing(result))).toEqual(expect.arrayContaining(['uid', 'mem', 'cpu', 'pids']));
    for (const layer of missing(result)) expect(layer.remedy, layer.layer).toMatch(/root/);
    expect(await doctor(asUser, ['--require', 'reduced'])).toMatchObject({
      status: 0,
      ok: true,
      strength: 'reduced',
    });
  });

  it('names the switch where users may make no namespaces, and goes on with what is left', async (context) => {
    if (!isRoot || !hostCapabilities().userNamespaces) context.skip('needs root and user namespaces');
    const without =
      'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --inh-caps -all --bounding-set -all -- "$@"';
    const result = await doctor([
      ...asUser,
      'unshare',
      '-U',
      '--map-root-user',
      '/bin/sh',
      '-c',
      without,
      'sh',
    ]);
    expect(result).toMatchObject({ status: 1, ok: false, strength: 'none', error: null });
    expect(result.host).toMatchObject({ sysAdmin: false, maxUserNamespaces: 0 });
    const off = missing(result);
    expect(named(off)).toEqual(expect.arrayContaining(['pidns', 'mntns', 'netns', 'root_ro', 'caps', 'mem']));
    expect(off.find(({ layer }) => layer === 'pidns')).toMatchObject({
      state: 'off',
      errno: 'EPERM',
      remedy: expect.any(String),
    });
    const on = result.layers.filter(({ state }) => state === 'on').map(({ layer }) => layer);
    expect(on).toEqual(expect.arrayContaining(['nnp', 'seccomp', 'fds', 'env']));
    expect(
      await doctor(
        [...asUser, 'unshare', '-U', '--map-root-user', '/bin/sh', '-c', without, 'sh'],
        ['--require', 'reduced'],
      ),
    ).toMatchObject({
      status: 1,
      ok: false,
    });
  });

  describe('inside a container', () => {
    const alone = ['unshare', '-U', '--map-root-user'];
    let container: string;
    beforeAll(() => {
      if (isRoot) container = containerProgram(folder);
    });
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
    ];
    const on = ({ layers }: Result) => named(layers.filter(({ state }) => state === 'on'));

    it('has no namespaces under the engine’s default filter, and says what is left and how to have more', async (context) => {
      if (!isRoot) context.skip('needs root');
      const result = await doctor([container]);
      expect(result).toMatchObject({ status: 1, ok: false, strength: 'none', error: null });
      expect(result.host).toMatchObject({
        seccompMode: 2,
        sysAdmin: false,
        clone3: false,
        namespaces: 'none',
      });
      expect(named(missing(result))).toEqual(
        expect.arrayContaining([...WALLS, 'sys_hidden', 'disk', 'inodes']),
      );
      for (const layer of missing(result).filter(({ layer }) => WALLS.includes(layer)))
        expect(layer).toMatchObject({ state: 'off', errno: 'EPERM', remedy: expect.any(String) });
      expect(on(result)).toEqual(
        expect.arrayContaining(['uid', 'caps', 'nnp', 'seccomp', 'fds', 'env', 'session', 'pdeath', 'kill']),
      );
      if (hostCapabilities().landlockAbi > 0) expect(on(result)).toContain('landlock');
    });

    it('has no user to give as root of a user namespace', async (context) => {
      if (!isRoot || !hostCapabilities().userNamespaces) context.skip('needs root and user namespaces');
      const result = await doctor([...alone, container]);
      expect(result).toMatchObject({ status: 1, strength: 'none', error: null, host: { ownUsers: false } });
      expect(named(missing(result))).toEqual(expect.arrayContaining(['uid', ...WALLS]));
      expect(on(result)).toEqual(expect.arrayContaining(['caps', 'nnp', 'seccomp', 'fds']));
    });

    it('has every wall as root of a user namespace where only clone3 is hidden', async (context) => {
      if (!isRoot || !hostCapabilities().userNamespaces) context.skip('needs root and user namespaces');
      const result = await doctor([...alone, container, '--only-clone3', '--all-capabilities']);
      expect(result).toMatchObject({ status: 1, strength: 'reduced', error: null, host: { clone3: false } });
      expect(missing(result).find(({ layer }) => layer === 'uid')).toMatchObject({
        state: 'degraded',
        remedy: expect.stringContaining('user namespace'),
      });
      expect(on(result)).toEqual(expect.arrayContaining([...WALLS, 'userns', 'caps', 'kill']));
    });

    it('is a user who may have nothing of it', async (context) => {
      if (!isRoot) context.skip('needs root');
      const result = await doctor([container, '--user', String(UID)]);
      expect(result).toMatchObject({ status: 1, strength: 'none', error: null });
      expect(named(missing(result))).toEqual(expect.arrayContaining(['caps', ...WALLS]));
      expect(result.layers.find(({ layer }) => layer === 'caps')).toMatchObject({
        state: 'degraded',
        errno: 'EPERM',
      });
      expect(on(result)).toEqual(expect.arrayContaining(['nnp', 'seccomp', 'fds', 'env']));
    });

    it('is a user who may make namespaces, with clone in place of clone3', async (context) => {
      if (!isRoot || !hostCapabilities().userNamespaces) context.skip('needs root and user namespaces');
      const result = await doctor([container, '--only-clone3', '--user', String(UID)]);
      expect(result).toMatchObject({ status: 1, strength: 'reduced', error: null, host: { clone3: false } });
      expect(on(result)).toEqual(expect.arrayContaining([...WALLS, 'userns', 'caps', 'kill']));
    });

    it('has everything where only clone3 is hidden, its groups of version 2 too', async (context) => {
      if (!isRoot) context.skip('needs root');
      if (hostCapabilities().cgroup === 'none') context.skip('this machine has no cgroups');
      const result = await doctor([container, '--only-clone3', '--all-capabilities']);
      expect(result).toMatchObject({ status: 0, ok: true, strength: 'full', host: { clone3: false } });
      expect(missing(result)).toEqual([]);
    });

    it('covers the host’s root where mounts are allowed and pivot_root is not', async (context) => {
      if (!isRoot) context.skip('needs root');
      const result = await doctor([container, '--sys-admin']);
      expect(result).toMatchObject({ strength: 'reduced', error: null, host: { pivotRoot: false } });
      expect(result.layers.find(({ layer }) => layer === 'mntns')).toMatchObject({
        state: 'degraded',
        errno: 'EPERM',
      });
      expect(on(result)).toEqual(expect.arrayContaining(WALLS.filter((layer) => layer !== 'mntns')));
    });
  });

  it('goes on without Landlock where Linux has none, and says so', async (context) => {
    if (!isRoot || !hasPython || process.arch !== 'x64') context.skip('needs root, /usr/bin/python3 and x64');
    if (hostCapabilities().cgroup === 'none') context.skip('this machine has no cgroups');
    const filter = path.join(folder, 'landlock.py');
    writeFileSync(filter, NO_LANDLOCK);
    const result = await doctor(['/usr/bin/python3', filter]);
    expect(result).toMatchObject({ status: 1, strength: 'reduced', host: { landlockAbi: 0 } });
    expect(missing(result)).toMatchObject([
      { layer: 'landlock', state: 'off', remedy: expect.stringContaining('lsm=landlock') },
    ]);
    expect(await doctor(['/usr/bin/python3', filter], ['--require', 'reduced'])).toMatchObject({
      status: 0,
      ok: true,
    });
  });

  it('tells what a machine without cgroups lacks', async (context) => {
    if (!isRoot) context.skip('needs root');
    const mounts = cgroupMounts().map(({ point }) => point);
    if (mounts.length === 0) context.skip('this machine is such a one');
    const prepare = inOwnMounts(covered(mounts));
    const result = await doctor(prepare);
    expect(result).toMatchObject({ status: 1, ok: false, strength: 'reduced' });
    expect(named(missing(result))).toEqual(expect.arrayContaining(['mem', 'cpu', 'pids']));
    const only = missing(result).filter(
      ({ layer }) => !['mem', 'swap', 'cpu', 'pids', 'cpuset', 'freeze', 'kill'].includes(layer),
    );
    expect(only).toEqual([]);
  });

  describe('proposes what works: done, every layer is on', () => {
    const mounts = cgroupMounts();
    const worlds: [title: string, change: string][] = [
      [
        'the groups are mounted read-only',
        mounts.map(({ point }) => `mount -o remount,bind,ro ${point}`).join(' && '),
      ],
      [
        'the controller of memory is not mounted',
        covered(mounts.filter(({ options }) => /\bmemory\b/.test(options)).map(({ point }) => point)),
      ],
      ['nothing of cgroups is mounted', covered(mounts.map(({ point }) => point))],
    ];

    it.skipIf(!isRoot || mounts.length < 2).each(worlds)('where %s', async (_, change) => {
      const before = await doctor(inOwnMounts(change));
      expect(before).toMatchObject({ status: 1, strength: 'reduced', error: null });
      const remedies = new Set(missing(before).map(({ remedy }) => remedy));
      expect(remedies.size).toBe(1);
      const after = await doctor(inOwnMounts(`${change} && ${[...remedies][0]}`));
      expect(missing(after)).toEqual([]);
      expect(after).toMatchObject({ status: 0, strength: 'full' });
    });

    const takenAway: [capability: string, layer: string][] = [
      ['chown', 'disk'],
      ['setgid', 'uid'],
      ['setuid', 'uid'],
      ['setpcap', 'caps'],
      ['net_admin', 'netns'],
    ];
    it.skipIf(!isRoot || mounts.length === 0).each(takenAway)(
      'root without CAP_%s is told to have it, for %s',
      async (capability, layer) => {
        const result = await doctor([
          'setpriv',
          '--inh-caps',
          `-${capability}`,
          '--bounding-set',
          `-${capability}`,
        ]);
        expect(named(missing(result))).toContain(layer);
        for (const { remedy, how } of missing(result)) {
          expect(how).not.toBe('');
          expect(remedy).toMatch(new RegExp(`CAP_${capability}|--cap-add ${capability}|privileged`, 'i'));
        }
      },
    );

    it('where few files may be open', async () => {
      const result = await doctor(['prlimit', '--nofile=500:500']);
      const nofile = result.layers.find(({ layer }) => layer === 'nofile');
      expect(nofile).toMatchObject({ state: 'off', remedy: expect.stringContaining('nofile=1024:1024') });
      if (isRoot) expect(missing(await doctor(['prlimit', '--nofile=1024:1024']))).not.toContain(nofile);
    });
  });

  it('is not led by files that lie where it is started', async () => {
    const planted = path.join(folder, 'planted');
    mkdirSync(path.join(planted, '.clove'), { recursive: true });
    mkdirSync(path.join(planted, '.git', 'hooks'), { recursive: true });
    mkdirSync(path.join(planted, 'node_modules', 'commander'), { recursive: true });
    const mark = path.join(folder, 'was-run');
    const run = `require('node:fs').writeFileSync(${JSON.stringify(mark)}, '')`;
    const files: Record<string, string> = {
      '.npmrc': `node-options=--require ${planted}/evil.cjs\nscript-shell=${planted}/evil.sh\n`,
      '.env': `NODE_OPTIONS=--require ${planted}/evil.cjs\nCLOVE_SOCKET=/nowhere\n`,
      'evil.cjs': run,
      'evil.sh': `#!/bin/sh\ntouch ${mark}\n`,
      'clove.yaml': 'agents: [',
      'package.json':
        '{"type":"commonjs","imports":{"#x":"./evil.cjs"},"scripts":{"preinstall":"./evil.sh"}}',
      'node.config.json': '{"nodeOptions":{"require":["./evil.cjs"]}}',
      '.clove/config.json': '{"isolation":{"require":[]}}',
      '.clove/permissions.json': 'not even JSON',
      '.git/hooks/post-checkout': `#!/bin/sh\ntouch ${mark}\n`,
      'node_modules/commander/index.js': run,
      'tsconfig.json': '{',
    };
    for (const [name, content] of Object.entries(files)) {
      writeFileSync(path.join(planted, name), content);
      chmodSync(path.join(planted, name), 0o755);
    }
    const launcher = path.join(root, 'bin/clove');
    const states = (cwd: string) => {
      const { stdout } = spawnSync(launcher, ['doctor', '--json'], {
        cwd,
        encoding: 'utf8',
        env: { PATH: process.env.PATH, HOME: planted },
      });
      return (JSON.parse(stdout) as Result).layers.map(({ layer, state }) => [layer, state]);
    };
    expect(states(planted)).toEqual(states(root));
    expect(existsSync(mark)).toBe(false);
  });
});
