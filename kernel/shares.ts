/** Of the thread's time, what one caller may take while others are there. */
const SHARE = 0.4;
/** What a caller earns of each ms in which it is not served. */
const EARNED = SHARE / (1 - SHARE);
/** How much of it at once: with 8 ms, what others asked beside a flood took half as long again. */
const BURST_MS = 1;
/** What can be held against a caller: a call of this length still costs it its share. */
const MAX_DEBT_MS = 50;
/** Whoever was served within this time is there. */
const PRESENT_MS = 100;
/** Callers with an account from which on old ones are looked for. */
const SWEEP_FROM = 256;

interface Credit {
  ms: number;
  atMs: number;
}

interface Served {
  readonly id: number;
  readonly atMs: number;
}

const NOBODY: Served = { id: Number.NaN, atMs: Number.NEGATIVE_INFINITY };

/**
 * How much time each caller has taken. Turns alone keep a flood from being served first; a thread that one caller keeps busy without
 * end is still a thread that is never there at once when somebody else comes. A caller that is alone is never held up.
 */
export class Shares {
  readonly #credits = new Map<number, Credit>();
  #sweepAt = SWEEP_FROM;
  #last = NOBODY;
  #other = NOBODY;

  /** Milliseconds until this caller may be served; 0 = now. */
  pauseMs(id: number, nowMs: number): number {
    const credit = this.#credits.get(id);
    if (credit === undefined) return 0;
    credit.ms = Math.min(BURST_MS, credit.ms + (nowMs - credit.atMs) * EARNED);
    credit.atMs = nowMs;
    if (credit.ms > 0 || !this.#isContended(id, nowMs)) return 0;
    return (1 - credit.ms) / EARNED;
  }

  took(id: number, fromMs: number, toMs: number): void {
    if (this.#last.id !== id) this.#other = this.#last;
    this.#last = { id, atMs: toMs };
    const credit = this.#credits.get(id);
    const ms = toMs - fromMs;
    if (credit === undefined) {
      if (this.#credits.size >= this.#sweepAt) this.#forgetOld(toMs);
      this.#credits.set(id, { ms: Math.max(-MAX_DEBT_MS, BURST_MS - ms), atMs: toMs });
      return;
    }
    // While it is being served it earns nothing. What it took while it was alone is not held against it for long.
    const before = Math.min(BURST_MS, credit.ms + Math.max(0, fromMs - credit.atMs) * EARNED);
    credit.ms = Math.max(-MAX_DEBT_MS, before - ms);
    credit.atMs = toMs;
  }

  /** Callers that never come again, too, are forgotten. */
  #forgetOld(nowMs: number): void {
    for (const [id, { ms, atMs }] of this.#credits)
      if (ms + (nowMs - atMs) * EARNED >= BURST_MS) this.#credits.delete(id);
    this.#sweepAt = Math.max(SWEEP_FROM, 2 * this.#credits.size);
  }

  get size(): number {
    return this.#credits.size;
  }

  #isContended(id: number, nowMs: number): boolean {
    const isPresent = (served: Served) => served.id !== id && nowMs - served.atMs < PRESENT_MS;
    return isPresent(this.#last) || isPresent(this.#other);
  }
}
