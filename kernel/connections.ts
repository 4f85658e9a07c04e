import type { WirePeer } from '../native/types.ts';
import type { Agent } from './agents/agent.ts';
import { AGENT_CONNECTIONS } from './agents/launcher.ts';
import { type Caller, FIRST_REMOTE_ID } from './identity.ts';
import type { Kernel } from './kernel.ts';
import type { SyscallContext } from './syscalls/define.ts';

/** One connection: who it is, and what its requests are given. */
export class Connection implements SyscallContext {
  readonly kernel: Kernel;
  readonly caller: Caller;
  /** Whose counters its requests go to; null for operators. */
  readonly agent: Agent | null;
  /** End of the last ordered request, while there is one. */
  tail: Promise<void> | null = null;
  closed = false;
  blockedLoggedAtMs = Number.NEGATIVE_INFINITY;
  blockedUnlogged = 0;
  #abort: AbortController | null = null;

  constructor(kernel: Kernel, caller: Caller, agent: Agent | null) {
    this.kernel = kernel;
    this.caller = caller;
    this.agent = agent;
  }

  /** As it is known to others; '' = it has no name. */
  get name(): string {
    return this.agent?.name ?? this.kernel.mailboxes.nameOf(this.caller.id);
  }

  /** Made when first asked for: most requests never wait for anything. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.closed) this.#abort.abort();
    return this.#abort.signal;
  }

  close(): void {
    this.closed = true;
    this.#abort?.abort();
  }
}

/** Who is connected. */
export class Connections {
  readonly #getKernel: () => Kernel;
  readonly #all = new Map<number, Connection>();
  readonly #ofAgent = new Map<number, Set<Connection>>();

  /** The kernel is asked for when the first connection comes. */
  constructor(getKernel: () => Kernel) {
    this.#getKernel = getKernel;
  }

  get #kernel(): Kernel {
    return this.#getKernel();
  }

  get(connection: number): Connection | undefined {
    return this.#all.get(connection);
  }

  open(connection: number, principal: number, peer: WirePeer): void {
    const kind = principal === 0 ? 'operator' : principal < FIRST_REMOTE_ID ? 'agent' : 'remote';
    if (
      (kind === 'agent' && this.#kernel.agents.get(principal) === undefined) ||
      (kind === 'remote' && !this.#kernel.remotes.open(principal))
    ) {
      // Accepted just before its agent was gone.
      this.#kernel.wire.closeConnection(connection);
      return;
    }
    const caller: Caller = { id: principal === 0 ? connection : principal, kind, connection, peer };
    const agent = kind === 'agent' ? (this.#kernel.agents.get(principal) ?? null) : null;
    const state = new Connection(this.#kernel, caller, agent);
    this.#all.set(connection, state);
    if (kind === 'agent') {
      const all = this.#ofAgent.getOrInsertComputed(caller.id, () => new Set());
      all.add(state);
      if (all.size >= AGENT_CONNECTIONS) this.#kernel.limits.connectionsFull(caller.id, AGENT_CONNECTIONS);
    }
    if (kind === 'operator') this.#kernel.mailboxes.open(caller.id);
  }

  close(connection: number): void {
    const state = this.#all.get(connection);
    if (state === undefined) return;
    this.#takeNativeCounts(state);
    this.#all.delete(connection);
    this.#forgetOfAgent(state);
    state.close();
    if (state.caller.kind !== 'agent') this.#kernel.release(state.caller.id);
  }

  #forgetOfAgent(state: Connection): void {
    const connections = this.#ofAgent.get(state.caller.id);
    connections?.delete(state);
    if (connections?.size === 0) this.#ofAgent.delete(state.caller.id);
  }

  closeAll(): void {
    for (const connection of [...this.#all.keys()]) this.close(connection);
  }

  /** Brings the counters of agents up to date with what the wire server answered by itself; an agent sees only its own. */
  collectNativeCountsFor(caller: Caller): void {
    const connections = caller.kind === 'agent' ? this.#ofAgent.get(caller.id) : this.#all.values();
    for (const connection of connections ?? []) this.#takeNativeCounts(connection);
  }

  /** Brings the counters of one agent up to date with what the wire server answered by itself. */
  collectNativeCountsOf(agentId: number): void {
    for (const connection of this.#ofAgent.get(agentId) ?? []) this.#takeNativeCounts(connection);
  }

  /** The same for all of them. */
  collectNativeCounts(): void {
    for (const connection of this.#all.values()) this.#takeNativeCounts(connection);
  }

  #takeNativeCounts(connection: Connection): void {
    if (connection.agent === null) return;
    connection.agent.counters.syscalls += this.#kernel.wire.takeNativeCounts(connection.caller.connection);
  }
}
