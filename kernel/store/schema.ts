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
  // 3: versions of state, which only ever grow; state of agents that outlive the kernel
  `ALTER TABLE entries ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
   ALTER TABLE entries ADD COLUMN ttl_ms INTEGER;
   CREATE TABLE agent_entries (
     owner INTEGER NOT NULL,
     key TEXT NOT NULL,
     value TEXT NOT NULL,
     expires_ms INTEGER,
     ttl_ms INTEGER,
     version INTEGER NOT NULL,
     PRIMARY KEY (owner, key)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;`,
  // 4: agents that outlive the kernel; the columns but for id and name are JSON
  `CREATE TABLE agents (
     id INTEGER PRIMARY KEY,
     name TEXT NOT NULL,
     spec TEXT NOT NULL,
     restart TEXT NOT NULL,
     authority TEXT NOT NULL,
     names TEXT NOT NULL
   ) STRICT;`,
  // 5: tasks, as JSON
  `CREATE TABLE tasks (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;`,
  // 6: groups of the supervision trees; the columns but for the name are JSON
  `CREATE TABLE agent_groups (name TEXT PRIMARY KEY, spec TEXT NOT NULL, saved TEXT NOT NULL) STRICT, WITHOUT ROWID;`,
  // 7: rows of the audit log that hold many records; see docs/design/audit.md
  `ALTER TABLE audit_records ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
   ALTER TABLE audit_records ADD COLUMN agents TEXT;
   ALTER TABLE audit_records ADD COLUMN packed BLOB;`,
  // 8: what operators have set, as JSON
  `CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;`,
];

/** Form from which on a row of the audit log may hold many records. */
export const PACKED_AUDIT_FORM = 7;

/** What subsystems write, by name: the writer's thread prepares each once. Values are bound in the order of the marks. */
export const STATEMENTS = {
  'state.put':
    'INSERT OR REPLACE INTO entries (key, value, expires_ms, ttl_ms, version) VALUES (?, ?, ?, ?, ?)',
  'state.delete': 'DELETE FROM entries WHERE key = ?',
  'state.agent.put':
    'INSERT OR REPLACE INTO agent_entries (key, value, expires_ms, ttl_ms, version, owner) VALUES (?, ?, ?, ?, ?, ?)',
  'state.agent.delete': 'DELETE FROM agent_entries WHERE key = ? AND owner = ?',
  'state.agent.clear': 'DELETE FROM agent_entries WHERE owner = ?',
  'counter.put':
    'INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)',
  'counter.set':
    'INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
  'fleet.put':
    'INSERT OR REPLACE INTO agents (id, name, spec, restart, authority, names) VALUES (?, ?, ?, ?, ?, ?)',
  'fleet.restart': 'UPDATE agents SET restart = ? WHERE id = ?',
  'fleet.authority': 'UPDATE agents SET authority = ? WHERE id = ?',
  'fleet.names': 'UPDATE agents SET names = ? WHERE id = ?',
  'fleet.delete': 'DELETE FROM agents WHERE id = ?',
  'group.put': 'INSERT OR REPLACE INTO agent_groups (name, spec, saved) VALUES (?, ?, ?)',
  'group.saved': 'UPDATE agent_groups SET saved = ? WHERE name = ?',
  'group.delete': 'DELETE FROM agent_groups WHERE name = ?',
  'task.put': 'INSERT OR REPLACE INTO tasks (id, body) VALUES (?, ?)',
  'task.delete': 'DELETE FROM tasks WHERE id = ?',
  'setting.put': 'INSERT OR REPLACE INTO settings (name, value) VALUES (?, ?)',
  'setting.delete': 'DELETE FROM settings WHERE name = ?',
  'audit.setting':
    'INSERT INTO audit_settings (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value',
} as const;

export type StatementName = keyof typeof STATEMENTS;
export type StoreOperation = readonly [
  statement: StatementName,
  ...values: readonly (string | number | null)[],
];
