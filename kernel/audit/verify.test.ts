import {
  copyFileSync,
  cpSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openLog } from './open-log.ts';
import { TestLog, tamper, verifyFolder } from './testing.ts';

const CATEGORIES = ['SECURITY', 'AGENT_LIFECYCLE', 'RESOURCE'] as const;

let original: string;
let folder: string;
const scratch: string[] = [];

/** A whole log of 1 + 60 records in three chains, closed. */
beforeAll(async () => {
  const log = TestLog.open();
  original = log.folder;
  for (let at = 0; at < 60; at += 1) {
    void log.log.event({
      category: CATEGORIES[at % 3] as 'SECURITY',
      type: 'TEST',
      agentId: at % 5,
      details: { at },
    });
  }
  await log.close();
});
afterAll(() => {
  for (const each of [original, ...scratch]) rmSync(each, { recursive: true, force: true });
});

function copy(): string {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-audit-'));
  scratch.push(folder);
  cpSync(original, folder, { recursive: true });
  return folder;
}

function afterTampering(work: Parameters<typeof tamper>[1]) {
  tamper(copy(), work);
  return verifyFolder(folder);
}

describe('a log that nobody touched', () => {
  it('verifies, with every number in place', () => {
    const report = verifyFolder(original);
    expect(report).toMatchObject({ ok: true, records: 61, headSeq: 61, firstBadSeq: null, problems: [] });
    expect(report.anchor).toMatchObject({ state: 'ok', seq: 61, unanchored: 0 });
    expect(report.chains.map(({ chain, records }) => [chain, records])).toEqual([
      ['SECURITY.events', 21],
      ['AGENT_LIFECYCLE.events', 20],
      ['RESOURCE.events', 20],
    ]);
  });
});

describe('tampering is found, with the first record concerned', () => {
  it('when any field of any record is edited', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 61 }),
        fc.constantFrom(
          'body = replace(body, \'"success":true\', \'"success":false\')',
          'agent_id = agent_id + 1',
          'chain = 5',
          "hash = replace(hash, substr(hash, 1, 1), CASE substr(hash, 1, 1) WHEN 'a' THEN 'b' ELSE 'a' END)",
        ),
        (seq, change) => {
          const report = afterTampering((database) =>
            database.exec(`UPDATE audit_records SET ${change} WHERE seq = ${seq}`),
          );
          expect(report.ok).toBe(false);
          expect(report.firstBadSeq).toBe(seq);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('when one byte of the file is flipped inside a record', () => {
    const file = path.join(copy(), 'state.db');
    const bytes = readFileSync(file);
    const at = bytes.indexOf('"at":37}');
    expect(at).toBeGreaterThan(0);
    bytes[at + 5] = '4'.charCodeAt(0);
    writeFileSync(file, bytes);
    tamper(folder, (database) => {
      expect(database.prepare('PRAGMA integrity_check').get()?.integrity_check).toBe('ok');
    });
    expect(verifyFolder(folder)).toMatchObject({
      ok: false,
      firstBadSeq: 39,
      problems: [{ kind: 'changed' }],
    });
  });

  it('when records are deleted, wherever', () => {
    for (const [first, last] of [
      [1, 1],
      [30, 30],
      [10, 25],
      [61, 61],
      [55, 61],
      [2, 61],
    ] as const) {
      const report = afterTampering((database) =>
        database.exec(`DELETE FROM audit_records WHERE seq BETWEEN ${first} AND ${last}`),
      );
      expect(report.ok).toBe(false);
      expect(report.firstBadSeq, `${first}–${last}`).toBe(first);
    }
    expect(afterTampering((database) => database.exec('DELETE FROM audit_records')).firstBadSeq).toBe(1);
  });

  it('when two records are swapped, or one moved and all behind it renumbered', () => {
    const swap = (a: number, b: number) => (database: Parameters<Parameters<typeof tamper>[1]>[0]) => {
      const rows = database
        .prepare('SELECT body, hash FROM audit_records WHERE seq IN (?, ?) ORDER BY seq')
        .all(a, b);
      const put = database.prepare('UPDATE audit_records SET body = ?, hash = ? WHERE seq = ?');
      put.run(String(rows[1]?.body), String(rows[1]?.hash), a);
      put.run(String(rows[0]?.body), String(rows[0]?.hash), b);
    };
    expect(afterTampering(swap(20, 21))).toMatchObject({ ok: false, firstBadSeq: 20 });
    expect(afterTampering(swap(20, 23))).toMatchObject({ ok: false, firstBadSeq: 20 });
    const renumbered = afterTampering((database) => {
      database.exec('DELETE FROM audit_records WHERE seq = 30');
      database.exec('UPDATE audit_records SET seq = -(seq - 1) WHERE seq > 30');
      database.exec('UPDATE audit_records SET seq = -seq WHERE seq < 0');
    });
    expect(renumbered).toMatchObject({ ok: false, firstBadSeq: 30 });
  });

  it('when a record is added, even with a hash that fits', async () => {
    const report = afterTampering((database) => {
      const last = database.prepare('SELECT * FROM audit_records WHERE seq = 61').get();
      database
        .prepare(
          'INSERT INTO audit_records (seq, chain, chain_seq, agent_id, body, hash) VALUES (62, ?, ?, 0, ?, ?)',
        )
        .run(Number(last?.chain), Number(last?.chain_seq) + 1, String(last?.body), String(last?.hash));
    });
    expect(report).toMatchObject({ ok: false, firstBadSeq: 62 });
    expect(report.problems.map(({ kind }) => kind)).toEqual(['changed', 'inserted']);
  });

  it('when the end is cut off or an old copy was put in place: by the anchor, also at the next start', async () => {
    const old = copy();
    const log = TestLog.open({ folder: old });
    void log.log.event({ category: 'SECURITY', type: 'LATER' });
    await log.close();
    expect(verifyFolder(old)).toMatchObject({ ok: true, headSeq: 62 });
    copyFileSync(path.join(original, 'state.db'), path.join(old, 'state.db'));
    expect(verifyFolder(old)).toMatchObject({
      ok: false,
      firstBadSeq: 62,
      problems: [{ kind: 'truncated' }],
    });
    expect(() => openLog(path.join(old, 'state.db'), log.place, { version: '0', bootId: 'b' })).toThrow(
      /older than its audit anchor/,
    );
    rmSync(path.join(old, 'state.db'));
    expect(() => openLog(path.join(old, 'state.db'), log.place, { version: '0', bootId: 'b' })).toThrow(
      /older than its audit anchor/,
    );
  });

  it('when the file itself is cut off', () => {
    truncateSync(path.join(copy(), 'state.db'), 3 * 4096);
    expect(verifyFolder(folder)).toMatchObject({ ok: false, problems: [{ kind: 'unreadable' }] });
  });

  it('when the anchor is edited, of another log, or gone', async () => {
    const anchor = path.join(copy(), 'audit.anchor');
    const text = readFileSync(anchor, 'utf8');
    writeFileSync(anchor, text.replace('"seq":61', '"seq":60'));
    expect(verifyFolder(folder)).toMatchObject({ ok: false, problems: [{ kind: 'anchor' }] });
    rmSync(anchor);
    expect(verifyFolder(folder)).toMatchObject({
      ok: false,
      problems: [{ kind: 'anchor', text: 'the anchor is missing' }],
    });
    const other = TestLog.open();
    scratch.push(other.folder);
    void other.log.event({ category: 'SECURITY', type: 'TEST' });
    await other.close();
    for (const file of ['audit.anchor', 'audit.key'])
      copyFileSync(path.join(other.folder, file), path.join(folder, file));
    expect(verifyFolder(folder)).toMatchObject({
      ok: false,
      problems: [{ text: 'the anchor is of another log' }],
    });
  });

  it('keeps its key to itself', () => {
    expect(statSync(path.join(original, 'audit.key')).mode & 0o777).toBe(0o600);
  });
});
