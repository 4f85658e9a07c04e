import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { isCloveError } from '../errors/index.ts';
import { reconcile } from '../native/index.ts';
import { BOOT_ID, BOOT_LOCK, cgroupParentOf, isOpenHere, removeBoot } from './boot.ts';
import { tryLock } from './locks.ts';

/** What one clears of its own predecessors is gone in tens of ms, unless a process does not die. */
const OWN_PATIENCE_MS = 500;
const OTHERS_PATIENCE_MS = 100;
const FIRST_RETRY_MS = 2_000;
const LONGEST_RETRY_MS = 60_000;

/**
 * What kernels left that died: their cgroups with everything in them, and their folders. Groups also of those with another
 * run folder, or whose folder is gone: nobody else would. A start waits a moment for it and no longer: there may be processes
 * that no SIGKILL ends for now, frozen by somebody else or in a system call that hangs. Those are tried again as long as this kernel lives.
 */
export class DeadBoots {
  readonly #runDirectory: string;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  readonly #clearing = new Map<string, Promise<void>>();
  readonly #staying = new Set<string>();
  /** Boots whose groups somebody holds: a living kernel, or one that clears them up and may give up. */
  readonly #held = new Set<string>();
  /** By the boots they were found in. */
  readonly #usersOf = new Map<string, ReadonlySet<number>>();
  readonly #users = new Set<number>();
  #retries: Promise<void> = Promise.resolve();

  constructor(runDirectory: string, log: Logger) {
    this.#runDirectory = runDirectory;
    this.#log = log;
  }

  /** Dead boots of which something is left. */
  get staying(): readonly string[] {
    return [...new Set([...this.#clearing.keys(), ...this.#staying])];
  }

  /** Host users of processes that were there when this kernel started, and may still be; nobody else is to have one of them. */
  get users(): ReadonlySet<number> {
    return this.#users;
  }

  /**
   * Begins with all of them, and waits for a moment. Never throws. Counts the users also of boots that somebody holds: whether
   * those are dead cannot be told, and whoever lives has users of another block.
   */
  async clear(): Promise<void> {
    const own = this.#clearOwn();
    const others = this.#clearOthers();
    await Promise.all([within(own, OWN_PATIENCE_MS), within(others, OTHERS_PATIENCE_MS)]);
    for (const id of bootsWithGroups()) if (!isOpenHere(id)) this.#usersOf.set(id, usersIn(id));
    this.#countUsers();
  }

  /** Goes on with what is left, again and again, and waits for nobody. */
  clearOn(): void {
    this.#retries = this.#clearOn().catch((error: unknown) => {
      this.#log.error({ err: error }, 'cannot clear up after kernels that died');
    });
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#retries;
  }

  async #clearOn(): Promise<void> {
    let delayMs = FIRST_RETRY_MS;
    for (;;) {
      await untilAborted(Promise.allSettled(this.#clearing.values()), this.#stop.signal);
      if (this.#stop.signal.aborted) return;
      for (const id of this.#usersOf.keys())
        if (!this.#staying.has(id) && !this.#held.has(id)) this.#usersOf.delete(id);
      this.#countUsers();
      if (this.#staying.size === 0 && this.#held.size === 0) return;
      await untilAborted(sleep(delayMs, undefined, { ref: false }), this.#stop.signal);
      if (this.#stop.signal.aborted) return;
      delayMs = Math.min(delayMs * 2, LONGEST_RETRY_MS);
      this.#staying.clear();
      this.#held.clear();
      void this.#clearOwn();
      void this.#clearOthers();
    }
  }

  #countUsers(): void {
    this.#users.clear();
    for (const users of this.#usersOf.values()) for (const uid of users) this.#users.add(uid);
  }

  /** Boots of this run folder whose lock nobody holds. */
  #clearOwn(): Promise<unknown> {
    const begun: Promise<void>[] = [];
    for (const name of readdirSync(this.#runDirectory)) {
      const id = BOOT_LOCK.exec(name)?.[1];
      if (id === undefined || isOpenHere(id) || this.#clearing.has(id)) continue;
      try {
        const lock = tryLock(path.join(this.#runDirectory, name));
        if (lock === null) continue;
        this.#log.warn({ deadBoot: id }, 'clearing up after a kernel that died');
        begun.push(this.#begin(id, removeBoot(this.#runDirectory, id, lock)));
      } catch (error) {
        this.#log.error({ err: error, deadBoot: id }, 'cannot clear up after a kernel that died');
      }
    }
    return Promise.all(begun);
  }

  #clearOthers(): Promise<unknown> {
    const others = [...bootsWithGroups()].filter((id) => !isOpenHere(id) && !this.#clearing.has(id));
    return Promise.all(
      others.map((id) =>
        this.#begin(
          id,
          reconcile(cgroupParentOf(id)).catch((error: unknown) => {
            if (!isCloveError(error) || error.code !== 'CONFLICT') throw error;
            this.#held.add(id);
          }),
        ),
      ),
    );
  }

  async #begin(id: string, cleared: Promise<void>): Promise<void> {
    const done = cleared.then(
      () => {},
      (error: unknown) => {
        this.#staying.add(id);
        this.#log.error(
          { err: error, deadBoot: id },
          'cannot clear up after a kernel that died; it is tried again',
        );
      },
    );
    this.#clearing.set(id, done);
    await done;
    this.#clearing.delete(id);
  }
}

async function within(work: Promise<unknown>, patienceMs: number): Promise<void> {
  const stop = new AbortController();
  await Promise.race([work, sleep(patienceMs, undefined, { signal: stop.signal }).catch(() => {})]);
  stop.abort();
}

async function untilAborted(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<void>();
  const onAbort = () => aborted.resolve();
  if (signal.aborted) return;
  signal.addEventListener('abort', onAbort, { once: true });
  await Promise.race([work, aborted.promise]);
  signal.removeEventListener('abort', onAbort);
}

/** Where hierarchies of cgroups are mounted. */
function hierarchies(): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(' ')[4] as string);
}

/** Boots that have a group in any hierarchy; without root only one's own, for nobody else's could be ended. */
function bootsWithGroups(): Set<string> {
  return new Set(
    hierarchies().flatMap((mount) => {
      const folder = path.join(mount, 'clove');
      return groupsIn(folder).filter((name) => BOOT_ID.test(name) && isOurs(path.join(folder, name)));
    }),
  );
}

function isOurs(group: string): boolean {
  const user = process.geteuid?.();
  return user === 0 || statSync(group, { throwIfNoEntry: false })?.uid === user;
}

function groupsIn(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch {
    return []; // no kernel has groups here, or they have just gone
  }
}

/** The users of all processes in the groups of a boot. */
function usersIn(bootId: string): Set<number> {
  const pids = new Set<number>(); // each is in several hierarchies
  const look = (group: string): void => {
    for (const pid of numbersIn(path.join(group, 'cgroup.procs'), /^[1-9]\d*$/gm)) pids.add(pid);
    for (const name of groupsIn(group)) look(path.join(group, name));
  };
  for (const mount of hierarchies()) look(path.join(mount, cgroupParentOf(bootId)));
  return new Set([...pids].flatMap((pid) => numbersIn(`/proc/${pid}/status`, /(?<=^Uid:.*)\d+/gm)));
}

function numbersIn(file: string, pattern: RegExp): number[] {
  try {
    return [...readFileSync(file, 'utf8').matchAll(pattern)].map(([text]) => Number(text));
  } catch {
    return []; // it has just ended
  }
}
