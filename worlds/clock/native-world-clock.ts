import type { NativeClock } from '../../native/clock.ts';
import { JumpLog } from './jumps.ts';
import { Leases } from './leases.ts';
import { assertMovedBy, assertTimer, standing } from './moves.ts';
import { Sleepers } from './sleep.ts';
import { NOT_REPEATED } from './strict.ts';
import { TimerQueue } from './timers.ts';
import type {
  ClockDegradation,
  ClockJump,
  ClockMode,
  ClockState,
  ClockStatus,
  WorldClock,
  WorldTimer,
} from './types.ts';

/** The kernel's side of a mounted world's clock: its timers run on the time that the coordinator keeps. */
export class NativeWorldClock implements WorldClock {
  readonly mode: ClockMode;
  readonly #native: NativeClock;
  readonly #startEpochMs: number;
  readonly #timers: TimerQueue;
  readonly #sleepers = new Sleepers();
  readonly #leases: Leases;
  readonly #jumps = new JumpLog();
  readonly #arrivals: { targetMs: number; arrive: () => void }[] = [];
  readonly #degradations: ClockDegradation[] = [];
  #held = 0;
  #closed = false;

  constructor(native: NativeClock, mode: ClockMode, startEpochMs: number) {
    this.#native = native;
    this.mode = mode;
    this.#startEpochMs = startEpochMs;
    this.#timers = new TimerQueue(native.elapsedMs());
    this.#leases = new Leases((count) => {
      // One for all: the coordinator only has to know whether there is any.
      if (count > 0 && this.#held === 0) native.lease(1);
      if (count === 0 && this.#held > 0) native.lease(-1);
      this.#held = count;
    });
  }

  nowMs(): number {
    return this.#startEpochMs + this.monotonicMs();
  }

  monotonicMs(): number {
    return this.#native.elapsedMs();
  }

  setTimer(atMonotonicMs: number, fire: () => void, owner?: string): WorldTimer {
    assertTimer(atMonotonicMs, this.#closed);
    const timer = this.#timers.set(atMonotonicMs, fire, owner);
    this.#arm();
    return {
      cancel: () => {
        timer.cancel();
        this.#arm();
      },
    };
  }

  sleep(ms: number, signal?: AbortSignal, owner?: string): Promise<void> {
    const dueMs = this.monotonicMs() + Math.max(0, ms);
    const slept = this.#sleepers.sleep((fire) => this.setTimer(dueMs, fire, owner), signal);
    this.#arm(); // one sleeper more
    return slept;
  }

  lease(reason: string): Disposable {
    return this.#leases.take(reason);
  }

  still(reason: string): Disposable {
    const lease = this.#leases.take(reason);
    if (this.mode === 'real') return lease;
    return standing(lease, (by) => this.#native.still(by));
  }

  advance(ms: number): Promise<void> {
    assertMovedBy(ms, this.mode);
    if (this.#closed) return Promise.resolve();
    const targetMs = this.monotonicMs() + ms;
    return new Promise((resolve) => {
      this.#arrivals.push({ targetMs, arrive: resolve });
      this.#arrivals.sort((a, b) => a.targetMs - b.targetMs);
      this.#native.advance(this.#arrivals[0]?.targetMs ?? targetMs);
      this.#hold();
    });
  }

  skew(ms: number): void {
    this.#native.skew(ms);
  }

  /** Processes that wait under a clock moved by hand wait for the hand. */
  letPass(): Disposable {
    return { [Symbol.dispose]: () => {} };
  }

  snapshot(): ClockState {
    return { mode: this.mode, startEpochMs: this.#startEpochMs, monotonicMs: this.monotonicMs() };
  }

  status(): ClockStatus {
    const { jumps, skippedMs, blocker, degradations, programs } = this.#native.status();
    const held = this.#leases.reasons;
    return {
      ...this.snapshot(),
      nowMs: this.nowMs(),
      jumps,
      skippedMs,
      leases: held.length > 0 || blocker === '' ? held : [blocker],
      timers: this.#timers.size,
      degradations: [...degradations, ...this.#degradations],
      notRepeated: this.mode === 'strict' ? NOT_REPEATED : [],
      programs,
    };
  }

  jumpLog(): readonly ClockJump[] {
    for (const jump of this.#native.takeJumps()) this.#jumps.append(...jump);
    return this.#jumps.latest();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#sleepers.close();
    this.#timers.clear();
    for (const { arrive } of this.#arrivals.splice(0)) arrive();
    this.#native.hold(false);
    this.#native.close();
  }

  /** Something that the coordinator does not know of. */
  degrade(name: string, detail: string): void {
    this.#degradations.push({ name, detail, monotonicMs: this.monotonicMs(), active: true });
  }

  /** The coordinator says that a timer is due. */
  fireDue(): void {
    if (this.#closed) return;
    // In a strict world each by itself: what it sets off has come to rest before the next.
    if (this.mode === 'strict') this.#timers.runOne(this.monotonicMs());
    else this.#timers.runTo(this.monotonicMs());
    // What was woken goes on within this turn of the event loop; only then is it known what comes next.
    setImmediate(() => this.#arm());
  }

  /** The coordinator says that it has come to where it was sent. */
  advanced(): void {
    // The coordinator counts nanoseconds; a sum of milliseconds may miss them by a rounding.
    const nowMs = this.monotonicMs() + 0.001;
    while (this.#arrivals[0] !== undefined && this.#arrivals[0].targetMs <= nowMs)
      this.#arrivals.shift()?.arrive();
    const next = this.#arrivals[0];
    if (next !== undefined) this.#native.advance(next.targetMs);
    this.#hold();
  }

  #arm(): void {
    if (this.#closed) return;
    this.#native.setTimer(this.#timers.nextMs, this.#sleepers.size > 0);
    this.#hold();
  }

  #hold(): void {
    this.#native.hold(this.#timers.size > 0 || this.#arrivals.length > 0);
  }
}
