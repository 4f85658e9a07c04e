import { randomUUID } from 'node:crypto';
import { isCloveError } from '../../errors/index.ts';
import type { KernelMessage, RelaySyscall } from './messages.ts';
import { MadeOnce } from './once.ts';
import { errorAnswer, RemoteAgent } from './remote-agent.ts';

/** Agents that may be announced in a burst, and how many a second after it: each costs a socket and records. */
const BURST = 64;
const PER_SECOND = 16;
/** Calls of agents that the relay has not named yet; its list is on the way. */
const MAX_EARLY = 64;

/** What a remote agent is made of in this kernel. */
export interface RemoteHost {
  /** A new principal with a socket of its own. @throws OVERLOAD, IO */
  admit(name: string): { readonly id: number; readonly socketPath: string };
  /** It will not come back. */
  dismiss(id: number): void;
  /** Nothing of it will be asked any more. */
  closed(id: number): void;
  onArrived(agent: RemoteAgent): void;
  onLeft(agent: RemoteAgent, reason: string): void;
}

export interface RemotesOptions {
  readonly host: RemoteHost;
  readonly maxRemotes: () => number;
  readonly send: (message: KernelMessage) => void;
  readonly relayBytes: () => number;
  /** Milliseconds that never go back. */
  readonly monotonicMs?: () => number;
}

/**
 * The agents behind the relay. Its numbers for them are names within this one connection to it and nothing else: whatever it
 * claims, it gets at no agent of this kernel, and at nothing that an earlier agent of the same number had.
 */
export class Remotes {
  readonly #options: RemotesOptions;
  readonly #byRelayId = new Map<number, RemoteAgent>();
  readonly #once = new MadeOnce();
  readonly #monotonicMs: () => number;
  /** Calls that came before the relay's list; null = the list has come. */
  #early: RelaySyscall[] | null = null;
  #tokens = BURST;
  #tokensAtMs = 0;
  /** Agents that were not let in. */
  refused = 0;

  constructor(options: RemotesOptions) {
    this.#options = options;
    this.#monotonicMs = options.monotonicMs ?? (() => performance.now());
    this.#tokensAtMs = this.#monotonicMs();
  }

  get size(): number {
    return this.#byRelayId.size;
  }

  list(): RemoteAgent[] {
    return [...this.#byRelayId.values()];
  }

  byId(id: number): RemoteAgent | undefined {
    return this.list().find((agent) => agent.id === id);
  }

  /** A new connection to the relay: who is there, it will tell. */
  expectList(): void {
    this.#early = [];
  }

  listed(agents: readonly { readonly agent_id: number; readonly name: string }[]): void {
    const early = this.#early ?? [];
    this.#early = null;
    const present = new Set(agents.map(({ agent_id }) => agent_id));
    for (const agent of this.list()) {
      if (!present.has(agent.relayId)) this.#remove(agent, 'the relay does not list it any more');
    }
    for (const { agent_id, name } of agents) this.connected(agent_id, name);
    for (const message of early) this.syscall(message);
  }

  /** An announcement that comes twice changes nothing. */
  connected(relayId: number, name: string): void {
    const known = this.#byRelayId.get(relayId);
    if (known !== undefined) {
      if (known.name === name) return;
      // Another agent under the same number: what the first one held is not for it.
      this.#remove(known, 'the relay gave its number to another');
    }
    if (this.#byRelayId.size >= this.#options.maxRemotes() || !this.#takeToken()) {
      this.refused += 1;
      return;
    }
    const { host } = this.#options;
    let place: ReturnType<RemoteHost['admit']>;
    try {
      place = host.admit(name);
    } catch (error) {
      if (!isCloveError(error)) throw error;
      this.refused += 1;
      return;
    }
    const agent: RemoteAgent = new RemoteAgent({
      ...place,
      relayId,
      name,
      session: randomUUID(),
      once: this.#once,
      relayBytes: this.#options.relayBytes(),
      send: this.#options.send,
      onEnd: (reason) => this.#remove(agent, reason),
    });
    this.#byRelayId.set(relayId, agent);
    host.onArrived(agent);
  }

  disconnected(relayId: number): void {
    const agent = this.#byRelayId.get(relayId);
    if (agent !== undefined) this.#remove(agent, 'it has left the relay');
  }

  syscall(message: RelaySyscall): void {
    const agent = this.#byRelayId.get(message.agent_id);
    if (agent !== undefined) {
      agent.syscall(message);
      return;
    }
    if (this.#early !== null && this.#early.length < MAX_EARLY) {
      this.#early.push(message);
      return;
    }
    this.#options.send({
      type: 'response',
      agent_id: message.agent_id,
      opcode: message.opcode,
      payload: errorAnswer('NOT_FOUND', `agent ${message.agent_id} is not connected to this kernel`),
      ...(message.id === undefined ? {} : { id: message.id }),
    });
  }

  /** By whoever finds that it is over from the kernel's side. */
  release(id: number): void {
    const agent = this.byId(id);
    if (agent !== undefined) this.#remove(agent, 'the kernel let it go');
  }

  clear(reason: string): void {
    this.#early = null;
    for (const agent of this.list()) this.#remove(agent, reason);
  }

  #remove(agent: RemoteAgent, reason: string): void {
    if (this.#byRelayId.get(agent.relayId) !== agent) return;
    this.#byRelayId.delete(agent.relayId);
    agent.close();
    const { host } = this.#options;
    host.onLeft(agent, reason);
    host.dismiss(agent.id);
  }

  #takeToken(): boolean {
    const now = this.#monotonicMs();
    this.#tokens = Math.min(BURST, this.#tokens + ((now - this.#tokensAtMs) / 1000) * PER_SECOND);
    this.#tokensAtMs = now;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
