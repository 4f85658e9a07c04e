import { existsSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { CloveError } from '../../errors/index.ts';
import { MIGRATIONS } from './schema.ts';

/** The kernel's database for writing, made or brought up to date where needed. @throws DATA_CORRUPT, IO */
export function openDatabase(databasePath: string): DatabaseSync {
  const database = open(databasePath, false);
  return orClose(database, databasePath, () => {
    // FULL: a commit is on disk, and stays there when the power fails.
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    migrate(database, databasePath);
  });
}

/**
 * For reading only, also beside a kernel that writes. `firstForm` is the form from which on it has what is looked for.
 * @throws DATA_MISSING, DATA_CORRUPT, IO
 */
export function openDatabaseToRead(databasePath: string, firstForm: number): DatabaseSync {
  if (!existsSync(databasePath)) {
    throw new CloveError('DATA_MISSING', `there is no database ${databasePath}`);
  }
  const database = open(databasePath, true);
  return orClose(database, databasePath, () => {
    const version = formOf(database);
    if (version >= firstForm && version <= MIGRATIONS.length) return;
    throw new CloveError(
      'DATA_CORRUPT',
      `${databasePath} has form ${version}, this Clove reads forms ${firstForm} to ${MIGRATIONS.length}`,
      { hint: 'Start the kernel of this version on it once, or use the Clove that wrote it.' },
    );
  });
}

function open(databasePath: string, readOnly: boolean): DatabaseSync {
  try {
    return new DatabaseSync(databasePath, { timeout: 5000, readOnly });
  } catch (error) {
    throw new CloveError('IO', `cannot open the database ${databasePath}: ${reason(error)}`, {
      cause: error,
    });
  }
}

function orClose(database: DatabaseSync, databasePath: string, prepare: () => void): DatabaseSync {
  try {
    prepare();
    return database;
  } catch (error) {
    database.close();
    if (error instanceof CloveError) throw error;
    throw new CloveError('DATA_CORRUPT', `cannot read the database ${databasePath}: ${reason(error)}`, {
      cause: error,
      hint: 'Move the file away to start with an empty one, or restore it from a backup.',
    });
  }
}

function migrate(database: DatabaseSync, databasePath: string): void {
  const version = formOf(database);
  if (version > MIGRATIONS.length) {
    throw new CloveError('DATA_CORRUPT', `${databasePath} was written by a newer Clove (form ${version})`);
  }
  for (const [index, step] of MIGRATIONS.entries()) {
    if (index < version) continue;
    database.exec(`BEGIN IMMEDIATE; ${step} PRAGMA user_version = ${index + 1}; COMMIT;`);
  }
}

/** How many of the steps it has seen. */
export function formOf(database: DatabaseSync): number {
  return Number(database.prepare('PRAGMA user_version').get()?.user_version);
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
