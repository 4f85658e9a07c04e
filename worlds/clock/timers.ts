import { type Clock, createClock } from '@sinonjs/fake-timers';
import type { WorldTimer } from './types.ts';

/** The longest delay that setTimeout takes; a later deadline is reached in hops. */
const MAX_HOP_MS = 2 ** 31 - 1;

/**
 * The timers of a world's kernel side, in virtual time. It does not know how time passes: whoever owns it tells it
 * what time it is. Deadlines are met in order, and at equal deadlines in the order in which they were set.
 */
export class TimerQueue {
  readonly #clock: Clock;

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

  set(atMonotonicMs: number, fire: () => void): WorldTimer {
    // Never early: a deadline between two milliseconds is met at the second.
    const due = Math.ceil(atMonotonicMs);
    let id: ReturnType<Clock['setTimeout']>;
    const arm = (): void => {
      const remaining = due - this.#clock.now;
      if (remaining > MAX_HOP_MS) id = this.#clock.setTimeout(arm, MAX_HOP_MS);
      else id = this.#clock.setTimeout(() => guarded(fire), Math.max(0, remaining));
    };
    arm();
    return { cancel: () => this.#clock.clearTimeout(id) };
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

  clear(): void {
    this.#clock.reset();
  }
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
