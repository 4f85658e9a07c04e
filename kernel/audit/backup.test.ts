import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { backup } from 'node:sqlite';
import { afterEach, expect, it } from 'vitest';
import { openDatabaseToRead } from '../store/database.ts';
import { entriesOf, TestLog, verifyFolder } from './testing.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

it('a backup made while records are written is a log that verifies, and can be gone on with', async () => {
  const log = TestLog.open();
  const restored = mkdtempSync(path.join(tmpdir(), 'clove-audit-'));
  folders.push(log.folder, restored);
  let writing = true;
  const writer = (async () => {
    for (let at = 0; writing; at += 1) {
      void log.log.event({ category: 'RESOURCE', type: 'TEST', details: { at } });
      if (at % 20 === 0) await log.store.settled();
    }
  })();
  while (entriesOf(log.folder).length < 200) await log.store.settled();
  await log.log.event({ category: 'SECURITY', type: 'TEST' });
  // The anchor first: the database may only be ahead of it.
  for (const file of ['audit.anchor', 'audit.key'])
    copyFileSync(path.join(log.folder, file), path.join(restored, file));
  const source = openDatabaseToRead(log.databasePath, 2);
  await backup(source, path.join(restored, 'state.db'));
  source.close();
  writing = false;
  await writer;
  await log.close();

  expect(verifyFolder(restored)).toMatchObject({ ok: true });
  const all = entriesOf(log.folder);
  const kept = entriesOf(restored);
  expect(kept.length).toBeGreaterThanOrEqual(200);
  expect(kept).toEqual(all.slice(0, kept.length));

  const next = TestLog.open({ folder: restored });
  await next.log.event({ category: 'SECURITY', type: 'AFTER' });
  await next.close();
  expect(verifyFolder(restored)).toMatchObject({ ok: true, headSeq: kept.length + 1 });
});
