import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { DurableStore } from '../store/durable-store.ts';
import type { StoreOperation } from '../store/schema.ts';
import type { Agent } from './agent.ts';
import type {
  DesiredAgent,
  DesiredAuthority,
  DesiredRestarts,
  DesiredSpec,
  FleetRows,
} from './fleet-rows.ts';

/** Ids reserved on disk at a time: a kernel that is killed leaves out so many at most. */
const ID_BLOCK = 64;

export interface FleetOptions {
  readonly store: DurableStore;
  readonly rows: FleetRows;
  /** Where scripts are kept that came from other agents. */
  readonly folder: string;
  /** null = it has ended. */
  readonly authorityOf: (agentId: number) => DesiredAuthority | null;
  readonly namesOf: (agentId: number) => readonly string[];
}

/** What is known of an agent that outlives the kernel. */
interface Member {
  /** null = it has been admitted and does not run yet. */
  agent: Agent | null;
  /** As it was last written. JSON */
  authority: string;
  isScriptKept: boolean;
  /** As it was last written; null = it was not. */
  spec: DesiredSpec | null;
}

/**
 * The agents that the next kernel has to start again, in the durable store: who they are, what they may do, and what their
 * restart policy remembers. Every change is queued in the turn in which it happens, so that it is in one transaction with
 * whatever else that turn writes and records; who acknowledges it waits for the promise.
 */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #members = new Map<number, Member>();
  #reservedId: number;
  #lastId: number;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#reservedId = options.rows.usedId;
    this.#lastId = options.rows.usedId;
    // Many of them have the same.
    const texts = new Map<DesiredAuthority, string>();
    for (const { id, authority, spec } of options.rows.agents) {
      const { isScriptKept } = spec;
      const text = texts.getOrInsertComputed(authority, (each) => JSON.stringify(each));
      this.#members.set(id, { agent: null, authority: text, isScriptKept, spec });
    }
    this.#clearFolders();
  }

  /** Whether an agent outlives the kernel. */
  has(agentId: number): boolean {
    return this.#members.has(agentId);
  }

  get size(): number {
    return this.#members.size;
  }

  /** Takes care that no later kernel gives out this id again; null = done already. @throws IO */
  reserve(agentId: number): Promise<void> | null {
    this.#lastId = Math.max(this.#lastId, agentId);
    if (agentId <= this.#reservedId) return null;
    const before = this.#reservedId;
    this.#reservedId = agentId + ID_BLOCK - 1;
    return this.#options.store.write([['counter.put', 'agent_id', this.#reservedId]], () => {
      this.#reservedId = before;
    });
  }

  /** From here on what the agent keeps for itself is durable. */
  admit(agentId: number): void {
    this.#members.set(agentId, { agent: null, authority: '', isScriptKept: false, spec: null });
  }

  /** It runs; also with a new spec. Nothing when it has ended already. @throws IO */
  async put(agent: Agent, spec: DesiredSpec): Promise<void> {
    const member = this.#members.get(agent.id);
    if (member === undefined) return;
    member.agent = agent;
    member.spec = spec;
    member.isScriptKept = spec.isScriptKept;
    member.authority = JSON.stringify(this.#options.authorityOf(agent.id));
    await this.#options.store.write([
      [
        'fleet.put',
        agent.id,
        agent.name,
        JSON.stringify(spec),
        JSON.stringify(restartsOf(agent, null)),
        member.authority,
        JSON.stringify(this.#options.namesOf(agent.id)),
      ],
    ]);
  }

  /** It runs other code: so it does under the next kernel. @throws IO */
  async reloaded(agent: Agent): Promise<void> {
    const spec = this.#members.get(agent.id)?.spec;
    const { request, isScriptOfAgent } = agent.plan;
    if (spec === undefined || spec === null || request === null) return;
    await this.put(agent, { ...spec, request, isScriptKept: isScriptOfAgent === true });
  }

  /** An agent of the last kernel is back in the table. */
  restored(agent: Agent): void {
    const member = this.#members.get(agent.id);
    if (member !== undefined) member.agent = agent;
  }

  /** A restart is pending: count, window and deadline survive. */
  restartPending(agent: Agent, delayMs: number): void {
    if (!this.has(agent.id)) return;
    const restarts = JSON.stringify(restartsOf(agent, delayMs));
    // Not waited for: nobody was promised anything. Should the disk fail, the next kernel starts it sooner.
    const operations = [['fleet.restart', restarts, agent.id] as const, ...this.#changedAuthority(agent.id)];
    this.#options.store.write(operations).catch(() => {});
  }

  /** Grants or quotas of somebody were changed. @throws IO */
  async saveAuthority(): Promise<void> {
    const operations = [...this.#members.keys()].flatMap((id) => this.#changedAuthority(id));
    if (operations.length > 0) await this.#options.store.write(operations);
  }

  #changedAuthority(agentId: number): StoreOperation[] {
    const member = this.#members.get(agentId);
    if (member === undefined || member.agent === null) return [];
    const current = this.#options.authorityOf(agentId);
    const authority = JSON.stringify(current);
    if (current === null || authority === member.authority) return [];
    member.authority = authority;
    return [['fleet.authority', authority, agentId]];
  }

  /** It has registered a name. @throws IO */
  async saveNames(agentId: number): Promise<void> {
    if (!this.has(agentId)) return;
    const names = JSON.stringify(this.#options.namesOf(agentId));
    await this.#options.store.write([['fleet.names', names, agentId]]);
  }

  /** It is not wanted any more; with it goes what it kept for itself. null = it was not. @throws IO */
  remove(agentId: number): Promise<void> | null {
    const member = this.#members.get(agentId);
    if (member === undefined) return null;
    this.#members.delete(agentId);
    if (member.isScriptKept) rmSync(this.#folderOf(agentId), { recursive: true, force: true });
    return this.#options.store.write([
      ['fleet.delete', agentId],
      ['state.agent.clear', agentId],
    ]);
  }

  /** No id will be given out by this kernel any more: the next one goes on without a gap. */
  close(): void {
    this.#options.store.write([['counter.set', 'agent_id', this.#lastId]]).catch(() => {});
  }

  async keepScript(agentId: number, content: Uint8Array): Promise<void> {
    const folder = this.#folderOf(agentId);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    await writeFile(path.join(folder, 'script'), content, { mode: 0o600, flush: true });
  }

  readKeptScript(agentId: number): Promise<Uint8Array> {
    return readFile(path.join(this.#folderOf(agentId), 'script'));
  }

  #folderOf(agentId: number): string {
    return path.join(this.#options.folder, `a${agentId}`);
  }

  /** Of agents whose end the last kernel did not get to write down here. */
  #clearFolders(): void {
    mkdirSync(this.#options.folder, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.#options.folder)) {
      const id = /^a(\d+)$/.exec(name)?.[1];
      if (id === undefined || this.has(Number(id))) continue;
      rmSync(path.join(this.#options.folder, name), { recursive: true, force: true });
    }
  }
}

function restartsOf(agent: Agent, delayMs: number | null): DesiredRestarts {
  const wallMs = Date.now();
  return {
    ...agent.restart.save({ monotonicMs: performance.now(), wallMs }),
    pending: delayMs === null ? null : { dueWallMs: wallMs + delayMs, delayMs },
  };
}

/** How long each of some agents has to wait: as long as its backoff lasts, and so that no more than so many start in a second. */
export function startDelays(
  agents: readonly Pick<DesiredAgent, 'restart'>[],
  nowWallMs: number,
  startsPerSecond: number,
): number[] {
  const due = agents.map(({ restart: { pending } }) =>
    // A clock that was set back must not make anybody wait longer than it was to.
    pending === null ? 0 : Math.min(pending.delayMs, Math.max(0, pending.dueWallMs - nowWallMs)),
  );
  const delays: number[] = new Array(agents.length);
  let next = 0;
  for (const index of due
    .keys()
    .toArray()
    .sort((a, b) => (due[a] as number) - (due[b] as number))) {
    next = Math.max(next, due[index] as number);
    delays[index] = next;
    next += 1000 / startsPerSecond;
  }
  return delays;
}
