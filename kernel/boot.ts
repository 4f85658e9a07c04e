import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { CloveError, isCloveError } from '../errors/index.ts';
import { reconcile } from '../native/index.ts';
import { type FileLock, tryLock } from './locks.ts';

const BOOT_ID = /^[a-z0-9]{8}$/;
const ATTEMPTS = 100;
const ATTEMPT_MS = 50;
const LOCK = /^boot-([a-z0-9]{8})\.lock$/;

/** The folder of one run of a kernel; locked as long as the run lasts. */
export interface Boot {
  readonly id: string;
  readonly directory: string;
  /** Parent of its cgroups, as in SandboxSpec. */
  readonly cgroupParent: string;
  remove(): Promise<void>;
}

export function cgroupParentOf(bootId: string): string {
  return `clove/${bootId}`;
}

function directoryOf(runDirectory: string, bootId: string): string {
  return path.join(runDirectory, `boot-${bootId}`);
}

/** @throws IO */
export function openBoot(runDirectory: string, makeId: () => string): Boot {
  for (let attempt = 0; attempt < 8; attempt += 1) {
    const id = makeId();
    const file = path.join(runDirectory, `boot-${id}.lock`);
    const lock = tryLock(file);
    // Another kernel that clears up may have taken the new file for that of a dead boot.
    if (lock === null || !existsSync(file)) continue;
    const directory = directoryOf(runDirectory, id);
    mkdirSync(directory, { mode: 0o700 });
    return {
      id,
      directory,
      cgroupParent: cgroupParentOf(id),
      remove: () => removeBoot(runDirectory, id, lock),
    };
  }
  throw new CloveError('IO', `cannot claim a boot folder in ${runDirectory}`);
}

/**
 * Clears what kernels that died left behind: their cgroups with everything in them, and their folders. Groups also of those
 * with another run folder, or whose folder is gone: nobody else would. Never throws.
 */
export async function reconcileBoots(runDirectory: string, log: Logger): Promise<void> {
  await reconcileFolders(runDirectory, log);
  for (const id of bootsWithGroups()) {
    try {
      // Of a boot that lives, or is not ours to remove, nothing is touched.
      await reconcile(cgroupParentOf(id));
    } catch (error) {
      if (!isCloveError(error) || error.code !== 'CONFLICT')
        log.error({ err: error, deadBoot: id }, 'cannot remove the groups of a kernel that died');
    }
  }
}

async function reconcileFolders(runDirectory: string, log: Logger): Promise<void> {
  for (const name of readdirSync(runDirectory)) {
    const id = LOCK.exec(name)?.[1];
    if (id === undefined) continue;
    try {
      const lock = tryLock(path.join(runDirectory, name));
      if (lock === null) continue;
      log.warn({ deadBoot: id }, 'clearing up after a kernel that died');
      await removeBoot(runDirectory, id, lock);
    } catch (error) {
      log.error({ err: error, deadBoot: id }, 'cannot clear up after a kernel that died');
    }
  }
}

/** Boots that have a group in any hierarchy. */
function bootsWithGroups(): Set<string> {
  const boots = new Set<string>();
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    if (!/ - cgroup2? /.test(line)) continue;
    try {
      const groups = readdirSync(path.join(line.split(' ')[4] as string, 'clove'), { withFileTypes: true });
      for (const { name } of groups.filter((entry) => entry.isDirectory()))
        if (BOOT_ID.test(name)) boots.add(name);
    } catch {
      // No kernel has groups here.
    }
  }
  return boots;
}

/**
 * Whoever holds the lock of a boot knows that it is dead. When its groups are held all the same, another kernel that has just
 * started clears them up too: it is waited for, or the folder would stay until the next start. @throws CONFLICT, IO
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

async function removeBoot(runDirectory: string, id: string, lock: FileLock): Promise<void> {
  try {
    await removeGroups(id);
    rmSync(directoryOf(runDirectory, id), { recursive: true, force: true });
    rmSync(path.join(runDirectory, `boot-${id}.lock`), { force: true });
  } finally {
    lock.release();
  }
}
