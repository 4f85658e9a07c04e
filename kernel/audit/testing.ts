import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Caller } from '../identity.ts';
import { DurableStore } from '../store/durable-store.ts';
import { type AnchorPlace, anchorPlaceOf } from './anchor.ts';
import { AuditLog, type AuditLogOptions } from './audit-log.ts';
import { exportFiles, logFilesOf, verifyFiles } from './offline.ts';
import { openLog } from './open-log.ts';
import type { AuditEntry } from './query.ts';
import type { VerifyReport } from './verify-report.ts';

/** A log in a folder of its own, without a kernel. */
export class TestLog {
  readonly folder: string;
  readonly databasePath: string;
  readonly place: AnchorPlace;
  readonly store: DurableStore;
  readonly log: AuditLog;

  private constructor(folder: string, options: TestLogOptions) {
    this.folder = folder;
    this.databasePath = path.join(folder, 'state.db');
    this.place = anchorPlaceOf(folder);
    const opened = openLog(this.databasePath, this.place, { version: '0', bootId: 'testboot' });
    this.store = new DurableStore({
      databasePath: this.databasePath,
      anchorPlace: this.place,
      ...(options.recordCapacity === undefined
        ? {}
        : { recordCapacity: { records: options.recordCapacity, bytes: 2 ** 20 } }),
    });
    this.log = new AuditLog({
      store: this.store,
      bootId: 'testboot',
      config: { ...opened.config, ...options.config },
      onFailure: options.onFailure ?? 'stop',
      reader: { query: unread, verify: unread },
      ...(options.worldTimeOf === undefined ? {} : { worldTimeOf: options.worldTimeOf }),
    });
  }

  static open(options: TestLogOptions = {}): TestLog {
    return new TestLog(options.folder ?? mkdtempSync(path.join(tmpdir(), 'clove-audit-')), options);
  }

  /** Ends the writer; the folder stays. */
  close(): Promise<void> {
    return this.store.close();
  }

  verify(): VerifyReport {
    return verifyFolder(this.folder);
  }

  entries(): AuditEntry[] {
    return entriesOf(this.folder);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function unread(): never {
  throw new Error('read with entries() and verify()');
}

export interface TestLogOptions extends Partial<Pick<AuditLogOptions, 'onFailure' | 'worldTimeOf'>> {
  readonly folder?: string;
  readonly config?: Partial<AuditLogOptions['config'] & object>;
  readonly recordCapacity?: number;
}

export function verifyFolder(folder: string): VerifyReport {
  return verifyFiles(logFilesOf(folder));
}

export function entriesOf(folder: string): AuditEntry[] {
  return [...exportFiles(logFilesOf(folder), {})];
}

/** What somebody does who can write the file. */
export function tamper(folder: string, work: (database: DatabaseSync) => void): void {
  const database = new DatabaseSync(path.join(folder, 'state.db'));
  try {
    work(database);
  } finally {
    database.close();
  }
}

export const OPERATOR: Caller = {
  id: 2 ** 30,
  kind: 'operator',
  connection: 2 ** 30,
  peer: { pid: 1, uid: 0, gid: 0 },
};
export const AGENT: Caller = {
  id: 7,
  kind: 'agent',
  connection: 3,
  peer: { pid: 2, uid: 200_007, gid: 200_007 },
};
