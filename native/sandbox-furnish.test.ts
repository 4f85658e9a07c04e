import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { isCloveError } from '../errors/index.ts';
import { furnish, launch, poolState, reconcile, resizePool, unfurnish } from './index.ts';
import {
  cleanUp,
  EVERY_LAYER,
  leftoverGroups,
  processesOfTestUser,
  runToEnd,
  type SpecChanges,
  shell,
  TEST_UID,
  temporaryFolder,
  testParent,
  testSpec,
} from './sandbox-testing.ts';

const SIZE = 2;
const LIMIT_FILES = [
  ...['memory.limit_in_bytes', 'memory.memsw.limit_in_bytes', 'memory.max', 'memory.swap.max'],
  ...['cpu.cfs_period_us', 'cpu.cfs_quota_us', 'cpu.max', 'pids.max'],
];
const UNLIMITED = /^(-1|max|100000|max 100000|9223372036854771712)$/m;
const WAIT = { timeout: 60_000, interval: 5 };
const pool = () => poolState(testParent);

/** Has one made ready for an agent like this, and returns the pid of its PID 1. */
async function furnished(changes: SpecChanges = {}): Promise<number> {
  // Guesses that were wrong are forgotten.
  await resizePool(testParent, SIZE);
  furnish(testSpec(['-'], changes));
  return (await vi.waitUntil(async () => (await pool()).furnished, WAIT)) as number;
}

beforeAll(async () => {
  await resizePool(testParent, SIZE);
  for (let i = 0; i < SIZE; i++) await runToEnd(['/bin/true']);
  await vi.waitUntil(async () => (await pool()).waiting.length === SIZE, WAIT);
});

afterAll(async () => {
  await resizePool(testParent, 0);
  await cleanUp();
});

describe('a sandbox that was made ready for the next agent', () => {
  it('waits at its gate with nothing of a right, asleep, and is the one that the agent gets', async () => {
    const initPid = await furnished();
    const [agentPid] = readFileSync(`/proc/${initPid}/task/${initPid}/children`, 'utf8').trim().split(' ');
    for (const pid of [initPid, agentPid]) {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      // Not D: it would count as load for as long as it waits.
      expect(status).toMatch(/^State:\tS/m);
      expect(status).toContain(`\nUid:\t${TEST_UID}\t${TEST_UID}\t${TEST_UID}\t${TEST_UID}\n`);
      expect(status).toMatch(/^CapPrm:\t0+$/m);
      expect(status).toMatch(/^NoNewPrivs:\t1$/m);
      expect(status).toMatch(/^Seccomp:\t2$/m);
    }
    const { used } = await pool();
    const { sandbox, stdout } = await shell('echo here; echo $0 $1');
    expect([sandbox.initPid, sandbox.pid]).toEqual([initPid, Number(agentPid)]);
    expect(stdout).toBe('here\n/bin/sh\n');
    expect(sandbox.setupUs).toHaveProperty('prepared');
    expect(sandbox.setupUs).not.toHaveProperty('init.files');
    expect(await pool()).toMatchObject({ used: used + 1, furnished: null });
  });

  it('has the same report and looks the same from inside as one made from nothing', async () => {
    const folder = temporaryFolder();
    writeFileSync(path.join(folder, 'd', 'given'), 'given\n');
    const script = `
      id; hostname; cat /etc/hostname /etc/hosts /etc/passwd; pwd; env | sort; ulimit -a; umask
      grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Sig)' /proc/self/status
      ls -la / /work /run /dev /etc | grep -vE ' \\.\\.?$' | awk '{ print $1, $3, $4, $5, $9, $10, $11 }'
      cut -d' ' -f4-6,9- /proc/self/mountinfo | sort
      df -k /work /tmp /run /dev/shm | awk '{ print $2, $6 }'; df -i /work | awk '{ print $2 }'
      ls -l /proc/self/fd | wc -l; cat /given/given; echo mine > /work/mine && cat /work/mine; nice
      touch /etc/x /usr/x /given/x 2>&1; cat /proc/self/cgroup | wc -l; cat /proc/1/comm
      ls /proc > /tmp/processes; grep -c '^[0-9]' /tmp/processes`;
    const changes: SpecChanges = {
      hostname: 'one-of-its-own',
      mounts: [{ source: path.join(folder, 'd'), target: '/given', readonly: true }],
      limits: { maxPids: 17, maxOpenFiles: 99, tmpfsBytes: 2 ** 20, tmpfsInodes: 33 },
    };
    const ofRun: SpecChanges = {
      env: { PATH: '/usr/bin:/bin', COLOUR: 'blue', LANG: 'C.UTF-8' },
      cwd: '/tmp',
    };
    const initPid = await furnished(changes);
    const guessed = await shell(script, { ...changes, ...ofRun });
    expect(guessed.sandbox.initPid).toBe(initPid);
    await resizePool(testParent, 0);
    const alone = await shell(script, { ...changes, ...ofRun });
    await resizePool(testParent, SIZE);
    for (let i = 0; i < SIZE; i++) await runToEnd(['/bin/true']);
    expect(guessed.stdout).toContain('COLOUR=blue\n');
    expect(guessed.stdout).toBe(alone.stdout);
    expect(guessed.stderr).toBe(alone.stderr);
    expect(guessed.sandbox.layers).toEqual(alone.sandbox.layers);
  });

  it('gets the limits of its groups with the agent, where they are others', async () => {
    const initPid = await furnished();
    const hog = await runToEnd(['/usr/bin/python3', '-c', 'x = bytearray(200 << 20)'], {
      limits: { memoryBytes: 32 * 2 ** 20 },
    });
    expect(hog.sandbox.initPid).toBe(initPid);
    expect(hog.sandbox.layers.find(({ layer }) => layer === 'mem')?.how).toContain(`=${32 * 2 ** 20} (read`);
    expect(hog.reason).toBe('oom');
  });

  it('is told of when its program cannot be executed, and nothing of it stays', async () => {
    const initPid = await furnished();
    const error = await launch(testSpec(['/usr/bin/no-such-program'])).catch((reason: unknown) => reason);
    expect(isCloveError(error) && error.code).toBe('EXEC_FAILED');
    expect(existsSync(`/proc/${initPid}`)).toBe(false);
    expect(processesOfTestUser()).toEqual([]);
  });

  it('is killed like any other', async () => {
    const initPid = await furnished();
    const sandbox = await launch(testSpec(['/bin/sleep', '600'], { stdout: 1, stderr: 2 }));
    expect(sandbox.initPid).toBe(initPid);
    sandbox.kill();
    expect((await sandbox.exited).reason).toBe('killed');
    expect(processesOfTestUser()).toEqual([]);
  });
});

describe('a guess that was wrong', () => {
  const other = temporaryFolder();
  const unlike: (readonly [what: string, changes: SpecChanges])[] = [
    ['another name', { hostname: 'another' }],
    ['a mount', { mounts: [{ source: path.join(other, 'd'), target: '/opt', readonly: true }] }],
    ['limits that are not of groups', { limits: { maxOpenFiles: 100 } }],
    ['another profile', { profile: 'strict' }],
    ['a layer left out', { disable: ['seccomp'] }],
  ];

  it.each(unlike)('is not used: %s', async (_, changes) => {
    const initPid = await furnished();
    const before = await pool();
    const { sandbox, exitCode } = await runToEnd(['/bin/true'], changes);
    expect(exitCode).toBe(0);
    expect(sandbox.initPid).not.toBe(initPid);
    await vi.waitUntil(() => !existsSync(`/proc/${initPid}`), WAIT);
    await vi.waitUntil(async () => (await pool()).discarded === before.discarded + 1, WAIT);
  });

  const limitsUnlike: (readonly [what: string, guess: SpecChanges, changes: SpecChanges])[] = [
    ['more memory, where memory with swap is limited as one', {}, { limits: { memoryBytes: 256 * 2 ** 20 } }],
    ['the usual period after another', { limits: { cpuPeriodUs: 10_000 } }, {}],
    ['no quota after one', {}, { limits: { cpuQuotaUs: null } }],
    ['no limit of processes after one', {}, { limits: { maxPids: null } }],
    ['no limit of memory after one', {}, { limits: { memoryBytes: null, swapBytes: null } }],
  ];

  it.each(limitsUnlike)('leaves no limit behind: %s', async (_, guess, changes) => {
    const require = EVERY_LAYER.filter((layer) => !['mem', 'swap', 'cpu', 'pids'].includes(layer));
    // What the files of its groups say.
    const limitsOf = async () => {
      const sandbox = await launch(
        testSpec(['/bin/sleep', '600'], { require, stdout: 1, stderr: 2, ...changes }),
      );
      const limits: Record<string, string> = {};
      for (const group of leftoverGroups().filter((name) => path.basename(name) === sandbox.instance))
        for (const file of LIMIT_FILES) {
          const name = path.join(group, file);
          if (existsSync(name)) limits[file] = readFileSync(name, 'utf8');
        }
      sandbox.kill();
      await sandbox.exited;
      return { limits };
    };
    await resizePool(testParent, 0);
    const alone = await limitsOf();
    await resizePool(testParent, SIZE);
    for (let i = 0; i < SIZE; i++) await runToEnd(['/bin/true']);
    await furnished({ require, ...guess });
    const guessed = await limitsOf();
    expect(Object.keys(alone.limits).length).toBeGreaterThan(0);
    for (const file of LIMIT_FILES) {
      const { [file]: limit } = guessed.limits;
      // One made for this agent alone has no group where it has no limit; one made ahead has a group that limits nothing.
      if (alone.limits[file] === undefined) expect(limit ?? 'max', file).toMatch(UNLIMITED);
      else expect(limit, file).toBe(alone.limits[file]);
    }
  });

  it('is not used where something else is at a place that is mounted', async () => {
    const folder = temporaryFolder();
    const source = path.join(folder, 'd');
    const mounts = [{ source, target: '/given', readonly: true }];
    writeFileSync(path.join(source, 'name'), 'before\n');
    const initPid = await furnished({ mounts });
    renameSync(source, path.join(folder, 'moved'));
    mkdirSync(source);
    writeFileSync(path.join(source, 'name'), 'after\n');
    const { sandbox, stdout } = await shell('cat /given/name', { mounts });
    expect(stdout).toBe('after\n');
    expect(sandbox.initPid).not.toBe(initPid);
  });

  it('is not used when the sandbox has died', async () => {
    const initPid = await furnished();
    process.kill(initPid, 'SIGKILL');
    const isOver = () =>
      !existsSync(`/proc/${initPid}`) || /\) [ZX] /.test(readFileSync(`/proc/${initPid}/stat`, 'utf8'));
    await vi.waitUntil(isOver, { ...WAIT, interval: 1 });
    const { sandbox, stdout } = await shell('echo alive');
    expect(stdout).toBe('alive\n');
    expect(sandbox.initPid).not.toBe(initPid);
  });

  it('is not used when whoever waits at its gate was killed, and the pool goes on', async () => {
    const waiting = (initPid: number) =>
      Number(readFileSync(`/proc/${initPid}/task/${initPid}/children`, 'utf8').trim().split(' ')[0]);
    // Once before it is looked at, once when that has long been noticed.
    for (const isNoticed of [false, true]) {
      const initPid = await furnished();
      process.kill(waiting(initPid), 'SIGKILL');
      if (isNoticed) await vi.waitUntil(() => !existsSync(`/proc/${initPid}`), WAIT);
      const { sandbox, stdout } = await shell('echo alive');
      expect(stdout).toBe('alive\n');
      expect(sandbox.initPid).not.toBe(initPid);
      // No launch is counted as under way that is none: new ones are made.
      await vi.waitUntil(async () => (await pool()).waiting.length > 0, WAIT);
    }
    const initPid = await furnished();
    expect((await shell('echo on')).sandbox.initPid).toBe(initPid);
  });

  it('is dropped when the agent does not come', async () => {
    const initPid = await furnished();
    unfurnish(testParent, TEST_UID + 1);
    expect((await pool()).furnished).toBe(initPid);
    unfurnish(testParent, TEST_UID);
    await vi.waitUntil(() => processesOfTestUser().length === 0, WAIT);
    expect((await pool()).furnished).toBe(null);
  });

  it('is gone when the pool is closed', async () => {
    await furnished();
    await resizePool(testParent, 0);
    expect(leftoverGroups()).toEqual([]);
    expect(processesOfTestUser()).toEqual([]);
    await resizePool(testParent, SIZE);
    for (let i = 0; i < SIZE; i++) await runToEnd(['/bin/true']);
  });

  it('dies with the process that made it', async () => {
    const script = path.join(temporaryFolder(), 'kernel.mts');
    const parent = `${testParent}/dead`;
    const spec = { ...testSpec(['/bin/true'], { cgroupParent: parent }), stdout: 1, stderr: 2 };
    writeFileSync(
      script,
      `import { furnish, launch, poolState, resizePool } from ${JSON.stringify(path.join(import.meta.dirname, 'index.ts'))};
      await resizePool(${JSON.stringify(parent)}, 1);
      for (let i = 0; i < 2; i++) await (await launch(${JSON.stringify(spec)})).exited;
      furnish(${JSON.stringify(spec)});
      let state;
      do state = await poolState(${JSON.stringify(parent)}); while (state.furnished === null);
      process.stdout.write(String(state.furnished));
      process.kill(process.pid, 'SIGKILL');`,
    );
    const killed = await promisify(execFile)(process.execPath, [script]).catch(
      (error: { stdout: string; signal: string }) => error,
    );
    expect(killed).toMatchObject({ signal: 'SIGKILL', stdout: expect.stringMatching(/^\d+$/) });
    await vi.waitUntil(() => !existsSync(`/proc/${killed.stdout}`), WAIT);
    await reconcile(parent);
  });
});
