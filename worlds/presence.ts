import { Attentions } from './attention.ts';
import type { WorldClock } from './clock/types.ts';
import { ServedCalls } from './served-calls.ts';

/** What the members of a world do to its time while they are in it: whether they work, wait, or are served. */
export class Presence {
  readonly #clock: WorldClock;
  readonly #attentions: Attentions;
  readonly #served: ServedCalls;
  readonly #sleeps = new Set<{ readonly memberId: number; readonly untilMs: number }>();

  constructor(clock: WorldClock) {
    this.#clock = clock;
    this.#attentions = new Attentions(clock);
    this.#served = new ServedCalls(clock);
  }

  /**
   * `isAgent`: it is busy unless it waits; of an operator's client nobody knows. `isWatched`: its process runs in this world, and
   * the clock sees itself whether it waits.
   */
  add(memberId: number, { isAgent, isWatched }: { isAgent: boolean; isWatched: boolean }): void {
    if (isWatched) this.#served.add(memberId);
    else if (isAgent) this.#attentions.add(memberId);
  }

  remove(memberId: number): void {
    this.#attentions.remove(memberId);
    this.#served.remove(memberId);
  }

  waits(memberId: number): Disposable {
    return this.#served.has(memberId) ? this.#served.wait(memberId) : this.#attentions.wait(memberId);
  }

  listens(memberId: number): Disposable {
    // Of an agent that tells by its calls alone what it does, one that is always open tells nothing.
    return this.#served.has(memberId) ? this.#served.wait(memberId) : { [Symbol.dispose]: () => undefined };
  }

  serves(memberId: number): Disposable | null {
    return this.#served.has(memberId) ? this.#served.serve(memberId) : null;
  }

  /** In the world's time. `name`: the same in every run, which ids need not be. */
  async sleep(
    memberId: number,
    until: { readonly forMs: number } | { readonly untilMs: number },
    { signal, name }: { readonly signal: AbortSignal; readonly name: string | undefined },
  ): Promise<void> {
    const beganMs = this.#clock.monotonicMs();
    const sleep = { memberId, untilMs: 'forMs' in until ? beganMs + until.forMs : until.untilMs };
    this.#sleeps.add(sleep);
    try {
      const forMs = 'forMs' in until ? until.forMs : until.untilMs - this.#clock.monotonicMs();
      await this.#clock.sleep(forMs, signal, name);
    } finally {
      this.#sleeps.delete(sleep);
    }
  }

  /** Until when a member sleeps, ms since the world's start: of each call that does, in the order in which they began. */
  sleepsUntilMs(memberId: number): number[] {
    return [...this.#sleeps].flatMap((sleep) => (sleep.memberId === memberId ? [sleep.untilMs] : []));
  }

  close(): void {
    this.#attentions.close();
    this.#served.close();
  }
}
