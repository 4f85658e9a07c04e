import { CloveError } from '../errors/index.ts';
import type { Attachment } from '../kernel/agents/attachment.ts';
import type { Caller } from '../kernel/identity.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type {
  CreatedWorld,
  CreateWorld,
  FileChange,
  InjectedEvent,
  JoinedWorld,
  Member,
  RestoredWorld,
  WorldHost,
  WorldHostFactory,
  WorldInfo,
  WorldSnapshotAnswer,
} from '../kernel/worlds/host.ts';
import type { WorldEngine, WorldLimits } from './engine.ts';

/**
 * The worlds of a kernel, loaded when the first is made: most kernels never have one, and those that start again must not take
 * longer for what they do not use.
 */
export function lazyWorldHost(limits: Partial<WorldLimits> = {}): WorldHostFactory {
  return (kernel) => new LazyWorlds(kernel, limits);
}

class LazyWorlds implements WorldHost {
  readonly #kernel: () => Kernel;
  readonly #limits: Partial<WorldLimits>;
  #engine: WorldEngine | null = null;
  #loading: Promise<WorldEngine> | null = null;
  #closed = false;

  constructor(kernel: () => Kernel, limits: Partial<WorldLimits>) {
    this.#kernel = kernel;
    this.#limits = limits;
  }

  joinedBy(callerId: number): JoinedWorld | null {
    return this.#engine === null ? null : this.#engine.joinedBy(callerId);
  }

  async create(request: CreateWorld, caller: Caller): Promise<CreatedWorld> {
    return (await this.#load()).create(request, caller);
  }

  async restore(
    source: { readonly snapshot: unknown } | { readonly file: string },
    newWorldId: string | null,
    caller: Caller,
  ): Promise<RestoredWorld> {
    return (await this.#load()).restore(source, newWorldId, caller);
  }

  async destroy(worldId: string, force: boolean, caller: Caller): Promise<void> {
    const words = 'Failed to destroy world (not found or has active agents)';
    await this.#there(words).destroy(worldId, force, caller);
  }

  list(caller: Caller): readonly WorldInfo[] {
    return this.#engine?.list(caller) ?? [];
  }

  memberIdsOf(worldId: string): readonly number[] {
    return this.#engine?.memberIdsOf(worldId) ?? [];
  }

  async join(worldId: string, member: Member, caller: Caller): Promise<WorldInfo> {
    return this.#there('Failed to join world (not found or already in a world)').join(
      worldId,
      member,
      caller,
    );
  }

  leave(caller: Caller): string {
    return this.#there('Not in any world').leave(caller);
  }

  inject(
    worldId: string,
    type: string,
    params: Readonly<Record<string, unknown>>,
    caller: Caller,
  ): InjectedEvent {
    return this.#there('Failed to inject event (world not found)').inject(worldId, type, params, caller);
  }

  clearEvents(worldId: string, eventId: string | null, caller: Caller): number {
    return this.#there().clearEvents(worldId, eventId, caller);
  }

  async state(worldId: string, caller: Caller): Promise<Readonly<Record<string, unknown>>> {
    return this.#there().state(worldId, caller);
  }

  async snapshot(worldId: string, file: string | null, caller: Caller): Promise<WorldSnapshotAnswer> {
    return this.#there().snapshot(worldId, file, caller);
  }

  async diff(worldId: string, caller: Caller): Promise<readonly FileChange[]> {
    return this.#there().diff(worldId, caller);
  }

  async branch(worldId: string, count: number, caller: Caller): Promise<readonly WorldInfo[]> {
    return this.#there().branch(worldId, count, caller);
  }

  async advance(worldId: string, ms: number, caller: Caller): Promise<number> {
    return this.#there().advance(worldId, ms, caller);
  }

  async attach(worldId: string | null, agent: Member, caller: Caller): Promise<Attachment | null> {
    if (worldId === null && this.#engine === null) return null;
    return this.#there().attach(worldId, agent, caller);
  }

  agentStarted(agent: { readonly id: number; readonly name: string; readonly parentId: number }): void {
    this.#engine?.agentStarted(agent);
  }

  release(callerId: number): void {
    this.#engine?.release(callerId);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#engine?.close();
  }

  async #load(): Promise<WorldEngine> {
    this.#loading ??= import('./engine.ts').then(({ worldHost }) => {
      this.#engine = worldHost(this.#limits)(this.#kernel) as WorldEngine;
      return this.#engine;
    });
    const engine = await this.#loading;
    if (this.#closed) throw new CloveError('CANCELLED', 'the kernel is stopping');
    return engine;
  }

  /** Nothing was made yet, so nothing is found. */
  #there(words = 'World not found'): WorldEngine {
    if (this.#engine !== null) return this.#engine;
    throw new CloveError('NOT_FOUND', words);
  }
}
