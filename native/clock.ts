// The coordinator of one world's clock: a thread of the addon that writes the world's page and moves time on.
import { CloveError } from '../errors/index.ts';
import { ensureClockLibrary, ensureClockStart } from './build.ts';
import { loadAddon } from './load.ts';

/** The library to be preloaded into agents. @throws SETUP_FAILED */
export function clockLibraryPath(): string {
  return ensureClockLibrary((line) => process.stderr.write(`clove: ${line}, once\n`));
}

/** Starts programs that take no library; null: not on this machine. @throws SETUP_FAILED */
export function clockStartPath(): string | null {
  return ensureClockStart((line) => process.stderr.write(`clove: ${line}, once\n`));
}

/** As the addon numbers them. */
const MODES = { real: 0, scale: 1, step: 2, skip: 3, strict: 4 } as const;

export interface NativeClockOptions {
  /** Host folder for the page and the bell; exists, belongs to the world alone, and is best on a tmpfs. */
  readonly folder: string;
  readonly mode: keyof typeof MODES;
  /** Virtual per real time; 1 but in mode scale. */
  readonly rate: number;
  /** Virtual epoch of the world's start; null = now. */
  readonly startEpochMs: number | null;
  /** Virtual time that has passed before: a world that goes on. */
  readonly elapsedMs: number;
  /** Virtual time since the start beyond which nothing is skipped; null = none. */
  readonly horizonMs: number | null;
  /** Deadlines this close to the next one are met by the same jump. */
  readonly coalesceMs: number;
  /** Whether threads of this process serve the agents: nothing is skipped while they work. */
  readonly watchesOwnProcess: boolean;
  /** So many short waits of one thread in a row are taken for polling. */
  readonly pollingJumps: number;
}

export interface NativeClockEvents {
  /** The timer of the kernel's side is due. */
  onDue(): void;
  /** Time has been moved as advance() asked. */
  onAdvanced(): void;
}

export interface NativeClockStatus {
  readonly jumps: number;
  readonly skippedMs: number;
  /** Real time that successful attempts to move on took, in all. */
  readonly attemptMs: number;
  /** Threads under watch. */
  readonly threads: number;
  /** Why time runs at real speed; '' = it does not, or somebody simply works. */
  readonly blocker: string;
  readonly degradations: readonly { name: string; detail: string; monotonicMs: number; active: boolean }[];
  /** The processes under watch. Tier 1: by the preloaded library; 2: by clove-start; 0: not covered, or not yet. */
  readonly programs: readonly { agent: number; process: number; tier: number; name: string }[];
}

interface Face {
  clockCreate(deliver: (signal: number) => void, options: Record<string, unknown>): unknown;
  clockClose(handle: unknown): void;
  clockHold(handle: unknown, on: boolean): void;
  clockElapsed(handle: unknown): number;
  clockPrepare(slotsPath: string, connectsOutside: boolean, seed: number): string;
  clockAdmit(
    handle: unknown,
    id: number,
    slotsPath: string,
    group: string,
    ignored: readonly number[],
  ): string;
  clockExpel(handle: unknown, id: number): void;
  clockLease(handle: unknown, change: number): void;
  clockStill(handle: unknown, change: number): void;
  clockSkew(handle: unknown, ms: number): void;
  clockSetTimer(handle: unknown, elapsedMs: number, isAwaited: boolean): void;
  clockAdvance(handle: unknown, elapsedMs: number): void;
  clockStatus(handle: unknown): NativeClockStatus;
  clockJumps(handle: unknown): Float64Array;
}

const NEVER_MS = 1e15;
/** Precision of a rate: the page holds it as a fraction. */
const RATE_PARTS = 1000;

/** Times are milliseconds of virtual time since the world's start. All methods are no-ops after close(). */
export class NativeClock {
  readonly #face: Face;
  readonly #handle: unknown;
  #closed = false;
  #lastElapsedMs = 0;

  /** @throws SETUP_FAILED */
  constructor(options: NativeClockOptions, events: NativeClockEvents) {
    this.#face = loadAddon() as unknown as Face;
    const handle = this.#face.clockCreate(
      (signal) => {
        if (signal === 0) events.onDue();
        else events.onAdvanced();
      },
      {
        ...options,
        mode: MODES[options.mode],
        rateNumerator: Math.max(1, Math.round(options.rate * RATE_PARTS)),
        rateDenominator: RATE_PARTS,
        startEpochMs: options.startEpochMs ?? -1,
        horizonMs: options.horizonMs ?? NEVER_MS,
      },
    );
    if (typeof handle === 'string') throw new CloveError('SETUP_FAILED', handle);
    this.#handle = handle;
  }

  elapsedMs(): number {
    if (!this.#closed) this.#lastElapsedMs = this.#face.clockElapsed(this.#handle);
    return this.#lastElapsedMs;
  }

  /**
   * Makes the file through which an agent's threads say what they wait for. `seed`: a whole number from which the agent's random
   * numbers follow in mode strict. @throws IO
   */
  prepare(slotsPath: string, connectsOutside: boolean, seed: number): void {
    const problem = this.#face.clockPrepare(slotsPath, connectsOutside, seed);
    if (problem !== '') throw new CloveError('IO', problem);
  }

  /** From now on nothing is skipped unless the threads of this control group wait. @throws IO */
  admit(id: number, slotsPath: string, group: string, ignoredProcesses: readonly number[]): void {
    if (this.#closed) return;
    const problem = this.#face.clockAdmit(this.#handle, id, slotsPath, group, ignoredProcesses);
    if (problem !== '') throw new CloveError('IO', problem);
  }

  expel(id: number): void {
    if (!this.#closed) this.#face.clockExpel(this.#handle, id);
  }

  /** When this returns from +1, nothing is skipped until it has been called with -1 as often. */
  lease(change: 1 | -1): void {
    if (!this.#closed) this.#face.clockLease(this.#handle, change);
  }

  /** The date that agents are told is off by so much from now on; how time passes is as before. */
  skew(ms: number): void {
    if (!this.#closed) this.#face.clockSkew(this.#handle, ms);
  }

  /** When this returns from +1, time stands still until it has been called with -1 as often. */
  still(change: 1 | -1): void {
    if (!this.#closed) this.#face.clockStill(this.#handle, change);
  }

  /** The next timer of the kernel's side (null = none), and whether somebody sleeps there. */
  setTimer(elapsedMs: number | null, isAwaited: boolean): void {
    if (!this.#closed) this.#face.clockSetTimer(this.#handle, elapsedMs ?? NEVER_MS, isAwaited);
  }

  advance(elapsedMs: number): void {
    if (!this.#closed) this.#face.clockAdvance(this.#handle, elapsedMs);
  }

  /** Whether the event loop waits for this clock. */
  hold(on: boolean): void {
    if (!this.#closed) this.#face.clockHold(this.#handle, on);
  }

  status(): NativeClockStatus {
    return this.#closed
      ? {
          jumps: 0,
          skippedMs: 0,
          attemptMs: 0,
          threads: 0,
          blocker: 'closed',
          degradations: [],
          programs: [],
        }
      : this.#face.clockStatus(this.#handle);
  }

  /** Jumps since the last call: real epoch, virtual time before, length; all ms. */
  takeJumps(): [realEpochMs: number, monotonicMs: number, skippedMs: number][] {
    if (this.#closed) return [];
    const flat = this.#face.clockJumps(this.#handle);
    return Array.from({ length: flat.length / 3 }, (_, i) => [
      flat[i * 3] ?? 0,
      flat[i * 3 + 1] ?? 0,
      flat[i * 3 + 2] ?? 0,
    ]);
  }

  /** Agents go on at real speed. */
  close(): void {
    if (this.#closed) return;
    this.elapsedMs();
    this.#closed = true;
    this.#face.clockClose(this.#handle);
  }
}
