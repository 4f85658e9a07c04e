import { JumpLog } from './jumps.ts';
import { Leases } from './leases.ts';
import { assertMovedBy, assertTimer, standing } from './moves.ts';
import type { ClockConfig } from './schema.ts';
import { Sleepers } from './sleep.ts';
import { NOT_REPEATED_IN_CALLS } from './strict.ts';
import { TimerQueue } from './timers.ts';
import type { ClockJump, ClockMode, ClockState, ClockStatus, WorldClock, WorldTimer } from './types.ts';

/** The longest that a timer of Node waits. */
const MAX_REAL_WAIT_MS = 2 ** 31 - 1;

/**
 * The clock of a world without processes of its own. In mode `skip` time jumps to the next deadline when somebody
 * sleeps and no lease is held: whoever runs agents in the world holds a lease for as long as one of them is busy. In mode `strict`
 * time passes by such jumps alone, and every deadline is met by itself: what one of them sets off has come to rest before the next.
 * `restored`: goes on at that virtual time, as if no real time had passed.
 */
export function createVirtualClock(config: ClockConfig, restored?: ClockState): WorldClock {
  return new VirtualClock(config, restored);
}

const LATEST_MS = 8e15;

class VirtualClock implements WorldClock {
  readonly mode: ClockMode;
  readonly #startEpochMs: number;
  readonly #horizonMs: number;
  /** Virtual per real time. */
  #rate: number;
  readonly #usualRate: number;
  #stills = 0;
  readonly #timers: TimerQueue;
  readonly #sleepers = new Sleepers();
  readonly #jumps = new JumpLog();
  readonly #leases: Leases;
  /** Virtual time at `#realBaseMs`. */
  #baseMs: number;
  #realBaseMs = performance.now();
  /** Counts everything that could make a jump wrong: two equal readings around a turn of the event loop are quiet. */
  #activity = 0;
  #realTimer: NodeJS.Timeout | null = null;
  #watch: NodeJS.Immediate | null = null;
  #advancing = 0;
  /** Calls that time may pass for though the clock is moved by hand. */
  #passing = 0;
  #closed = false;

  constructor(config: ClockConfig, restored: ClockState | undefined) {
    this.mode = config.mode;
    this.#startEpochMs = restored?.startEpochMs ?? config.start ?? Date.now();
    // Never beyond what a date holds.
    this.#horizonMs = Math.min(config.horizon ?? Number.POSITIVE_INFINITY, LATEST_MS - this.#startEpochMs);
    this.#usualRate =
      config.mode === 'step' || config.mode === 'strict' ? 0 : config.mode === 'scale' ? config.scale : 1;
    this.#rate = this.#usualRate;
    this.#baseMs = restored?.monotonicMs ?? 0;
    this.#timers = new TimerQueue(this.#baseMs);
    this.#leases = new Leases(() => this.#changed());
  }

  nowMs(): number {
    return this.#startEpochMs + this.monotonicMs();
  }

  monotonicMs(): number {
    return this.#baseMs + (performance.now() - this.#realBaseMs) * this.#rate;
  }

  setTimer(atMonotonicMs: number, fire: () => void, owner?: string): WorldTimer {
    assertTimer(atMonotonicMs, this.#closed);
    // The queue is only told the time when something fires; a deadline counts from now all the same.
    const timer = this.#timers.set(atMonotonicMs, fire, owner);
    this.#changed();
    return {
      cancel: () => {
        timer.cancel();
        this.#changed();
      },
    };
  }

  sleep(ms: number, signal?: AbortSignal, owner?: string): Promise<void> {
    const dueMs = this.monotonicMs() + Math.max(0, ms);
    const slept = this.#sleepers.sleep((fire) => this.setTimer(dueMs, fire, owner), signal);
    this.#changed(); // one sleeper more
    return slept;
  }

  lease(reason: string): Disposable {
    return this.#leases.take(reason);
  }

  still(reason: string): Disposable {
    const lease = this.#leases.take(reason);
    if (this.mode === 'real') return lease;
    return standing(lease, (by) => this.#stand(by));
  }

  async advance(ms: number): Promise<void> {
    assertMovedBy(ms, this.mode);
    const targetMs = this.monotonicMs() + ms;
    this.#advancing += 1;
    try {
      await turn(); // never from within something that fires now
      for (let next = this.#timers.nextMs; next !== null && next <= targetMs; next = this.#timers.nextMs) {
        if (this.#closed) return;
        this.#jumpTo(next);
        this.#fire();
        await turn(); // who was woken may set the next deadline on the way
      }
      if (!this.#closed) this.#jumpTo(targetMs);
    } finally {
      this.#advancing -= 1;
      this.#changed();
    }
  }

  letPass(): Disposable {
    this.#passing += 1;
    this.#changed();
    let isOpen = true;
    return {
      [Symbol.dispose]: () => {
        if (isOpen) this.#passing -= 1;
        isOpen = false;
      },
    };
  }

  snapshot(): ClockState {
    return { mode: this.mode, startEpochMs: this.#startEpochMs, monotonicMs: this.monotonicMs() };
  }

  status(): ClockStatus {
    return {
      ...this.snapshot(),
      nowMs: this.nowMs(),
      jumps: this.#jumps.count,
      skippedMs: this.#jumps.skippedMs,
      leases: this.#leases.reasons,
      timers: this.#timers.size,
      degradations: [],
      notRepeated: this.mode === 'strict' ? NOT_REPEATED_IN_CALLS : [],
      programs: [],
    };
  }

  jumpLog(): readonly ClockJump[] {
    return this.#jumps.latest();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#sleepers.close();
    this.#timers.clear();
    this.#disarm();
  }

  #stand(change: 1 | -1): void {
    this.#baseMs = this.monotonicMs();
    this.#realBaseMs = performance.now();
    this.#stills += change;
    this.#rate = this.#stills > 0 ? 0 : this.#usualRate;
    this.#changed();
  }

  #fire(): void {
    this.#timers.runTo(this.monotonicMs());
  }

  /** Forward only; what has passed by itself meanwhile needs no jump. */
  #jumpTo(monotonicMs: number): void {
    const nowMs = this.monotonicMs();
    if (monotonicMs <= nowMs) return;
    this.#baseMs += monotonicMs - nowMs;
    this.#jumps.add(nowMs, monotonicMs - nowMs);
  }

  #disarm(): void {
    if (this.#realTimer !== null) clearTimeout(this.#realTimer);
    if (this.#watch !== null) clearImmediate(this.#watch);
    this.#realTimer = null;
    this.#watch = null;
  }

  #changed(): void {
    this.#activity += 1;
    if (this.#closed || this.#advancing > 0) return;
    const next = this.#timers.nextMs;
    if (next === null) {
      this.#disarm();
      return;
    }
    if (this.mode !== 'strict') this.#armReal(next);
    if (this.#watch === null && this.#maySkip(next)) this.#watchIdle();
  }

  /** Real time always goes on: a deadline is met by waiting wherever nothing may be skipped. */
  #armReal(nextMs: number): void {
    if (this.#realTimer !== null) clearTimeout(this.#realTimer);
    this.#realTimer = null;
    const remainingMs = nextMs - this.monotonicMs();
    // A clock that stands still meets only what is due already.
    if (this.#rate === 0 && remainingMs > 0) return;
    const waitMs = remainingMs <= 0 ? 0 : Math.min(MAX_REAL_WAIT_MS, remainingMs / this.#rate);
    this.#realTimer = setTimeout(() => this.#due(), waitMs);
  }

  #due(): void {
    this.#realTimer = null;
    this.#fire();
    this.#changed();
  }

  #maySkip(nextMs: number): boolean {
    if (this.#leases.count > 0 || nextMs > this.#horizonMs) return false;
    if (this.mode === 'strict') return true;
    const skips = this.mode === 'skip' || (this.mode === 'step' && this.#passing > 0);
    return skips && this.#sleepers.size > 0 && nextMs > this.monotonicMs();
  }

  /** Jumps when a whole turn of the event loop has changed nothing. */
  #watchIdle(): void {
    const before = this.#activity;
    this.#watch = setImmediate(() => {
      this.#watch = null;
      const next = this.#timers.nextMs;
      if (this.#closed || this.#advancing > 0 || next === null || !this.#maySkip(next)) return;
      if (this.#activity !== before) {
        this.#watchIdle();
        return;
      }
      this.#jumpTo(next);
      if (this.mode === 'strict') this.#timers.runOne(this.monotonicMs());
      else this.#fire();
      this.#changed();
    });
  }
}

/** One turn of the event loop: promises and what they start. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
