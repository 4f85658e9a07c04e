import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isCloveError } from '../errors/index.ts';
import { hostCapabilities, type Layer, launch, setupSteps } from './index.ts';
import {
  cleanUp,
  EVERY_LAYER,
  noGroupsLeft,
  noMoreDescriptorsThan,
  openDescriptors,
  processesOfTestUser,
  runToEnd,
  type SpecChanges,
  TEST_UID,
  temporaryFolder,
  testSpec,
} from './sandbox-testing.ts';

afterAll(cleanUp);

/** A folder in which a running agent would leave a mark. */
const marked = temporaryFolder();
const agent = ['/bin/sh', '-c', 'echo ran > /mark/ran; echo ran'];
const withMark: SpecChanges = {
  mounts: [{ source: path.join(marked, 'd'), target: '/mark', readonly: false }],
};

beforeAll(async () => {
  chownSync(path.join(marked, 'd'), TEST_UID, TEST_UID);
  expect((await runToEnd(agent, withMark)).stdout).toBe('ran\n');
  rmSync(path.join(marked, 'd', 'ran'));
});

async function refusal(changes: SpecChanges, argv: readonly string[] = agent) {
  try {
    await launch(testSpec(argv, changes));
  } catch (error) {
    if (isCloveError(error)) return error;
    throw error;
  }
  throw new Error('the sandbox was made');
}

/** Steps only some machines or requests take. */
const NOT_TAKEN = ['namespaces', 'id_maps', 'timeout'];
const errnoNames: Readonly<Record<number, string>> = { 1: 'EPERM', 38: 'ENOSYS', 28: 'ENOSPC' };

describe('a setup that fails', () => {
  const steps = setupSteps().filter((step) => !NOT_TAKEN.includes(step));

  it.each(steps)(
    'at %s refuses the spawn, names the step and its errno, and nothing ran or stayed',
    async (step) => {
      const descriptors = openDescriptors();
      const faultErrno = [1, 38, 28][steps.indexOf(step) % 3] as number;
      const error = await refusal({
        ...withMark,
        faultStep: step,
        faultErrno,
        limits: { cpus: '0' },
        require: [...EVERY_LAYER, 'cpuset'],
      });
      expect(error.code).toBe(step === 'exec' ? 'EXEC_FAILED' : 'SANDBOX_UNAVAILABLE');
      expect(error.details).toMatchObject({ stage: step, errno: errnoNames[faultErrno] });
      expect(error.details?.syscall).not.toBe('');
      expect(readdirSync(path.join(marked, 'd'))).toEqual([]);
      await noGroupsLeft();
      expect(processesOfTestUser()).toEqual([]);
      await noMoreDescriptorsThan(descriptors);
    },
  );

  it('turns a layer off, visibly, when it is not required', async () => {
    const optional: readonly (readonly [string, Layer])[] = [
      ['cgroup_memory', 'mem'],
      ['cgroup_pids', 'pids'],
      ['cgroupns', 'cgroupns'],
      ['proc_masks', 'proc_masked'],
      ['root_readonly', 'root_ro'],
      ['landlock', 'landlock'],
      ['seccomp', 'seccomp'],
      ['rlimit_fsize', 'fsize'],
      ['hostname', 'utsns'],
    ];
    for (const [step, layer] of optional) {
      const require = EVERY_LAYER.filter((name) => name !== layer && !(layer === 'mem' && name === 'swap'));
      const { sandbox, stdout } = await runToEnd(['/bin/echo', 'ran'], {
        faultStep: step,
        faultErrno: 38,
        require,
      });
      expect(stdout).toBe('ran\n');
      expect(sandbox.layers.find((report) => report.layer === layer)).toMatchObject({
        requested: true,
        // The agent's user of its own stands in for the group of pids.
        state: layer === 'pids' ? 'degraded' : 'off',
        errno: 'ENOSYS',
      });
      expect(
        sandbox.layers.filter(
          ({ state, layer: name }) => state === 'off' && name !== layer && name !== 'swap',
        ),
      ).toEqual([]);
    }
  });

  it('refuses when a required layer cannot be had on this machine', async () => {
    expect(await refusal({ limits: { maxOpenFiles: 1 << 20 } })).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      details: { stage: 'rlimit_nofile', layer: 'nofile' },
    });
  });

  it('says when the same may succeed later, and what has run out', async () => {
    for (const [errno, name, hint] of [
      [11, 'EAGAIN', /processes/],
      [12, 'ENOMEM', /memory/],
      [28, 'ENOSPC', /namespaces/],
    ] as const) {
      const error = await refusal({ ...withMark, faultStep: 'clone', faultErrno: errno });
      expect(error).toMatchObject({
        code: 'SANDBOX_UNAVAILABLE',
        hint: expect.stringMatching(hint),
        details: { stage: 'clone', errno: name, retriable: true },
      });
    }
    const never = await refusal({ ...withMark, faultStep: 'clone', faultErrno: 1 });
    expect(never.details).not.toHaveProperty('retriable');
    // That is the agent's own limit, and stays what it is.
    const own = await refusal({ ...withMark, faultStep: 'fork_agent', faultErrno: 11 });
    expect(own.details).not.toHaveProperty('retriable');
    expect(readdirSync(path.join(marked, 'd'))).toEqual([]);
  });

  it('gives up on a setup that takes too long', async () => {
    expect(await refusal({ ...withMark, faultStep: 'timeout', setupTimeoutMs: 50 })).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      details: { stage: 'timeout', errno: 'ETIMEDOUT' },
    });
    expect(readdirSync(path.join(marked, 'd'))).toEqual([]);
    await noGroupsLeft();
  });

  it('takes no working directory that is missing, closed or behind a magic link', async () => {
    for (const [cwd, errno] of [
      ['/nowhere', 'ENOENT'],
      ['/etc/passwd', 'ENOTDIR'],
      ['/etc/ssl/private', 'EACCES'],
      ['/proc/self/root/work', 'ELOOP'],
      ['/proc/self/fd/0', 'ELOOP'],
    ]) {
      if (cwd === '/etc/ssl/private' && !existsSync(cwd)) continue;
      const error = await refusal({ cwd: cwd as string });
      expect(error, cwd).toMatchObject({
        code: 'SANDBOX_UNAVAILABLE',
        details: { stage: 'working_directory', errno },
      });
    }
  });

  it('says so when the memory does not even hold the sandbox', async () => {
    const outcome = await runToEnd(['/usr/bin/python3', '-c', 'print(1)'], {
      limits: { memoryBytes: 1 << 20 },
    }).catch((error) => error);
    if (isCloveError(outcome)) expect(outcome.hint).toMatch(/memory/);
    else expect(outcome).toMatchObject({ reason: 'oom', stdout: '' });
    await noGroupsLeft();
  });
});

describe('mounts that try to lead elsewhere', () => {
  it('follows no link in a source or a target', async () => {
    const folder = temporaryFolder();
    mkdirSync(path.join(folder, 'real'));
    mkdirSync(path.join(folder, 'd', 'sub'));
    symlinkSync(path.join(folder, 'real'), path.join(folder, 'link'));
    symlinkSync('/etc', path.join(folder, 'd', 'etc'));
    symlinkSync('/nowhere', path.join(folder, 'd', 'dangling'));
    const planted = { source: path.join(folder, 'd'), target: '/work', readonly: false };
    const source = path.join(folder, 'real');
    expect(
      await refusal({ mounts: [{ source: path.join(folder, 'link'), target: '/opt', readonly: true }] }),
    ).toMatchObject({
      code: 'SANDBOX_UNAVAILABLE',
      details: { stage: 'open_mounts', errno: 'ELOOP' },
    });
    for (const target of ['/work/etc/x', '/work/dangling', '/work/dangling/y', '/bin/x']) {
      expect(await refusal({ mounts: [planted, { source, target, readonly: true }] })).toMatchObject({
        details: { stage: 'mounts', errno: 'ELOOP' },
      });
    }
    expect(readdirSync(path.join(folder, 'real'))).toEqual([]);
    const fine = await runToEnd(['/bin/ls', '/work/sub'], {
      mounts: [planted, { source: folder, target: '/work/sub', readonly: true }],
    });
    expect(fine.stdout).toContain('real');
  });

  it('names a source that does not exist', async () => {
    expect(
      await refusal({ mounts: [{ source: '/nowhere/at/all', target: '/opt', readonly: true }] }),
    ).toMatchObject({
      details: { stage: 'open_mounts', errno: 'ENOENT', detail: '/nowhere/at/all' },
    });
  });

  it('brings neither the host’s root nor a window into its kernel inside', async () => {
    for (const source of [
      '/',
      '///',
      '/proc',
      '/proc/1/root',
      '/proc/sys',
      '/sys',
      '/sys/fs/cgroup/unified',
    ]) {
      expect(await refusal({ mounts: [{ source, target: '/opt', readonly: true }] }), source).toMatchObject({
        code: 'SANDBOX_UNAVAILABLE',
        details: { stage: 'open_mounts', errno: source === '/proc/1/root' ? 'ELOOP' : 'EINVAL' },
      });
    }
  });

  it('keeps devices and set-user-id bits of a mounted folder dead', async () => {
    const { stdout } = await runToEnd(['/bin/sh', '-c', 'cat /proc/self/mountinfo'], withMark);
    const line = stdout.split('\n').find((entry) => entry.includes(' /mark '));
    expect(line).toMatch(/nosuid,nodev/);
  });
});

describe('a request that makes no sense', () => {
  type Case = [title: string, changes: SpecChanges, argv?: readonly string[]];
  const cases: Case[] = [
    ['a name with a slash', { instance: '../../x' }],
    ['a group outside', { cgroupParent: '../clove' }],
    ['a host name with a blank', { hostname: 'a b' }],
    ['no program', {}, []],
    ['a program with NUL', {}, ['a\0b']],
    ['an argument with a lone surrogate', {}, ['a', '\ud800']],
    ['a variable with =', { env: { 'A=B': 'x' } }],
    ['a relative directory', { cwd: 'work' }],
    ['user 0', { uid: 0 }],
    ['group 0', { gid: 0 }],
    ['NaN bytes', { limits: { memoryBytes: Number.NaN } }],
    ['negative bytes', { limits: { memoryBytes: -1 } }],
    ['2^63 bytes', { limits: { memoryBytes: 2 ** 63 } }],
    ['half a process', { limits: { maxPids: 2.5 } }],
    ['processors as text', { limits: { cpus: '0; rm' } }],
    ['a mount over /proc', { mounts: [{ source: '/usr', target: '/proc/x', readonly: true }] }],
    ['a mount over /', { mounts: [{ source: '/usr', target: '/', readonly: true }] }],
    ['a mount with ..', { mounts: [{ source: '/usr', target: '/a/../b', readonly: true }] }],
    ['an unknown layer', { require: ['walls' as Layer] }],
    ['a layer required and left out', { require: ['uid'], disable: ['uid'] }],
    ['an unknown step', { faultStep: 'nothing' }],
    ['a time limit of 0', { setupTimeoutMs: 0 }],
  ];

  it.each(cases)('%s is refused before anything happens', async (_, changes, argv = ['/bin/true']) => {
    await expect(launch(testSpec(argv, changes))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });
});

describe('the machine', () => {
  it('is measured', () => {
    const host = hostCapabilities();
    expect(host.euid).toBe(process.geteuid?.());
    expect(host.kernelRelease).toBe(readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim());
    expect(['v1', 'v2', 'hybrid', 'none']).toContain(host.cgroup);
    expect(host.landlockAbi).toBeGreaterThanOrEqual(0);
    expect(host.seccomp).toBe(true);
  });
});
