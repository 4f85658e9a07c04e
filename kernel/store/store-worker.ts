import { statSync } from 'node:fs';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { openNativeAudit } from '../../native/audit.ts';
import { type AnchorPlace, loadOrMakeKey, writeAnchor } from '../audit/anchor.ts';
import { ChainWriter } from '../audit/chain-writer.ts';
import { Checkpoints } from './checkpoints.ts';
import { openDatabase } from './database.ts';
import type { StoreAnswer, StoreRequest } from './durable-store.ts';
import { STATEMENTS, type StatementName } from './schema.ts';

/** How far the anchor may be behind the log. */
const ANCHOR_INTERVAL_MS = 1000;

if (parentPort === null) throw new Error('store-worker runs in a worker thread only');
const port = parentPort;
const { databasePath, anchorPlace, addon } = workerData as {
  readonly databasePath: string;
  /** Of the native part; null without an audit log. */
  readonly addon: string | null;
  /** null = this database has no audit log. */
  readonly anchorPlace: AnchorPlace | null;
};

/** The open database, with what depends on it. */
interface Session {
  readonly database: DatabaseSync;
  readonly statements: Map<StatementName, StatementSync>;
  readonly chains: ChainWriter | null;
  /** Device and inode of the files that are written. */
  readonly files: ReadonlyMap<string, string>;
}

let maxEntries = Number.MAX_SAFE_INTEGER;
let anchoredSeq = -1;
let anchoredAtMs = Number.NEGATIVE_INFINITY;
let anchorTimer: NodeJS.Timeout | null = null;
const native = addon === null ? null : openNativeAudit(addon);
const key = anchorPlace === null ? null : loadOrMakeKey(anchorPlace.keyPath);
const checkpoints = new Checkpoints(databasePath);
let session: Session | null = begin();
// Before the first commit: one that says "closed" must not stand before records that follow.
anchor(false);

function begin(): Session {
  const database = openDatabase(databasePath);
  database.exec('PRAGMA wal_autocheckpoint = 0');
  return {
    database,
    statements: new Map(),
    chains: anchorPlace === null ? null : new ChainWriter(database, () => maxEntries),
    files: new Map(
      [databasePath, `${databasePath}-wal`].flatMap((file) => {
        const identity = identityOf(file);
        return identity === null ? [] : [[file, identity]];
      }),
    ),
  };
}

port.on('message', (request: StoreRequest) => {
  if (request.kind === 'close') {
    if (anchorTimer !== null) clearTimeout(anchorTimer);
    void close();
    return;
  }
  maxEntries = request.maxEntries;
  const { error, changes } = commit(request);
  port.postMessage({ error } satisfies StoreAnswer);
  if (error !== null) return;
  anchorSoon();
  // Whoever waits has been told.
  if (session !== null) checkpoints.committed(session.database, changes);
});

/** Whoever closes a database last empties its log: that is to be this thread. */
async function close(): Promise<void> {
  await checkpoints.stop();
  if (session !== null) {
    if (isStillOurs(session)) anchor(true);
    session.database.close();
  }
  port.close();
}

interface Committed {
  readonly error: string | null;
  /** Rows, about. */
  readonly changes: number;
}

function commit({ operations, records }: Extract<StoreRequest, { kind: 'commit' }>): Committed {
  try {
    session ??= begin();
    if (!isStillOurs(session)) {
      const error = 'the database was moved, deleted or replaced while the kernel was running';
      return { error, changes: 0 };
    }
    const { database, chains } = session;
    database.exec('BEGIN IMMEDIATE');
    for (const [name, ...values] of operations) statement(session, name).run(...values);
    const hasRecords = records.length > 0 && chains !== null && native !== null;
    const rows = hasRecords ? chains.appendAll(records, native) : 0;
    chains?.retain();
    database.exec('COMMIT');
    chains?.committed();
    return { error: null, changes: operations.length + rows };
  } catch (error) {
    undo();
    return { error: error instanceof Error ? error.message : String(error), changes: 0 };
  }
}

/**
 * Whether a commit that failed is on disk or not is known only by looking again: after an error of the disk the file is opened
 * anew, and the heads are those found there.
 */
function undo(): void {
  if (session === null) return;
  const { database, chains } = session;
  try {
    if (database.isTransaction) database.exec('ROLLBACK');
    chains?.rolledBack();
    chains?.reload();
  } catch {
    session = null;
    void checkpoints.stop();
    try {
      database.close();
    } catch {
      // It is given up either way.
    }
  }
}

function statement({ database, statements }: Session, name: StatementName): StatementSync {
  return statements.getOrInsertComputed(name, () => database.prepare(STATEMENTS[name]));
}

function isStillOurs({ files }: Session): boolean {
  for (const [file, identity] of files) if (identityOf(file) !== identity) return false;
  return true;
}

function identityOf(file: string): string | null {
  const stats = statSync(file, { throwIfNoEntry: false });
  return stats === undefined ? null : `${stats.dev}:${stats.ino}`;
}

function anchorSoon(): void {
  if (key === null || anchorTimer !== null || session?.chains?.head.seq === anchoredSeq) return;
  const waitMs = anchoredAtMs + ANCHOR_INTERVAL_MS - performance.now();
  anchorTimer = setTimeout(
    () => {
      anchorTimer = null;
      anchor(false);
    },
    Math.max(0, waitMs),
  );
}

/** An anchor that cannot be written is written later; until then the older one stands, which is true as well. */
function anchor(closed: boolean): void {
  const head = session?.chains?.head;
  if (head === undefined || key === null || anchorPlace === null || head.seq === 0) return;
  anchoredAtMs = performance.now();
  try {
    writeAnchor(anchorPlace, key, head, closed, Date.now());
    anchoredSeq = head.seq;
  } catch (error) {
    port.postMessage({ error: null, anchorError: (error as Error).message } satisfies StoreAnswer);
    if (!closed) anchorSoon();
  }
}
