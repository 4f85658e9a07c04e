import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { CloveError } from '../../errors/index.ts';

/** One change of the durable state. `text` null deletes the key. */
export interface JournalEntry {
  readonly key: string;
  readonly text: string | null;
  /** Since the epoch; null = never. */
  readonly expiresWallMs: number | null;
}

export type JournalRequest =
  | { readonly kind: 'commit'; readonly entries: readonly JournalEntry[] }
  | { readonly kind: 'close' };
export interface JournalAnswer {
  /** null = durable. */
  readonly error: string | null;
}

interface Pending {
  readonly entry: JournalEntry;
  undo(): void;
  resolve(): void;
  reject(error: CloveError): void;
}

/**
 * Writes changes to the database in a thread of its own, because the disk may take its time and nobody else should wait
 * for it. All changes that come while one transaction is being committed make up the next one; each is acknowledged when
 * its transaction is on disk (WAL, synchronous=FULL).
 */
export class Journal {
  readonly #databasePath: string;
  #worker: Worker | null = null;
  #queued: Pending[] = [];
  #committing: Pending[] | null = null;
  #scheduled = false;
  #closed: PromiseWithResolvers<void> | null = null;

  constructor(databasePath: string) {
    this.#databasePath = databasePath;
  }

  /**
   * Resolves when the change will survive a crash. @throws IO when it will not; then all later unacknowledged changes fail
   * too, and the `undo` of each has been called, the newest first, before anything else could run.
   */
  append(entry: JournalEntry, undo: () => void): Promise<void> {
    if (this.#closed !== null) {
      undo();
      return Promise.reject(new CloveError('CANCELLED', 'the state store is closed'));
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#queued.push({ entry, undo, resolve, reject });
    this.#schedule();
    return promise;
  }

  /** Commits what is queued and lets go of the file. */
  close(): Promise<void> {
    if (this.#closed === null) {
      this.#closed = Promise.withResolvers<void>();
      this.#schedule();
    }
    return this.#closed.promise;
  }

  #schedule(): void {
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
    if (this.#queued.length === 0) {
      if (this.#closed !== null) this.#shutDown();
      return;
    }
    this.#committing = this.#queued;
    this.#queued = [];
    this.#send({ kind: 'commit', entries: this.#committing.map((pending) => pending.entry) });
  }

  #shutDown(): void {
    if (this.#worker === null) this.#closed?.resolve();
    else this.#send({ kind: 'close' });
  }

  #send(request: JournalRequest): void {
    this.#worker ??= this.#start();
    this.#worker.postMessage(request);
  }

  #start(): Worker {
    const script = new URL(`./journal-worker${path.extname(import.meta.filename)}`, import.meta.url);
    const worker = new Worker(script, {
      workerData: { databasePath: this.#databasePath },
      name: 'state-journal',
      // Flags of the main thread may mean nothing in a thread, and then it does not start.
      execArgv: [],
    });
    worker.on('message', (answer: JournalAnswer) => this.#settle(answer.error));
    worker.on('error', (error) => {
      if (this.#worker === worker) this.#worker = null;
      this.#settle(error instanceof Error ? error.message : String(error));
    });
    worker.on('exit', () => {
      if (this.#worker !== worker) return;
      this.#worker = null;
      if (this.#closed !== null && this.#committing === null) this.#closed.resolve();
      else this.#settle('the journal thread ended');
    });
    return worker;
  }

  #settle(error: string | null): void {
    const batch = this.#committing;
    this.#committing = null;
    if (batch !== null) {
      if (error === null) for (const pending of batch) pending.resolve();
      else this.#fail(batch, error);
    }
    this.#next();
  }

  /** Later changes were made on top of the failed ones, so none of them may become durable either. */
  #fail(batch: readonly Pending[], reason: string): void {
    const failed = [...batch, ...this.#queued];
    this.#queued = [];
    for (const pending of failed.toReversed()) pending.undo();
    for (const pending of failed) {
      pending.reject(
        new CloveError('IO', `state could not be written: ${reason}`, {
          hint: 'Nothing was stored. Check the disk of the kernel’s data directory.',
        }),
      );
    }
  }
}
