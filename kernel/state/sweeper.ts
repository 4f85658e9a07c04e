const SWEEP_INTERVAL_MS = 60_000;
/** How late somebody who watches hears that a lifetime is over. */
const WATCHED_SWEEP_INTERVAL_MS = 1000;

/** Has what is expired freed now and then: seldom, or often while somebody watches. */
export class Sweeper {
  readonly #sweep: () => void;
  #timer: NodeJS.Timeout;
  #isOften = false;

  constructor(sweep: () => void) {
    this.#sweep = sweep;
    this.#timer = setInterval(sweep, SWEEP_INTERVAL_MS).unref();
  }

  setOften(isOften: boolean): void {
    if (isOften === this.#isOften) return;
    this.#isOften = isOften;
    clearInterval(this.#timer);
    const intervalMs = isOften ? WATCHED_SWEEP_INTERVAL_MS : SWEEP_INTERVAL_MS;
    this.#timer = setInterval(this.#sweep, intervalMs).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
