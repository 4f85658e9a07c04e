import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Layer } from '../../native/types.ts';
import { resolveInterpreter } from './interpreter.ts';
import { makePlan, type PlanContext } from './plan.ts';
import { type SpawnRequest, spawnRequest } from './spawn-request.ts';

let folder: string;
let context: PlanContext;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-plan-'));
  chmodSync(folder, 0o755);
  context = {
    agentId: 7,
    name: 'ann',
    sandboxing: 'required' as const,
    stagingFolder: path.join(folder, 'staging'),
    socketPath: '/run/clove/boot-x/a7.sock',
    sdkFolder: async () => '/run/clove/boot-x/sdk',
  };
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function request(fields: Record<string, unknown>): SpawnRequest {
  return spawnRequest.parse({ command: ['/bin/true'], ...fields });
}

function script(name: string, mode = 0o644, inside = 'agents'): string {
  mkdirSync(path.join(folder, inside), { recursive: true });
  const file = path.join(folder, inside, name);
  writeFileSync(file, 'x');
  chmodSync(file, mode);
  return file;
}

describe('a spawn request', () => {
  const refused: [string, Record<string, unknown>][] = [
    ['a name with a path', { name: '../../x' }],
    ['an empty name', { name: '' }],
    ['a name that looks like an option', { name: '-rf' }],
    ['a name with a control character', { name: 'a\u001b[31m' }],
    ['NaN, as it comes through JSON', { limits: { memory: null, cpu: 'NaN' } }],
    ['a negative limit', { limits: { memory: -1 } }],
    ['2^63', { limits: { memory: 2 ** 63 } }],
    ['infinity', { limits: { cpu: Number.POSITIVE_INFINITY } }],
    ['zero processes', { limits: { max_pids: 0 } }],
    ['half a process', { limits: { max_pids: 1.5 } }],
    ['a misspelt limit', { limits: { memroy: 1e9 } }],
    ['a misspelt field', { comand: ['true'] }],
    ['10^4 arguments', { args: Array.from({ length: 10_000 }, () => 'x') }],
    ['NUL in an argument', { args: ['a\0b'] }],
    ['a relative mount', { mounts: [{ source: 'etc', target: '/x' }] }],
    ['a variable that is none', { env: { 'A=B': 'c' } }],
    ['an unknown restart policy', { restart_policy: 'sometimes' }],
    ['an unknown layer', { isolation: { allow_degraded: ['walls'] } }],
    ['a standard input above 1 MiB', { stdin: 'x'.repeat(2 ** 20 + 1) }],
    ['a time limit no timer can take', { timeout_ms: 2 ** 31 }],
  ];
  it.each(refused)('with %s is refused', (_what, fields) => {
    expect(spawnRequest.safeParse({ command: ['/bin/true'], ...fields }).success).toBe(false);
  });

  it('may say null for what it leaves out, as existing clients do', () => {
    const fields = { name: null, limits: null, cwd: null, env: null, restart_policy: null };
    expect(spawnRequest.safeParse({ script: '/x.py', ...fields }).success).toBe(true);
  });

  it('brings the units of all clients to one', async () => {
    const limitsOf = async (limits: Record<string, unknown>) =>
      (await makePlan(request({ limits }), context)).launch.sandbox.limits;
    expect(await limitsOf({})).toMatchObject({ memoryBytes: 2 ** 28, maxPids: 64, cpuQuotaUs: 100_000 });
    expect(await limitsOf({ memory: 5 * 2 ** 30 })).toMatchObject({ memoryBytes: 5 * 2 ** 30 });
    expect(await limitsOf({ memory_mb: 64, cpu_percent: 50 })).toMatchObject({
      memoryBytes: 2 ** 26,
      cpuQuotaUs: 50_000,
    });
    expect(await limitsOf({ cpu: 2, cpu_period: 50_000 })).toMatchObject({ cpuQuotaUs: 100_000 });
    expect(await limitsOf({ memory: 2 ** 20, memory_mb: 64 })).toMatchObject({ memoryBytes: 2 ** 20 });
  });

  it('takes on_failure for on-failure and seconds for the window', async () => {
    const plan = await makePlan(request({ restart_policy: 'on_failure', restart_window: 2 }), context);
    expect(plan.restart).toMatchObject({ policy: 'on-failure', windowMs: 2000, maxRestarts: 5 });
  });
});

describe('the plan of a sandbox', () => {
  it('names every variable of the environment and none of the kernel', async () => {
    process.env.CLOVE_TEST_SECRET = 'x';
    try {
      const { env } = (await makePlan(request({ env: { MINE: '1', LANG: 'C' } }), context)).launch.sandbox;
      expect(env).toEqual({
        PATH: '/usr/local/bin:/usr/bin:/bin',
        HOME: '/work',
        LANG: 'C',
        MINE: '1',
        CLOVE_SOCKET: '/run/clove.sock',
        CLOVE_AGENT_NAME: 'ann',
        CLOVE_AGENT_ID: '7',
        CLOVE_SEED: expect.stringMatching(/^\d+$/),
      });
    } finally {
      delete process.env.CLOVE_TEST_SECRET;
    }
  });

  it('requires every layer of the profile and every limit, less only what the request lets go', async () => {
    const requireOf = async (fields: Record<string, unknown>): Promise<readonly Layer[]> =>
      (await makePlan(request(fields), context)).launch.sandbox.require;
    const all = await requireOf({});
    expect(all).toEqual(
      expect.arrayContaining(['uid', 'seccomp', 'landlock', 'netns', 'mem', 'pids', 'kill']),
    );
    expect(all).not.toContain('cpuset');
    expect(await requireOf({ limits: { cpus: '0' } })).toContain('cpuset');
    expect(await requireOf({ network: true })).toEqual(all.filter((layer) => layer !== 'netns'));
    expect(await requireOf({ isolation: { allow_degraded: ['landlock'] } })).toEqual(
      all.filter((layer) => layer !== 'landlock'),
    );
    expect(await requireOf({ isolation: { require: ['mem'] } })).toEqual(['mem']);
  });

  it('leaves the walls out, and requires only limits named, where there is to be no sandbox', async () => {
    const off = { ...context, sandboxing: 'off' as const };
    const { sandbox } = (await makePlan(request({ limits: { memory_mb: 64, max_pids: 9 } }), off)).launch;
    expect(sandbox.disable).toEqual(expect.arrayContaining(['uid', 'mntns', 'seccomp', 'pidns']));
    expect(sandbox.disable).not.toContain('mem');
    expect(sandbox.require).toEqual(['mem', 'pids']);
    expect(sandbox.env.CLOVE_SOCKET).toBe('/run/clove/boot-x/a7.sock');
    expect((await makePlan(request({ sandboxed: false }), context)).launch.sandbox.require).toEqual([]);
  });

  it('requires limits that are named also where it is content with less, unless the request lets them go', async () => {
    for (const sandboxing of ['reduced', 'least'] as const) {
      const requireOf = async (fields: Record<string, unknown>): Promise<readonly Layer[]> =>
        (await makePlan(request(fields), { ...context, sandboxing })).launch.sandbox.require;
      const usual = await requireOf({});
      expect(usual).toEqual(expect.arrayContaining(['nnp', 'seccomp', 'fds', 'env', 'session']));
      for (const layer of ['mem', 'swap', 'cpu', 'pids', 'cpuset', 'uid', 'mntns'])
        expect(usual).not.toContain(layer);
      const limits = { memory_mb: 64, max_pids: 9, cpu: 0.5 };
      expect(await requireOf({ limits })).toEqual([...usual, 'mem', 'pids', 'cpu']);
      expect(await requireOf({ limits, isolation: { allow_degraded: ['cpu', 'pids'] } })).toEqual([
        ...usual,
        'mem',
      ]);
    }
  });
});

describe('a script', () => {
  const planOf = async (file: string, fields: Record<string, unknown> = {}) =>
    makePlan(spawnRequest.parse({ script: file, ...fields }), context);

  it('comes with its folder, at its own path, and is told the socket', async () => {
    const file = script('main.py');
    const plan = await planOf(file, { args: ['one'] });
    expect(plan.script).toEqual({ path: file, mounted: 'folder', reason: null });
    expect(plan.launch.sandbox.argv.slice(-3)).toEqual([file, '/run/clove.sock', 'one']);
    expect(plan.launch.sandbox.mounts).toEqual([
      { source: '/run/clove/boot-x/sdk', target: '/opt/clove', readonly: true },
      { source: path.dirname(file), target: path.dirname(file), readonly: true },
    ]);
  });

  it('in Python finds the SDK on its module path, unless it was given another path', async () => {
    const file = script('main.py');
    const { sandbox } = (await planOf(file)).launch;
    expect(sandbox.env).toMatchObject({ PYTHONPATH: '/opt/clove/python' });
    const own = await planOf(file, { env: { PYTHONPATH: '/mine' } });
    expect(own.launch.sandbox.env).toMatchObject({ PYTHONPATH: '/mine' });
    const named = await makePlan(spawnRequest.parse({ command: ['/usr/bin/python3.11', '-V'] }), context);
    expect(named.launch.sandbox.env).toMatchObject({ PYTHONPATH: '/opt/clove/python' });
    const other = await makePlan(spawnRequest.parse({ command: ['/usr/bin/pythonic'] }), context);
    expect(other.launch.sandbox.env).not.toHaveProperty('PYTHONPATH');
  });

  it('comes alone when its folder holds keys', async () => {
    const file = script('main.sh');
    mkdirSync(path.join(path.dirname(file), '.ssh'));
    const plan = await planOf(file);
    expect(plan.script).toMatchObject({ mounted: 'file', reason: expect.stringContaining('.ssh') });
    expect(plan.launch.sandbox.mounts).toEqual([{ source: file, target: file, readonly: true }]);
  });

  it('comes alone when its folder is a top folder or closed to others', async () => {
    const top = path.join(tmpdir(), `clove-plan-${process.pid}.sh`);
    writeFileSync(top, '');
    try {
      expect((await planOf(top)).script).toMatchObject({ mounted: 'file' });
    } finally {
      rmSync(top);
    }
    const file = script('main.sh');
    chmodSync(path.dirname(file), 0o700);
    expect((await planOf(file)).script).toMatchObject({
      mounted: 'file',
      reason: expect.stringContaining('closed'),
    });
  });

  it('is copied when only its owner can read it', async () => {
    const file = script('secret.py', 0o600);
    const { script: place, launch } = await planOf(file);
    expect(place?.mounted).toBe('copy');
    const mount = launch.sandbox.mounts.at(-1);
    expect(mount).toMatchObject({ target: file, readonly: true });
    expect(mount?.source).not.toBe(file);
    expect(statSync(mount?.source ?? '').mode & 0o777).toBe(0o444);
  });

  it('that is a link to elsewhere brings only what it points to', async () => {
    const real = script('real.sh', 0o644, 'elsewhere');
    mkdirSync(path.join(folder, 'agents'));
    const link = path.join(folder, 'agents', 'link.sh');
    symlinkSync(real, link);
    const plan = await planOf(link);
    expect(plan.launch.sandbox.mounts).toEqual([{ source: real, target: link, readonly: true }]);
  });

  it('that is an option, a folder or not there is refused', async () => {
    await expect(planOf('-c')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(planOf(folder)).rejects.toMatchObject({ code: 'PATH_REFUSED' });
    await expect(makePlan(spawnRequest.parse({}), context)).rejects.toMatchObject({
      code: 'BAD_REQUEST',
      message: 'script path required',
    });
  });

  it('runs by the interpreter of its extension, or the one asked for', async () => {
    const node = await planOf(script('a.ts'));
    expect(node.launch.sandbox.argv.slice(1, 3)).toEqual(['--import', '/opt/clove/preload.js']);
    expect(node.launch.sandbox.mounts.map(({ target }) => target)).toContain('/opt/clove');
    expect((await planOf(script('a.sh'))).launch.sandbox.argv[0]).toMatch(/\/sh$/);
    expect((await planOf(script('a.txt'), { python: '/bin/sh' })).launch.sandbox.argv[0]).toBe('/bin/sh');
  });
});

describe('an interpreter', () => {
  it('named node is the one the kernel runs on', async () => {
    const node = await resolveInterpreter('node', true);
    expect([process.execPath, '/opt/node/bin/node']).toContain(node.executable);
    expect((await resolveInterpreter('node', false)).executable).toBe(process.execPath);
  });

  it('is never a shim, which needs the home of a user', async () => {
    expect((await resolveInterpreter('python3', true)).executable).not.toContain('shims');
  });

  it('that is not there is an error with a hint', async () => {
    await expect(resolveInterpreter('no-such-interpreter', true)).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  it('outside of the system comes with its installation', async () => {
    const bin = path.join(folder, 'toolchain', 'bin');
    mkdirSync(bin, { recursive: true });
    writeFileSync(path.join(bin, 'python9'), '', { mode: 0o755 });
    const { mounts } = await resolveInterpreter(path.join(bin, 'python9'), true);
    expect(mounts).toEqual([
      { source: path.join(folder, 'toolchain'), target: path.join(folder, 'toolchain'), readonly: true },
    ]);
  });
});
