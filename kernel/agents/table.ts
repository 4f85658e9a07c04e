import type { Agent } from './agent.ts';

/** How many ended agents stay known to WAIT and LOGS. */
const KEPT_ENDED = 4096;
/** Output kept of ended agents, all together. */
const KEPT_LOG_BYTES = 16 * 2 ** 20;

/** All agents by id and, while they live, by name. Ended ones are remembered for a while, newest last. */
export class AgentTable {
  readonly #live = new Map<number, Agent>();
  readonly #liveByName = new Map<string, Agent>();
  readonly #ended = new Map<number, Agent>();
  readonly #endedByName = new Map<string, Agent>();
  readonly #withLogs: Agent[] = [];
  #logBytes = 0;
  #lastId = 0;

  /** Gives the next agent this id: a replay starts agents under the ids they had. No live agent may have it. */
  continueAt(id: number): void {
    this.#lastId = id - 1;
  }

  nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  add(agent: Agent): void {
    this.#live.set(agent.id, agent);
    this.#liveByName.set(agent.name, agent);
  }

  /** Forgets an agent that never ran. */
  remove(agent: Agent): void {
    this.#live.delete(agent.id);
    if (this.#liveByName.get(agent.name) === agent) this.#liveByName.delete(agent.name);
  }

  /** Moves an agent that will not come back to the remembered ones. */
  retire(agent: Agent): void {
    if (!this.#live.delete(agent.id)) return;
    if (this.#liveByName.get(agent.name) === agent) this.#liveByName.delete(agent.name);
    this.remember(agent);
  }

  /** One that has ended, under this kernel or one before. */
  remember(agent: Agent): void {
    this.#ended.set(agent.id, agent);
    this.#endedByName.set(agent.name, agent);
    this.#withLogs.push(agent);
    this.#logBytes += agent.stdout.keptBytes + agent.stderr.keptBytes;
    while (this.#logBytes > KEPT_LOG_BYTES) this.#dropOldestLogs();
    if (this.#ended.size > KEPT_ENDED) this.#forgetOldest();
  }

  /** A live agent (also one that waits for its restart). */
  get(id: number): Agent | undefined {
    return this.#live.get(id);
  }

  byName(name: string): Agent | undefined {
    return this.#liveByName.get(name);
  }

  /** Live or remembered; of several with one name the live one, else the latest. */
  find(idOrName: number | string): Agent | undefined {
    return typeof idOrName === 'number'
      ? (this.#live.get(idOrName) ?? this.#ended.get(idOrName))
      : (this.#liveByName.get(idOrName) ?? this.#endedByName.get(idOrName));
  }

  /** Live agents in order of their ids. */
  list(): Agent[] {
    return [...this.#live.values()];
  }

  /** Remembered agents, oldest first. */
  listEnded(): Agent[] {
    return [...this.#ended.values()];
  }

  get size(): number {
    return this.#live.size;
  }

  #dropOldestLogs(): void {
    const agent = this.#withLogs.shift();
    if (agent === undefined) {
      this.#logBytes = 0;
      return;
    }
    this.#logBytes -= agent.stdout.keptBytes + agent.stderr.keptBytes;
    agent.stdout.discard();
    agent.stderr.discard();
  }

  #forgetOldest(): void {
    const oldest = this.#ended.values().next().value;
    if (oldest === undefined) return;
    this.#ended.delete(oldest.id);
    if (this.#endedByName.get(oldest.name) === oldest) this.#endedByName.delete(oldest.name);
    const at = this.#withLogs.indexOf(oldest);
    if (at >= 0) {
      this.#withLogs.splice(at, 1);
      this.#logBytes -= oldest.stdout.keptBytes + oldest.stderr.keptBytes;
    }
  }
}
