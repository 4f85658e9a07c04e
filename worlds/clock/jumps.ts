import type { ClockJump } from './types.ts';

const KEPT_JUMPS = 4096;

/** What translates real times into virtual ones; the oldest are forgotten first. */
export class JumpLog {
  readonly #jumps: ClockJump[] = [];
  #count = 0;
  #skippedMs = 0;

  get count(): number {
    return this.#count;
  }

  get skippedMs(): number {
    return this.#skippedMs;
  }

  add(monotonicMs: number, skippedMs: number): void {
    this.append(Date.now(), monotonicMs, skippedMs);
  }

  /** One that somebody else made. */
  append(realEpochMs: number, monotonicMs: number, skippedMs: number): void {
    this.#count += 1;
    this.#skippedMs += skippedMs;
    this.#jumps.push({ realEpochMs, monotonicMs, skippedMs });
    // In halves: a shift of thousands at every jump would cost more than the jump.
    if (this.#jumps.length > 2 * KEPT_JUMPS) this.#jumps.splice(0, KEPT_JUMPS);
  }

  latest(): readonly ClockJump[] {
    return this.#jumps.slice(-KEPT_JUMPS);
  }
}
