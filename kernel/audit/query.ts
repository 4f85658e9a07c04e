import type { DatabaseSync } from 'node:sqlite';
import { AUDIT_CATEGORIES, type AuditCategory } from '../syscalls/define.ts';
import { chainsOf, describeChain, firstHash } from './chains.ts';

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

interface Row {
  readonly seq: number;
  readonly chain: number;
  readonly chainSeq: number;
  readonly agentId: number;
  readonly body: string;
  readonly hash: string;
  readonly previousHash: string | null;
}

type Value = string | number;

/** Oldest first. */
export function queryLog(database: DatabaseSync, query: AuditQuery): AuditEntry[] {
  const rows = [...selectRows(database, query)].map((row) => toEntry(row, logIdOf(database)));
  return query.end === 'newest' ? rows.reverse() : rows;
}

/** Every record of a query in order, without holding them all in memory; the limit is not looked at. */
export function* exportLog(
  database: DatabaseSync,
  query: Omit<AuditQuery, 'limit' | 'end'>,
): Generator<AuditEntry> {
  const logId = logIdOf(database);
  for (const row of selectRows(database, { ...query, end: 'oldest', limit: -1 })) yield toEntry(row, logId);
}

function selectRows(database: DatabaseSync, query: AuditQuery): Iterable<Row> {
  const conditions: string[] = [];
  const values: Value[] = [];
  const where = (condition: string, ...bound: Value[]) => {
    conditions.push(condition);
    values.push(...bound);
  };
  if (query.categories !== undefined && query.categories.length < AUDIT_CATEGORIES.length) {
    const chains = query.categories.flatMap(chainsOf);
    where(`r.chain IN (${chains.join(',') || '-1'})`);
  }
  if (query.agentId !== undefined && query.agentId !== 0) where('r.agent_id = ?', query.agentId);
  if (query.sinceSeq !== undefined) where('r.seq > ?', query.sinceSeq);
  if (query.beforeSeq !== undefined) where('r.seq < ?', query.beforeSeq);
  const types = query.eventTypes;
  if (types !== undefined) {
    where(`r.body ->> '$.event_type' IN (${types.map(() => '?').join(',')})`, ...types);
  }
  for (const [field, value] of [
    ['syscall', query.syscall],
    ['decision', query.decision],
    ['outcome', query.outcome],
  ] as const) {
    if (value !== undefined) where(`r.body ->> '$.${field}' = ?`, value);
  }
  if (query.from !== undefined) where("r.body ->> '$.time' >= ?", query.from);
  if (query.to !== undefined) where("r.body ->> '$.time' < ?", query.to);
  const filter = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
  const sql = `SELECT r.seq, r.chain, r.chain_seq AS chainSeq, r.agent_id AS agentId, r.body, r.hash,
      (SELECT p.hash FROM audit_records p WHERE p.chain = r.chain AND p.chain_seq = r.chain_seq - 1) AS previousHash
    FROM audit_records r ${filter} ORDER BY r.seq ${query.end === 'newest' ? 'DESC' : 'ASC'} LIMIT ?`;
  return database.prepare(sql).iterate(...values, query.limit) as unknown as Iterable<Row>;
}

function toEntry(row: Row, logId: string): AuditEntry {
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
