/** Reasons not to skip, each held by somebody. */
export class Leases {
  readonly #held = new Map<symbol, string>();
  readonly #changed: (count: number) => void;

  constructor(changed: (count: number) => void) {
    this.#changed = changed;
  }

  get count(): number {
    return this.#held.size;
  }

  get reasons(): readonly string[] {
    return [...this.#held.values()];
  }

  take(reason: string): Disposable {
    const key = Symbol(reason);
    this.#held.set(key, reason);
    this.#changed(this.#held.size);
    return {
      [Symbol.dispose]: () => {
        if (this.#held.delete(key)) this.#changed(this.#held.size);
      },
    };
  }
}
