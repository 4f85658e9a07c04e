import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { CloveError, type ErrorData, errorFromData } from '../../errors/index.ts';
import type { LogFiles } from './offline.ts';
import type { AuditEntry, AuditQuery } from './query.ts';
import type { VerifyReport } from './verify-report.ts';

export type ReaderRequest =
  | { readonly id: number; readonly kind: 'query'; readonly query: AuditQuery }
  | { readonly id: number; readonly kind: 'verify' };

export interface ReaderAnswer {
  readonly id: number;
  readonly result?: AuditEntry[] | VerifyReport;
  readonly error?: ErrorData;
}

/** Questions that may wait for an answer. */
const MAX_WAITING = 64;

/** Reads the log in a thread of its own, beside the writer: a look through a million records holds nobody up. */
export class AuditReader {
  readonly #files: LogFiles;
  #worker: Worker | null = null;
  readonly #waiting = new Map<number, PromiseWithResolvers<AuditEntry[] | VerifyReport>>();
  #lastId = 0;
  #isClosed = false;

  constructor(files: LogFiles) {
    this.#files = files;
  }

  /** @throws OVERLOAD, DATA_CORRUPT, IO, CANCELLED */
  query(query: AuditQuery): Promise<AuditEntry[]> {
    return this.#ask({ id: 0, kind: 'query', query }) as Promise<AuditEntry[]>;
  }

  /** @throws OVERLOAD, DATA_CORRUPT, IO, CANCELLED */
  verify(): Promise<VerifyReport> {
    return this.#ask({ id: 0, kind: 'verify' }) as Promise<VerifyReport>;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#worker?.terminate();
    this.#failAll(new CloveError('CANCELLED', 'the kernel is stopping'));
  }

  #ask(request: ReaderRequest): Promise<AuditEntry[] | VerifyReport> {
    if (this.#isClosed) return Promise.reject(new CloveError('CANCELLED', 'the kernel is stopping'));
    if (this.#waiting.size >= MAX_WAITING) {
      return Promise.reject(
        new CloveError('OVERLOAD', 'too many questions to the audit log wait for an answer'),
      );
    }
    this.#lastId += 1;
    const answer = Promise.withResolvers<AuditEntry[] | VerifyReport>();
    this.#waiting.set(this.#lastId, answer);
    this.#worker ??= this.#start();
    this.#worker.postMessage({ ...request, id: this.#lastId });
    return answer.promise;
  }

  #start(): Worker {
    const script = new URL(`./reader-worker${path.extname(import.meta.filename)}`, import.meta.url);
    const worker = new Worker(script, {
      workerData: this.#files,
      name: 'audit-reader',
      execArgv: [],
    });
    worker.on('message', ({ id, result, error }: ReaderAnswer) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (result !== undefined) waiting?.resolve(result);
      else waiting?.reject(errorFromData(error));
    });
    worker.on('error', (error) => {
      if (this.#worker === worker) this.#worker = null;
      this.#failAll(
        new CloveError('IO', `the audit log cannot be read: ${String((error as Error).message)}`),
      );
    });
    worker.on('exit', () => {
      if (this.#worker !== worker) return;
      this.#worker = null;
      this.#failAll(new CloveError('IO', 'the thread that reads the audit log ended'));
    });
    worker.unref();
    return worker;
  }

  #failAll(error: CloveError): void {
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }
}
