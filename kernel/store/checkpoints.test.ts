import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openDatabase } from './database.ts';
import { DurableStore } from './durable-store.ts';

let folder: string;
let databasePath: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-checkpoints-'));
  databasePath = path.join(folder, 'kernel.db');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const sizeOf = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0;

it('the log stays bounded under writes that never pause, and after the end everything is in the database', async () => {
  const store = new DurableStore({ databasePath });
  const value = JSON.stringify('x'.repeat(1000));
  const ROWS = 4000;
  let longest = 0;
  for (let round = 0; round < 10; round += 1) {
    const writes: Promise<void>[] = [];
    for (let row = 0; row < ROWS; row += 1) {
      writes.push(store.write([['state.put', `key/${(row * 7919) % ROWS}`, value, null, null, round + 1]]));
      // Many transactions, one right behind the other.
      if (row % 40 === 39) await writes.at(-1);
    }
    await Promise.all(writes);
    longest = Math.max(longest, sizeOf(`${databasePath}-wal`));
  }
  // 40,000 changed rows of 1 kB in random order are some 200 MB of log.
  expect(longest).toBeLessThan(80 * 2 ** 20);
  await store.close();
  expect(sizeOf(`${databasePath}-wal`)).toBe(0);
  const database = openDatabase(databasePath);
  expect(database.prepare('SELECT count(*) AS rows, min(version) AS oldest FROM entries').get()).toEqual({
    rows: ROWS,
    oldest: 10,
  });
  database.close();
}, 60_000);
