import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { STATE_SCOPES, type StateScope } from './space.ts';
import { StateStore, type StateStoreOptions } from './state-store.ts';

const code = (expected: string): Error => expect.objectContaining({ code: expected }) as Error;

let clock: number;
const stores: StateStore[] = [];

function inMemory(options: Partial<StateStoreOptions> = {}): StateStore {
  const store = StateStore.open({
    databasePath: null,
    monotonicMs: () => clock,
    wallMs: () => clock,
    ...options,
  });
  stores.push(store);
  return store;
}

function put(
  store: StateStore,
  caller: number,
  key: string,
  value: unknown,
  options: { scope?: StateScope; ttlMs?: number | null } = {},
): Promise<number> {
  const { scope = 'global', ttlMs = null } = options;
  return store.store(caller, { key, text: JSON.stringify(value), scope, ttlMs });
}

function get(store: StateStore, caller: number, key: string, scope: StateScope | null = null): unknown {
  const found = store.fetch(caller, key, scope);
  return found === null ? undefined : JSON.parse(found.text);
}

function keys(store: StateStore, caller: number, prefix = '', scope: StateScope | null = null): string[] {
  return store.keys(caller, { prefix, scope, after: '', limit: 1000 }).keys;
}

beforeEach(() => {
  clock = 1000;
});

afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()));
});

describe('StateStore', () => {
  it('keeps what is private from everybody else, whatever a key is called', async () => {
    const store = inMemory();
    await put(store, 7, 'k', 'secret', { scope: 'agent' });
    for (const key of ['agent:7:k', '7:k', 'agent\u00007\u0000k', 'session:7:k'])
      await put(store, 8, key, 'forged');
    expect(get(store, 7, 'k')).toBe('secret');
    expect(get(store, 8, 'k')).toBeUndefined();
    expect(get(store, 8, 'k', 'agent')).toBeUndefined();
  });

  it('prefers the caller’s own key to a global one of the same name', async () => {
    const store = inMemory();
    await put(store, 1, 'k', 'global');
    expect(get(store, 2, 'k')).toBe('global');
    await put(store, 2, 'k', 'own', { scope: 'agent' });
    await put(store, 2, 'k', 'session', { scope: 'session' });
    expect(get(store, 2, 'k')).toBe('session');
    expect(get(store, 2, 'k', 'agent')).toBe('own');
    expect(get(store, 2, 'k', 'global')).toBe('global');
    expect(get(store, 1, 'k')).toBe('global');
  });

  it('deletes what a fetch would have found', async () => {
    const store = inMemory();
    await put(store, 2, 'k', 'global');
    await put(store, 2, 'k', 'own', { scope: 'agent' });
    expect(await store.delete(2, 'k', null)).toMatchObject({ scope: 'agent' });
    expect(await store.delete(2, 'k', null)).toMatchObject({ scope: 'global' });
    expect(await store.delete(2, 'k', null)).toBeNull();
  });

  it('lists by prefix over all scopes, each key once, sorted, page by page', async () => {
    const store = inMemory();
    await put(store, 1, 'a/2', 0);
    await put(store, 1, 'a/1', 0, { scope: 'agent' });
    await put(store, 1, 'a/2', 0, { scope: 'session' });
    await put(store, 1, 'b', 0, { scope: 'agent' });
    await put(store, 2, 'a/3', 0, { scope: 'agent' });
    expect(keys(store, 1, 'a/')).toEqual(['a/1', 'a/2']);
    expect(keys(store, 1, 'a/', 'agent')).toEqual(['a/1']);
    expect(keys(store, 2)).toEqual(['a/2', 'a/3']);
    const page = store.keys(1, { prefix: '', scope: null, after: '', limit: 2 });
    expect(page).toEqual({ keys: ['a/1', 'a/2'], more: true });
    expect(store.keys(1, { prefix: '', scope: null, after: 'a/2', limit: 2 })).toEqual({
      keys: ['b'],
      more: false,
    });
  });

  it('forgets a value when its time is over, and frees it', async () => {
    const store = inMemory();
    await put(store, 1, 'k', 1, { ttlMs: 500 });
    clock += 499;
    expect(get(store, 1, 'k')).toBe(1);
    clock += 1;
    expect(get(store, 1, 'k')).toBeUndefined();
    expect(keys(store, 1)).toEqual([]);
    store.sweep();
    expect(store.usage()).toEqual({ keys: 0, bytes: 0 });
  });

  it.each([0, -1])('treats a lifetime of %i as a deletion', async (ttlMs) => {
    const store = inMemory();
    await put(store, 1, 'k', 1);
    await put(store, 1, 'k', 2, { ttlMs });
    expect(get(store, 1, 'k')).toBeUndefined();
  });

  it('ends the session scope with the process and the agent scope with the agent', async () => {
    const store = inMemory();
    for (const scope of STATE_SCOPES) await put(store, 1, scope, 1, { scope });
    await put(store, 2, 'session', 1, { scope: 'session' });
    store.endSession(1);
    expect(keys(store, 1)).toEqual(['agent', 'global']);
    store.release(1);
    expect(keys(store, 1)).toEqual(['global']);
    expect(keys(store, 2)).toEqual(['global', 'session']);
  });

  it.each(['__proto__', 'constructor', 'hasOwnProperty', 'toString'])(
    'has no key %s until it is stored',
    async (key) => {
      const store = inMemory();
      expect(get(store, 1, key)).toBeUndefined();
      await put(store, 1, key, { polluted: true });
      expect(get(store, 1, key)).toEqual({ polluted: true });
      expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    },
  );

  it('refuses keys it could not tell apart on disk, and keys that are too long', async () => {
    const store = inMemory();
    await expect(put(store, 1, '', 1)).rejects.toThrow('key is required');
    await expect(put(store, 1, 'a\ud800', 1)).rejects.toThrow(code('BAD_REQUEST'));
    await expect(put(store, 1, 'ä'.repeat(513), 1)).rejects.toThrow(code('BAD_REQUEST'));
    await put(store, 1, 'ä'.repeat(512), 1);
  });

  it('bounds values, the keys and bytes of one caller, and the global scope', async () => {
    const big = 'x'.repeat(1000);
    const values = inMemory({ limits: { valueBytes: 100 } });
    await expect(put(values, 1, 'k', big)).rejects.toThrow(code('PAYLOAD_TOO_LARGE'));

    const caller = inMemory({ limits: { callerKeys: 2, callerBytes: 3000 } });
    await put(caller, 1, 'a', big);
    await put(caller, 1, 'b', big, { scope: 'agent' });
    await expect(put(caller, 1, 'c', 1)).rejects.toThrow(code('OVERLOAD'));
    await put(caller, 1, 'a', 'shorter');
    await caller.delete(1, 'b', null);
    await put(caller, 1, 'c', 1, { scope: 'session' });
    await put(caller, 2, 'd', 1);

    const everybody = inMemory({ limits: { globalKeys: 2, globalBytes: 2500 } });
    await put(everybody, 1, 'a', big);
    await put(everybody, 2, 'b', big);
    await expect(put(everybody, 3, 'c', 1)).rejects.toThrow(code('OVERLOAD'));
    await expect(put(everybody, 3, 'a', big + big)).rejects.toThrow(code('OVERLOAD'));
    await put(everybody, 3, 'c', 1, { scope: 'agent' });
  });

  it('bounds what all callers together keep for themselves, and counts exactly', async () => {
    const store = inMemory({ limits: { totalBytes: 2500 } });
    const big = 'x'.repeat(1000);
    await put(store, 1, 'a', big, { scope: 'agent' });
    await put(store, 2, 'a', big, { scope: 'session' });
    await expect(put(store, 3, 'a', big, { scope: 'agent' })).rejects.toThrow(code('OVERLOAD'));
    await put(store, 2, 'a', big.slice(1), { scope: 'session' });
    store.release(1);
    await put(store, 3, 'a', big, { scope: 'agent' });
    for (const caller of [2, 3]) store.release(caller);
    expect(store.usage()).toEqual({ keys: 0, bytes: 0 });
  });

  it('makes room by what has expired before it refuses', async () => {
    const store = inMemory({ limits: { callerKeys: 1 } });
    await put(store, 1, 'a', 1, { ttlMs: 10 });
    clock += 11;
    await put(store, 1, 'b', 1);
    expect(keys(store, 1)).toEqual(['b']);
  });

  it('charges a caller for its own writes only', async () => {
    const store = inMemory({ limits: { callerKeys: 2 } });
    await put(store, 1, 'a', 1);
    await put(store, 1, 'b', 1);
    await put(store, 2, 'a', 2);
    await put(store, 1, 'c', 1);
    store.release(1);
    await put(store, 2, 'b', 2);
    await expect(put(store, 2, 'd', 2)).rejects.toThrow(code('OVERLOAD'));
  });

  it('agrees with nested maps under any sequence of stores, deletions, time and departures', async () => {
    const caller = fc.integer({ min: 1, max: 3 });
    const key = fc.constantFrom('a', 'ab', 'b', 'agent:1:a', '__proto__');
    const scope = fc.constantFrom(...STATE_SCOPES);
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant('store' as const),
          caller,
          key,
          scope,
          ttlMs: fc.option(fc.integer({ min: -5, max: 50 })),
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({ kind: fc.constant('delete' as const), caller, key, scope: fc.option(scope) }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('time' as const), ms: fc.nat(30) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('endSession' as const), caller }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('release' as const), caller }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async (steps) => {
        clock = 0;
        const store = inMemory();
        const model = new Map<string, Map<string, { value: number; until: number }>>();
        const space = (of: StateScope, owner: number): Map<string, { value: number; until: number }> =>
          model.getOrInsertComputed(of === 'global' ? of : `${of} ${owner}`, () => new Map());
        const find = (owner: number, name: string, of: StateScope | null): [StateScope, number] | null => {
          for (const each of of === null ? (['session', 'agent', 'global'] as const) : [of]) {
            const entry = space(each, owner).get(name);
            if (entry !== undefined && entry.until > clock) return [each, entry.value];
          }
          return null;
        };
        for (const [at, each] of steps.entries()) {
          if (each.kind === 'time') {
            clock += each.ms;
            continue;
          }
          if (each.kind === 'endSession') {
            store.endSession(each.caller);
            model.delete(`session ${each.caller}`);
          } else if (each.kind === 'release') {
            store.release(each.caller);
            model.delete(`session ${each.caller}`);
            model.delete(`agent ${each.caller}`);
          } else if (each.kind === 'store') {
            await put(store, each.caller, each.key, at, each);
            const target = space(each.scope, each.caller);
            if (each.ttlMs !== null && each.ttlMs <= 0) target.delete(each.key);
            else
              target.set(each.key, { value: at, until: each.ttlMs === null ? Infinity : clock + each.ttlMs });
          } else {
            const expected = find(each.caller, each.key, each.scope);
            const deleted = await store.delete(each.caller, each.key, each.scope);
            expect(deleted?.scope ?? null).toBe(expected?.[0] ?? null);
            if (expected !== null) space(expected[0], each.caller).delete(each.key);
          }
        }
        for (const owner of [1, 2, 3]) {
          const names = ['__proto__', 'a', 'ab', 'agent:1:a', 'b'];
          for (const name of names) {
            for (const of of [null, ...STATE_SCOPES]) {
              expect(get(store, owner, name, of)).toBe(find(owner, name, of)?.[1]);
            }
          }
          const visible = names.filter((name) => find(owner, name, null) !== null);
          expect(keys(store, owner)).toEqual(visible);
          expect(keys(store, owner, 'a')).toEqual(visible.filter((name) => name.startsWith('a')));
        }
        await store.close();
      }),
      { numRuns: 150 },
    );
  });
});
