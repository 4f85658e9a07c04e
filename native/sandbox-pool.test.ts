import { execFile } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { isCloveError } from '../errors/index.ts';
import { launch, poolState, reconcile, resizePool, type SandboxPoolState, setupSteps } from './index.ts';
import {
  cleanUp,
  EVERY_LAYER,
  leftoverGroups,
  processesOfTestUser,
  readAll,
  runToEnd,
  type SpecChanges,
  shell,
  TEST_UID,
  temporaryFolder,
  testParent,
  testSpec,
} from './sandbox-testing.ts';

const SIZE = 3;
const WAIT = { timeout: 60_000, interval: 5 };
/** CLOVE_POOL_CYCLES=1000 npx vitest run native/sandbox-pool.test.ts -t cycles */
const CYCLES = Number(process.env.CLOVE_POOL_CYCLES ?? 100);

const pool = () => poolState(testParent);
const isAlive = (pid: number) => existsSync(`/proc/${pid}`);

async function waiting(count: number): Promise<SandboxPoolState> {
  await vi.waitUntil(async () => (await pool()).waiting.length >= count, WAIT);
  return pool();
}

/** Ours, by what they lead to; the namespace that is made ahead for the next sandbox comes and goes. */
function descriptors(): string[] {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ''; // was that of the reading itself
    }
  });
  return targets.filter((target) => target !== '' && !target.startsWith('net:[')).sort();
}

async function refusal(changes: SpecChanges, argv: readonly string[] = ['/bin/true']) {
  try {
    await launch(testSpec(argv, changes));
  } catch (error) {
    if (isCloveError(error)) return error;
    throw error;
  }
  throw new Error('the sandbox was made');
}

beforeAll(async () => {
  await resizePool(testParent, SIZE);
  // As many are made as were missed.
  for (let i = 0; i < SIZE; i++) await runToEnd(['/bin/true']);
  await waiting(SIZE);
});

afterAll(async () => {
  await resizePool(testParent, 0);
  await cleanUp();
});

describe('a sandbox from the pool', () => {
  it('is used once, and another is made in its place', async () => {
    const before = await waiting(SIZE);
    const seen = new Set<number>();
    for (let i = 0; i < 2 * SIZE; i++) {
      const { waiting: members } = await waiting(1);
      const { sandbox, reason, exitCode } = await runToEnd(['/bin/true']);
      expect({ reason, exitCode }).toEqual({ reason: 'exited', exitCode: 0 });
      expect(sandbox.initPid).toBe(members[0]);
      expect(sandbox.setupUs).toHaveProperty('prepared');
      seen.add(sandbox.initPid);
    }
    expect(seen.size).toBe(2 * SIZE);
    const after = await waiting(SIZE);
    expect(after.used - before.used).toBe(2 * SIZE);
    expect(after.failed).toBe(0);
  });

  it('has the same report and looks the same from inside as one made from nothing', async () => {
    const folder = temporaryFolder();
    writeFileSync(path.join(folder, 'd', 'given'), 'given\n');
    const script = `
      id; hostname; cat /etc/hostname /etc/hosts /etc/passwd; pwd; env | sort; ulimit -a
      grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp)' /proc/self/status
      ls -la / /work /run /dev /etc | grep -vE ' \\.\\.?$' | awk '{ print $1, $3, $4, $5, $9, $10, $11 }'
      cut -d' ' -f4-6,9- /proc/self/mountinfo | sort
      df -k /work /tmp /run /dev/shm | awk '{ print $2, $6 }'; df -i /work | awk '{ print $2 }'
      ls -l /proc/self/fd | wc -l; cat /given/given; echo mine > /work/mine && cat /work/mine
      touch /etc/x /usr/x /given/x 2>&1; cat /proc/self/cgroup | wc -l`;
    const changes: SpecChanges = {
      hostname: 'one-of-its-own',
      env: { PATH: '/usr/bin:/bin', COLOUR: 'blue', LANG: 'C.UTF-8' },
      cwd: '/tmp',
      mounts: [{ source: path.join(folder, 'd'), target: '/given', readonly: true }],
      limits: {
        memoryBytes: 64 * 2 ** 20,
        maxPids: 17,
        maxOpenFiles: 99,
        tmpfsBytes: 2 ** 20,
        tmpfsInodes: 33,
      },
    };
    await waiting(1);
    const pooled = await shell(script, changes);
    expect(pooled.sandbox.setupUs).toHaveProperty('prepared');
    await resizePool(testParent, 0);
    const alone = await shell(script, changes);
    await refill();
    expect(alone.sandbox.setupUs).not.toHaveProperty('prepared');
    expect(pooled.stdout).toContain('one-of-its-own');
    expect(pooled.stdout).toContain('mine\n');
    expect(pooled.stdout).toBe(alone.stdout);
    expect(pooled.stderr).toBe(alone.stderr);
    expect(pooled.sandbox.layers).toEqual(alone.sandbox.layers);
    expect(pooled.sandbox.layers.find(({ layer }) => layer === 'pids')?.how).toContain('pids.max=17');
  });

  it('is held to the limits of its agent', async () => {
    await waiting(1);
    const hog = await runToEnd(['/usr/bin/python3', '-c', 'x = bytearray(200 << 20)'], {
      limits: { memoryBytes: 32 * 2 ** 20 },
    });
    expect(hog.sandbox.setupUs).toHaveProperty('prepared');
    expect(hog.reason).toBe('oom');
    await waiting(1);
    const forks = await shell('for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait', {
      limits: { maxPids: 5 },
    });
    expect(forks.sandbox.setupUs).toHaveProperty('prepared');
    expect(forks.pidsRefused).toBeGreaterThan(0);
  });

  it('is in namespaces and groups of its own', async () => {
    await waiting(2);
    const [one, two] = await Promise.all([
      launch(testSpec(['/bin/sleep', '60'])),
      launch(testSpec(['/bin/sleep', '60'])),
    ]);
    for (const name of ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup']) {
      const links = [one.pid, two.pid, process.pid].map((pid) => readlinkSync(`/proc/${pid}/ns/${name}`));
      expect(new Set(links).size, name).toBe(3);
    }
    expect(one.instance).not.toBe(two.instance);
    expect(leftoverGroups().some((group) => group.endsWith(`/${one.instance}`))).toBe(true);
    for (const sandbox of [one, two]) {
      sandbox.kill();
      expect(await sandbox.exited).toMatchObject({ reason: 'killed' });
      void readAll(sandbox.stdoutFd);
      void readAll(sandbox.stderrFd);
    }
  });

  it('is not taken by requests it was not made for', async () => {
    const { used } = await waiting(SIZE);
    const others: SpecChanges[] = [
      { profile: 'strict' },
      { profile: 'debug' },
      { network: 'host' },
      { disable: ['seccomp'] },
      { limits: { cpus: '0' } },
      { cgroupParent: `${testParent}/other` },
    ];
    for (const changes of others) {
      const { sandbox, exitCode } = await runToEnd(['/bin/true'], changes);
      expect(exitCode).toBe(0);
      expect(sandbox.setupUs, JSON.stringify(changes)).not.toHaveProperty('prepared');
    }
    expect((await pool()).used).toBe(used);
    await reconcile(`${testParent}/other`);
  });
});

async function refill(): Promise<void> {
  await resizePool(testParent, SIZE);
  for (let i = 0; i < SIZE; i++) await runToEnd(['/bin/true']);
  await waiting(SIZE);
}

describe('a setup that fails in a sandbox from the pool', () => {
  const marked = temporaryFolder();
  const agent = ['/bin/sh', '-c', 'echo ran > /mark/ran'];
  const withMark: SpecChanges = {
    mounts: [{ source: path.join(marked, 'd'), target: '/mark', readonly: false }],
  };
  /** What is done before there is an agent: these make the launch an ordinary one. */
  const AHEAD = [
    ...['cgroup_create', 'clone', 'cgroup_attach', 'close_fds', 'session', 'cgroupns', 'mount_private'],
    ...['root_tmpfs', 'system_binds', 'dev', 'proc', 'proc_masks', 'scratch_tmpfs', 'pivot_root'],
    ...['detach_host', 'loopback', 'cap_bounding', 'securebits'],
  ];
  const NOT_TAKEN = ['namespaces', 'id_maps', 'cgroup_cpuset', 'timeout'];

  beforeAll(async () => {
    chownSync(path.join(marked, 'd'), TEST_UID, TEST_UID);
    expect((await runToEnd(agent, withMark)).exitCode).toBe(0);
    rmSync(path.join(marked, 'd', 'ran'));
  });

  it.each(setupSteps().filter((step) => !NOT_TAKEN.includes(step)))(
    'at %s refuses the spawn, names the step, and nothing ran or stayed',
    async (step) => {
      const before = await waiting(1);
      const error = await refusal({ ...withMark, faultStep: step, faultErrno: 38 }, agent);
      expect(error.code).toBe(step === 'exec' ? 'EXEC_FAILED' : 'SANDBOX_UNAVAILABLE');
      expect(error.details).toMatchObject({ stage: step, errno: 'ENOSYS' });
      expect((await pool()).used - before.used).toBe(AHEAD.includes(step) ? 0 : 1);
      expect(readdirSync(path.join(marked, 'd'))).toEqual([]);
      expect(processesOfTestUser()).toEqual([]);
    },
  );

  it('gives up on one that does not come up', async () => {
    await waiting(1);
    const error = await refusal({ ...withMark, faultStep: 'timeout', setupTimeoutMs: 50 }, agent);
    expect(error.details).toMatchObject({ stage: 'timeout', errno: 'ETIMEDOUT' });
    expect(readdirSync(path.join(marked, 'd'))).toEqual([]);
  });

  it('names a mount that is not there, and a layer that cannot be had', async () => {
    await waiting(1);
    expect(
      await refusal({ mounts: [{ source: '/nowhere/at/all', target: '/opt', readonly: true }] }),
    ).toMatchObject({ details: { stage: 'open_mounts', errno: 'ENOENT', detail: '/nowhere/at/all' } });
    await waiting(1);
    expect(await refusal({ limits: { maxOpenFiles: 1 << 20 } })).toMatchObject({
      details: { stage: 'rlimit_nofile', layer: 'nofile' },
    });
    await waiting(1);
    const require = EVERY_LAYER.filter((layer) => layer !== 'landlock');
    const { sandbox } = await runToEnd(['/bin/true'], { faultStep: 'landlock', faultErrno: 38, require });
    expect(sandbox.setupUs).toHaveProperty('prepared');
    expect(sandbox.layers.find(({ layer }) => layer === 'landlock')).toMatchObject({
      state: 'off',
      errno: 'ENOSYS',
    });
  });
});

describe('a pool', () => {
  it('hands out no dead sandbox, and replaces it', async () => {
    const before = await waiting(SIZE);
    for (const pid of before.waiting) process.kill(pid, 'SIGKILL');
    // At once: the pool may not have heard of it.
    const outcomes = await Promise.all(Array.from({ length: SIZE }, () => shell('echo alive')));
    expect(outcomes.map(({ stdout }) => stdout)).toEqual(Array(SIZE).fill('alive\n'));
    for (const { sandbox } of outcomes) expect(before.waiting).not.toContain(sandbox.initPid);
    const after = await waiting(SIZE);
    for (const pid of before.waiting) expect(after.waiting).not.toContain(pid);
  });

  it('leaves nothing when it is closed, and can be opened again', async () => {
    const { waiting: members } = await waiting(SIZE);
    expect(leftoverGroups().length).toBeGreaterThanOrEqual(SIZE);
    await resizePool(testParent, 0);
    expect(leftoverGroups()).toEqual([]);
    expect(members.filter(isAlive)).toEqual([]);
    expect(await pool()).toMatchObject({ size: 0, waiting: [] });
    expect((await runToEnd(['/bin/true'])).sandbox.setupUs).not.toHaveProperty('prepared');
    await refill();
  });

  it(`leaves nothing after ${CYCLES} cycles of spawn and kill`, { timeout: 600_000 }, async () => {
    await resizePool(testParent, 0);
    const before = descriptors();
    await resizePool(testParent, SIZE);
    for (let i = 0; i < CYCLES; i++) {
      const sandbox = await launch(testSpec(['/bin/sleep', '60'], { stdout: 1, stderr: 2 }));
      sandbox.kill();
      expect((await sandbox.exited).reason).toBe('killed');
    }
    const { used, failed, discarded } = await pool();
    expect({ failed, discarded }).toEqual({ failed: 0, discarded: 0 });
    expect(used).toBeGreaterThan(CYCLES / 10);
    await resizePool(testParent, 0);
    expect(leftoverGroups()).toEqual([]);
    expect(processesOfTestUser()).toEqual([]);
    // Namespaces live as long as a process or a descriptor holds them.
    await vi.waitUntil(() => descriptors().join() === before.join(), WAIT);
    await refill();
  });

  it('dies with the process that made it', async () => {
    const folder = temporaryFolder();
    const script = path.join(folder, 'kernel.mts');
    mkdirSync(path.join(folder, 'out'));
    const parent = `${testParent}/dead`;
    const spec = { ...testSpec(['/bin/true'], { cgroupParent: parent }), stdout: 1, stderr: 2 };
    writeFileSync(
      script,
      `import { launch, poolState, resizePool } from ${JSON.stringify(path.join(import.meta.dirname, 'index.ts'))};
      await resizePool(${JSON.stringify(parent)}, 1);
      await (await launch(${JSON.stringify(spec)})).exited;
      let state;
      do state = await poolState(${JSON.stringify(parent)}); while (state.waiting.length === 0);
      process.stdout.write(String(state.waiting[0]));
      process.kill(process.pid, 'SIGKILL');`,
    );
    const killed = await promisify(execFile)(process.execPath, [script]).catch(
      (error: { stdout: string; signal: string }) => error,
    );
    expect(killed).toMatchObject({ signal: 'SIGKILL', stdout: expect.stringMatching(/^\d+$/) });
    await vi.waitUntil(() => !isAlive(Number(killed.stdout)), WAIT);
    await reconcile(parent);
    expect(leftoverGroups().filter((group) => group.endsWith('/dead'))).toEqual([]);
  });

  it('refuses sizes that make no sense', async () => {
    for (const size of [-1, 1.5, 65, Number.NaN])
      await expect(resizePool(testParent, size)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });
});
