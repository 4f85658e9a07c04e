import { DatabaseSync } from 'node:sqlite';
import { CloveError } from '../../errors/index.ts';

const SCHEMA_VERSION = 1;

export interface StateRow {
  readonly key: string;
  /** JSON. */
  readonly value: string;
  /** Since the epoch; null = never. */
  readonly expiresWallMs: number | null;
}

/** The database of durable state, made when missing. @throws DATA_CORRUPT, IO */
export function openStateDatabase(databasePath: string): DatabaseSync {
  let database: DatabaseSync;
  try {
    database = new DatabaseSync(databasePath, { timeout: 5000 });
  } catch (error) {
    throw new CloveError('IO', `cannot open the state database ${databasePath}: ${reason(error)}`, {
      cause: error,
    });
  }
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    const version = Number(database.prepare('PRAGMA user_version').get()?.user_version);
    if (version > SCHEMA_VERSION) {
      throw new CloveError('DATA_CORRUPT', `${databasePath} was written by a newer Clove (form ${version})`);
    }
    database.exec(
      `CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value TEXT NOT NULL, expires_ms INTEGER) STRICT, WITHOUT ROWID;
       PRAGMA user_version = ${SCHEMA_VERSION};`,
    );
    return database;
  } catch (error) {
    database.close();
    if (error instanceof CloveError) throw error;
    throw new CloveError('DATA_CORRUPT', `cannot read the state database ${databasePath}: ${reason(error)}`, {
      cause: error,
      hint: 'Move the file away to start with empty state, or restore it from a backup.',
    });
  }
}

export function loadStateRows(databasePath: string): StateRow[] {
  const database = openStateDatabase(databasePath);
  try {
    return database
      .prepare('SELECT key, value, expires_ms AS expiresWallMs FROM entries ORDER BY key')
      .all() as unknown as StateRow[];
  } finally {
    database.close();
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
