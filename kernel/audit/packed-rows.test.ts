import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { MIGRATIONS, PACKED_AUDIT_FORM } from '../store/schema.ts';
import { list } from '../syscalls/agents.ts';
import { fetch } from '../syscalls/state.ts';
import { chainOf, firstHash, hashRecord } from './chains.ts';
import { logFilesOf, queryFiles } from './offline.ts';
import type { LogRow } from './packed-rows.ts';
import type { AuditQuery } from './query.ts';
import { AGENT, entriesOf, OPERATOR, TestLog, tamper, verifyFolder } from './testing.ts';
import { verifyExport } from './verify-export.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const ALLOW = { allowed: true, ruleId: 'operator', policyDigest: 'digest', object: '' };
const OTHER = { ...AGENT, id: 9 };

/** So many calls in one transaction, by an operator and two agents, of two categories. */
async function open(calls: number, maxEntries = 10_000): Promise<TestLog> {
  const test = TestLog.open({ config: { log_state: true, log_syscalls: true, max_entries: maxEntries } });
  folders.push(test.folder);
  for (let at = 0; at < calls; at += 1) {
    const caller = [OPERATOR, AGENT, OTHER][at % 3] as typeof AGENT;
    const definition = at % 2 === 0 ? fetch : list;
    const record = test.log.begin({ caller, name: '' }, definition, ALLOW, { key: `key/${at}` });
    if (record === null) throw new Error('off');
    void test.log.end(record, definition, at % 10 === 0 ? 'NOT_FOUND' : 'OK');
  }
  await test.store.settled();
  return test;
}

function rowsOf(folder: string): LogRow[] {
  let rows: unknown[] = [];
  tamper(folder, (database) => {
    rows = database.prepare('SELECT seq, count, agents, packed FROM audit_records ORDER BY seq').all();
  });
  return rows as LogRow[];
}

function ask(folder: string, query: Partial<AuditQuery>): number[] {
  const all = queryFiles(logFilesOf(folder), { limit: 10_000, end: 'oldest', ...query });
  return all.map(({ seq }) => seq);
}

describe('many records of one transaction', () => {
  it('are few rows, and read back one by one, each bound to the one before it', async () => {
    const test = await open(900);
    await test.close();
    const rows = rowsOf(test.folder);
    expect(rows.length).toBeLessThan(12);
    expect(rows.reduce((sum, { count }) => sum + count, 0)).toBe(901);
    const entries = entriesOf(test.folder);
    expect(entries.map(({ seq }) => seq)).toEqual(Array.from({ length: 901 }, (_, at) => at + 1));
    const keys = entries.slice(1).map(({ body }) => body.object);
    expect(new Set(keys)).toEqual(new Set(Array.from({ length: 900 }, (_, at) => `key/${at}`)));
    const heads = new Map<string, string>();
    for (const { chain, hash, previous_hash } of entries) {
      if (heads.has(chain)) expect(previous_hash).toBe(heads.get(chain));
      heads.set(chain, hash);
    }
    expect(verifyFolder(test.folder)).toMatchObject({ ok: true, records: 901, headSeq: 901 });
  });

  it('are found by whatever they are looked for', async () => {
    const test = await open(600);
    await test.close();
    const entries = entriesOf(test.folder);
    const where = (matches: (entry: (typeof entries)[number]) => boolean) =>
      entries.filter(matches).map(({ seq }) => seq);
    const { folder } = test;
    expect(ask(folder, { agentId: AGENT.id })).toEqual(where(({ agent_id }) => agent_id === AGENT.id));
    expect(ask(folder, { agentId: 1 })).toEqual([]);
    expect(ask(folder, { categories: ['STATE_STORE'] })).toEqual(
      where(({ category }) => category === 'STATE_STORE'),
    );
    expect(ask(folder, { outcome: 'NOT_FOUND' })).toEqual(where(({ body }) => body.outcome === 'NOT_FOUND'));
    expect(ask(folder, { syscall: 'LIST', sinceSeq: 100, beforeSeq: 300 })).toEqual(
      where(({ seq, body }) => body.syscall === 'LIST' && seq > 100 && seq < 300),
    );
    expect(ask(folder, { eventTypes: ['AUDIT_GENESIS'] })).toEqual([1]);
    expect(ask(folder, { decision: 'deny' })).toEqual([]);
    expect(ask(folder, { to: '2000-01-01T00:00:00.000Z' })).toEqual([]);
    expect(ask(folder, { from: '2000-01-01T00:00:00.000Z' }).length).toBe(601);
    fc.assert(
      fc.property(
        fc.nat(700),
        fc.nat(700),
        fc.integer({ min: 1, max: 40 }),
        fc.constantFrom('newest' as const, 'oldest' as const),
        (sinceSeq, beforeSeq, limit, end) => {
          const all = where(({ seq }) => seq > sinceSeq && seq < beforeSeq);
          const expected = end === 'newest' ? all.slice(-limit) : all.slice(0, limit);
          expect(ask(folder, { sinceSeq, beforeSeq, limit, end })).toEqual(expected);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('export so that the export verifies by itself', async () => {
    const test = await open(300);
    await test.close();
    const file = path.join(test.folder, 'export.jsonl');
    const lines = entriesOf(test.folder).map((entry) => JSON.stringify(entry));
    writeFileSync(file, `${lines.join('\n')}\n`);
    expect(await verifyExport(file)).toMatchObject({ ok: true, records: 301 });
    writeFileSync(file, `${lines.toSpliced(100, 1).join('\n')}\n`);
    expect(await verifyExport(file)).toMatchObject({ ok: false });
  });

  it('are the same log after the next start, and grow on', async () => {
    const first = await open(400);
    await first.close();
    const second = TestLog.open({ folder: first.folder, config: { log_state: true } });
    void second.log.event({ category: 'SECURITY', type: 'LATER' });
    await second.close();
    expect(verifyFolder(first.folder)).toMatchObject({ ok: true, headSeq: 402, records: 402 });
  });

  it('are dropped like others, down to what is to be kept', async () => {
    for (const maxEntries of [50, 150, 1000]) {
      const test = await open(900, maxEntries);
      for (let at = 0; at < 3; at += 1) {
        for (let call = 0; call < 400; call += 1) {
          const record = test.log.begin({ caller: AGENT, name: '' }, fetch, ALLOW, { key: `later/${call}` });
          if (record !== null) void test.log.end(record, fetch, 'OK');
        }
        await test.store.settled();
      }
      await test.close();
      const report = verifyFolder(test.folder);
      expect(report).toMatchObject({ ok: true, problems: [] });
      const chain = report.chains.find((each) => each.chain === 'STATE_STORE.agents');
      expect(chain?.records).toBeGreaterThanOrEqual(maxEntries);
      expect(chain?.records).toBeLessThanOrEqual(maxEntries + Math.max(64, maxEntries / 10));
      const entries = entriesOf(test.folder).filter((each) => each.chain === 'STATE_STORE.agents');
      const checkpoints = entries.filter(({ body }) => body.event_type === 'AUDIT_CHECKPOINT');
      expect(checkpoints.length).toBeGreaterThan(0);
      expect(checkpoints.at(-1)?.body.details.by_agent).toContainEqual([AGENT.id, expect.any(Number)]);
    }
  });
});

describe('tampering with packed records is found', () => {
  it('with the very record, when a byte of one is changed', async () => {
    const test = await open(300);
    await test.close();
    const entries = entriesOf(test.folder);
    const target = entries[150] as (typeof entries)[number];
    tamper(test.folder, (database) => {
      const row = database
        .prepare('SELECT seq, packed FROM audit_records WHERE seq <= ? ORDER BY seq DESC LIMIT 1')
        .get(target.seq) as { seq: number; packed: Uint8Array };
      const text = zstdDecompressSync(row.packed).toString('latin1');
      const changed = text.replace(`"object":"${target.body.object}"`, '"object":"another"');
      expect(changed).not.toBe(text);
      database
        .prepare('UPDATE audit_records SET packed = ? WHERE seq = ?')
        .run(zstdCompressSync(Buffer.from(changed, 'latin1')), row.seq);
    });
    expect(verifyFolder(test.folder)).toMatchObject({
      ok: false,
      firstBadSeq: target.seq,
      problems: [{ kind: 'changed', seq: target.seq }],
    });
  });

  it('at its row, whichever byte of the file or column of the row it is', async () => {
    const test = await open(200);
    await test.close();
    const row = rowsOf(test.folder).find(({ agents }) => agents !== null);
    if (row === undefined) throw new Error('nothing was packed');
    const original = row.packed as Uint8Array;
    const put = (packed: Uint8Array) =>
      tamper(test.folder, (database) =>
        database.prepare('UPDATE audit_records SET packed = ? WHERE seq = ?').run(packed, row.seq),
      );
    fc.assert(
      fc.property(fc.nat(original.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const edited = Uint8Array.from(original);
        edited[at] = (edited[at] as number) ^ change;
        put(edited);
        const isSame = () => {
          try {
            return zstdDecompressSync(edited).equals(zstdDecompressSync(original));
          } catch {
            return false;
          }
        };
        const report = verifyFolder(test.folder);
        // A bit of the compression that means nothing changes no record.
        expect(report.ok).toBe(isSame());
        if (!report.ok) expect(report.firstBadSeq).toBeGreaterThanOrEqual(row.seq);
      }),
      { numRuns: 25 },
    );
    put(original);
    for (const change of [
      "agents = '1:1'",
      'agents = NULL',
      'agent_id = 3',
      'count = count - 1',
      'chain_seq = chain_seq + 1',
      "hash = replace(hash, substr(hash, 1, 1), CASE substr(hash, 1, 1) WHEN 'a' THEN 'b' ELSE 'a' END)",
      "body = 'x'",
    ]) {
      tamper(test.folder, (database) => {
        database.exec('CREATE TABLE aside AS SELECT * FROM audit_records');
        database.exec(`UPDATE audit_records SET ${change} WHERE seq = ${row.seq}`);
      });
      expect(verifyFolder(test.folder).ok, change).toBe(false);
      tamper(test.folder, (database) => {
        database.exec(
          'DELETE FROM audit_records; INSERT INTO audit_records SELECT * FROM aside; DROP TABLE aside',
        );
      });
    }
    expect(verifyFolder(test.folder).ok).toBe(true);
    tamper(test.folder, (database) => database.exec(`DELETE FROM audit_records WHERE seq = ${row.seq}`));
    expect(verifyFolder(test.folder)).toMatchObject({ ok: false, firstBadSeq: row.seq });
  });
});

it('a log of before is read as it is, and gone on with', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'clove-audit-'));
  folders.push(folder);
  const old = new DatabaseSync(path.join(folder, 'state.db'));
  for (const step of MIGRATIONS.slice(0, PACKED_AUDIT_FORM - 1)) old.exec(step);
  old.exec(`PRAGMA user_version = ${PACKED_AUDIT_FORM - 1}`);
  old.exec("INSERT INTO audit_settings (key, value) VALUES ('log_id', 'old')");
  const chain = chainOf('SECURITY', 'events');
  let hash = firstHash('old', chain);
  const insert = old.prepare(
    'INSERT INTO audit_records (seq, chain, chain_seq, agent_id, body, hash) VALUES (?, ?, ?, ?, ?, ?)',
  );
  for (let seq = 1; seq <= 100; seq += 1) {
    const body = `{"details":{"at":${seq}},"event_type":"OLD","outcome":"OK","success":true,"time":"2020-01-01T00:00:00.000Z"}`;
    hash = hashRecord(hash, { seq, chain, chainSeq: seq, agentId: 7, body });
    insert.run(seq, chain, seq, 7, body, hash);
  }
  old.close();

  // Beside no kernel: nothing of the file is changed by looking at it.
  expect(verifyFolder(folder)).toMatchObject({ records: 100, problems: [{ kind: 'anchor' }] });
  expect(ask(folder, { agentId: 7, sinceSeq: 90 })).toEqual([91, 92, 93, 94, 95, 96, 97, 98, 99, 100]);
  expect(entriesOf(folder)[1]?.previous_hash).toBe(entriesOf(folder)[0]?.hash);

  const test = TestLog.open({ folder, config: { log_state: true } });
  for (let call = 0; call < 100; call += 1) {
    const record = test.log.begin({ caller: AGENT, name: '' }, fetch, ALLOW, { key: `key/${call}` });
    if (record !== null) void test.log.end(record, fetch, 'OK');
  }
  await test.close();
  expect(verifyFolder(folder)).toMatchObject({ ok: true, records: 200, headSeq: 200 });
  expect(ask(folder, { agentId: 7 }).length).toBe(200);
});
