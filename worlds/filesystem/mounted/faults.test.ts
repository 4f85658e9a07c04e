import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, callingAgent, type TestClient, TestKernel } from '../../../kernel/fixture.ts';
import { ensureNative } from '../../../native/index.ts';
import { canNameErrors } from '../../../native/world-faults.ts';
import { worldHost } from '../../engine.ts';

const isRoot = process.geteuid?.() === 0;
let kernel: TestKernel;
let client: TestClient;
let world = '';
let count = 0;

beforeAll(async () => {
  await ensureNative();
  if (!isRoot) return;
  kernel = await TestKernel.boot({}, { worlds: worldHost() });
  client = await kernel.connect();
}, 300_000);
afterAll(() => kernel?.close());
afterEach(async () => {
  if (world !== '') await client.call('WORLD_DESTROY', { world_id: world, force: true });
  world = '';
});

it('knows which kernels take an error of one’s choice', () => {
  expect(['6.18.44-fc', '7.0', '6.14.0'].map((kernel) => canNameErrors(kernel))).toEqual([true, true, true]);
  expect(['6.13.9', '5.15.0-1', 'odd'].map((kernel) => canNameErrors(kernel))).toEqual([false, false, false]);
});

async function create(clock: unknown = { mode: 'real' }): Promise<void> {
  const config = {
    form: 'mounted',
    seed: 3,
    open: true,
    clock,
    files: { initial: { '/app/a.txt': 'a\n', '/app/b.txt': 'b\n', '/data/c.txt': 'c\n' } },
  };
  const made = await client.call('WORLD_CREATE', { name: 'm', config });
  expect(made).toMatchObject({ success: true });
  world = made.world_id as string;
}

async function sh(script: string): Promise<string> {
  count += 1;
  const { stdout } = await client.run({
    world,
    name: `sh${count}`,
    command: ['sh', '-c', `exec 2>&1; ${script}`],
  });
  return stdout as string;
}

const event = (event_type: string, params: Record<string, unknown> = {}): Promise<Answer> =>
  client.call('WORLD_EVENT', { world_id: world, event_type, params });

async function clear({ event_id }: Answer): Promise<void> {
  expect(
    await client.call('WORLD_EVENT', { world_id: world, event_type: 'clear', params: { event_id } }),
  ).toMatchObject({
    success: true,
  });
}

describe.runIf(isRoot)('the disk of a mounted world', () => {
  it('fails reads of unmodified programs with EIO, where the event says so, until it is over', async (ctx) => {
    if (!canNameErrors()) ctx.skip('Linux before 6.14');
    await create();
    const failing = await event('disk_fail', { operation: 'read', path: '/app/a*' });
    expect(failing).toMatchObject({ success: true });
    const told = await sh(
      `cat /app/a.txt; cat /app/b.txt /data/c.txt; echo more >> /app/a.txt && echo written
       python3 -c 'open("/app/a.txt").read()' | tail -1`,
    );
    expect(told).toMatch(/^cat: \/app\/a.txt: Input\/output error\nb\nc\nwritten\n/);
    expect(told).toContain('OSError: [Errno 5]');
    const { stdout } = await client.run({
      world,
      name: 'caller',
      ...callingAgent([['READ', { path: '/app/a.txt' }]]),
    });
    expect(JSON.parse(stdout)[0].answer).toMatchObject({
      success: false,
      error: 'Simulated read failure (chaos)',
    });
    await clear(failing);
    expect(await sh('cat /app/a.txt')).toBe('a\nmore\n');
  });

  it('fails what is opened for writing, and nothing else', async (ctx) => {
    if (!canNameErrors()) ctx.skip('Linux before 6.14');
    await create();
    const failing = await event('disk_fail', { operation: 'write' });
    expect(await sh('cat /app/a.txt; echo x > /app/new.txt; echo y >> /app/a.txt; cat /app/a.txt')).toMatch(
      /^a\n.*new.txt: (Input\/output error|I\/O error)\n.*a.txt: .*\na\n$/,
    );
    await clear(failing);
    expect(await sh('echo y >> /app/a.txt; cat /app/a.txt')).toBe('a\ny\n');
  });

  it('fails some of many, by the luck of the world', async (ctx) => {
    if (!canNameErrors()) ctx.skip('Linux before 6.14');
    await create();
    await event('disk_fail', { operation: 'read', probability: 0.5, path: '/app/a.txt' });
    const results = await sh(
      'for i in $(seq 40); do cat /app/a.txt > /dev/null 2>&1 && echo ok || echo bad; done',
    );
    expect(new Set(results.trim().split('\n'))).toEqual(new Set(['ok', 'bad']));
    const { state } = await client.call('WORLD_STATE', { world_id: world });
    expect(state.chaos_metrics.failures_injected).toBeGreaterThan(0);
  });

  it('is slow: opens and reads take the time of the world', async () => {
    await create({ mode: 'skip' });
    const slow = await event('slow_io', { ms: 700, path: '/data/**' });
    const elapsed = async (file: string) => {
      const told = await sh(
        `a=$(date +%s%N); cat ${file} > /dev/null; b=$(date +%s%N); echo $(((b - a) / 1000000))`,
      );
      return Number(told);
    };
    // One open, a read and the read that finds its end.
    expect(await elapsed('/data/c.txt')).toBeGreaterThanOrEqual(3 * 700 - 50);
    await clear(slow);
    expect(await sh('cat /data/c.txt')).toBe('c\n');
  });

  it('lets those go on who wait for a slow disk when it is fast again', async () => {
    await create();
    const slow = await event('slow_io', { ms: 86_400_000 });
    const { id } = await client.spawn({ world, name: 'reader', command: ['cat', '/app/a.txt'] });
    await expect
      .poll(
        async () =>
          (await client.call('WORLD_STATE', { world_id: world })).state.chaos_metrics.latency_injected,
        {
          timeout: 60_000,
        },
      )
      .toBeGreaterThan(0);
    await clear(slow);
    expect(await client.call('WAIT', { id })).toMatchObject({ exit_code: 0 });
  });

  it('has no room below some folders', async (ctx) => {
    if (!canNameErrors()) ctx.skip('Linux before 6.14');
    await create();
    const full = await event('disk_full', { path: '/data/**' });
    expect(await sh('echo x > /data/new.txt; echo y > /app/new.txt && cat /app/new.txt /data/c.txt')).toMatch(
      /No space left on device\ny\nc\n$/,
    );
    await clear(full);
    expect(await sh('echo x > /data/new.txt && cat /data/new.txt')).toBe('x\n');
  });

  it('is read-only as a whole, for everything that changes it; not while a file is open for writing', async () => {
    await create();
    const readonly = await event('readonly');
    expect(readonly).toMatchObject({ success: true });
    const refused = await sh('echo x > /app/new.txt; rm -f /app/a.txt; mkdir /app/folder; cat /app/a.txt');
    expect(refused.match(/Read-only file system/g)).toHaveLength(3);
    expect(refused).toMatch(/\na\n$/);
    await clear(readonly);
    expect(await sh('rm /app/a.txt && ls /app')).toBe('b.txt\n');
    const { id } = await client.spawn({
      world,
      name: 'writer',
      command: ['sh', '-c', 'exec 3> /app/open; echo; sleep 600'],
    });
    await expect.poll(async () => (await client.call('LOGS', { id })).stdout, { timeout: 60_000 }).toBe('\n');
    expect(await event('readonly')).toMatchObject({
      success: false,
      error: expect.stringContaining('open for writing'),
    });
    await client.call('KILL', { id });
  });

  it('says what it cannot do', async () => {
    await create();
    expect(await event('readonly', { path: '/app/**' })).toMatchObject({
      success: false,
      error: expect.stringContaining('cannot have the file fault readonly of some paths'),
    });
  });
});
