import { readFileSync } from 'node:fs';
import { CloveError } from '../../errors/index.ts';

/** Where the users of agents come from. */
export interface Users {
  /** @throws OVERLOAD */
  take(): number;
  /** Only when the sandbox is wholly gone. */
  release(uid: number): void;
  /** Whether each agent has one of its own. */
  readonly exclusive: boolean;
}

/** An unprivileged kernel has no other user to give; the report of the layer `uid` says so. */
export function ownUser(uid: number): Users {
  return { take: () => uid, release: () => {}, exclusive: false };
}

/** Whether a number means a user here: in a user namespace most of them do not. */
export function isMappedUser(uid: number): boolean {
  let map: string;
  try {
    map = readFileSync('/proc/self/uid_map', 'utf8');
  } catch {
    return true; // a Linux without user namespaces
  }
  return map
    .trimEnd()
    .split('\n')
    .some((line) => {
      const [inside = 0, , count = 0] = line.trim().split(/\s+/).map(Number);
      return uid >= inside && uid - inside < count;
    });
}

/**
 * Host users for agents, one each. Handed out in turn, so that a freed one rests as long as possible: what a dead agent
 * may have left under its user does not meet the next one.
 */
export class UidPool implements Users {
  readonly exclusive = true;
  readonly #first: number;
  readonly #count: number;
  readonly #used = new Set<number>();
  readonly #foreign: ReadonlySet<number>;
  #next = 0;

  /** `foreign`: users that somebody else still has; they may become fewer. */
  constructor(first: number, count: number, foreign: ReadonlySet<number> = new Set()) {
    this.#first = first;
    this.#count = count;
    this.#foreign = foreign;
  }

  take(): number {
    for (let tries = 0; tries < this.#count; tries += 1) {
      const uid = this.#first + this.#next;
      this.#next = (this.#next + 1) % this.#count;
      if (!this.#used.has(uid) && !this.#foreign.has(uid)) {
        this.#used.add(uid);
        return uid;
      }
    }
    throw new CloveError('OVERLOAD', `all ${this.#count} users for agents are in use`);
  }

  release(uid: number): void {
    this.#used.delete(uid);
  }

  get inUse(): number {
    return this.#used.size;
  }
}
