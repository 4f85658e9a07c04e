import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EVENT_TYPES, EventBus } from './event-bus.ts';

const now = { max: 1000, waitMs: 0 } as const;

describe('EventBus', () => {
  it('delivers what was asked for, oldest first, with the wall-clock time', async () => {
    let clock = 10;
    const bus = new EventBus({ monotonicMs: () => clock, wallMs: () => 1_700_000_000_000 });
    bus.subscribe(1, ['AGENT_SPAWNED', 'AGENT_EXITED']);
    expect(bus.publish('AGENT_SPAWNED', { agent_id: 7 }, 0)).toBe(1);
    expect(bus.publish('AGENT_PAUSED', { agent_id: 7 }, 0)).toBe(0);
    bus.publish('AGENT_EXITED', { agent_id: 7 }, 0);
    clock = 35;
    const { events } = await bus.poll(1, now);
    expect(events).toMatchObject([
      {
        type: 'AGENT_SPAWNED',
        text: '{"agent_id":7}',
        sourceId: 0,
        publishedWallMs: 1_700_000_000_000,
        ageMs: 25,
      },
      { type: 'AGENT_EXITED' },
    ]);
    expect((await bus.poll(1, now)).events).toEqual([]);
  });

  it('keeps the name of a custom event, and delivers it to the emitter too', async () => {
    const bus = new EventBus();
    bus.subscribe(1, ['CUSTOM']);
    bus.subscribe(2, ['build_done']);
    bus.subscribe(3, ['other']);
    expect(bus.emit(1, 'build_done', { ok: true })).toBe(2);
    const expected = { type: 'CUSTOM', customType: 'build_done', sourceId: 1 };
    for (const id of [1, 2]) {
      const { events } = await bus.poll(id, now);
      expect(events).toMatchObject([expected]);
      expect(JSON.parse(events[0]?.text ?? '')).toEqual({ ok: true, custom_type: 'build_done' });
    }
    expect((await bus.poll(3, now)).events).toEqual([]);
  });

  it.each([
    ['an array', [1]],
    ['text', 'x'],
    ['a number', 3],
    ['its own custom_type', { custom_type: 'mine' }],
  ])('leaves data that is %s as it is', async (_what, data) => {
    const bus = new EventBus();
    bus.subscribe(1, ['CUSTOM']);
    bus.emit(1, 'named', data);
    const { events } = await bus.poll(1, now);
    expect(JSON.parse(events[0]?.text ?? '')).toEqual(data);
    expect(events[0]?.customType).toBe('named');
  });

  it.each(EVENT_TYPES.filter((type) => type !== 'CUSTOM'))('lets nobody emit %s', (type) => {
    const bus = new EventBus();
    bus.subscribe(1, ['*']);
    expect(() => bus.emit(1, type, {})).toThrow(expect.objectContaining({ code: 'FORBIDDEN' }) as Error);
    expect(bus.usage().bytes).toBe(0);
  });

  it.each(['', 'a\u0000b', 'a\nb', '\ud800', 'x'.repeat(129)])('refuses the type name %j', (name) => {
    const bus = new EventBus();
    const malformed = expect.objectContaining({ code: 'BAD_REQUEST' }) as Error;
    expect(() => bus.subscribe(1, [name])).toThrow(malformed);
    expect(() => bus.emit(1, name, {})).toThrow(malformed);
    expect(bus.subscriptions(1)).toEqual([]);
  });

  it('drops the oldest for a subscriber that does not poll, and tells how many', async () => {
    const bus = new EventBus({ limits: { items: 3 } });
    bus.subscribe(1, ['CUSTOM']);
    for (let at = 0; at < 10; at += 1) bus.emit(2, 'CUSTOM', at);
    const first = await bus.poll(1, now);
    expect(first.events.map((event) => event.text)).toEqual(['7', '8', '9']);
    expect(first.dropped).toBe(7);
    expect((await bus.poll(1, now)).dropped).toBe(0);
  });

  it('holds an event once, however many wait for it', async () => {
    const bus = new EventBus();
    for (let id = 1; id <= 500; id += 1) bus.subscribe(id, ['CUSTOM']);
    expect(bus.emit(1, 'CUSTOM', 'x'.repeat(100_000))).toBe(500);
    expect(bus.usage().bytes).toBeLessThan(101_000);
    for (let id = 1; id <= 499; id += 1) await bus.poll(id, now);
    expect(bus.usage().bytes).toBeGreaterThan(100_000);
    bus.release(500);
    expect(bus.usage().bytes).toBe(0);
  });

  it('refuses an emitter that fills the queues of others, before all of them together are full', async () => {
    const data = 'x'.repeat(1000);
    const overload = expect.objectContaining({ code: 'OVERLOAD' }) as Error;
    const bus = new EventBus({ limits: { sourceBytes: 3000, totalBytes: 5000 } });
    bus.subscribe(9, ['CUSTOM']);
    for (let at = 0; at < 2; at += 1) bus.emit(1, 'CUSTOM', data);
    expect(() => bus.emit(1, 'CUSTOM', data)).toThrow(overload);
    bus.emit(2, 'CUSTOM', data);
    expect(() => bus.emit(3, 'CUSTOM', 'x'.repeat(2000))).toThrow(overload);
    expect(bus.publish('AGENT_EXITED', data, 0)).toBe(0);
    bus.subscribe(9, ['AGENT_EXITED']);
    expect(bus.publish('AGENT_EXITED', 'x'.repeat(2000), 0)).toBe(1);
    const { events, dropped } = await bus.poll(9, now);
    expect([events.length, dropped]).toEqual([3, 1]);
    bus.emit(1, 'CUSTOM', data);
  });

  it('keeps an event for one caller from everybody else', async () => {
    const bus = new EventBus();
    bus.subscribe(1, ['*']);
    bus.subscribe(2, ['*']);
    expect(bus.publish('MESSAGE_RECEIVED', { from: 3 }, 3, 2)).toBe(1);
    expect((await bus.poll(1, now)).events).toEqual([]);
    expect((await bus.poll(2, now)).events).toHaveLength(1);
  });

  it('lets a poll wait, also for a subscription that is made meanwhile', async () => {
    const bus = new EventBus();
    const wait = bus.poll(1, { max: 5, waitMs: null });
    bus.subscribe(1, ['CUSTOM']);
    bus.emit(2, 'CUSTOM', 1);
    expect((await wait).events).toHaveLength(1);
  });

  it('bounds the subscriptions of one caller', () => {
    const bus = new EventBus();
    const types = Array.from({ length: 257 }, (_, at) => `t${at}`);
    expect(() => bus.subscribe(1, types)).toThrow(expect.objectContaining({ code: 'OVERLOAD' }) as Error);
    expect(bus.subscriptions(1)).toEqual([]);
    bus.subscribe(1, types.slice(0, 256));
  });

  it('frees everything of a caller that is gone, and ends its waiting', async () => {
    const bus = new EventBus();
    bus.subscribe(1, ['CUSTOM']);
    bus.emit(1, 'CUSTOM', 1);
    await bus.poll(1, now);
    const wait = bus.poll(1, { max: 5, waitMs: null });
    bus.release(1);
    await expect(wait).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(bus.publish('CUSTOM', 1, 0)).toBe(0);
    expect(bus.usage()).toEqual({ subscribers: 0, bytes: 0 });
  });

  it('keeps nothing for callers that never subscribed', async () => {
    const bus = new EventBus();
    for (let id = 1; id <= 100; id += 1) await bus.poll(id, now);
    const abort = new AbortController();
    const wait = bus.poll(1, { max: 1, waitMs: null, signal: abort.signal });
    abort.abort();
    await expect(wait).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(bus.usage()).toEqual({ subscribers: 0, bytes: 0 });
  });

  it('agrees with a simple model under any sequence of subscriptions, events and polls', async () => {
    const id = fc.integer({ min: 1, max: 3 });
    const types = fc.subarray(['AGENT_SPAWNED', 'CUSTOM', 'STATE_CHANGED', 'mine', '*']);
    const step = fc.oneof(
      fc.record({ kind: fc.constant('subscribe' as const), id, types }),
      fc.record({ kind: fc.constant('unsubscribe' as const), id, types: fc.option(types) }),
      fc.record({
        kind: fc.constant('publish' as const),
        type: fc.constantFrom('AGENT_SPAWNED', 'STATE_CHANGED'),
      }),
      fc.record({ kind: fc.constant('emit' as const), name: fc.constantFrom('CUSTOM', 'mine', 'theirs') }),
      fc.record({ kind: fc.constant('poll' as const), id, max: fc.nat(4) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 100, size: 'max' }), async (steps) => {
        const limit = 5;
        const bus = new EventBus({ limits: { items: limit } });
        const model = [1, 2, 3].map(() => ({ types: new Set<string>(), queue: [] as string[], dropped: 0 }));
        const deliver = (text: string, names: readonly string[]): number => {
          let reached = 0;
          for (const subscriber of model) {
            if (![...names, '*'].some((name) => subscriber.types.has(name))) continue;
            reached += 1;
            subscriber.queue.push(text);
            if (subscriber.queue.length > limit) {
              subscriber.queue.shift();
              subscriber.dropped += 1;
            }
          }
          return reached;
        };
        for (const [at, each] of steps.entries()) {
          if (each.kind === 'publish') {
            const type = each.type as 'AGENT_SPAWNED';
            expect(bus.publish(type, at, 0)).toBe(deliver(String(at), [type]));
          } else if (each.kind === 'emit') {
            expect(bus.emit(9, each.name, at)).toBe(deliver(String(at), ['CUSTOM', each.name]));
          } else {
            const subscriber = model[each.id - 1];
            if (subscriber === undefined) throw new Error('no such subscriber');
            if (each.kind === 'subscribe') {
              bus.subscribe(each.id, each.types);
              for (const type of each.types) subscriber.types.add(type);
            } else if (each.kind === 'unsubscribe') {
              bus.unsubscribe(each.id, each.types ?? 'all');
              if (each.types === null) subscriber.types.clear();
              else for (const type of each.types) subscriber.types.delete(type);
            } else {
              const polled = await bus.poll(each.id, { max: each.max, waitMs: 0 });
              expect(polled.events.map((event) => event.text)).toEqual(subscriber.queue.splice(0, each.max));
              expect(polled.dropped).toBe(subscriber.dropped);
              subscriber.dropped = 0;
            }
            expect(new Set(bus.subscriptions(each.id))).toEqual(subscriber.types);
          }
        }
      }),
      { numRuns: 200 },
    );
  });
});
