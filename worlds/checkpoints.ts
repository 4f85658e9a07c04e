import { CloveError } from '../errors/index.ts';
import type { CheckpointState } from '../kernel/worlds/host.ts';

/** Of one agent, as JSON. */
const MAX_STATE_BYTES = 2 ** 20;
/** How long a snapshot waits for the answers of its agents, in real time. */
const ANSWER_MS = 10_000;

interface Hook {
  /** Somebody wants to know. */
  ask(checkpointId: number): void;
}

interface Asked {
  readonly agentId: number;
  answered(): void;
  /** The agent may go on: the snapshot has been taken. */
  readonly taken: PromiseWithResolvers<void>;
}

/** What agents of a world want to be given when they come back: what they left on their own, or gave when a snapshot asked. */
export class Checkpoints {
  readonly #nowMs: () => number;
  readonly #answerMs: number;
  readonly #hooks = new Map<number, Hook>();
  readonly #offered = new Set<number>();
  /** Of agents that have a hook and did not listen just then. */
  readonly #questions = new Map<number, number>();
  readonly #asked = new Map<number, Asked>();
  readonly #states = new Map<number, CheckpointState>();
  /** By name: for agents that are still to come. */
  readonly #restored = new Map<string, CheckpointState>();
  #lastId = 0;
  /** Resolves when nobody collects any more. */
  #turn: Promise<void> = Promise.resolve();

  constructor(nowMs: () => number, answerMs = ANSWER_MS) {
    this.#nowMs = nowMs;
    this.#answerMs = answerMs;
  }

  /** The agent's state as of now. @throws PAYLOAD_TOO_LARGE */
  keep(agentId: number, text: string, isAsked = false): void {
    if (Buffer.byteLength(text) > MAX_STATE_BYTES)
      throw new CloveError('PAYLOAD_TOO_LARGE', `a checkpoint has at most ${MAX_STATE_BYTES} bytes`);
    this.#states.set(agentId, { text, atMs: this.#nowMs(), isAsked });
  }

  /** Whether the agent has a hook: from then on snapshots wait for it, also while it is between two questions. */
  offer(agentId: number, isOffered: boolean): void {
    if (isOffered) this.#offered.add(agentId);
    else this.#withdraw(agentId);
  }

  /** Waits for a snapshot that wants the agent's state; its id. A new wait takes the place of an old one. */
  async wanted(agentId: number, signal: AbortSignal): Promise<number> {
    this.#offered.add(agentId);
    const missed = this.#questions.get(agentId);
    if (missed !== undefined) {
      this.#questions.delete(agentId);
      return missed;
    }
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const hook: Hook = { ask: resolve };
    this.#hooks.set(agentId, hook);
    const stop = () => {
      if (this.#hooks.get(agentId) === hook) this.#withdraw(agentId);
      reject(new CloveError('CANCELLED', 'the caller is gone'));
    };
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    try {
      return await promise;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /** The answer to a hook; resolves when the snapshot is taken. @throws NOT_FOUND, PAYLOAD_TOO_LARGE */
  async answer(agentId: number, checkpointId: number, text: string): Promise<void> {
    const asked = this.#asked.get(checkpointId);
    if (asked?.agentId !== agentId)
      throw new CloveError('NOT_FOUND', `nobody waits for checkpoint ${checkpointId}`);
    this.keep(agentId, text, true);
    asked.answered();
    await asked.taken.promise;
  }

  /** Asks every agent that has a hook, and waits for them. They wait in turn until what is returned is disposed of. */
  async collect(): Promise<Disposable> {
    // One snapshot after the other: an agent answers one question at a time, and for that one alone.
    const turn = this.#turn;
    const { promise: over, resolve: end } = Promise.withResolvers<void>();
    this.#turn = over;
    await turn;
    try {
      return await this.#collect(end);
    } catch (error) {
      end();
      throw error;
    }
  }

  async #collect(end: () => void): Promise<Disposable> {
    // What was given to an earlier snapshot is, to this one, a state that was left before.
    for (const [agentId, state] of this.#states) this.#states.set(agentId, { ...state, isAsked: false });
    const answers: Promise<void>[] = [];
    const asked: number[] = [];
    for (const agentId of this.#offered) {
      this.#lastId += 1;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#asked.set(this.#lastId, { agentId, answered: resolve, taken: Promise.withResolvers<void>() });
      asked.push(this.#lastId);
      answers.push(promise);
      const hook = this.#hooks.get(agentId);
      this.#hooks.delete(agentId);
      if (hook === undefined) this.#questions.set(agentId, this.#lastId);
      else hook.ask(this.#lastId);
    }
    if (answers.length > 0) {
      const late = Promise.withResolvers<void>();
      const timer = setTimeout(late.resolve, this.#answerMs);
      await Promise.race([Promise.all(answers), late.promise]);
      clearTimeout(timer);
    }
    return {
      [Symbol.dispose]: () => {
        for (const [agentId, id] of this.#questions) if (asked.includes(id)) this.#questions.delete(agentId);
        for (const id of asked) {
          this.#asked.get(id)?.taken.resolve();
          this.#asked.delete(id);
        }
        end();
      },
    };
  }

  of(agentId: number): CheckpointState | null {
    return this.#states.get(agentId) ?? null;
  }

  /** For the agent of this name, when it asks what it was restored with. */
  expect(name: string, state: CheckpointState): void {
    this.#restored.set(name, state);
  }

  restoredOf(name: string): CheckpointState | null {
    return this.#restored.get(name) ?? null;
  }

  release(agentId: number): void {
    this.#states.delete(agentId);
    this.#withdraw(agentId);
  }

  /** Nobody waits for an agent that is gone. */
  #withdraw(agentId: number): void {
    this.#offered.delete(agentId);
    this.#hooks.delete(agentId);
    this.#questions.delete(agentId);
    for (const asked of this.#asked.values()) if (asked.agentId === agentId) asked.answered();
  }
}
