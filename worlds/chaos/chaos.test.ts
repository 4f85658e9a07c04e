import { afterEach, describe, expect, it } from 'vitest';
import type { WorldInput } from '../definition.ts';
import { worldState } from '../state.ts';
import { ALICE, BOB, get, join, type TestWorld, testWorld, text } from '../testing.ts';
import { EVENT_KIND_NAMES, type EventKind, parseEvent } from './kinds.ts';

const open: TestWorld[] = [];
afterEach(() => {
  for (const { world } of open.splice(0)) world.close();
});

const BASE: WorldInput = {
  clock: { mode: 'step', start: '2026-01-01T00:00:00Z' },
  files: { initial: { '/data/a.txt': 'hello', '/other/b.txt': 'other' } },
  network: { routes: [{ host: 'api.test', path: '/*', json: { ok: true } }] },
  state: { price: 10, name: 'mug' },
};

async function make(more: WorldInput = {}): Promise<TestWorld> {
  const made = await testWorld({ ...BASE, ...more });
  open.push(made);
  join(made, ALICE);
  join(made, BOB);
  return made;
}

const inject = ({ world }: TestWorld, type: string, params: object = {}, forMs: number | null = null) =>
  world.chaos.inject(parseEvent(type, { ...params }), { forMs, source: 'test' });

const write = ({ world }: TestWorld, path: string) => world.write(ALICE, path, Buffer.from('x'), false);

describe('events that last', () => {
  /** How each is felt, and that it is over when it is over. */
  const FELT: Partial<Record<EventKind, { params?: object; feel(made: TestWorld): Promise<unknown> }>> = {
    disk_full: { params: { path: '/data/**' }, feel: (made) => write(made, '/data/new') },
    readonly: { feel: (made) => write(made, '/data/new') },
    disk_fail: { params: { operation: 'read' }, feel: ({ world }) => world.read(ALICE, '/data/a.txt') },
    network_partition: { params: { hosts: 'api.test' }, feel: ({ world }) => get(world, 'http://api.test/') },
    connection_reset: { feel: ({ world }) => get(world, 'http://api.test/') },
    dns_failure: { feel: ({ world }) => get(world, 'http://api.test/') },
    tls_expiry: { feel: ({ world }) => get(world, 'https://api.test/') },
    http_failure: {
      params: { url: 'http://api.test/*' },
      feel: ({ world }) => get(world, 'http://api.test/'),
    },
    packet_loss: {
      params: { probability: 1, retransmit_ms: 0 },
      feel: ({ world }) => get(world, 'http://api.test/'),
    },
  };

  it.each(Object.entries(FELT))('%s acts until its time is over', async (kind, { params, feel }) => {
    const made = await make();
    const { untilMs, id } = inject(made, kind, params, 60_000);
    expect(untilMs).toBe(60_000);
    await expect(feel(made)).rejects.toThrow();
    expect(made.world.chaos.active().map((event) => event.id)).toEqual([id]);
    expect(made.world.chaos.failures()).toBeGreaterThan(0);
    await made.world.parts.clock.advance(60_000);
    expect(made.world.chaos.active()).toEqual([]);
    await feel(made);
    expect(made.world.chaos.failures()).toBeGreaterThan(0);
  });

  it.each([
    ['slow_io', { ms: 5000 }, ({ world }: TestWorld) => world.read(ALICE, '/data/a.txt')],
    ['latency_spike', { ms: 5000 }, ({ world }: TestWorld) => get(world, 'http://api.test/')],
    ['bandwidth_limit', { bytes_per_second: 1 }, ({ world }: TestWorld) => get(world, 'http://api.test/')],
  ] as const)('%s takes time of the world, and none of ours', async (kind, params, work) => {
    const made = await make({ clock: { mode: 'skip' } });
    inject(made, kind, params);
    const before = made.world.parts.clock.monotonicMs();
    await work(made);
    expect(made.world.parts.clock.monotonicMs() - before).toBeGreaterThanOrEqual(4999);
    if (kind !== 'bandwidth_limit') expect(made.world.chaos.delays()).toBe(1);
  });

  it('an error rate answers, with the status it is given', async () => {
    const made = await make();
    inject(made, 'error_rate', { hosts: 'api.test', status: 500 });
    expect((await get(made.world, 'http://api.test/')).status).toBe(500);
  });

  it('a skewed clock is wrong for members, not for the world', async () => {
    const made = await make();
    inject(made, 'clock_skew', { ms: -3_600_000 }, 1000);
    expect(made.world.tellMs()).toBe(made.world.parts.clock.nowMs() - 3_600_000);
    await write(made, '/data/late');
    expect(made.world.parts.files?.find('/data/late')?.mtimeMs).toBe(made.world.tellMs());
    await made.world.parts.clock.advance(1000);
    expect(made.world.tellMs()).toBe(made.world.parts.clock.nowMs());
  });

  it('a skewed clock is told to the clock of processes, where there is one, with what else skews it', async () => {
    const made = await make();
    const told: number[] = [];
    made.world.parts.clock.skew = (ms) => told.push(ms);
    const first = inject(made, 'clock_skew', { ms: 1000 }, 5000);
    inject(made, 'clock_skew', { ms: -300 });
    await made.world.parts.clock.advance(6000);
    expect(first.untilMs).not.toBeNull();
    made.world.chaos.clearAll();
    expect(told).toEqual([1000, 700, -300, 0]);
  });

  it('a partition between members stands in the way of their messages only', async () => {
    const made = await make();
    inject(made, 'network_partition', { between: [['alice'], ['b*']] }, 10);
    expect(made.world.severs(1, 2)).toContain('partition');
    expect(made.world.severs(2, 1)).toContain('partition');
    expect((await get(made.world, 'http://api.test/')).status).toBe(200);
    await made.world.parts.clock.advance(10);
    expect(made.world.severs(1, 2)).toBeNull();
  });

  it('pauses members and lets them go on', async () => {
    const made = await make();
    inject(made, 'agent_pause', { agents: 'bob' }, 5);
    expect(made.done).toEqual(['pause 2']);
    await made.world.parts.clock.advance(5);
    expect(made.done).toEqual(['pause 2', 'resume 2']);
  });

  it('a load spike makes requests of its own, at its pace', async () => {
    const made = await make();
    inject(made, 'load_spike', { url: 'http://api.test/x', per_second: 2 }, 10_000);
    await made.world.parts.clock.advance(20_000);
    const requests = made.world.parts.network?.log.entries({ agent: 'load' }) ?? [];
    expect(requests.length).toBeGreaterThanOrEqual(19);
    expect(requests.length).toBeLessThanOrEqual(21);
  });
});

describe('events that are done at once', () => {
  it('corrupt bytes of a file, for good and by the seed', async () => {
    const damaged = async () => {
      const made = await make();
      inject(made, 'file_corruption', { path: '/data/**', bytes: 2 });
      expect(await text(made.world, '/other/b.txt')).toBe('other');
      return (await made.world.read(ALICE, '/data/a.txt')).toString('hex');
    };
    const first = await damaged();
    expect(first).not.toBe(Buffer.from('hello').toString('hex'));
    expect(await damaged()).toBe(first);
  });

  it('corrupt stored values', async () => {
    const made = await make();
    inject(made, 'data_corruption', { key: 'price' });
    expect(JSON.parse(made.world.state.fetch(0, 'price', 'global')?.text ?? '')).not.toBe(10);
    expect(made.world.state.fetch(0, 'name', 'global')?.text).toBe('"mug"');
  });

  it('leave a value as it is where the damaged one has no room', async () => {
    const made = await make();
    const large = JSON.stringify('x'.repeat(2 ** 20 - 2));
    await made.world.state.store(0, { key: 'large', scope: 'global', ttlMs: null, text: large });
    // What is thrown where nobody waits would end the process, and this test with it.
    for (let round = 0; round < 100; round++) inject(made, 'data_corruption', { key: 'large' });
    await new Promise((resolve) => setImmediate(resolve));
    expect(made.world.state.fetch(0, 'large', 'global')?.text.length).toBeLessThanOrEqual(2 ** 20 + 16);
  });

  it('crash so many of those who are meant', async () => {
    const made = await make();
    inject(made, 'agent_crash', { agents: ['ali*'], count: 5 });
    expect(made.done).toEqual(['crash 1']);
  });
});

describe('what cannot be', () => {
  it('names every kind that its form or its parts do not allow', async () => {
    const made = await make({ files: 'own', network: 'own', clock: { mode: 'step' } });
    const params: Partial<Record<EventKind, object>> = {
      bandwidth_limit: { bytes_per_second: 1 },
      load_spike: { url: 'http://a.test/' },
      clock_skew: { ms: 1 },
    };
    const possible: string[] = [];
    for (const kind of EVENT_KIND_NAMES) {
      try {
        inject(made, kind, params[kind]);
        possible.push(kind);
      } catch (error) {
        expect((error as Error).message).toMatch(/cannot act in this virtual world/);
      }
    }
    expect(possible.sort()).toEqual(['agent_crash', 'agent_pause', 'clock_skew', 'data_corruption']);
  });

  it('refuses unknown kinds and parameters by name', () => {
    expect(() => parseEvent('disk_ful', {})).toThrow(/unknown event type/);
    expect(() => parseEvent('disk_full', { pth: '/' })).toThrow(/disk_full.*pth/);
    expect(() => parseEvent('slow_io', { ms: 'soon' })).toThrow(/duration/);
  });
});

describe('rules', () => {
  it('without `every` hold from the start, with it come by draws that the seed decides', async () => {
    const history = async (seed: number) => {
      const made = await testWorld(
        {
          ...BASE,
          chaos: {
            rules: [
              { event: 'disk_fail', params: { operation: 'read', probability: 0.5 } },
              { name: 'flaky', event: 'latency_spike', every: '1m', probability: 0.3, for: '10s' },
            ],
          },
        },
        { seed },
      );
      open.push(made);
      await made.world.parts.clock.advance(3_600_000);
      const reads: boolean[] = [];
      for (let n = 0; n < 20; n += 1) {
        reads.push(
          await made.world.read(ALICE, '/data/a.txt').then(
            () => true,
            () => false,
          ),
        );
      }
      return { reads, events: made.world.chaos.history().map(({ kind, sinceMs }) => `${kind} ${sinceMs}`) };
    };
    const first = await history(1);
    expect(first.reads).toContain(true);
    expect(first.reads).toContain(false);
    expect(first.events.length).toBeGreaterThan(10);
    expect(await history(1)).toEqual(first);
    expect(await history(2)).not.toEqual(first);
  });

  it('are no events that go on, until one of them lets something happen', async () => {
    const made = await make({
      ...BASE,
      chaos: {
        rules: [
          { event: 'disk_fail', params: { probability: 0.5 } },
          { name: 'hourly', event: 'latency_spike', every: '1h', for: '10m' },
        ],
      },
    });
    const told = () => worldState(made.world).chaos_metrics;
    expect(told()).toMatchObject({ enabled: true, rule_count: 2, active_event_count: 0, active_events: [] });
    await made.world.parts.clock.advance(3_600_000);
    expect(told()).toMatchObject({ active_event_count: 1, active_events: ['latency_spike'] });
    made.world.chaos.inject(parseEvent('disk_full', {}), { forMs: null, source: 'hand' });
    await made.world.parts.clock.advance(600_000);
    expect(told()).toMatchObject({ active_events: ['disk_full'] });
    expect(made.world.chaos.injected).toBe(2);
    expect(made.world.chaos.active()).toHaveLength(2);
  });

  it('say in the history when they could not act', async () => {
    const made = await make({ network: 'own', chaos: { rules: [{ event: 'latency_spike' }] } });
    expect(made.world.chaos.history()[0]?.touched[0]).toMatch(/not possible/);
  });
});
