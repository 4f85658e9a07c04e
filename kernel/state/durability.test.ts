import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadState } from './database.ts';
import { StateStore } from './state-store.ts';

let folder: string;
let databasePath: string;
const stores: StateStore[] = [];

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-state-'));
  databasePath = path.join(folder, 'state.db');
});

afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()));
  rmSync(folder, { recursive: true });
});

function open(wallMs: () => number = Date.now): StateStore {
  const store = StateStore.open({ databasePath, wallMs });
  stores.push(store);
  return store;
}

function put(store: StateStore, key: string, value: unknown, ttlMs: number | null = null): Promise<number> {
  return store.store(1, { key, text: JSON.stringify(value), scope: 'global', ttlMs });
}

function get(store: StateStore, key: string): unknown {
  const found = store.fetch(1, key, null);
  return found === null ? undefined : JSON.parse(found.text);
}

describe('durable state', () => {
  it('finds the global scope again after a restart, byte for byte, and nothing private', async () => {
    const first = open();
    const odd = ['a\u0000b', 'ключ', '🦀', "'; DROP TABLE entries; --", '__proto__'];
    for (const key of odd) await put(first, key, { key, lone: '\ud800', number: 0.1 + 0.2 });
    await first.store(1, { key: 'private', text: '1', scope: 'agent', ttlMs: null });
    await put(first, 'gone', 1);
    await first.delete(1, 'gone', null);
    await first.close();

    const second = open();
    for (const key of odd) expect(get(second, key)).toEqual({ key, lone: '\ud800', number: 0.1 + 0.2 });
    expect(get(second, 'private')).toBeUndefined();
    expect(get(second, 'gone')).toBeUndefined();
    expect(second.usage().keys).toBe(odd.length);
  });

  it('counts a lifetime on while the kernel is down', async () => {
    const first = open(() => 1000);
    await put(first, 'short', 1, 500);
    await put(first, 'long', 1, 50_000);
    await first.close();
    const second = open(() => 2000);
    expect(get(second, 'short')).toBeUndefined();
    expect(get(second, 'long')).toBe(1);
  });

  it('commits everything that comes in one turn together, in order', async () => {
    const store = open();
    await Promise.all(Array.from({ length: 500 }, (_, at) => put(store, `k${at % 10}`, at)));
    for (let at = 0; at < 10; at += 1) expect(get(store, `k${at}`)).toBe(490 + at);
    await store.close();
    expect(loadState(databasePath).rows.map((row) => row.value)).toEqual(
      Array.from({ length: 10 }, (_, at) => String(490 + at)),
    );
  });

  it('undoes and refuses what could not be written, and goes on when it can again', async () => {
    const store = open();
    await put(store, 'k', 'before');
    const blocker = new DatabaseSync(databasePath);
    blocker.exec(
      "CREATE TRIGGER full_disk BEFORE INSERT ON entries WHEN NEW.value = '\"poison\"' BEGIN SELECT RAISE(ABORT, 'disk full'); END",
    );
    blocker.exec(
      "CREATE TRIGGER full_disk_too BEFORE UPDATE ON entries WHEN NEW.value = '\"poison\"' BEGIN SELECT RAISE(ABORT, 'disk full'); END",
    );
    blocker.close();
    const outcomes = await Promise.allSettled([
      put(store, 'k', 'changed'),
      put(store, 'new', 'poison'),
      put(store, 'k', 'poison'),
      store.delete(1, 'k', null),
    ]);
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'IO' } });
    }
    expect(get(store, 'k')).toBe('before');
    expect(get(store, 'new')).toBeUndefined();
    await put(store, 'k', 'after');
    await store.close();
    expect(loadState(databasePath).rows).toMatchObject([{ key: 'k', value: '"after"' }]);
  });

  it('refuses a file that is not its database, and one of a newer form', () => {
    writeFileSync(databasePath, 'not a database, but long enough to be looked at as one '.repeat(20));
    expect(() => open()).toThrow(expect.objectContaining({ code: 'DATA_CORRUPT' }) as Error);
    rmSync(databasePath);
    const newer = new DatabaseSync(databasePath);
    newer.exec('PRAGMA user_version = 99');
    newer.close();
    expect(() => open()).toThrow(/newer Clove/);
    rmSync(databasePath);
    expect(() => StateStore.open({ databasePath: path.join(folder, 'missing', 'state.db') })).toThrow(
      expect.objectContaining({ code: 'IO' }) as Error,
    );
  });

  it('takes nothing after it was closed', async () => {
    const store = open();
    await put(store, 'a', 1);
    await store.close();
    await expect(put(store, 'b', 1)).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(get(store, 'b')).toBeUndefined();
  });

  it('never gives a version twice, whatever was deleted before the end', async () => {
    let highest = 0;
    for (let life = 0; life < 3; life += 1) {
      const store = open();
      for (let at = 0; at < 3; at += 1) {
        const version = await put(store, 'k', at);
        expect(version).toBeGreaterThan(highest);
        highest = version;
      }
      const deleted = await store.delete(1, 'k', null);
      expect(deleted?.version).toBeGreaterThan(highest);
      highest = deleted?.version ?? 0;
      await store.close();
    }
  });

  it('finds versions again, and what was watched before the end has to be looked at anew', async () => {
    const first = open();
    const version = await put(first, 'k', 1);
    await first.close();
    const second = open();
    expect(second.fetch(1, 'k', null)).toMatchObject({ version });
    const request = {
      keys: new Set(['k', 'none']),
      prefix: '',
      scope: 'global' as const,
      timeoutMs: 0,
      limit: 9,
    };
    const seen = await second.watch(
      1,
      { ...request, sinceVersion: version - 1 },
      new AbortController().signal,
    );
    expect(seen).toMatchObject({
      resync: true,
      changes: [
        { key: 'none', text: null },
        { key: 'k', version },
      ],
    });
  });

  it('keeps what agents that outlive the kernel have for themselves, and clears what those that do not left', async () => {
    const outlivesKernel = (id: number) => id === 7;
    const own = (callerId: number, store: StateStore) =>
      store.store(callerId, { key: 'own', text: String(callerId), scope: 'agent', ttlMs: null });
    const openWith = (outlives: (id: number) => boolean) => {
      const store = StateStore.open({ databasePath, outlivesKernel: outlives });
      stores.push(store);
      return store;
    };
    const wanted = new Set([6, 7, 8]);
    const first = openWith((id) => wanted.has(id));
    for (const id of [6, 7, 8, 12]) await own(id, first);
    wanted.delete(8);
    for (const id of [7, 8]) first.release(id);
    await first.close();
    expect(loadState(databasePath).rows.map(({ owner }) => owner)).toEqual([6, 7]);
    const second = openWith(outlivesKernel);
    expect(second.fetch(7, 'own', null)).toMatchObject({ text: '7', scope: 'agent' });
    expect(second.fetch(6, 'own', null)).toBeNull();
    expect(second.bytesOf(7)).toBeGreaterThan(0);
    await second.delete(7, 'own', null);
    await second.close();
    expect(loadState(databasePath).rows).toEqual([]);
  });

  it('lets nothing live longer than it was to, though the clock was set back', async () => {
    const first = open(() => 1_000_000);
    await put(first, 'k', 1, 60_000);
    await first.close();
    let monotonicMs = 0;
    const second = StateStore.open({ databasePath, wallMs: () => 5, monotonicMs: () => monotonicMs });
    stores.push(second);
    monotonicMs = 59_000;
    expect(get(second, 'k')).toBe(1);
    monotonicMs = 60_001;
    expect(get(second, 'k')).toBeUndefined();
  });

  it('acknowledges nothing when its database was replaced by an old copy, and says so', async () => {
    const store = open();
    await put(store, 'k', 'old');
    const copy = path.join(folder, 'copy.db');
    const source = new DatabaseSync(databasePath);
    source.exec(`VACUUM INTO '${copy}'`);
    source.close();
    await put(store, 'k', 'new');
    renameSync(copy, databasePath);
    await expect(put(store, 'k', 'newest')).rejects.toMatchObject({
      code: 'IO',
      details: { reason: expect.stringContaining('replaced') as string },
    });
    expect(get(store, 'k')).toBe('new');
    const swap = store.swap(
      1,
      { key: 'k', text: '1', scope: 'global', ttlMs: null },
      { kind: 'value', value: 'new' },
    );
    await expect(swap).rejects.toMatchObject({ code: 'IO' });
  });

  it('tells a failed swap and a watcher only of what is durable', async () => {
    const store = open();
    const version = await put(store, 'k', 'before');
    const blocker = new DatabaseSync(databasePath);
    blocker.exec(
      "CREATE TRIGGER full_disk BEFORE INSERT ON entries WHEN NEW.value = '\"poison\"' BEGIN SELECT RAISE(ABORT, 'disk full'); END",
    );
    blocker.close();
    const request = { keys: null, prefix: '', scope: 'global' as const, sinceVersion: version, limit: 9 };
    const { signal } = new AbortController();
    expect(await store.watch(2, { ...request, timeoutMs: 0 }, signal)).toMatchObject({ changes: [] });
    const watching = store.watch(2, { ...request, timeoutMs: null }, signal);
    const poisoned = put(store, 'k', 'poison');
    const swap = store.swap(
      1,
      { key: 'k', text: '1', scope: 'global', ttlMs: null },
      { kind: 'value', value: 'before' },
    );
    await expect(poisoned).rejects.toMatchObject({ code: 'IO' });
    expect(await swap).toMatchObject({ swapped: true });
    expect((await watching).changes.map(({ text }) => text)).toEqual(['1']);
  });

  it('loses no acknowledged write to kill -9', async () => {
    for (let round = 0; round < 3; round += 1) {
      const acknowledged = await writeUntilKilled(30 + round * 40);
      expect(acknowledged.length).toBeGreaterThan(0);
      const store = open();
      for (const key of acknowledged) expect(get(store, key)).toBe(key);
      await store.close();
    }
  });
});

/** Stores in a process of its own; kills it once so many writes are acknowledged. Returns the acknowledged keys. */
async function writeUntilKilled(enough: number): Promise<string[]> {
  const module = JSON.stringify(new URL('./state-store.ts', import.meta.url).href);
  const script = `
    const { StateStore } = await import(${module});
    const store = StateStore.open({ databasePath: process.argv[1] });
    const write = async (lane) => {
      for (let at = 0; ; at += 1) {
        const key = process.pid + '/' + lane + '/' + at;
        await store.store(1, { key, text: JSON.stringify(key), scope: 'global', ttlMs: null });
        process.stdout.write(key + '\\n');
      }
    };
    await Promise.all([0, 1, 2, 3].map(write));
  `;
  const child: ChildProcess = spawn(process.execPath, ['--input-type=module', '-e', script, databasePath], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const acknowledged: string[] = [];
  if (child.stdout === null) throw new Error('no pipe');
  for await (const line of createInterface({ input: child.stdout })) {
    acknowledged.push(line);
    if (acknowledged.length === enough) child.kill('SIGKILL');
  }
  expect(await exited).toEqual([null, 'SIGKILL']);
  return acknowledged;
}
