import { setTimeout as sleep } from 'node:timers/promises';

export interface Timed<Sample> {
  readonly sample: Sample;
  /** On a clock that never goes back. */
  readonly takenAtMs: number;
}

export interface Window<Sample> {
  readonly before: Timed<Sample>;
  readonly after: Timed<Sample>;
  readonly elapsedMs: number;
}

/** A window is as long as this at least, so that figures do not jump with the resolution of the counters. */
const SHORTEST_MS = 1000;
/** After so long without anybody asking, the last sample says nothing about now. */
const STALE_MS = 10_000;
/** How long the first who asks waits for a window of its own. */
const FIRST_MS = 100;

/**
 * Rates need two samples. Everybody who asks within one window gets the same one, so that no caller's figures depend on
 * when another caller asked.
 */
export class SampleWindow<Sample> {
  readonly #take: () => Sample;
  readonly #monotonicMs: () => number;
  #window: Window<Sample> | null = null;
  #opening: Promise<Window<Sample>> | null = null;

  constructor(take: () => Sample, monotonicMs: () => number = () => performance.now()) {
    this.#take = take;
    this.#monotonicMs = monotonicMs;
  }

  async current(): Promise<Window<Sample>> {
    const last = this.#window?.after;
    const ageMs = last === undefined ? Number.POSITIVE_INFINITY : this.#monotonicMs() - last.takenAtMs;
    if (last === undefined || ageMs > STALE_MS) {
      this.#opening ??= this.#open().finally(() => {
        this.#opening = null;
      });
      return this.#opening;
    }
    if (ageMs >= SHORTEST_MS) this.#window = this.#between(last, this.#sample());
    return this.#window as Window<Sample>;
  }

  async #open(): Promise<Window<Sample>> {
    const before = this.#sample();
    await sleep(FIRST_MS);
    this.#window = this.#between(before, this.#sample());
    return this.#window;
  }

  #between(before: Timed<Sample>, after: Timed<Sample>): Window<Sample> {
    return { before, after, elapsedMs: Math.max(1, after.takenAtMs - before.takenAtMs) };
  }

  #sample(): Timed<Sample> {
    return { sample: this.#take(), takenAtMs: this.#monotonicMs() };
  }
}
