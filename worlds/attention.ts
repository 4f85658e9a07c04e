import type { WorldClock } from './clock/types.ts';

/**
 * How long an agent may have made no call, while fewer of its waits are open than once were, before it is taken to have given one up: an
 * agent that used to wait for two things at once and now waits for one. Until then it is busy, and time runs at real speed.
 */
const FORGET_AFTER_MS = 250;

interface Attention {
  /** Waits that are open. */
  waiting: number;
  /** As many as were open at once: so many threads of control an agent has, as far as its calls tell. */
  loops: number;
  /** Held while it is busy. */
  lease: Disposable | null;
  forget: NodeJS.Timeout | null;
}

/**
 * Which agents of a world are busy. An agent that is not in a call that waits (for a message, an event, the world's time or its
 * network) is doing something that takes real time, and holds the clock of a world that skips at real speed.
 */
export class Attentions {
  readonly #clock: WorldClock;
  readonly #agents = new Map<number, Attention>();

  constructor(clock: WorldClock) {
    this.#clock = clock;
  }

  /** Busy until it first waits: it is starting. */
  add(agentId: number): void {
    if (this.#agents.has(agentId)) return;
    this.#agents.set(agentId, { waiting: 0, loops: 1, lease: this.#lease(agentId), forget: null });
  }

  remove(agentId: number): void {
    const attention = this.#agents.get(agentId);
    if (attention === undefined) return;
    this.#agents.delete(agentId);
    clearTimeout(attention.forget ?? undefined);
    attention.lease?.[Symbol.dispose]();
  }

  /** The agent waits until this is disposed of. Somebody who was not added is nobody's concern. */
  wait(agentId: number): Disposable {
    const attention = this.#agents.get(agentId);
    if (attention === undefined) return { [Symbol.dispose]: () => {} };
    attention.waiting += 1;
    attention.loops = Math.max(attention.loops, attention.waiting);
    this.#look(agentId, attention);
    let open = true;
    return {
      [Symbol.dispose]: () => {
        if (!open) return;
        open = false;
        attention.waiting -= 1;
        if (this.#agents.get(agentId) === attention) this.#look(agentId, attention);
      },
    };
  }

  #look(agentId: number, attention: Attention): void {
    clearTimeout(attention.forget ?? undefined);
    attention.forget = null;
    if (attention.waiting === attention.loops) {
      attention.lease?.[Symbol.dispose]();
      attention.lease = null;
      return;
    }
    attention.lease ??= this.#lease(agentId);
    if (attention.waiting === 0) return;
    attention.forget = setTimeout(() => {
      attention.loops = attention.waiting;
      this.#look(agentId, attention);
    }, FORGET_AFTER_MS);
    attention.forget.unref();
  }

  close(): void {
    for (const agentId of [...this.#agents.keys()]) this.remove(agentId);
  }

  #lease(agentId: number): Disposable {
    return this.#clock.lease(`agent ${agentId} is busy`);
  }
}
