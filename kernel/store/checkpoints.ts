import path from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import type { CheckpointAnswer } from './checkpoint-worker.ts';

/** Pages in the log, about, at which it is copied into the database beside the writes. */
const DUE_PAGES = 1000;
/** At which the writer does it itself, so that the log begins anew: under a load that never ends the other would not get to its end. */
const OVERDUE_PAGES = 8000;
/** Of one changed row: itself, an index or two, and what lies above them. */
const PAGES_PER_CHANGE = 2;

/**
 * Copies the write-ahead log into the database while others go on: done within a commit, as is usual, it makes one commit of a
 * hundred take a hundred times as long. Lives in the writer's thread.
 */
export class Checkpoints {
  readonly #databasePath: string;
  #worker: Worker | null = null;
  #isRunning = false;
  /** Since the log last began anew, and since it was last copied. */
  #pages = 0;
  #sincePages = 0;

  constructor(databasePath: string) {
    this.#databasePath = databasePath;
  }

  /** A transaction with so many changes is on disk. */
  committed(database: DatabaseSync, changes: number): void {
    const pages = 1 + changes * PAGES_PER_CHANGE;
    this.#pages += pages;
    this.#sincePages += pages;
    if (this.#pages >= OVERDUE_PAGES && !this.#isRunning) this.#inline(database);
    else if (this.#sincePages >= DUE_PAGES && !this.#isRunning) this.#beside();
  }

  /** The file is another one, or will be closed. */
  stop(): Promise<unknown> {
    const worker = this.#worker;
    this.#worker = null;
    this.#isRunning = false;
    return worker?.terminate() ?? Promise.resolve();
  }

  #inline(database: DatabaseSync): void {
    this.#pages = 0;
    this.#sincePages = 0;
    try {
      database.exec('PRAGMA wal_checkpoint(PASSIVE)');
    } catch {
      // The commit was made all the same; the next one tries again.
    }
  }

  #beside(): void {
    this.#isRunning = true;
    this.#sincePages = 0;
    this.#worker ??= this.#start();
    this.#worker.postMessage(null);
  }

  #start(): Worker {
    const script = new URL(`./checkpoint-worker${path.extname(import.meta.filename)}`, import.meta.url);
    const worker = new Worker(script, {
      workerData: { databasePath: this.#databasePath },
      name: 'checkpoints',
      execArgv: [],
    });
    worker.unref();
    worker.on('message', ({ left }: CheckpointAnswer) => {
      if (worker !== this.#worker) return;
      this.#isRunning = false;
      // All of it was copied, and nothing came meanwhile: the next write begins the log anew.
      if (left === 0 && this.#sincePages === 0) this.#pages = 0;
    });
    worker.on('error', () => {
      if (worker !== this.#worker) return;
      this.#worker = null;
      this.#isRunning = false;
    });
    return worker;
  }
}
