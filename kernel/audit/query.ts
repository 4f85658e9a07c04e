import type { DatabaseSync } from 'node:sqlite';
import { CloveError } from '../../errors/index.ts';
import { AUDIT_CATEGORIES, type AuditCategory } from '../syscalls/define.ts';
import { chainsOf, describeChain, firstHash } from './chains.ts';
import {
  type LogRow,
  MAX_PACKED,
  type ReadRecord,
  rowColumns,
  SEVERAL_AGENTS,
  unpack,
} from './packed-rows.ts';

export interface AuditQuery {
  readonly categories?: readonly AuditCategory[] | undefined;
  /** 0 = any. */
  readonly agentId?: number | undefined;
  readonly eventTypes?: readonly string[] | undefined;
  readonly syscall?: string | undefined;
  readonly decision?: 'allow' | 'deny' | undefined;
  readonly outcome?: string | undefined;
  /** Both excluding. */
  readonly sinceSeq?: number | undefined;
  readonly beforeSeq?: number | undefined;
  /** ISO 8601 in UTC: from this moment on, and before this one. */
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly limit: number;
  /** Which ones, where there are more than the limit. They are returned oldest first either way. */
  readonly end: 'newest' | 'oldest';
}

/** A record as it is shown: its place in the log, what it says, and the hashes that bind it. */
export interface AuditEntry {
  readonly seq: number;
  readonly chain: string;
  /** As it is in the hash. */
  readonly chain_number: number;
  readonly chain_seq: number;
  readonly category: AuditCategory;
  readonly agent_id: number;
  readonly previous_hash: string;
  readonly hash: string;
  readonly body: AuditBody;
}

export interface AuditBody {
  readonly event_type: string;
  readonly time: string;
  readonly world_time: string | null;
  readonly monotonic_us?: number;
  readonly boot?: string;
  readonly agent_name?: string;
  readonly subject: {
    readonly id: number;
    readonly kind: string;
    readonly name?: string;
    readonly uid?: number;
    readonly pid?: number;
  };
  readonly success: boolean;
  readonly outcome: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly decision?: 'allow' | 'deny';
  readonly syscall?: string | null;
  readonly opcode?: number;
  readonly object?: string;
  readonly rule?: string;
  readonly policy?: string;
}

/** A row with the hash of the record before its first; null = that is not there. */
interface Row extends LogRow {
  readonly previousHash: string | null;
}

/** A record that was found, with the hash of the one before it in its chain. */
interface Found extends ReadRecord {
  readonly previousHash: string | null;
}

type Value = string | number;

/** Oldest first. */
export function queryLog(database: DatabaseSync, query: AuditQuery, hasPacked: boolean): AuditEntry[] {
  const logId = logIdOf(database);
  const entries: AuditEntry[] = [];
  if (query.limit > 0) {
    for (const record of select(database, query, hasPacked)) {
      entries.push(toEntry(record, logId));
      if (entries.length >= query.limit) break;
    }
  }
  return query.end === 'newest' ? entries.reverse() : entries;
}

/** Every record of a query in order, without holding them all in memory; the limit is not looked at. */
export function* exportLog(
  database: DatabaseSync,
  query: Omit<AuditQuery, 'limit' | 'end'>,
  hasPacked: boolean,
): Generator<AuditEntry> {
  const logId = logIdOf(database);
  for (const record of select(database, { ...query, end: 'oldest' }, hasPacked)) yield toEntry(record, logId);
}

type Selection = Omit<AuditQuery, 'limit'>;

function* select(database: DatabaseSync, query: Selection, hasPacked: boolean): Generator<Found> {
  const matches = filterOf(query);
  for (const row of selectRows(database, query, hasPacked)) {
    const records = unpack(row);
    if (records === null) {
      throw new CloveError('DATA_CORRUPT', `the audit log cannot be read at record ${row.seq}`, {
        hint: 'clove audit verify tells more.',
      });
    }
    const found = records.map((record, at): Found => {
      const before = at === 0 ? row.previousHash : (records[at - 1] as ReadRecord).hash;
      return { ...record, previousHash: before };
    });
    if (query.end === 'newest') found.reverse();
    // Of a single record the database has looked at everything.
    yield* row.packed === null ? found : found.filter(matches);
  }
}

/** What of packed records the database cannot look at. */
function filterOf(query: Selection): (record: Found) => boolean {
  const { agentId = 0, sinceSeq = 0, beforeSeq = Number.POSITIVE_INFINITY, eventTypes } = query;
  const { syscall, decision, outcome, from, to } = query;
  const isOfBody = [eventTypes, syscall, decision, outcome, from, to].some((each) => each !== undefined);
  return (record) => {
    if (record.seq <= sinceSeq || record.seq >= beforeSeq) return false;
    if (agentId !== 0 && record.agentId !== agentId) return false;
    if (!isOfBody) return true;
    const body = JSON.parse(record.body) as AuditBody;
    return (
      (eventTypes === undefined || eventTypes.includes(body.event_type)) &&
      (syscall === undefined || body.syscall === syscall) &&
      (decision === undefined || body.decision === decision) &&
      (outcome === undefined || body.outcome === outcome) &&
      (from === undefined || body.time >= from) &&
      (to === undefined || body.time < to)
    );
  };
}

function selectRows(database: DatabaseSync, query: Selection, hasPacked: boolean): Iterable<Row> {
  const conditions: string[] = [];
  const values: Value[] = [];
  const where = (condition: string, ...bound: Value[]) => {
    conditions.push(condition);
    values.push(...bound);
  };
  const orPacked = (condition: string) => (hasPacked ? `(r.packed IS NOT NULL OR ${condition})` : condition);
  if (query.categories !== undefined && query.categories.length < AUDIT_CATEGORIES.length) {
    const chains = query.categories.flatMap(chainsOf);
    where(`r.chain IN (${chains.join(',') || '-1'})`);
  }
  if (query.agentId !== undefined && query.agentId !== 0) {
    if (hasPacked) {
      const several = `(r.agent_id = ${SEVERAL_AGENTS} AND instr(',' || r.agents, ?) > 0)`;
      where(`(r.agent_id = ? OR ${several})`, query.agentId, `,${query.agentId}:`);
    } else where('r.agent_id = ?', query.agentId);
  }
  if (query.sinceSeq !== undefined) where('r.seq > ?', query.sinceSeq - (hasPacked ? MAX_PACKED : 0));
  if (query.beforeSeq !== undefined) where('r.seq < ?', query.beforeSeq);
  if (query.sinceSeq !== undefined && hasPacked) where('r.seq + r.count > ? + 1', query.sinceSeq);
  const types = query.eventTypes;
  if (types !== undefined) {
    where(orPacked(`r.body ->> '$.event_type' IN (${types.map(() => '?').join(',')})`), ...types);
  }
  for (const [field, value] of [
    ['syscall', query.syscall],
    ['decision', query.decision],
    ['outcome', query.outcome],
  ] as const) {
    if (value !== undefined) where(orPacked(`r.body ->> '$.${field}' = ?`), value);
  }
  if (query.from !== undefined) where(orPacked("r.body ->> '$.time' >= ?"), query.from);
  if (query.to !== undefined) where(orPacked("r.body ->> '$.time' < ?"), query.to);
  const filter = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
  const end = hasPacked ? 'p.chain_seq + p.count' : 'p.chain_seq + 1';
  const sql = `SELECT ${rowColumns(hasPacked)},
      (SELECT CASE WHEN ${end} = r.chain_seq THEN p.hash END FROM audit_records p
        WHERE p.chain = r.chain AND p.chain_seq < r.chain_seq ORDER BY p.chain_seq DESC LIMIT 1) AS previousHash
    FROM audit_records r ${filter} ORDER BY r.seq ${query.end === 'newest' ? 'DESC' : 'ASC'}`;
  return database.prepare(sql).iterate(...values) as unknown as Iterable<Row>;
}

function toEntry(row: Found, logId: string): AuditEntry {
  const chain = describeChain(row.chain);
  return {
    seq: row.seq,
    chain: chain?.name ?? `chain ${row.chain}`,
    chain_number: row.chain,
    chain_seq: row.chainSeq,
    category: chain?.category ?? 'SYSCALL',
    agent_id: row.agentId,
    // Of the oldest record that is kept, the one before is gone: a checkpoint in the chain holds its hash.
    previous_hash: row.previousHash ?? (row.chainSeq === 1 ? firstHash(logId, row.chain) : ''),
    hash: row.hash,
    body: JSON.parse(row.body),
  };
}

function logIdOf(database: DatabaseSync): string {
  return String(database.prepare("SELECT value FROM audit_settings WHERE key = 'log_id'").get()?.value ?? '');
}
