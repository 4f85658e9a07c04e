import { existsSync, mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { CloveError, isCloveError } from '../errors/index.ts';
import { reconcile } from '../native/index.ts';
import { type FileLock, tryLock } from './locks.ts';

export const BOOT_ID = /^[a-z0-9]{8}$/;
const ATTEMPTS = 100;
const ATTEMPT_MS = 50;
export const BOOT_LOCK = /^boot-([a-z0-9]{8})\.lock$/;

/** The folder of one run of a kernel; locked as long as the run lasts. */
export interface Boot {
  readonly id: string;
  readonly directory: string;
  /** Parent of its cgroups, as in SandboxSpec. */
  readonly cgroupParent: string;
  /** Also when a process of it does not die: then the lock file stays, by which the next start finds its groups. @throws IO */
  remove(): Promise<void>;
}

export function cgroupParentOf(bootId: string): string {
  return `clove/${bootId}`;
}

function directoryOf(runDirectory: string, bootId: string): string {
  return path.join(runDirectory, `boot-${bootId}`);
}

function removeFolder(runDirectory: string, bootId: string): void {
  rmSync(directoryOf(runDirectory, bootId), { recursive: true, force: true });
}

/** Boots of this process: alive, whatever their locks say. */
const open = new Set<string>();

export function isOpenHere(bootId: string): boolean {
  return open.has(bootId);
}

/** @throws IO */
export function openBoot(runDirectory: string, makeId: () => string, log: Logger): Boot {
  for (let attempt = 0; attempt < 8; attempt += 1) {
    const id = makeId();
    const file = path.join(runDirectory, `boot-${id}.lock`);
    const lock = tryLock(file);
    // Another kernel that clears up may have taken the new file for that of a dead boot.
    if (lock === null || !existsSync(file)) continue;
    const directory = directoryOf(runDirectory, id);
    mkdirSync(directory, { mode: 0o700 });
    open.add(id);
    return {
      id,
      directory,
      cgroupParent: cgroupParentOf(id),
      remove: async () => {
        try {
          await removeGroups(id);
          removeFolder(runDirectory, id);
          rmSync(file, { force: true });
        } catch (error) {
          // CONFLICT: the process of a sandbox of this very kernel, or another kernel has begun to clear up.
          if (!isCloveError(error) || (error.code !== 'TIMEOUT' && error.code !== 'CONFLICT')) throw error;
          log.error({ err: error }, 'processes that cannot be killed are left to the next start of a kernel');
          removeFolder(runDirectory, id);
        } finally {
          lock.release();
          open.delete(id);
        }
      },
    };
  }
  throw new CloveError('IO', `cannot claim a boot folder in ${runDirectory}`);
}

/**
 * Whoever holds the lock of a boot knows that it is dead. When its groups are held all the same, another kernel that has just
 * started clears them up too: it is waited for, or the folder would stay until the next start. @throws CONFLICT, TIMEOUT, IO
 */
async function removeGroups(id: string): Promise<void> {
  for (let left = ATTEMPTS; ; left -= 1) {
    try {
      await reconcile(cgroupParentOf(id));
      return;
    } catch (error) {
      if (left === 0 || !isCloveError(error) || error.code !== 'CONFLICT') throw error;
      await sleep(ATTEMPT_MS);
    }
  }
}

/** @throws CONFLICT, TIMEOUT, IO */
export async function removeBoot(runDirectory: string, id: string, lock: FileLock): Promise<void> {
  try {
    await removeGroups(id);
    removeFolder(runDirectory, id);
    rmSync(path.join(runDirectory, `boot-${id}.lock`), { force: true });
  } finally {
    lock.release();
  }
}
