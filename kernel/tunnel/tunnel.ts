import { hostname } from 'node:os';
import { CloveError, isCloveError } from '../../errors/index.ts';
import type { KeepsByCaller } from '../kernel.ts';
import { fullJitterMs } from './backoff.ts';
import { type RelayMessage, USUAL_RELAY_BYTES } from './messages.ts';
import { RelayLink } from './relay-link.ts';
import type { RemoteAgent } from './remote-agent.ts';
import { type RemoteHost, Remotes } from './remotes.ts';
import { type SavedTunnel, withSaved } from './saved.ts';
import { type RelayTarget, type TunnelOptions, targetOf } from './settings.ts';

export type TunnelState = 'disconnected' | 'connecting' | 'connected' | 'reconnecting';

export interface TunnelStatus {
  readonly state: TunnelState;
  readonly target: RelayTarget | null;
  /** Round trip of the last ping, ms; null = none was answered. */
  readonly latencyMs: number | null;
  /** ms since the epoch; null = not connected. */
  readonly connectedAt: number | null;
  /** Connections that were lost since TUNNEL_CONNECT. */
  readonly losses: number;
  /** Why it was lost, or could not be had; null = nothing went wrong. */
  readonly lastError: string | null;
  /** ms until the next attempt; null = none is planned. */
  readonly nextAttemptMs: number | null;
  readonly refusedAgents: number;
}

export interface TunnelEvents {
  onConnected(target: RelayTarget): void;
  onLost(target: RelayTarget, reason: string): void;
  /** The relay asked for something that it has no say in. */
  onRefused(what: string): void;
}

export interface TunnelParts {
  readonly options: TunnelOptions;
  readonly host: RemoteHost;
  readonly events: TunnelEvents;
  /** What TUNNEL_CONFIG had set before. */
  readonly saved: SavedTunnel;
  /** Resolves when it will survive a crash. @throws IO */
  save(saved: SavedTunnel): Promise<void>;
  /** In [0, 1). */
  readonly random?: () => number;
}

/** A relay that asks for what it may not have is recorded so often, and no more: a second. */
const REFUSAL_RECORD_MS = 1000;

/**
 * The kernel's one connection to a relay, kept up until it is told to end. Nothing waits for it but who asked for it: a relay
 * that does not answer holds up nobody else.
 */
export class Tunnel implements KeepsByCaller {
  readonly #parts: TunnelParts;
  readonly #remotes: Remotes;
  #options: TunnelOptions;
  /** The last change is on disk. */
  #saving: Promise<void> = Promise.resolve();
  #saved: SavedTunnel;
  #target: RelayTarget | null = null;
  #state: TunnelState = 'disconnected';
  #link: RelayLink | null = null;
  /** Calls off what is being attempted. */
  #attempt: AbortController | null = null;
  #timer: NodeJS.Timeout | null = null;
  #dueAtMs: number | null = null;
  #connectedAt: number | null = null;
  #losses = 0;
  #attempts = 0;
  #lastError: string | null = null;
  #refusedAtMs = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(parts: TunnelParts) {
    this.#parts = parts;
    this.#saved = parts.saved;
    this.#options = withSaved(parts.options, parts.saved);
    this.#remotes = new Remotes({
      host: parts.host,
      maxRemotes: () => this.#options.maxRemotes,
      send: (message) => this.#link?.send(message),
      relayBytes: () => this.#link?.relayBytes ?? USUAL_RELAY_BYTES,
    });
  }

  get options(): TunnelOptions {
    return this.#options;
  }

  get status(): TunnelStatus {
    return {
      state: this.#state,
      target: this.#target,
      latencyMs: this.#link?.latencyMs ?? null,
      connectedAt: this.#connectedAt,
      losses: this.#losses,
      lastError: this.#lastError,
      nextAttemptMs: this.#dueAtMs === null ? null : Math.max(0, this.#dueAtMs - performance.now()),
      refusedAgents: this.#remotes.refused,
    };
  }

  get agents(): readonly RemoteAgent[] {
    return this.#remotes.list();
  }

  /** Who a principal of the range of remote agents is; undefined = nobody (any more). */
  agentOf(id: number): RemoteAgent | undefined {
    return this.#remotes.byId(id);
  }

  /** What holds from the next connection and the next agent on, also of kernels after this one. @throws IO */
  async configure(change: Partial<TunnelOptions>): Promise<TunnelOptions> {
    if (Object.keys(change).length === 0) return this.#options;
    // One after the other: each saves what all before it have set.
    const saved = this.#saving.then(async () => {
      await this.#parts.save({ ...this.#saved, ...change });
      this.#saved = { ...this.#saved, ...change };
      this.#options = { ...this.#options, ...change };
    });
    this.#saving = saved.catch(() => {});
    await saved;
    return this.#options;
  }

  /** Connects, and goes on trying until the relay is there or somebody says otherwise. @throws BAD_REQUEST */
  connectSoon(): void {
    const target = targetOf(this.#options, hostname());
    this.#target = target;
    void this.#retry(target);
  }

  /**
   * Resolves when the relay has let this kernel in; another relay is left for it. When the first attempt fails, that is all:
   * only a tunnel that stood is set up again by itself. @throws BAD_REQUEST, UNREACHABLE, TIMEOUT, CANCELLED
   */
  async connect(change: Partial<TunnelOptions> = {}): Promise<RelayTarget> {
    if (this.#isClosed) throw new CloveError('CANCELLED', 'the kernel is stopping');
    const target = targetOf({ ...this.#options, ...change }, hostname());
    this.#options = { ...this.#options, ...change };
    if (this.#state === 'connected' && isSame(target, this.#target)) return target;
    this.disconnect();
    this.#target = target;
    this.#state = 'connecting';
    const attempt = new AbortController();
    this.#attempt = attempt;
    try {
      await this.#open(target, attempt);
    } catch (error) {
      if (this.#attempt === attempt) this.#reset(reasonOf(error));
      throw error;
    }
    return target;
  }

  /** Remote agents are gone, and so is what they left here. */
  disconnect(): void {
    const wasConnected = this.#state === 'connected';
    const target = this.#target;
    this.#reset(null);
    this.#losses = 0;
    if (wasConnected && target !== null) this.#parts.events.onLost(target, 'told to disconnect');
  }

  release(callerId: number): void {
    this.#remotes.release(callerId);
    this.#parts.host.closed(callerId);
  }

  close(): void {
    this.#isClosed = true;
    this.disconnect();
  }

  #reset(lastError: string | null): void {
    this.#attempt?.abort();
    this.#attempt = null;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#dueAtMs = null;
    const link = this.#link;
    this.#link = null;
    link?.close();
    this.#state = 'disconnected';
    this.#connectedAt = null;
    this.#lastError = lastError;
    this.#attempts = 0;
    this.#remotes.clear('the tunnel was taken down');
  }

  async #open(target: RelayTarget, attempt: AbortController): Promise<void> {
    const { connectMs, authMs, pingMs, deadMs } = this.#options;
    const link: RelayLink = await RelayLink.open(
      { target, connectMs, authMs, pingMs, deadMs, signal: attempt.signal },
      {
        onMessage: (message) => {
          if (this.#link === link) this.#take(message);
        },
        onDown: (reason) => {
          if (this.#link === link) this.#lost(target, reason);
        },
      },
    );
    if (this.#attempt !== attempt) {
      link.close();
      throw new CloveError('CANCELLED', 'the attempt was called off');
    }
    this.#attempt = null;
    this.#link = link;
    this.#state = 'connected';
    this.#connectedAt = Date.now();
    this.#attempts = 0;
    this.#lastError = null;
    this.#remotes.expectList();
    link.send({ type: 'list_remotes' });
    this.#parts.events.onConnected(target);
  }

  #lost(target: RelayTarget, reason: string): void {
    this.#link = null;
    this.#connectedAt = null;
    this.#losses += 1;
    this.#lastError = reason;
    this.#remotes.clear(`the tunnel was lost: ${reason}`);
    this.#parts.events.onLost(target, reason);
    this.#retryLater(target);
  }

  #retryLater(target: RelayTarget): void {
    this.#state = 'reconnecting';
    const random = this.#parts.random ?? Math.random;
    const pauseMs = fullJitterMs(this.#attempts, this.#options.reconnectMs, random);
    this.#attempts += 1;
    this.#dueAtMs = performance.now() + pauseMs;
    this.#timer = setTimeout(() => void this.#retry(target), pauseMs).unref();
  }

  async #retry(target: RelayTarget): Promise<void> {
    this.#timer = null;
    this.#dueAtMs = null;
    this.#state = 'reconnecting';
    const attempt = new AbortController();
    this.#attempt = attempt;
    try {
      await this.#open(target, attempt);
    } catch (error) {
      if (this.#attempt !== attempt) return;
      this.#attempt = null;
      this.#lastError = reasonOf(error);
      this.#retryLater(target);
    }
  }

  #take(message: RelayMessage): void {
    switch (message.type) {
      case 'syscall':
        this.#remotes.syscall(message);
        return;
      case 'agent_connected':
        this.#remotes.connected(message.agent_id, message.name);
        return;
      case 'agent_disconnected':
        this.#remotes.disconnected(message.agent_id);
        return;
      case 'remote_list':
        this.#remotes.listed(
          message.agents.map(({ agent_id, agent_name, name }) => ({
            agent_id,
            name: agent_name ?? name ?? '',
          })),
        );
        return;
      case 'deploy_agent':
      case 'stop_agent':
        this.#refuse(message.type);
        return;
      case 'error':
        this.#lastError = message.error;
        return;
      default:
        return;
    }
  }

  /** Code comes from operators and from agents that may spawn; a relay is neither. */
  #refuse(what: string): void {
    this.#link?.send({
      type: 'error',
      error: `${what} is not for a relay to ask: an agent with the permission spawns and kills by syscalls`,
      code: 'FORBIDDEN',
    });
    const now = performance.now();
    if (now - this.#refusedAtMs < REFUSAL_RECORD_MS) return;
    this.#refusedAtMs = now;
    this.#parts.events.onRefused(what);
  }
}

function isSame(a: RelayTarget, b: RelayTarget | null): boolean {
  return b !== null && a.relayUrl === b.relayUrl && a.machineId === b.machineId && a.token === b.token;
}

function reasonOf(error: unknown): string {
  return isCloveError(error) || error instanceof Error ? error.message : String(error);
}
