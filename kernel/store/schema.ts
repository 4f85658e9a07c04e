/**
 * The tables of a kernel's one database, as the steps that led to them: a database is brought up to date by the steps it has
 * not seen, each in a transaction of its own. Steps are appended, never edited.
 */
export const MIGRATIONS: readonly string[] = [
  // 1: key-value state of the global scope
  `CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value TEXT NOT NULL, expires_ms INTEGER) STRICT, WITHOUT ROWID;`,
  // 2: the audit log; see docs/design/audit.md
  `CREATE TABLE audit_records (
     seq INTEGER PRIMARY KEY,
     chain INTEGER NOT NULL,
     chain_seq INTEGER NOT NULL,
     agent_id INTEGER NOT NULL,
     body TEXT NOT NULL,
     hash TEXT NOT NULL
   ) STRICT;
   CREATE UNIQUE INDEX audit_by_chain ON audit_records (chain, chain_seq);
   CREATE INDEX audit_by_agent ON audit_records (agent_id, seq) WHERE agent_id <> 0;
   CREATE TABLE audit_settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;`,
];

/** What subsystems write, by name: the writer's thread prepares each once. Values are bound in the order of the marks. */
export const STATEMENTS = {
  'state.put':
    'INSERT INTO entries (key, value, expires_ms) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_ms = excluded.expires_ms',
  'state.delete': 'DELETE FROM entries WHERE key = ?',
  'audit.setting':
    'INSERT INTO audit_settings (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value',
} as const;

export type StatementName = keyof typeof STATEMENTS;
export type StoreOperation = readonly [
  statement: StatementName,
  ...values: readonly (string | number | null)[],
];
