import { globSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, callingAgent, type TestClient, TestKernel } from '../kernel/fixture.ts';
import { ensureNative } from '../native/index.ts';
import { worldHost } from './engine.ts';
import { groupOf } from './pressure.ts';

const isRoot = process.geteuid?.() === 0;
let kernel: TestKernel;
let client: TestClient;

const DEFINITION = {
  form: 'mounted',
  seed: 11,
  open: true,
  clock: { mode: 'real' },
  files: { initial: { '/app/shared.txt': 'begin\n' } },
  network: { routes: [{ host: 'api.test', json: { agent: '{{agent}}' } }] },
};

beforeAll(async () => {
  await ensureNative();
  if (!isRoot) return;
  kernel = await TestKernel.boot({}, { worlds: worldHost() });
  client = await kernel.connect();
}, 300_000);
afterAll(() => kernel?.close());

async function create(definition: Record<string, unknown> = DEFINITION): Promise<string> {
  const created = await client.call('WORLD_CREATE', { name: 'm', config: definition });
  expect(created).toMatchObject({ success: true });
  return created.world_id as string;
}

const sh = (
  world: string,
  name: string,
  script: string,
  more: Record<string, unknown> = {},
): Promise<Answer> => client.run({ world, name, command: ['sh', '-c', script], ...more });

/** Mount namespaces, overlays and programs of BPF that this process holds: worlds are nothing else when nobody is in them. */
function namespacesHeld(): string[] {
  return readdirSync('/proc/self/fd')
    .map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return '';
      }
    })
    .filter((target) => /^mnt:|bpf|^\/(root|upper)$/.test(target))
    .map((target) => target.replace(/\d+/g, 'n'));
}

describe.runIf(isRoot)('agents started in a mounted world', () => {
  it('share its files and are told apart by its network; the report says what they are in', async () => {
    const world = await create();
    const spawned = await client.spawn({
      world,
      name: 'first',
      command: [
        'sh',
        '-c',
        'umask 077; echo from first >> /app/shared.txt; echo private > /app/own.txt; curl -sS https://api.test/',
      ],
    });
    const layer = (name: string) =>
      spawned.isolation.layers.find((one: { layer: string }) => one.layer === name);
    expect(layer('overlay')).toMatchObject({ state: 'on', how: expect.stringContaining('/app') });
    expect(layer('netns')).toMatchObject({
      state: 'on',
      how: expect.stringContaining('every address local'),
    });
    await client.call('WAIT', { id: spawned.id });
    expect((await client.call('LOGS', { id: spawned.id })).stdout).toBe('{"agent":"first"}');
    const second = await sh(
      world,
      'second',
      'cat /app/shared.txt /app/own.txt; echo more >> /app/own.txt; curl -sS http://api.test/; echo $CLOVE_SEED',
    );
    expect(second.stdout).toMatch(/^begin\nfrom first\nprivate\n\{"agent":"second"\}\d+\n$/);
    const { changes } = await client.call('WORLD_DIFF', { world_id: world });
    expect(changes.map(({ path, change }: { path: string; change: string }) => `${change} ${path}`)).toEqual([
      'added /app/own.txt',
      'changed /app/shared.txt',
    ]);
    const outside = await client.run({
      name: 'outside',
      command: ['sh', '-c', 'ls /app; curl -s http://api.test/ || echo $?'],
    });
    expect(outside.stdout).toBe('6\n');
    expect(await client.call('WORLD_DESTROY', { world_id: world, force: true })).toMatchObject({
      success: true,
    });
  });

  it('meet the same world with their syscalls and commands of the kernel', async () => {
    const world = await create();
    const { stdout } = await client.run({
      world,
      name: 'caller',
      ...callingAgent([
        ['READ', { path: '/app/shared.txt' }],
        ['WRITE', { path: '/app/by-syscall.txt', content: 'x' }],
        [
          'EXEC',
          {
            command:
              'cat /app/by-syscall.txt; curl -sS https://api.test/; echo more >> /app/by-syscall.txt; wc -c < /app/by-syscall.txt',
          },
        ],
        ['HTTP', { url: 'https://api.test/' }],
      ]),
      permissions: 'unrestricted',
    });
    const answers = (JSON.parse(stdout) as { answer: Answer }[]).map(({ answer }) => answer);
    expect(answers[0]).toMatchObject({ content: 'begin\n' });
    expect(answers[1]).toMatchObject({ success: true });
    expect(answers[2]).toMatchObject({ stdout: 'x{"agent":"caller"}6\n', exit_code: 0 });
    expect(answers[3]).toMatchObject({ body: '{"agent":"caller"}', mocked: true });
    await client.call('WORLD_DESTROY', { world_id: world, force: true });
  });

  it('find the world as it was after a restart, and their children are in it', async () => {
    const world = await create();
    const { stdout } = await sh(
      world,
      'again',
      'echo run >> /app/runs; wc -l < /app/runs; curl -sS https://api.test/; [ $(wc -l < /app/runs) -ge 2 ]',
      {
        restart_policy: 'on-failure',
        restart_backoff_ms: 1,
      },
    );
    await expect
      .poll(async () => (await client.call('LOGS', { name: 'again' })).stdout ?? stdout, { timeout: 30_000 })
      .toContain('2\n{"agent":"again"}');
    const child = callingAgent([]);
    const parent = await client.run({
      world,
      name: 'mother',
      ...callingAgent([
        ['SPAWN', { name: 'child', command: ['sh', '-c', 'cat /app/runs > /app/by-child'] }],
        ['WAIT', { name: 'child' }],
      ]),
      permissions: 'unrestricted',
    });
    expect(child).toBeDefined();
    expect(JSON.parse(parent.stdout)[0].answer).toMatchObject({ success: true });
    const read = await sh(world, 'reader', 'cat /app/by-child');
    expect(read.stdout).toBe('run\nrun\n');
    await client.call('WORLD_DESTROY', { world_id: world, force: true });
  });

  it('go on from a snapshot', async () => {
    const world = await create();
    await sh(world, 'writer', 'echo kept > /app/kept; rm /app/shared.txt; mkdir /work/dir');
    const { snapshot } = await client.call('WORLD_SNAPSHOT', { world_id: world });
    await sh(world, 'later', 'echo lost > /app/kept');
    const restored = await client.call('WORLD_RESTORE', { snapshot });
    expect(restored).toMatchObject({ success: true });
    const { stdout } = await sh(
      restored.world_id,
      'reader',
      'cat /app/kept; ls /app /work; echo on > /work/dir/file && cat /work/dir/file',
    );
    expect(stdout).toBe('kept\n/app:\nkept\n\n/work:\ndir\non\n');
    for (const id of [world, restored.world_id])
      await client.call('WORLD_DESTROY', { world_id: id, force: true });
  });

  it('are put under pressure, held and killed by events, and let go afterwards', async () => {
    const world = await create();
    const { id, pid } = await client.spawn({
      world,
      name: 'victim',
      command: ['sleep', '1000'],
      limits: { memory_mb: 64, cpu: 1 },
    });
    const limits = () => {
      const memory = groupOf(pid, 'memory');
      const cpu = groupOf(pid, 'cpu');
      return [
        Number(
          readFileSync(
            `${memory.folder}/${memory.version === 1 ? 'memory.limit_in_bytes' : 'memory.max'}`,
            'utf8',
          ),
        ),
        Number(
          readFileSync(`${cpu.folder}/${cpu.version === 1 ? 'cpu.cfs_quota_us' : 'cpu.max'}`, 'utf8').split(
            ' ',
          )[0],
        ),
      ];
    };
    expect(limits()).toEqual([64 * 2 ** 20, 100_000]);
    const event = (event_type: string, params: Record<string, unknown> = {}) =>
      client.call('WORLD_EVENT', { world_id: world, event_type, params });
    expect(await event('memory_pressure', { percent: 50 })).toMatchObject({ success: true });
    expect(await event('cpu_contention', { percent: 90 })).toMatchObject({ success: true });
    expect(limits()).toEqual([32 * 2 ** 20, 10_000]);
    expect(await event('disk_full')).toMatchObject({ success: true });
    expect(
      (await sh(world, 'writer', 'dd if=/dev/zero of=/app/big bs=64k count=4 2>/dev/null || echo full'))
        .stdout,
    ).toBe('full\n');
    expect(await event('readonly', { path: '/app/**' })).toMatchObject({
      success: false,
      error: expect.stringContaining('mounted world'),
    });
    await client.call('WORLD_EVENT', { world_id: world, event_type: 'clear' });
    expect(limits()).toEqual([64 * 2 ** 20, 100_000]);
    expect(
      (await sh(world, 'writer2', 'dd if=/dev/zero of=/app/big bs=64k count=4 2>/dev/null && echo room'))
        .stdout,
    ).toBe('room\n');
    expect(await event('agent_crash', { agents: ['victim'] })).toMatchObject({ success: true });
    expect(await client.call('WAIT', { id })).toMatchObject({ reason: 'killed' });
    await client.call('WORLD_DESTROY', { world_id: world, force: true });
  });

  it('are refused what contradicts a world, and nothing of it stays', async () => {
    const before = namespacesHeld();
    const world = await create();
    for (const wrong of [
      { network: true },
      { isolation: { disable: ['netns'] } },
      { isolation: { disable: ['mntns'] } },
      { persist: true },
    ])
      expect(await client.call('SPAWN', { world, command: ['true'], ...wrong })).toMatchObject({
        success: false,
      });
    expect(await client.call('SPAWN', { world: 'no-such', command: ['true'] })).toMatchObject({
      success: false,
      code: 'NOT_FOUND',
    });
    const agent = await client.run({
      ...callingAgent([['WORLD_CREATE', { name: 'x', config: DEFINITION }]]),
      permissions: 'unrestricted',
    });
    expect(JSON.parse(agent.stdout)[0].answer).toMatchObject({ success: false });
    expect((await sh(world, 'fine', 'echo fine')).stdout).toBe('fine\n');
    await client.call('WORLD_DESTROY', { world_id: world, force: true });
    await expect.poll(() => namespacesHeld(), { timeout: 30_000 }).toEqual(before);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain('upperdir');
    await expect.poll(() => globSync(`${kernel.folder}/run/*/worlds/*`), { timeout: 30_000 }).toEqual([]);
  });

  it('cannot make the overlay show what is not theirs', async () => {
    const world = await create();
    // What older kernels took from the upper layer (CVE-2021-3493, CVE-2023-2640): names of attributes, a made-up whiteout.
    const { stdout } = await sh(
      world,
      'hostile',
      `python3 - <<'END'
import os
os.mkdir('/app/d')
for name in ('user.overlay.redirect', 'user.overlay.opaque', 'user.overlay.metacopy', 'trusted.overlay.redirect', 'trusted.overlay.opaque'):
    try: os.setxattr('/app/d', name, b'/etc'); print('set', name)
    except OSError as error: print(type(error).__name__, error.errno)
try: os.mknod('/app/w', 0o20000, 0); print('made')
except OSError as error: print('mknod', error.errno)
os.symlink('/etc/shadow', '/app/shadow'); os.link('/app/shared.txt', '/app/hard')
print(os.listdir('/app/d'))
END
cat /app/shadow || echo none; grep -c upperdir=/upper /proc/self/mountinfo`,
    );
    expect(stdout).not.toMatch(/set trusted/);
    expect(stdout).toContain('mknod 1\n[]\nnone\n');
    const again = await sh(world, 'after', 'ls /app/d; ls /app');
    expect(again.stdout).toBe('d\nhard\nshadow\nshared.txt\n');
    const read = await client.run({
      world,
      name: 'reads',
      ...callingAgent([['READ', { path: '/app/shadow' }]]),
    });
    expect(JSON.parse(read.stdout)[0].answer).toMatchObject({ success: false });
    await client.call('WORLD_DESTROY', { world_id: world, force: true });
  });
});
