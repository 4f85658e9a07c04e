import { existsSync } from 'node:fs';
import path from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { CloveError, isCloveError } from '../../errors/index.ts';
import { formOf, openDatabaseToRead } from '../store/database.ts';
import { PACKED_AUDIT_FORM } from '../store/schema.ts';
import { type AnchorPlace, type AnchorState, anchorPlaceOf, readAnchor } from './anchor.ts';
import { type AuditEntry, type AuditQuery, exportLog, queryLog } from './query.ts';
import { verifyLog } from './verify.ts';
import { unreadableReport, type VerifyReport } from './verify-report.ts';

/** The files of a log. */
export interface LogFiles {
  readonly databasePath: string;
  readonly place: AnchorPlace;
}

/** Name of the kernel's database in its data directory. */
export const DATABASE_NAME = 'state.db';

export function logFilesOf(dataDirectory: string, anchorPath: string | null = null): LogFiles {
  return {
    databasePath: path.join(dataDirectory, DATABASE_NAME),
    place: anchorPlaceOf(dataDirectory, anchorPath),
  };
}

/** Migration that made the tables of the log. */
const FIRST_FORM = 2;

/** Checks a whole log, with or without a kernel that writes it. A damaged one is a report, too. @throws DATA_MISSING, IO */
export function verifyFiles({ databasePath, place }: LogFiles): VerifyReport {
  // Before the database: the log can only have grown since.
  let anchor = readAnchor(place);
  // That the database is gone while its anchor is there is what the anchor is for.
  if (!existsSync(databasePath) && anchor.state !== 'missing') {
    return unreadableReport(anchor, `there is no database ${databasePath}`);
  }
  for (;;) {
    const report = verifyWith(databasePath, anchor);
    const later = readAnchor(place);
    // A kernel that was started in between has opened a log that was closed.
    if (report.ok || isSame(anchor, later)) return report;
    anchor = later;
  }
}

/** Oldest first. @throws DATA_MISSING, DATA_CORRUPT, IO */
export function queryFiles({ databasePath }: LogFiles, query: AuditQuery): AuditEntry[] {
  const database = openDatabaseToRead(databasePath, FIRST_FORM);
  try {
    return queryLog(database, query, hasPacked(database));
  } catch (error) {
    throw asUnreadable(databasePath, error);
  } finally {
    database.close();
  }
}

/** All records of a query, one after the other. @throws DATA_MISSING, DATA_CORRUPT, IO */
export function* exportFiles(
  { databasePath }: LogFiles,
  query: Omit<AuditQuery, 'limit' | 'end'>,
): Generator<AuditEntry> {
  const database = openDatabaseToRead(databasePath, FIRST_FORM);
  try {
    yield* exportLog(database, query, hasPacked(database));
  } catch (error) {
    throw asUnreadable(databasePath, error);
  } finally {
    database.close();
  }
}

function verifyWith(databasePath: string, anchor: AnchorState): VerifyReport {
  try {
    const database = openDatabaseToRead(databasePath, FIRST_FORM);
    try {
      return verifyLog(database, anchor, hasPacked(database));
    } finally {
      database.close();
    }
  } catch (error) {
    if (isCloveError(error) && error.code === 'DATA_CORRUPT') return unreadableReport(anchor, error.message);
    throw error;
  }
}

/** A log of before is read as it is. */
function hasPacked(database: DatabaseSync): boolean {
  return formOf(database) >= PACKED_AUDIT_FORM;
}

function isSame(a: AnchorState, b: AnchorState): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function asUnreadable(databasePath: string, error: unknown): unknown {
  if (isCloveError(error)) return error;
  return new CloveError('DATA_CORRUPT', `cannot read the audit log in ${databasePath}: ${String(error)}`, {
    cause: error,
    hint: 'clove audit verify tells more.',
  });
}
