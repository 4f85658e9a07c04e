import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { canonicalJson } from './canonical.ts';
import { chainName, chainOf, firstHash, hashRecord, type StoredRecord } from './chains.ts';

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
  const seq = Number(database.prepare('SELECT max(seq) AS seq FROM audit_records').get()?.seq ?? 0);
  const last = database.prepare(
    'SELECT chain_seq AS chainSeq, hash FROM audit_records WHERE chain = ? ORDER BY chain_seq DESC LIMIT 1',
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
  readonly #recordAt: StatementSync;
  readonly #countByAgent: StatementSync;
  readonly #maxEntries: () => number;
  readonly #nowMs: () => number;
  #logId = '';
  #seq = 0;
  #chains = new Map<number, Chain>();
  /** As it was when the transaction began; null = outside of one, or unchanged. */
  #before: { seq: number; chains: Map<number, Chain> } | null = null;

  constructor(database: DatabaseSync, maxEntries: () => number, nowMs: () => number = Date.now) {
    this.#database = database;
    this.#maxEntries = maxEntries;
    this.#nowMs = nowMs;
    this.#insert = database.prepare(
      'INSERT INTO audit_records (seq, chain, chain_seq, agent_id, body, hash) VALUES (?, ?, ?, ?, ?, ?)',
    );
    this.#countByAgent = database.prepare(
      'SELECT agent_id AS agentId, count(*) AS count FROM audit_records WHERE chain = ? AND chain_seq < ? GROUP BY agent_id ORDER BY count DESC, agent_id LIMIT ?',
    );
    this.#drop = database.prepare('DELETE FROM audit_records WHERE chain = ? AND chain_seq < ?');
    this.#recordAt = database.prepare(
      'SELECT seq, hash FROM audit_records WHERE chain = ? AND chain_seq = ?',
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
    this.#before ??= { seq: this.#seq, chains: cloneChains(this.#chains) };
    let chain = this.#chains.get(number);
    if (chain === undefined) {
      chain = { firstSeq: 1, lastSeq: 0, hash: firstHash(this.#logId, number) };
      this.#chains.set(number, chain);
    }
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

  /** Drops the oldest records of the chains that have become too long; says so in the chain. Before the commit. */
  retain(): void {
    const maxEntries = this.#maxEntries();
    const slack = slackOf(maxEntries);
    for (const [number, chain] of this.#chains) {
      if (chain.lastSeq - chain.firstSeq + 1 <= maxEntries + slack) continue;
      // The checkpoint is one more record.
      const firstKept = chain.lastSeq + 2 - maxEntries;
      const lastDropped = this.#recordAt.get(number, firstKept - 1);
      this.append({
        chain: number,
        agentId: 0,
        body: controlBody(CHECKPOINT_TYPE, this.#nowMs(), {
          chain: chainName(number),
          dropped: firstKept - 1,
          dropped_hash: lastDropped?.hash,
          dropped_seq: lastDropped?.seq,
          kept: maxEntries,
          // Who drowned what is gone.
          by_agent: this.#countByAgent
            .all(number, firstKept, LISTED_AGENTS)
            .map((row) => [Number(row.agentId), Number(row.count)]),
        }),
      });
      this.#drop.run(number, firstKept);
      chain.firstSeq = firstKept;
    }
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
