/** How often something may happen within a time, and when it did. Pure. */
export class Intensity {
  readonly max: number;
  readonly windowMs: number;
  #recentMs: number[] = [];

  constructor(max: number, windowMs: number) {
    this.max = max;
    this.windowMs = windowMs;
  }

  /** Counts one more; false = it is one too many, and is not counted. */
  admit(nowMs: number): boolean {
    this.#recentMs = this.#recentMs.filter((at) => nowMs - at < this.windowMs);
    if (this.#recentMs.length >= this.max) return false;
    this.#recentMs.push(nowMs);
    return true;
  }

  clear(): void {
    this.#recentMs = [];
  }

  /** By the wall clock: what the next kernel has to know. */
  save(now: { readonly monotonicMs: number; readonly wallMs: number }): number[] {
    return this.#recentMs.map((at) => Math.round(now.wallMs - (now.monotonicMs - at)));
  }

  /** What lies in the future by the wall clock (which was set back) counts as of just now. */
  restore(wallMs: readonly number[], now: { readonly monotonicMs: number; readonly wallMs: number }): void {
    this.#recentMs = wallMs.map((at) => now.monotonicMs - Math.max(0, now.wallMs - at));
  }
}
