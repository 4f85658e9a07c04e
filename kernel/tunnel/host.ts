import path from 'node:path';
import { type Caller, FIRST_CLIENT_ID, FIRST_REMOTE_ID } from '../identity.ts';
import type { Kernel } from '../kernel.ts';
import { AGENT_HOME, levelGrants } from '../permissions/levels.ts';
import { NO_QUOTAS } from '../permissions/quotas.ts';
import type { RemoteAgent } from './remote-agent.ts';
import type { RemoteHost } from './remotes.ts';
import type { RelayTarget } from './settings.ts';
import type { TunnelEvents } from './tunnel.ts';
import { Workspace } from './workspace.ts';

const MAX_NAME_CHARS = 64;

interface Guest {
  readonly listener: number;
  readonly workspace: Workspace;
  readonly name: string;
  /** Its connection has reached the dispatcher, which says when it is over. */
  isOpen: boolean;
}

/** Makes remote agents principals of this kernel: with grants, quotas, a mailbox and a socket of their own, and a place to work. */
export class TunnelHost implements RemoteHost, TunnelEvents {
  readonly #getKernel: () => Kernel;
  readonly #folder: string;
  readonly #guests = new Map<number, Guest>();
  /** Workspaces that are being taken down. */
  readonly #closing = new Set<Promise<void>>();
  #lastId = FIRST_REMOTE_ID - 1;

  /** `folder`: the kernel's alone. */
  constructor(kernel: () => Kernel, folder: string) {
    this.#getKernel = kernel;
    this.#folder = folder;
  }

  get #kernel(): Kernel {
    return this.#getKernel();
  }

  admit(name: string): { readonly id: number; readonly socketPath: string } {
    const { permissions, quotas, wire, options, launcher, tunnel } = this.#kernel;
    this.#lastId = this.#lastId + 1 >= FIRST_CLIENT_ID ? FIRST_REMOTE_ID : this.#lastId + 1;
    const id = this.#lastId;
    const socketPath = path.join(this.#folder, `r${id}.sock`);
    const listener = wire.listen(socketPath, {
      principal: id,
      mode: 0o600,
      uid: null,
      gid: null,
      allowUids: [process.geteuid?.() ?? 0],
      // The tunnel's own; nobody else is this agent.
      maxConnections: 1,
    });
    const { remoteLevel, remoteSyscallsPerSecond } = tunnel.options;
    permissions.adopt(id, 0, levelGrants(remoteLevel, AGENT_HOME));
    quotas.open(id, 0);
    quotas.set(id, { ...NO_QUOTAS, syscallsPerSecond: remoteSyscallsPerSecond });
    const workspace = new Workspace(launcher, options.sandbox);
    this.#guests.set(id, { listener, workspace, name: this.#openMailbox(id, name), isOpen: false });
    return { id, socketPath };
  }

  /** No name of the relay's choosing takes one that an agent here could have. */
  #openMailbox(id: number, name: string): string {
    const { mailboxes } = this.#kernel;
    const plain = name.replace(/[^\x21-\x7e]/g, '_').slice(0, MAX_NAME_CHARS) || 'unnamed';
    for (const wanted of [`remote:${plain}`, `remote:${plain}:${id}`]) {
      try {
        mailboxes.open(id, { name: wanted });
        return wanted;
      } catch {
        // Another remote agent has it.
      }
    }
    mailboxes.open(id);
    return '';
  }

  dismiss(id: number): void {
    const guest = this.#guests.get(id);
    if (guest === undefined) return;
    const closing = guest.workspace.close().finally(() => this.#closing.delete(closing));
    this.#closing.add(closing);
    this.#kernel.wire.closeListener(guest.listener);
    // Else the dispatcher does so when the last of its calls is called off.
    if (guest.isOpen) return;
    this.#guests.delete(id);
    this.#kernel.release(id);
  }

  /** The dispatcher lets its connection in; false = it has gone meanwhile. */
  open(id: number): boolean {
    const guest = this.#guests.get(id);
    if (guest === undefined || this.#kernel.tunnel.agentOf(id) === undefined) return false;
    guest.isOpen = true;
    return true;
  }

  /** Nothing of it will be asked any more. */
  closed(id: number): void {
    this.#guests.delete(id);
  }

  has(id: number): boolean {
    return this.#guests.has(id);
  }

  /** null = no remote agent has this id. */
  workspaceOf(id: number): Workspace | null {
    return this.#guests.get(id)?.workspace ?? null;
  }

  /** Resolves when no process of a workspace is left. */
  async close(): Promise<void> {
    await Promise.all([...this.#closing]);
  }

  onArrived(agent: RemoteAgent): void {
    this.#agentEvent('REMOTE_AGENT_CONNECTED', agent, {});
  }

  onLeft(agent: RemoteAgent, reason: string): void {
    this.#agentEvent('REMOTE_AGENT_DISCONNECTED', agent, { reason, calls: agent.calls });
  }

  onConnected({ relayUrl, machineId }: RelayTarget): void {
    this.#event('TUNNEL_CONNECTED', true, { relay_url: relayUrl, machine_id: machineId });
  }

  onLost({ relayUrl, machineId }: RelayTarget, reason: string): void {
    this.#event('TUNNEL_LOST', false, { relay_url: relayUrl, machine_id: machineId, reason });
  }

  onRefused(what: string): void {
    this.#event('TUNNEL_REQUEST_REFUSED', false, { request: what });
  }

  #event(type: string, success: boolean, details: Readonly<Record<string, unknown>>): void {
    this.#kernel.log.info({ ...details }, type);
    void this.#kernel.audit.event({ category: 'SECURITY', type, success, details });
  }

  /** Among what agents do: however often they come and go, nothing of what operators did is pushed out. */
  #agentEvent(type: string, agent: RemoteAgent, details: Readonly<Record<string, unknown>>): void {
    const name = this.#guests.get(agent.id)?.name ?? '';
    const caller: Caller = { id: agent.id, kind: 'remote', connection: 0, peer: { pid: 0, uid: 0, gid: 0 } };
    void this.#kernel.audit.event({
      category: 'AGENT_LIFECYCLE',
      type,
      agentId: agent.id,
      agentName: name,
      by: { caller, name },
      details: { ...details, relay_agent_id: agent.relayId, relay_name: agent.name.slice(0, 128) },
    });
  }
}
