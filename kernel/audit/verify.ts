import type { DatabaseSync } from 'node:sqlite';
import type { AnchorState } from './anchor.ts';
import { CHECKPOINT_TYPE } from './chain-writer.ts';
import { chainName, describeChain, firstHash, hashHead, hashRecord, type StoredRecord } from './chains.ts';
import { isIndexed, type LogRow, type ReadRecord, rowColumns, unpack } from './packed-rows.ts';
import type { Problem, ProblemKind, VerifyReport } from './verify-report.ts';

const MAX_PROBLEMS = 20;

interface Walk {
  readonly chain: number;
  records: number;
  lastSeq: number;
  lastChainSeq: number;
  hash: string;
  dropped: number;
  droppedSeq: number;
  /** Of the record that the anchor calls the chain's last; null = not met. */
  anchored: string | null;
}

/** The last record that was dropped. */
interface Drop {
  readonly dropped: number;
  readonly seq: number;
  readonly hash: string;
}

/**
 * Reads the whole log and checks every record against its hash, its neighbours in its chain, the numbers of all records and the
 * anchor. The anchor must have been read before the database is. Never throws.
 */
export function verifyLog(
  database: DatabaseSync,
  anchor: AnchorState | null,
  hasPacked: boolean,
): VerifyReport {
  const verifier = new Verifier(database, anchor, hasPacked);
  try {
    // One moment of the log, while its kernel goes on writing.
    database.exec('BEGIN');
    verifier.run();
  } catch (error) {
    verifier.fail(null, 'unreadable', `the database cannot be read: ${(error as Error).message}`);
  } finally {
    try {
      if (database.isTransaction) database.exec('ROLLBACK');
    } catch {
      // Nothing was written.
    }
  }
  return verifier.report();
}

class Verifier {
  readonly #database: DatabaseSync;
  readonly #hasPacked: boolean;
  readonly #anchorState: AnchorState | null;
  readonly #anchored: ReadonlyMap<number, { chainSeq: number; hash: string }>;
  readonly #walks = new Map<number, Walk>();
  readonly #problems: Problem[] = [];
  readonly #checkpoints = new Map<number, Drop | null>();
  #logId = '';
  #records = 0;
  #lastSeq = 0;
  /** Numbers that no record has, as ranges. */
  readonly #absent: [first: number, last: number][] = [];
  #absentCount = 0;

  constructor(database: DatabaseSync, anchor: AnchorState | null, hasPacked: boolean) {
    this.#database = database;
    this.#hasPacked = hasPacked;
    this.#anchorState = anchor;
    const heads = anchor?.state === 'ok' ? anchor.anchor.chains : [];
    this.#anchored = new Map(heads.map(({ chain, chainSeq, hash }) => [chain, { chainSeq, hash }]));
  }

  run(): void {
    this.#logId = String(
      this.#database.prepare("SELECT value FROM audit_settings WHERE key = 'log_id'").get()?.value ?? '',
    );
    const rows = this.#database.prepare(
      `SELECT ${rowColumns(this.#hasPacked)} FROM audit_records r ORDER BY r.seq`,
    );
    for (const row of rows.iterate() as unknown as Iterable<LogRow>) this.#checkRow(row);
    this.#checkNumbers();
    this.#checkAnchor();
  }

  #checkRow(row: LogRow): void {
    const { seq, chain, count } = row;
    const records = unpack(row);
    if (records === null) {
      this.fail(
        seq,
        'changed',
        `record ${seq} and those that are packed with it are not as they were written`,
      );
      // Where they stood is known, and what follows can be checked all the same.
      const walk = this.#walks.get(chain) ?? this.#begin(row);
      walk.records += count;
      walk.lastSeq = seq + count - 1;
      walk.lastChainSeq = row.chainSeq + count - 1;
      walk.hash = row.hash;
      this.#records += count;
      this.#lastSeq = Math.max(this.#lastSeq, walk.lastSeq);
      return;
    }
    for (const record of records) this.#check(record);
    if (!isIndexed(row, records)) {
      this.fail(
        seq,
        'changed',
        `record ${seq} and those that are packed with it are not where they are looked for`,
      );
    }
  }

  #check(record: ReadRecord): void {
    const { seq, chain, chainSeq } = record;
    this.#records += 1;
    if (seq > this.#lastSeq + 1) {
      this.#absent.push([this.#lastSeq + 1, seq - 1]);
      this.#absentCount += seq - 1 - this.#lastSeq;
    }
    this.#lastSeq = seq;
    const walk = this.#walks.get(chain) ?? this.#begin(record);
    if (chainSeq !== walk.lastChainSeq + 1) {
      if (chainSeq > walk.lastChainSeq) {
        const first = this.#firstAbsentAfter(walk.lastSeq) ?? seq;
        this.fail(
          first,
          'missing',
          `${chainSeq - walk.lastChainSeq - 1} records of ${chainName(chain)} before record ${seq} are gone`,
        );
      } else this.fail(seq, 'changed', `record ${seq} is out of order in ${chainName(chain)}`);
    } else if (!isAsWritten(walk.hash, record)) {
      this.fail(seq, 'changed', `record ${seq} is not as it was written, or not where`);
    }
    walk.records += 1;
    walk.lastSeq = seq;
    walk.lastChainSeq = chainSeq;
    walk.hash = record.hash;
    const anchored = this.#anchored.get(chain);
    if (anchored?.chainSeq === chainSeq) walk.anchored = record.hash;
  }

  #begin(first: Pick<StoredRecord, 'seq' | 'chain' | 'chainSeq'>): Walk {
    const { chain, chainSeq } = first;
    const drop = chainSeq === 1 ? null : this.#lastDrop(chain);
    const walk: Walk = {
      chain,
      records: 0,
      lastSeq: drop?.seq ?? 0,
      lastChainSeq: drop?.dropped ?? 0,
      hash: drop?.hash ?? firstHash(this.#logId, chain),
      dropped: drop?.dropped ?? 0,
      droppedSeq: drop?.seq ?? 0,
      anchored: null,
    };
    this.#walks.set(chain, walk);
    if (describeChain(chain) === null)
      this.fail(first.seq, 'inserted', `record ${first.seq} is of a chain that there is not`);
    return walk;
  }

  /** What the chain itself says was dropped. The hash of the record that says so is checked like all others. */
  #lastDrop(chain: number): Drop | null {
    const known = this.#checkpoints.get(chain);
    if (known !== undefined) return known;
    const candidates = this.#database.prepare(
      `SELECT body FROM audit_records WHERE chain = ? AND instr(body, '"event_type":"${CHECKPOINT_TYPE}"') > 0 ORDER BY chain_seq DESC`,
    );
    let drop: Drop | null = null;
    for (const { body } of candidates.iterate(chain)) {
      drop = readCheckpoint(String(body));
      if (drop !== null) break;
    }
    this.#checkpoints.set(chain, drop);
    return drop;
  }

  #firstAbsentAfter(seq: number): number | null {
    for (let at = this.#absent.length - 1, found: number | null = null; ; at -= 1) {
      const range = this.#absent[at];
      if (range === undefined || range[1] <= seq) return found;
      found = Math.max(range[0], seq + 1);
    }
  }

  /** Every number belongs to a record that is there or to one that was dropped. */
  #checkNumbers(): void {
    let dropped = 0;
    let written = 0;
    for (const walk of this.#walks.values()) {
      dropped += walk.dropped;
      written += walk.lastChainSeq;
    }
    if (written === this.#lastSeq) return;
    if (this.#problems.some(({ kind }) => kind === 'missing')) return;
    const count = this.#absentCount - dropped;
    // Retention drops from the front of chains: what is absent at the very end was not dropped by it.
    const last = this.#absent.at(-1);
    this.fail(
      last === undefined ? this.#lastSeq : this.#latestUnexplained(last),
      'missing',
      `${Math.abs(count)} records are ${count > 0 ? 'gone' : 'too many'}: the chains hold ${written}, the last number is ${this.#lastSeq}`,
    );
  }

  /** The first absent number behind everything that retention can have dropped. */
  #latestUnexplained(last: readonly [number, number]): number {
    const floor = Math.max(0, ...[...this.#walks.values()].map(({ droppedSeq }) => droppedSeq));
    return this.#firstAbsentAfter(floor) ?? last[0];
  }

  #checkAnchor(): void {
    const state = this.#anchorState;
    if (state === null) return;
    if (state.state === 'invalid') {
      this.fail(null, 'anchor', `the anchor cannot be trusted: ${state.reason}`);
      return;
    }
    if (state.state === 'missing') {
      if (this.#records > 0) this.fail(null, 'anchor', 'the anchor is missing');
      return;
    }
    const { anchor } = state;
    if (anchor.logId !== this.#logId) {
      this.fail(null, 'anchor', 'the anchor is of another log');
      return;
    }
    if (anchor.seq > this.#lastSeq) {
      this.fail(
        this.#lastSeq + 1,
        'truncated',
        `the log ends at ${this.#lastSeq}, but had ${anchor.seq} records at ${anchor.time}`,
      );
      return;
    }
    for (const { chain, chainSeq, hash } of anchor.chains) {
      const walk = this.#walks.get(chain);
      const isDropped = walk !== undefined && chainSeq <= walk.dropped;
      if (walk === undefined || chainSeq > walk.lastChainSeq) {
        this.fail(
          this.#firstAbsentAfter(walk?.lastSeq ?? 0) ?? this.#lastSeq + 1,
          'truncated',
          `the end of ${chainName(chain)} is gone`,
        );
      } else if (!isDropped && walk.anchored !== null && walk.anchored !== hash) {
        this.fail(
          this.#seqOf(chain, chainSeq),
          'changed',
          `record ${chainSeq} of ${chainName(chain)} is not the one that was anchored`,
        );
      }
    }
    if (anchor.closed && this.#lastSeq > anchor.seq) {
      this.fail(
        anchor.seq + 1,
        'inserted',
        `${this.#lastSeq - anchor.seq} records follow, though the kernel had closed the log at ${anchor.seq}`,
      );
    }
  }

  #seqOf(chain: number, chainSeq: number): number | null {
    const row = this.#database
      .prepare(
        `SELECT ${rowColumns(this.#hasPacked)} FROM audit_records r WHERE r.chain = ? AND r.chain_seq <= ? ORDER BY r.chain_seq DESC LIMIT 1`,
      )
      .get(chain, chainSeq) as LogRow | undefined;
    if (row === undefined || chainSeq >= row.chainSeq + row.count) return null;
    return row.seq + chainSeq - row.chainSeq;
  }

  fail(seq: number | null, kind: ProblemKind, text: string): void {
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push({ seq, kind, text });
  }

  report(): VerifyReport {
    const bad = this.#problems.map(({ seq }) => seq).filter((seq) => seq !== null);
    const state = this.#anchorState;
    const anchor = state?.state === 'ok' ? state.anchor : null;
    return {
      ok: this.#problems.length === 0,
      logId: this.#logId,
      records: this.#records,
      headSeq: this.#lastSeq,
      firstBadSeq: bad.length === 0 ? null : Math.min(...bad),
      problems: this.#problems,
      chains: [...this.#walks.values()].map(({ chain, records, dropped }) => ({
        chain: chainName(chain),
        records,
        dropped,
      })),
      anchor: {
        state: state?.state ?? 'none',
        seq: anchor?.seq ?? null,
        time: anchor?.time ?? null,
        unanchored: Math.max(0, this.#lastSeq - (anchor?.seq ?? 0)),
      },
    };
  }
}

function isAsWritten(previousHash: string, record: ReadRecord): boolean {
  if (hashRecord(previousHash, record) !== record.hash) return false;
  // What stands beside the columns, too, where it is stored.
  return record.text === null || record.text === `${hashHead(previousHash, record)}${record.body}`;
}

function readCheckpoint(body: string): Drop | null {
  try {
    const { event_type: type, details } = JSON.parse(body);
    if (type !== CHECKPOINT_TYPE || typeof details?.dropped_hash !== 'string') return null;
    return { dropped: Number(details.dropped), seq: Number(details.dropped_seq), hash: details.dropped_hash };
  } catch {
    return null;
  }
}
