import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { CloveError } from '../../errors/index.ts';
import { auditAddonPath } from '../../native/audit.ts';
import type { AnchorPlace } from '../audit/anchor.ts';
import type { SharedRecords } from './record-chunk.ts';
import { type Draft, type Gap, type QueueCapacity, type RecordBatch, RecordQueue } from './record-queue.ts';
import type { StoreOperation } from './schema.ts';

export type StoreRequest =
  | {
      readonly kind: 'commit';
      readonly operations: readonly StoreOperation[];
      readonly records: readonly SharedRecords[];
      readonly maxEntries: number;
    }
  | { readonly kind: 'close' };

export interface StoreAnswer {
  /** null = durable. */
  readonly error: string | null;
  /** Set in a message that answers no request. */
  readonly anchorError?: string;
}

export interface DurableStoreOptions {
  readonly databasePath: string;
  /** null = no audit log in this database. */
  readonly anchorPlace?: AnchorPlace | null;
  /** Records that may wait while the disk is slow or the log cannot be written. */
  readonly recordCapacity?: QueueCapacity;
  readonly onProblem?: (message: string) => void;
}

interface Write {
  readonly operations: readonly StoreOperation[];
  /** Becomes durable with it, or not at all. */
  readonly draft: Draft | null;
  undo(): void;
  resolve(): void;
  reject(error: CloveError): void;
}

interface Batch {
  readonly writes: readonly Write[];
  /** Of its writes, and of what else is recorded with them. */
  readonly attached: RecordBatch;
  readonly records: RecordBatch;
  /** Who waits for the end of this transaction. */
  readonly waiting: PromiseWithResolvers<void>[];
}

const RECORD_CAPACITY: QueueCapacity = { records: 50_000, bytes: 64 * 2 ** 20 };
const RETRY_MS = 250;
/** How long a record that nobody waits for may wait for others to share a transaction with: longer where there are many. */
const LAZY_MS = 10;
const BUSY_MS = 100;
/** Records of a transaction that are many: each `fdatasync` takes about as much of a processor as they do. */
const BUSY_RECORDS = 64;

/**
 * What the kernel must not forget, in one database with one writer: a thread of its own, because the disk may take its time and
 * nobody else should wait for it. All that comes while one transaction is being committed makes up the next one; each write is
 * acknowledged when its transaction is on disk (WAL, synchronous=FULL), and a write's audit record is part of its transaction.
 */
export class DurableStore {
  readonly #options: DurableStoreOptions;
  readonly #records: RecordQueue;
  #worker: Worker | null = null;
  #writes: Write[] = [];
  #committing: Batch | null = null;
  #scheduled = false;
  /** Somebody waits for what is queued. */
  #isUrgent = false;
  #lazyTimer: NodeJS.Timeout | null = null;
  /** Records of the transaction before. */
  #lastRecords = 0;
  #closed: PromiseWithResolvers<void> | null = null;
  /** Who waits for the end of the next transaction. */
  #waiting: PromiseWithResolvers<void>[] = [];
  /** Why records cannot be written; null = they can. */
  #failure: string | null = null;
  #retryTimer: NodeJS.Timeout | null = null;
  /** After a failed transaction: whether it was the records' fault is found out by writing them alone. */
  #recordsAlone = false;
  #ambient: Draft | null = null;
  /** Of the audit log; set before the first record. */
  maxEntries = Number.MAX_SAFE_INTEGER;
  /** Makes the record of records that are missing. */
  describeGap: (gap: Gap) => Draft = () => {
    throw new Error('this store has no audit log');
  };

  constructor(options: DurableStoreOptions) {
    this.#options = options;
    this.#records = new RecordQueue(options.recordCapacity ?? RECORD_CAPACITY);
  }

  /** Why the audit log cannot be written at present; null = it can. */
  get failure(): string | null {
    return this.#failure;
  }

  /** Records cannot be taken in any more without leaving some out. */
  get isFull(): boolean {
    return this.#records.isFull;
  }

  /**
   * Runs `work`; the first write that it makes before it returns (not: before its promise is resolved) carries the draft.
   * Whether one did is told by the draft itself.
   */
  during<Result>(draft: Draft, work: () => Result): Result {
    this.#ambient = draft;
    try {
      return work();
    } finally {
      this.#ambient = null;
    }
  }

  /**
   * Resolves when the operations will survive a crash. @throws IO when they will not; then all later unacknowledged writes
   * fail too, and the `undo` of each has been called, the newest first, before anything else could run.
   */
  write(operations: readonly StoreOperation[], undo: () => void = () => {}): Promise<void> {
    if (this.#closed !== null) {
      undo();
      return Promise.reject(new CloveError('CANCELLED', 'the store is closed'));
    }
    const draft = this.#takeAmbient();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#writes.push({ operations, draft, undo, resolve, reject });
    this.#schedule();
    return promise;
  }

  /**
   * Queues a record of something that is not written here itself. Urgent: somebody waits for it to be on disk. Not watched: nobody
   * will ask it what became of it.
   */
  record(draft: Draft, isUrgent: boolean, isWatched = true): void {
    if (this.#closed !== null) {
      draft.delayed('the store is closed');
      return;
    }
    this.#records.push(draft, Date.now(), isWatched);
    if (isUrgent) this.#schedule();
    else this.#scheduleLazily();
  }

  /** Somebody waits for what is queued, and there is more to do in this turn: it is on its way to the disk meanwhile. */
  hurry(): void {
    if (this.#closed === null) this.#next();
  }

  /** Resolves when everything that was written and recorded until now is on disk, or has failed to get there. */
  settled(): Promise<void> {
    const isQueued = this.#writes.length > 0 || (!this.#records.isEmpty && this.#takesRecords());
    const waiting = isQueued ? this.#waiting : this.#committing?.waiting;
    if (waiting === undefined) return Promise.resolve();
    if (isQueued) this.#schedule();
    const end = Promise.withResolvers<void>();
    waiting.push(end);
    return end.promise;
  }

  /** Commits what is queued and lets go of the file. */
  close(): Promise<void> {
    if (this.#closed === null) {
      this.#closed = Promise.withResolvers<void>();
      if (this.#retryTimer !== null) clearTimeout(this.#retryTimer);
      this.#retryTimer = null;
      this.#schedule();
    }
    return this.#closed.promise;
  }

  #takeAmbient(): Draft | null {
    const draft = this.#ambient;
    this.#ambient = null;
    draft?.attached();
    return draft;
  }

  /** After a failure it is tried again when some time has passed. */
  #takesRecords(): boolean {
    return this.#failure === null || this.#retryTimer === null;
  }

  #scheduleLazily(): void {
    if (this.#scheduled || this.#committing !== null || this.#lazyTimer !== null) return;
    this.#lazyTimer = setTimeout(
      () => {
        this.#lazyTimer = null;
        this.#schedule();
      },
      this.#lastRecords >= BUSY_RECORDS ? BUSY_MS : LAZY_MS,
    );
  }

  #schedule(): void {
    this.#isUrgent = true;
    if (this.#scheduled || this.#committing !== null) return;
    this.#scheduled = true;
    // At the end of this turn, so that everything that arrived in it is one transaction.
    setImmediate(() => {
      this.#scheduled = false;
      this.#next();
    });
  }

  #next(): void {
    if (this.#committing !== null) return;
    const takesRecords = this.#takesRecords();
    if (this.#writes.length === 0 && (this.#records.isEmpty || !takesRecords)) {
      this.#rest();
      return;
    }
    this.#isUrgent = false;
    const writes = this.#recordsAlone ? [] : this.#writes;
    if (!this.#recordsAlone) this.#writes = [];
    this.#recordsAlone = false;
    const attached = this.#records.batchOf(writes.flatMap(({ draft }) => (draft === null ? [] : [draft])));
    const records = takesRecords ? this.#records.take(this.describeGap) : this.#records.batchOf([]);
    this.#committing = { writes, attached, records, waiting: this.#waiting };
    this.#lastRecords = records.count;
    this.#waiting = [];
    if (writes.length === 0 && records.count === 0) {
      this.#settle(null);
      return;
    }
    const operations =
      writes.length === 1 ? (writes[0] as Write).operations : writes.flatMap((write) => write.operations);
    const shared = [...attached.chunks, ...records.chunks].map((chunk) => chunk.shared);
    this.#send({ kind: 'commit', operations, records: shared, maxEntries: this.maxEntries });
  }

  #rest(): void {
    for (const waiting of this.#waiting.splice(0)) waiting.resolve();
    if (this.#closed === null) return;
    if (!this.#records.isEmpty)
      this.#options.onProblem?.(`${this.#records.length} audit records could not be written`);
    if (this.#worker === null) this.#closed.resolve();
    else this.#send({ kind: 'close' });
  }

  #send(request: StoreRequest): void {
    this.#worker ??= this.#start();
    this.#worker.postMessage(request);
  }

  #start(): Worker {
    const script = new URL(`./store-worker${path.extname(import.meta.filename)}`, import.meta.url);
    const { databasePath, anchorPlace = null } = this.#options;
    const worker = new Worker(script, {
      workerData: { databasePath, anchorPlace, addon: anchorPlace === null ? null : auditAddonPath() },
      name: 'store',
      // Flags of the main thread may mean nothing in a thread, and then it does not start.
      execArgv: [],
    });
    worker.on('message', (answer: StoreAnswer) => {
      if (answer.anchorError === undefined) this.#settle(answer.error);
      else
        this.#options.onProblem?.(`the anchor of the audit log could not be written: ${answer.anchorError}`);
    });
    worker.on('error', (error) => {
      if (this.#worker === worker) this.#worker = null;
      this.#settle(error instanceof Error ? error.message : String(error));
    });
    worker.on('exit', () => {
      if (this.#worker !== worker) return;
      this.#worker = null;
      if (this.#closed !== null && this.#committing === null) this.#closed.resolve();
      else this.#settle('the store thread ended');
    });
    return worker;
  }

  #settle(error: string | null): void {
    const batch = this.#committing;
    this.#committing = null;
    if (batch !== null) {
      if (error === null) this.#succeed(batch);
      else this.#fail(batch, error);
      for (const waiting of batch.waiting) waiting.resolve();
    }
    const isWaitedFor =
      this.#isUrgent || this.#recordsAlone || this.#closed !== null || this.#writes.length > 0;
    if (!isWaitedFor && !this.#records.isEmpty && this.#takesRecords()) this.#scheduleLazily();
    else this.#next();
  }

  #succeed({ writes, attached, records }: Batch): void {
    if (records.count > 0 && this.#failure !== null) {
      this.#failure = null;
      this.#options.onProblem?.('the audit log can be written again');
    }
    for (const { draft, resolve } of writes) {
      draft?.committed();
      resolve();
    }
    for (const draft of records.watched) draft.committed();
    this.#records.release(attached);
    this.#records.release(records);
  }

  /** Later writes were made on top of the failed ones, so none of them may become durable either. */
  #fail({ writes, attached, records }: Batch, reason: string): void {
    const failed = [...writes, ...this.#writes];
    this.#writes = [];
    for (const write of failed.toReversed()) write.undo();
    // Why is told to operators only: it may name files and tables.
    const error = new CloveError('IO', 'state could not be written', {
      hint: 'Nothing was stored. Check the disk of the kernel’s data directory.',
      details: { reason },
    });
    const orphans: Draft[] = [];
    for (const { draft, reject } of failed) {
      if (draft !== null) {
        draft.undone();
        orphans.push(draft);
      }
      reject(error);
    }
    this.#records.release(attached);
    // The records of what came first, then those of writes that failed with it.
    this.#records.putBack([records, this.#records.batchOf(orphans)]);
    if (this.#records.isEmpty) return;
    if (writes.length > 0 && this.#failure === null) this.#recordsAlone = true;
    else this.#recordsFailed(reason);
  }

  #recordsFailed(reason: string): void {
    if (this.#failure === null) this.#options.onProblem?.(`the audit log cannot be written: ${reason}`);
    this.#failure = reason;
    this.#records.delayAll(reason);
    if (this.#closed !== null) {
      // No later: what could not be written now is lost, and was said to be.
      this.#retryTimer = setTimeout(() => {}, 0).unref();
      return;
    }
    this.#retryTimer ??= setTimeout(() => {
      this.#retryTimer = null;
      this.#schedule();
    }, RETRY_MS).unref();
  }
}
