import type { WorldClock } from './clock/types.ts';

interface Calls {
  /** Calls of the agent that the kernel has not answered. */
  open: number;
  /** Of these, such as wait for something that comes in the world's time. */
  waiting: number;
  /** Held while there are more of the former. */
  lease: Disposable | null;
}

/**
 * Agents whose threads the clock watches itself: whether they work or wait it sees, but not what the kernel does for them meanwhile.
 * A call that is being served takes real time, and holds the clock, unless it waits.
 */
export class ServedCalls {
  readonly #clock: WorldClock;
  readonly #agents = new Map<number, Calls>();

  constructor(clock: WorldClock) {
    this.#clock = clock;
  }

  add(agentId: number): void {
    if (!this.#agents.has(agentId)) this.#agents.set(agentId, { open: 0, waiting: 0, lease: null });
  }

  has(agentId: number): boolean {
    return this.#agents.has(agentId);
  }

  remove(agentId: number): void {
    this.#agents.get(agentId)?.lease?.[Symbol.dispose]();
    this.#agents.delete(agentId);
  }

  /** A call is served until this is disposed of. */
  serve(agentId: number): Disposable {
    return this.#count(agentId, 'open');
  }

  /** One of the calls waits until this is disposed of. */
  wait(agentId: number): Disposable {
    return this.#count(agentId, 'waiting');
  }

  close(): void {
    for (const agentId of [...this.#agents.keys()]) this.remove(agentId);
  }

  #count(agentId: number, what: 'open' | 'waiting'): Disposable {
    const calls = this.#agents.get(agentId);
    if (calls === undefined) return { [Symbol.dispose]: () => {} };
    calls[what] += 1;
    this.#look(agentId, calls);
    let counted = true;
    return {
      [Symbol.dispose]: () => {
        if (!counted) return;
        counted = false;
        calls[what] -= 1;
        if (this.#agents.get(agentId) === calls) this.#look(agentId, calls);
      },
    };
  }

  #look(agentId: number, calls: Calls): void {
    if (calls.open > calls.waiting) {
      calls.lease ??= this.#clock.lease(`the kernel serves agent ${agentId}`);
      return;
    }
    calls.lease?.[Symbol.dispose]();
    calls.lease = null;
  }
}
