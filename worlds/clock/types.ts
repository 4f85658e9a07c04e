/** What a world's clock is to everything that waits in the world. Times are milliseconds and may have fractions. */

/**
 * - `real`: virtual time is real time.
 * - `scale`: virtual time runs at a constant factor; compatibility only, every real delay is multiplied too.
 * - `step`: virtual time stands still and moves only by {@link WorldClock.advance}, and by what whoever may call that waits for itself.
 * - `skip`: virtual time is real time plus an offset that grows whenever everybody in the world waits.
 * - `strict`: as `skip`, one agent at a time: time stands still while somebody is busy, deadlines are met one by one, and what would be
 *   random in agents follows from the seed.
 */
export const CLOCK_MODES = ['real', 'scale', 'step', 'skip', 'strict'] as const;
export type ClockMode = (typeof CLOCK_MODES)[number];

/** What a model call costs in virtual time. */
export type LlmTimePrice =
  | { readonly kind: 'real' | 'free' | 'recorded' }
  | { readonly kind: 'fixed'; readonly ms: number }
  | { readonly kind: 'per-token'; readonly usPerToken: number };

export interface WorldTimer {
  /** A no-op once it has fired. */
  cancel(): void;
}

/** What a clock needs to go on elsewhere: plain JSON. */
export interface ClockState {
  readonly mode: ClockMode;
  /** Virtual epoch of the world's start. */
  readonly startEpochMs: number;
  /** Virtual time since the world's start at the moment of the snapshot. */
  readonly monotonicMs: number;
}

/** Something the clock was asked for and could not do; never an error of time, only of speed. */
export interface ClockDegradation {
  /** Stable name: `static-binary`, `other-libc`, `not-registered`, `livelock`, `coordinator-lost` … */
  readonly name: string;
  /** One sentence: who and what follows from it. */
  readonly detail: string;
  /** Virtual time when it was first seen. */
  readonly monotonicMs: number;
  /** Whether it holds now. */
  readonly active: boolean;
}

/** One process that lives in the world's time. */
export interface ClockProgram {
  readonly agent: number;
  /** Its number on the host. */
  readonly process: number;
  readonly name: string;
  /**
   * How its time is kept. 1: the library is preloaded into it; 2: its system calls are answered (static programs, Go, other C
   * libraries, and what these start); 0: not, or not yet: a degradation says so when it lasts.
   */
  readonly tier: number;
}

/** One forward move of the offset: from then on virtual time was ahead by `skippedMs` more. */
export interface ClockJump {
  /** Real epoch. */
  readonly realEpochMs: number;
  /** Virtual time before the jump. */
  readonly monotonicMs: number;
  readonly skippedMs: number;
}

export interface ClockStatus extends ClockState {
  readonly nowMs: number;
  /** How often and how far time was moved forward since the world's start (or its restore). */
  readonly jumps: number;
  readonly skippedMs: number;
  /** Why time runs at real speed now; empty = nothing holds it. */
  readonly leases: readonly string[];
  /** Timers of the kernel side that wait. */
  readonly timers: number;
  readonly degradations: readonly ClockDegradation[];
  /** Of mode `strict`: what does not follow from the seed all the same, and would have to be kept out of what is compared. */
  readonly notRepeated: readonly string[];
  /** Empty in a world without processes of its own. */
  readonly programs: readonly ClockProgram[];
}

export interface WorldClock {
  readonly mode: ClockMode;
  /** Virtual epoch time. */
  nowMs(): number;
  /** Virtual time since the world's start; never runs backwards. */
  monotonicMs(): number;
  /**
   * Calls `fire` once when virtual time has reached `atMonotonicMs`, never within this call. Of equal deadlines those without an owner
   * are met first, then by the owners' names, then in the order in which they were set: who set one first may be chance.
   */
  setTimer(atMonotonicMs: number, fire: () => void, owner?: string): WorldTimer;
  /**
   * Resolves when `ms` of virtual time have passed. Unlike a timer, a sleeper is somebody who waits: in skip mode time
   * jumps for it. @throws CANCELLED when the signal aborts or the clock is closed
   */
  sleep(ms: number, signal?: AbortSignal, owner?: string): Promise<void>;
  /** Nothing is skipped until it is disposed: for whatever takes real time (a model call, a real socket, a file system). */
  lease(reason: string): Disposable;
  /** Time stands still, and nothing is skipped, until it is disposed: for what is to cost nothing. In mode `real` it is a lease. */
  still(reason: string): Disposable;
  /**
   * The date that processes of the world read is off by so much from now on: nothing else of time changes, and neither does what this clock
   * says. Absent where processes read no clock of the world.
   */
  skew?(ms: number): void;
  /** Moves virtual time forward, firing everything on the way in order. @throws BAD_REQUEST in mode `real` */
  advance(ms: number): Promise<void>;
  /**
   * Until it is disposed of, a clock of mode `step` goes to the next deadline whenever somebody sleeps and nothing holds a lease: for
   * calls of whoever moves it by hand, who cannot do so meanwhile. In other modes it does nothing.
   */
  letPass(): Disposable;
  snapshot(): ClockState;
  status(): ClockStatus;
  /** The latest jumps, oldest first (bounded): what translates host times into virtual ones. */
  jumpLog(): readonly ClockJump[];
  /** Timers never fire after this; sleepers are cancelled. */
  close(): void;
}
