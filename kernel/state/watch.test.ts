import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { StateStore, type StateStoreOptions } from './state-store.ts';
import type { WatchRequest, WatchResult } from './watch.ts';

const stores: StateStore[] = [];
let clock = 0;

function inMemory(options: Partial<StateStoreOptions> = {}): StateStore {
  const store = StateStore.open({ databasePath: null, monotonicMs: () => clock, ...options });
  stores.push(store);
  return store;
}
afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()));
});

const put = (store: StateStore, key: string, value: unknown, ttlMs: number | null = null) =>
  store.store(1, { key, text: JSON.stringify(value), scope: 'global', ttlMs });

function watch(
  store: StateStore,
  request: Partial<WatchRequest> & { signal?: AbortSignal } = {},
  callerId = 9,
): Promise<WatchResult> {
  const { signal = new AbortController().signal, ...rest } = request;
  const whole = {
    keys: null,
    prefix: '',
    scope: 'global' as const,
    sinceVersion: null,
    timeoutMs: 0,
    limit: 1000,
  };
  return store.watch(callerId, { ...whole, ...rest }, signal);
}

describe('watching', () => {
  it('waits for a change of a watched key and tells the old and the new', async () => {
    const store = inMemory();
    await put(store, 'k', 'old');
    const waiting = watch(store, { keys: new Set(['k']), timeoutMs: null });
    await put(store, 'other', 1);
    const version = await put(store, 'k', 'new');
    expect(await waiting).toEqual({
      changes: [{ key: 'k', version, text: '"new"', previousText: '"old"', callerId: 1 }],
      version,
      resync: false,
      more: false,
    });
  });

  it('tells of deletions and of lifetimes that are over', async () => {
    const store = inMemory();
    await put(store, 'a', 1);
    await put(store, 'b', 2, 10);
    const { version } = await watch(store);
    await store.delete(1, 'a', null);
    clock += 20;
    store.sweep();
    const { changes } = await watch(store, { sinceVersion: version });
    expect(changes).toMatchObject([
      { key: 'a', text: null, previousText: '1', callerId: 1 },
      { key: 'b', text: null, previousText: '2', callerId: 0 },
    ]);
  });

  it('ends with the time, with its connection, and is bounded per caller', async () => {
    const store = inMemory({ limits: { callerWatches: 2 } });
    expect(await watch(store, { timeoutMs: 5 })).toMatchObject({ changes: [], resync: false });
    const aborter = new AbortController();
    const endless = [1, 2].map(() => watch(store, { timeoutMs: null, signal: aborter.signal }));
    await expect(watch(store)).rejects.toMatchObject({ code: 'OVERLOAD' });
    expect(await watch(store, {}, 10)).toMatchObject({ changes: [] });
    aborter.abort();
    for (const each of endless) await expect(each).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(await watch(store)).toMatchObject({ changes: [] });
  });

  it('shows nobody the private changes of another', async () => {
    const store = inMemory();
    await watch(store, { scope: 'agent' }, 1);
    await store.store(1, { key: 'k', text: '1', scope: 'agent', ttlMs: null });
    expect(await watch(store, { scope: 'agent', sinceVersion: 0 }, 2)).toMatchObject({ changes: [] });
    expect(await watch(store, { sinceVersion: 0 }, 2)).toMatchObject({ changes: [] });
    expect(await watch(store, { scope: 'agent', sinceVersion: 0 }, 1)).toMatchObject({
      changes: [{ key: 'k', text: '1' }],
    });
  });

  it('shows what is there when it no longer knows how that came', async () => {
    const store = inMemory({ limits: { globalChanges: { changes: 4, bytes: 1e6 } } });
    const { version: start } = await watch(store);
    await put(store, 'gone', 1);
    for (let at = 0; at < 10; at += 1) await put(store, `k${at % 3}`, at);
    await store.delete(1, 'gone', null);
    const seen = await watch(store, { keys: new Set(['k0', 'k1', 'gone']), sinceVersion: start });
    expect(seen.resync).toBe(true);
    expect(seen.changes.map(({ key, text }) => [key, text])).toEqual([
      ['gone', null],
      ['k1', '7'],
      ['k0', '9'],
    ]);
    expect(await watch(store, { sinceVersion: seen.version })).toMatchObject({ changes: [], resync: false });
  });

  it('model: who follows the versions ends with the same state, whatever pages it reads', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('put' as const), key: fc.nat(3), ttl: fc.option(fc.nat(3)) }),
      fc.record({ kind: fc.constant('delete' as const), key: fc.nat(3) }),
      fc.record({ kind: fc.constant('cas' as const), key: fc.nat(3), right: fc.boolean() }),
      fc.record({ kind: fc.constant('read' as const), limit: fc.integer({ min: 1, max: 3 }) }),
      fc.record({ kind: fc.constant('time' as const) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.boolean(), async (steps, small) => {
        clock = 0;
        const store = inMemory(small ? { limits: { globalChanges: { changes: 3, bytes: 1e6 } } } : {});
        const truth = new Map<string, string>();
        const followed = new Map<string, string>();
        const versions: number[] = [];
        let since = (await watch(store)).version;
        const read = async (limit: number) => {
          const answer = await watch(store, { sinceVersion: since, limit });
          if (answer.resync) followed.clear();
          for (const { key, text } of answer.changes) {
            if (text === null) followed.delete(key);
            else followed.set(key, text);
          }
          if (answer.resync && answer.more) {
            // The rest of what is there, from the beginning of what was shown.
            const all = await watch(store, { sinceVersion: 0, limit: 1000 });
            for (const { key, text } of all.changes) if (text !== null) followed.set(key, text);
            since = all.version;
          } else since = answer.version;
          return answer.more;
        };
        let counter = 0;
        for (const each of steps) {
          counter += 1;
          if (each.kind === 'time') {
            clock += 2;
            store.sweep();
            for (const key of [...truth.keys()]) if (store.fetch(1, key, null) === null) truth.delete(key);
          } else if (each.kind === 'read') await read(each.limit);
          else {
            const key = `k${each.key}`;
            const text = String(counter);
            if (each.kind === 'delete') {
              const deleted = await store.delete(1, key, null);
              expect(deleted !== null).toBe(truth.delete(key));
              if (deleted !== null) versions.push(deleted.version);
            } else if (each.kind === 'put') {
              versions.push(await store.store(1, { key, text, scope: 'global', ttlMs: each.ttl }));
              if (each.ttl === 0) truth.delete(key);
              else truth.set(key, text);
            } else {
              const present = truth.get(key);
              const right =
                present === undefined
                  ? { kind: 'absent' as const }
                  : { kind: 'value' as const, value: JSON.parse(present) };
              const expected = each.right ? right : { kind: 'version' as const, version: 1e9 };
              const swap = await store.swap(1, { key, text, scope: 'global', ttlMs: null }, expected);
              expect(swap.swapped).toBe(each.right);
              expect(swap.text).toBe(each.right ? text : (present ?? null));
              if (each.right) {
                truth.set(key, text);
                versions.push(swap.version);
              }
            }
          }
        }
        while (await read(2));
        const present = [...truth].filter(([key]) => store.fetch(1, key, null) !== null);
        expect(new Map([...followed].sort())).toEqual(new Map(present.sort()));
        const given = versions.filter((version) => version > 0);
        expect(given).toEqual([...new Set(given)].sort((a, b) => a - b));
        await store.close();
      }),
      { numRuns: 150 },
    );
  });
});

describe('swapping', () => {
  it('compares values as JSON, and nothing else', async () => {
    const store = inMemory();
    const swap = (expected: unknown, value: unknown) =>
      store.swap(
        1,
        { key: 'k', text: JSON.stringify(value), scope: 'global', ttlMs: null },
        expected === undefined ? { kind: 'absent' } : { kind: 'value', value: expected },
      );
    expect(await swap(null, 1)).toMatchObject({ swapped: false, text: null, version: 0 });
    expect(await swap(undefined, { a: 1, b: [1, 2] })).toMatchObject({ swapped: true });
    expect(await swap(undefined, 2)).toMatchObject({ swapped: false, text: '{"a":1,"b":[1,2]}' });
    expect(await swap({ b: [2, 1], a: 1 }, 2)).toMatchObject({ swapped: false });
    expect(await swap({ b: [1, 2], a: 1.0 }, null)).toMatchObject({ swapped: true });
    expect(await swap('null', 2)).toMatchObject({ swapped: false });
    expect(await swap(null, 2)).toMatchObject({ swapped: true });
  });

  it('a version is never met again, also when the key was deleted meanwhile', async () => {
    const store = inMemory();
    const first = await put(store, 'k', 1);
    await store.delete(1, 'k', null);
    await put(store, 'k', 1);
    const request = { key: 'k', text: '2', scope: 'global' as const, ttlMs: null };
    expect(await store.swap(1, request, { kind: 'version', version: first })).toMatchObject({
      swapped: false,
    });
    expect(await store.swap(1, request, { kind: 'value', value: 1 })).toMatchObject({ swapped: true });
  });
});
