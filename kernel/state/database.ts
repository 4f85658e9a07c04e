import { openDatabase } from '../store/database.ts';

export interface StateRow {
  /** Agent id; 0 = the global scope. */
  readonly owner: number;
  readonly key: string;
  /** JSON. */
  readonly value: string;
  /** Since the epoch; null = never. */
  readonly expiresWallMs: number | null;
  /** Lifetime it was stored with; null = for ever. */
  readonly ttlMs: number | null;
  readonly version: number;
}

export interface StateRows {
  readonly rows: readonly StateRow[];
  /** No version up to here may be given out again. */
  readonly usedVersion: number;
}

/** @throws DATA_CORRUPT, IO */
export function loadState(databasePath: string): StateRows {
  const database = openDatabase(databasePath);
  try {
    const rows = database
      .prepare(
        `SELECT 0 AS owner, key, value, expires_ms AS expiresWallMs, ttl_ms AS ttlMs, version FROM entries
         UNION ALL
         SELECT owner, key, value, expires_ms, ttl_ms, version FROM agent_entries
         ORDER BY owner, key`,
      )
      .all() as unknown as StateRow[];
    const reserved = database.prepare("SELECT value FROM counters WHERE name = 'state_version'").get()?.value;
    const usedVersion = rows.reduce((most, { version }) => Math.max(most, version), Number(reserved ?? 0));
    return { rows, usedVersion };
  } finally {
    database.close();
  }
}
