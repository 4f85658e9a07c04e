import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { CloveError } from '../errors/index.ts';

/** Users of one kernel: a block of this size is its own on the whole machine. The last one is no agent's (native/addon/sandbox_user.cc). */
export const UIDS_PER_KERNEL = 4096;
/** The first number any kernel gives to an agent. */
export const FIRST_UID = 200_000;
const UID_BLOCKS = 256;

export interface FileLock {
  release(): void;
}

/**
 * A lock that the operating system drops when its holder dies, however it dies. Node has no flock; SQLite's exclusive
 * lock on an empty database file is a POSIX record lock with the same property.
 */
export function tryLock(file: string): FileLock | null {
  const database = new DatabaseSync(file);
  try {
    database.exec('PRAGMA busy_timeout = 0; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if (error instanceof Error && /locked|busy/i.test(error.message)) return null;
    throw new CloveError('IO', `cannot lock ${file}: ${(error as Error).message}`, { cause: error });
  }
  return { release: () => database.close() };
}

/** One kernel per data directory. @throws ALREADY_RUNNING, IO */
export function lockDataDirectory(directory: string): FileLock {
  const lock = tryLock(path.join(directory, 'kernel.lock'));
  if (lock !== null) return lock;
  throw new CloveError('ALREADY_RUNNING', `a kernel already uses the data directory ${directory}`, {
    hint: 'Stop it, or give this one another --data-dir.',
  });
}

/** Kernels on one machine must not give the same host user to two agents: each holds a block of them. */
export function lockUidBlock(directory: string): FileLock & { readonly firstUid: number } {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  for (let block = 0; block < UID_BLOCKS; block += 1) {
    const lock = tryLock(path.join(directory, `uids-${block}.lock`));
    if (lock !== null) {
      return { firstUid: FIRST_UID + block * UIDS_PER_KERNEL, release: () => lock.release() };
    }
  }
  throw new CloveError('OVERLOAD', `${UID_BLOCKS} kernels run on this machine already`);
}
