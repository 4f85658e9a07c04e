import { openDatabase } from '../store/database.ts';

export interface StateRow {
  readonly key: string;
  /** JSON. */
  readonly value: string;
  /** Since the epoch; null = never. */
  readonly expiresWallMs: number | null;
}

/** @throws DATA_CORRUPT, IO */
export function loadStateRows(databasePath: string): StateRow[] {
  const database = openDatabase(databasePath);
  try {
    return database
      .prepare('SELECT key, value, expires_ms AS expiresWallMs FROM entries ORDER BY key')
      .all() as unknown as StateRow[];
  } finally {
    database.close();
  }
}
