import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { NativeAudit, RecordRun } from '../../native/audit.ts';
import type { SharedRecords } from '../store/record-chunk.ts';
import { canonicalJson } from './canonical.ts';
import { chainName, chainOf, firstHash, hashRecord, type StoredRecord } from './chains.ts';
import {
  agentCounts,
  countAgents,
  type LogRow,
  MAX_PACKED,
  pack,
  rowColumns,
  SEVERAL_AGENTS,
  unpack,
} from './packed-rows.ts';

/** The end of one chain. */
export interface ChainHead {
  readonly chain: number;
  readonly chainSeq: number;
  readonly hash: string;
}

export interface LogHead {
  readonly logId: string;
  /** 0 = nothing was written yet. */
  readonly seq: number;
  readonly chains: readonly ChainHead[];
}

/** A record as it comes: its place and hash are given to it in the order of writing. */
export interface NewRecord {
  readonly chain: number;
  readonly agentId: number;
  /** Canonical JSON. */
  readonly body: string;
}

export const CHECKPOINT_TYPE = 'AUDIT_CHECKPOINT';
export const GENESIS_TYPE = 'AUDIT_GENESIS';

/** How many records a chain may have beyond what is to be kept before the oldest are dropped: that is done in larger steps. */
export function slackOf(maxEntries: number): number {
  return Math.max(64, Math.floor(maxEntries / 10));
}

/** Records of one transaction from which on those of a chain are packed into few rows. */
const PACK_FROM = 64;
/** Records of a chain that are worth a row of their own kind. */
const MIN_PACKED = 8;
const MAX_PACKED_BYTES = 2 ** 20;

/** Of the database. A changed row is taken for two of them. */
const PAGE_BYTES = 4096;
/** Of what stands before a body where it is hashed, in five lines, and the end of its own. */
const MAX_HEAD_BYTES = 160;

/** Of a place in a run. */
const PLACE_WORDS = 3;
const NO_RECORDS = 'what was handed over as audit records are none';

/** Agents that a checkpoint names, those with the most records first. */
const LISTED_AGENTS = 16;

interface Chain {
  /** Position of the oldest record that is kept. */
  firstSeq: number;
  lastSeq: number;
  hash: string;
}

/** The heads as they are on disk. */
export function readHead(database: DatabaseSync): LogHead {
  const logId = String(
    database.prepare("SELECT value FROM audit_settings WHERE key = 'log_id'").get()?.value ?? '',
  );
  const seq = Number(
    database.prepare('SELECT seq + count - 1 AS seq FROM audit_records ORDER BY seq DESC LIMIT 1').get()
      ?.seq ?? 0,
  );
  const last = database.prepare(
    'SELECT chain_seq + count - 1 AS chainSeq, hash FROM audit_records WHERE chain = ? ORDER BY chain_seq DESC LIMIT 1',
  );
  const chains: ChainHead[] = [];
  for (const chain of chainsPresent(database)) {
    const row = last.get(chain) as { chainSeq: number; hash: string } | undefined;
    if (row !== undefined) chains.push({ chain, chainSeq: row.chainSeq, hash: row.hash });
  }
  return { logId, seq, chains };
}

/** Walks from one chain to the next by the index, whatever its size. */
function chainsPresent(database: DatabaseSync): number[] {
  const next = database.prepare('SELECT min(chain) AS chain FROM audit_records WHERE chain > ?');
  const chains: number[] = [];
  for (let after = -1; ; after = chains.at(-1) as number) {
    const chain = next.get(after)?.chain;
    if (typeof chain !== 'number') return chains;
    chains.push(chain);
  }
}

/**
 * Gives records their numbers and hashes and keeps each chain to its size. Lives in the thread of the one writer, and works
 * inside of its transactions: what is rolled back there has to be rolled back here.
 */
export class ChainWriter {
  readonly #database: DatabaseSync;
  readonly #insert: StatementSync;
  readonly #drop: StatementSync;
  readonly #deleteRow: StatementSync;
  readonly #insertPacked: StatementSync;
  readonly #rowAt: StatementSync;
  readonly #countByAgent: StatementSync;
  readonly #packedBefore: StatementSync;
  readonly #maxEntries: () => number;
  readonly #nowMs: () => number;
  #logId = '';
  #seq = 0;
  #chains = new Map<number, Chain>();
  /** Where records are put together that will be one row. */
  #scratch = Buffer.alloc(0);
  readonly #hash = Buffer.alloc(64);
  /** As it was when the transaction began; null = outside of one, or unchanged. */
  #before: { seq: number; chains: Map<number, Chain> } | null = null;

  constructor(database: DatabaseSync, maxEntries: () => number, nowMs: () => number = Date.now) {
    this.#database = database;
    this.#maxEntries = maxEntries;
    this.#nowMs = nowMs;
    this.#insert = database.prepare(
      'INSERT INTO audit_records (seq, chain, chain_seq, agent_id, body, hash) VALUES (?, ?, ?, ?, ?, ?)',
    );
    this.#insertPacked = database.prepare(
      "INSERT INTO audit_records (seq, chain, chain_seq, agent_id, body, hash, count, agents, packed) VALUES (?, ?, ?, ?, '', ?, ?, ?, ?)",
    );
    this.#countByAgent = database.prepare(
      'SELECT agent_id AS agentId, sum(count) AS count, NULL AS agents FROM audit_records WHERE chain = ? AND chain_seq < ? AND agents IS NULL GROUP BY agent_id',
    );
    this.#packedBefore = database.prepare(
      'SELECT agent_id AS agentId, count, agents FROM audit_records WHERE chain = ? AND chain_seq < ? AND agents IS NOT NULL',
    );
    this.#drop = database.prepare('DELETE FROM audit_records WHERE chain = ? AND chain_seq < ?');
    this.#deleteRow = database.prepare('DELETE FROM audit_records WHERE seq = ?');
    this.#rowAt = database.prepare(
      `SELECT ${rowColumns(true)} FROM audit_records r WHERE r.chain = ? AND r.chain_seq <= ? ORDER BY r.chain_seq DESC LIMIT 1`,
    );
    this.reload();
  }

  get head(): LogHead {
    return {
      logId: this.#logId,
      seq: this.#seq,
      chains: [...this.#chains].map(([chain, { lastSeq, hash }]) => ({ chain, chainSeq: lastSeq, hash })),
    };
  }

  /** Takes over what is on disk. */
  reload(): void {
    const head = readHead(this.#database);
    const first = this.#database.prepare('SELECT min(chain_seq) AS first FROM audit_records WHERE chain = ?');
    this.#logId = head.logId;
    this.#seq = head.seq;
    this.#before = null;
    this.#chains = new Map(
      head.chains.map(({ chain, chainSeq, hash }) => [
        chain,
        { firstSeq: Number(first.get(chain)?.first), lastSeq: chainSeq, hash },
      ]),
    );
  }

  append({ chain: number, agentId, body }: NewRecord): void {
    const chain = this.#chainOf(number);
    const record: Omit<StoredRecord, 'hash'> = {
      seq: this.#seq + 1,
      chain: number,
      chainSeq: chain.lastSeq + 1,
      agentId,
      body,
    };
    const hash = hashRecord(chain.hash, record);
    this.#insert.run(record.seq, number, record.chainSeq, agentId, body, hash);
    this.#seq = record.seq;
    chain.lastSeq = record.chainSeq;
    chain.hash = hash;
  }

  /**
   * The records of a transaction. Of a large one those of a chain stand together, packed: a row for each would take several times as
   * long, and ten times the room. Returns how many rows' worth was written. @throws Error where what was handed over are no records
   */
  appendAll(records: readonly SharedRecords[], native: NativeAudit): number {
    const chunks = records.map(({ buffer, usedBytes }) => new Uint8Array(buffer, 0, usedBytes));
    const runs = native.runs(chunks, PACK_FROM, MAX_PACKED, MAX_PACKED_BYTES);
    if (runs === null) throw new Error(NO_RECORDS);
    let rows = 0;
    for (const run of runs) {
      const count = run.places.length / PLACE_WORDS;
      rows += count >= MIN_PACKED ? this.#appendPacked(run, chunks, native) : count;
      if (count < MIN_PACKED) this.#appendEach(run, chunks, native);
    }
    return rows;
  }

  #appendEach({ chain, places }: RecordRun, chunks: readonly Uint8Array[], native: NativeAudit): void {
    for (let at = 0; at < places.length; at += PLACE_WORDS) {
      const body = native.body(chunks[places[at] as number] as Uint8Array, places[at + 1] as number);
      if (body === null) throw new Error(NO_RECORDS);
      this.append({ chain, agentId: places[at + 2] as number, body });
    }
  }

  #appendPacked(
    { chain: number, places, agents, bytes }: RecordRun,
    chunks: readonly Uint8Array[],
    native: NativeAudit,
  ): number {
    const chain = this.#chainOf(number);
    const count = places.length / PLACE_WORDS;
    const needed = bytes + count * MAX_HEAD_BYTES;
    if (this.#scratch.length < needed) this.#scratch = Buffer.allocUnsafeSlow(2 * needed);
    const [seq, chainSeq] = [this.#seq + 1, chain.lastSeq + 1];
    this.#hash.write(chain.hash, 'latin1');
    const end = native.chain(chunks, places, this.#hash, this.#scratch, seq, number, chainSeq);
    if (end < 0) throw new Error(NO_RECORDS);
    const hash = this.#hash.toString('latin1');
    const packed = pack(this.#scratch.subarray(0, end));
    const agentId = agents === null ? (places[2] as number) : SEVERAL_AGENTS;
    this.#insertPacked.run(seq, number, chainSeq, agentId, hash, count, agents, packed);
    this.#seq += count;
    chain.lastSeq += count;
    chain.hash = hash;
    return 2 + Math.ceil(packed.length / PAGE_BYTES / 2);
  }

  #putPacked(row: {
    readonly seq: number;
    readonly chain: number;
    readonly chainSeq: number;
    readonly agentIds: readonly number[];
    readonly hash: string;
    readonly packed: Uint8Array;
  }): void {
    const { seq, chain, chainSeq, agentIds, hash, packed } = row;
    const agents = countAgents(agentIds);
    const agentId = agents === null ? (agentIds[0] as number) : SEVERAL_AGENTS;
    this.#insertPacked.run(seq, chain, chainSeq, agentId, hash, agentIds.length, agents, packed);
  }

  #chainOf(number: number): Chain {
    this.#before ??= { seq: this.#seq, chains: cloneChains(this.#chains) };
    return this.#chains.getOrInsertComputed(number, () => ({
      firstSeq: 1,
      lastSeq: 0,
      hash: firstHash(this.#logId, number),
    }));
  }

  /** Drops the oldest records of the chains that have become too long; says so in the chain. Before the commit. */
  retain(): void {
    const maxEntries = this.#maxEntries();
    const slack = slackOf(maxEntries);
    for (const [number, chain] of this.#chains) {
      if (chain.lastSeq - chain.firstSeq + 1 <= maxEntries + slack) continue;
      // The checkpoint is one more record.
      const firstKept = this.#firstToKeep(number, chain.lastSeq + 2 - maxEntries, slack);
      const last = this.#rowAt.get(number, firstKept - 1) as unknown as LogRow | undefined;
      this.append({
        chain: number,
        agentId: 0,
        body: controlBody(CHECKPOINT_TYPE, this.#nowMs(), {
          chain: chainName(number),
          dropped: firstKept - 1,
          dropped_hash: last?.hash,
          dropped_seq: last === undefined ? undefined : last.seq + last.count - 1,
          kept: chain.lastSeq + 2 - firstKept,
          // Who drowned what is gone.
          by_agent: this.#agentsBefore(number, firstKept),
        }),
      });
      this.#drop.run(number, firstKept);
      chain.firstSeq = firstKept;
    }
  }

  /** The place of the first record that stays: rather some more of them than a row taken apart. */
  #firstToKeep(number: number, firstWanted: number, slack: number): number {
    const row = this.#rowAt.get(number, firstWanted) as unknown as LogRow | undefined;
    if (row === undefined || row.packed === null || row.chainSeq === firstWanted) return firstWanted;
    if (firstWanted - row.chainSeq <= (slack * 3) / 4) return row.chainSeq;
    this.#split(row, firstWanted);
    return firstWanted;
  }

  /** Makes two rows of one, the second of which begins with the record at this place of its chain. */
  #split(row: LogRow, firstKept: number): void {
    const records = unpack(row);
    // What was tampered with stays as it is, and is found.
    if (records === null) return;
    const keptFrom = firstKept - row.chainSeq;
    this.#deleteRow.run(row.seq);
    for (const part of [records.slice(0, keptFrom), records.slice(keptFrom)]) {
      const [first] = part;
      if (first?.text == null) return;
      this.#putPacked({
        seq: first.seq,
        chain: row.chain,
        chainSeq: first.chainSeq,
        agentIds: part.map(({ agentId }) => agentId),
        hash: (part.at(-1) as StoredRecord).hash,
        packed: pack(Buffer.from(part.map(({ text }) => `${text}\n`).join(''), 'latin1')),
      });
    }
  }

  /** Whose most of the records before one are, with how many. */
  #agentsBefore(number: number, firstKept: number): [agentId: number, count: number][] {
    const counts = new Map<number, number>();
    for (const statement of [this.#countByAgent, this.#packedBefore])
      for (const row of statement.iterate(number, firstKept) as unknown as Iterable<LogRow>)
        for (const [agentId, count] of agentCounts(row))
          counts.set(agentId, (counts.get(agentId) ?? 0) + count);
    return [...counts].sort(([a, m], [b, n]) => n - m || a - b).slice(0, LISTED_AGENTS);
  }

  committed(): void {
    this.#before = null;
  }

  rolledBack(): void {
    if (this.#before === null) return;
    this.#seq = this.#before.seq;
    this.#chains = this.#before.chains;
    this.#before = null;
  }
}

/** The first record of a log, in the chain of security events. */
export function genesisRecord(details: Readonly<Record<string, unknown>>, nowMs: number): NewRecord {
  return {
    chain: chainOf('SECURITY', 'events'),
    agentId: 0,
    body: controlBody(GENESIS_TYPE, nowMs, details),
  };
}

function controlBody(type: string, nowMs: number, details: Readonly<Record<string, unknown>>): string {
  return canonicalJson({
    details,
    event_type: type,
    outcome: 'OK',
    subject: { id: 0, kind: 'kernel' },
    success: true,
    time: new Date(nowMs).toISOString(),
    world_time: null,
  });
}

function cloneChains(chains: ReadonlyMap<number, Chain>): Map<number, Chain> {
  return new Map([...chains].map(([number, chain]) => [number, { ...chain }]));
}
