import { type Clock, createClock } from '@sinonjs/fake-timers';
import type { WorldTimer } from './types.ts';

/** The longest delay that setTimeout takes; a later deadline is reached in hops. */
const MAX_HOP_MS = 2 ** 31 - 1;

interface Entry {
  readonly owner: string;
  readonly fire: () => void;
}

/**
 * The timers of a world's kernel side, in virtual time. It does not know how time passes: whoever owns it tells it
 * what time it is. Deadlines are met in order; of equal ones those without an owner come first, then the owners by name, each in the
 * order in which it set them: which of two processes came first to set the same deadline is chance, and no run would be like another.
 */
export class TimerQueue {
  readonly #clock: Clock;
  /** By deadline: what is due then, one alarm of the clock for each. */
  readonly #due = new Map<number, Entry[]>();
  #isRinging = false;

  constructor(monotonicMs: number) {
    this.#clock = createClock(Math.floor(monotonicMs));
  }

  /** The earliest deadline in whole milliseconds, null when there is none. */
  get nextMs(): number | null {
    return this.#clock.timerHeap?.peek()?.callAt ?? null;
  }

  get size(): number {
    return this.#clock.countTimers();
  }

  set(atMonotonicMs: number, fire: () => void, owner = ''): WorldTimer {
    // Never early: a deadline between two milliseconds is met at the second.
    // Nor within what fires now: that would let a chain of timers of no length stop time for ever.
    const due = Math.max(Math.ceil(atMonotonicMs), this.#clock.now + (this.#isRinging ? 1 : 0));
    const entry: Entry = { owner, fire };
    let id: ReturnType<Clock['setTimeout']>;
    const arm = (): void => {
      const remaining = due - this.#clock.now;
      if (remaining > MAX_HOP_MS) id = this.#clock.setTimeout(arm, MAX_HOP_MS);
      else id = this.#clock.setTimeout(() => this.#meet(due), Math.max(0, remaining));
    };
    const entries = this.#due.get(due);
    if (entries === undefined) this.#due.set(due, [entry]);
    else entries.splice(placeOf(entry, entries), 0, entry);
    arm();
    return {
      cancel: () => {
        if (this.#take(due, (each) => each.indexOf(entry)) !== undefined) this.#clock.clearTimeout(id);
      },
    };
  }

  /** Fires everything that is due at this virtual time. */
  runTo(monotonicMs: number): void {
    const ahead = Math.floor(monotonicMs) - this.#clock.now;
    // A tick of nothing still fires what is due now.
    if (ahead >= 0) this.#clock.tick(ahead);
  }

  /** Fires the one that is due first, if it is due at this virtual time. */
  runOne(monotonicMs: number): void {
    const { nextMs } = this;
    if (nextMs !== null && nextMs <= monotonicMs) this.#clock.next();
  }

  /** An alarm of this deadline rings: for whoever is first in line, which need not be who set this very alarm. */
  #meet(due: number): void {
    const entry = this.#take(due, () => 0);
    if (entry === undefined) return;
    this.#isRinging = true;
    guarded(entry.fire);
    this.#isRinging = false;
  }

  #take(due: number, which: (entries: readonly Entry[]) => number): Entry | undefined {
    const entries = this.#due.get(due);
    if (entries === undefined) return undefined;
    const at = which(entries);
    const [taken] = at < 0 ? [] : entries.splice(at, 1);
    if (entries.length === 0) this.#due.delete(due);
    return taken;
  }

  clear(): void {
    this.#due.clear();
    this.#clock.reset();
  }
}

/** After everything of an owner that is not behind its own. */
function placeOf({ owner }: Entry, entries: readonly Entry[]): number {
  const behind = entries.findIndex((each) => each.owner > owner);
  return behind < 0 ? entries.length : behind;
}

/** As of a timer of Node: what it throws is an uncaught exception, and no reason to leave out the timers after it. */
function guarded(fire: () => void): void {
  try {
    fire();
  } catch (error) {
    setImmediate(() => {
      throw error;
    });
  }
}
