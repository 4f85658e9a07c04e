export type Health = 'none' | 'unknown' | 'healthy' | 'unhealthy';

/** What the outcomes of checks, one after the other, say of an incarnation. Pure. */
export class HealthState {
  readonly #failuresNeeded: number;
  readonly #startMs: number;
  #failures = 0;
  health: Exclude<Health, 'none'> = 'unknown';

  constructor(failuresNeeded: number, startMs: number) {
    this.#failuresNeeded = failuresNeeded;
    this.#startMs = startMs;
  }

  get failures(): number {
    return this.#failures;
  }

  /** `ageMs`: since the start of the incarnation. What it turns into; null = it stays as it is. */
  record(passed: boolean, ageMs: number): 'healthy' | 'unhealthy' | null {
    if (passed) {
      this.#failures = 0;
      return this.#turn('healthy');
    }
    // One that is still coming up may fail, until it was healthy once.
    if (ageMs < this.#startMs && this.health === 'unknown') return null;
    this.#failures += 1;
    return this.#failures >= this.#failuresNeeded ? this.#turn('unhealthy') : null;
  }

  #turn(to: 'healthy' | 'unhealthy'): 'healthy' | 'unhealthy' | null {
    if (this.health === to) return null;
    this.health = to;
    return to;
  }
}
