import { StateClient } from './state-client.ts';
import type { CallOptions, SyscallRequest, SyscallResponse } from './types.ts';

/** Worlds. */
export class WorldClient extends StateClient {
  /** Makes a world of a definition, or of a world of the catalogue. `world_id` is what the other calls take. */
  createWorld(
    request: SyscallRequest<'WORLD_CREATE'>,
    options?: CallOptions,
  ): Promise<SyscallResponse<'WORLD_CREATE'>> {
    return this.call('WORLD_CREATE', request, options);
  }

  /** `force`: also with members in it. @throws NOT_FOUND, CONFLICT */
  async destroyWorld(
    worldId: string,
    options: CallOptions & { readonly force?: boolean } = {},
  ): Promise<void> {
    const { force = false, ...call } = options;
    await this.call('WORLD_DESTROY', { world_id: worldId, force }, call);
  }

  async worlds(options?: CallOptions): Promise<SyscallResponse<'WORLD_LIST'>['worlds']> {
    return (await this.call('WORLD_LIST', {}, options)).worlds;
  }

  /** This caller's files, commands, requests and shared state are the world's from now on. @throws NOT_FOUND, CONFLICT */
  async joinWorld(worldId: string, options?: CallOptions): Promise<SyscallResponse<'WORLD_JOIN'>['world']> {
    return (await this.call('WORLD_JOIN', { world_id: worldId }, options)).world;
  }

  /** Returns the id of the world that was left. @throws NOT_FOUND, FORBIDDEN */
  async leaveWorld(options?: CallOptions): Promise<string> {
    return (await this.call('WORLD_LEAVE', {}, options)).world_id;
  }

  /** Lets something happen there, such as disk_full; `clear` ends what lasts. @throws NOT_FOUND, BAD_REQUEST */
  worldEvent(
    worldId: string,
    eventType: string,
    params: Readonly<Record<string, unknown>> = {},
    options?: CallOptions,
  ): Promise<SyscallResponse<'WORLD_EVENT'>> {
    return this.call('WORLD_EVENT', { world_id: worldId, event_type: eventType, params }, options);
  }

  async worldState(worldId: string, options?: CallOptions): Promise<SyscallResponse<'WORLD_STATE'>['state']> {
    return (await this.call('WORLD_STATE', { world_id: worldId }, options)).state;
  }

  /** As data for restoreWorld(), or with `path` into a file of the host. */
  snapshotWorld(
    worldId: string,
    options: CallOptions & { readonly path?: string } = {},
  ): Promise<SyscallResponse<'WORLD_SNAPSHOT'>> {
    const { path, ...call } = options;
    return this.call('WORLD_SNAPSHOT', { world_id: worldId, ...(path === undefined ? {} : { path }) }, call);
  }

  /** Makes a world from a snapshot, or from a file of the host that has one. @throws DATA_CORRUPT, CONFLICT */
  restoreWorld(
    from: Readonly<Record<string, unknown>> | { readonly path: string },
    options: CallOptions & {
      readonly newWorldId?: string;
      /** Its agents are started again, with the state they left. */
      readonly agents?: boolean;
      /** Values of secret variables of theirs. */
      readonly agentsEnv?: Readonly<Record<string, string>>;
    } = {},
  ): Promise<SyscallResponse<'WORLD_RESTORE'>> {
    const { newWorldId, agents, agentsEnv, ...call } = options;
    const isFile = Object.keys(from).length === 1 && typeof from.path === 'string';
    const source = isFile ? { snapshot_path: from.path as string } : { snapshot: { ...from } };
    return this.call(
      'WORLD_RESTORE',
      {
        ...source,
        ...(newWorldId === undefined ? {} : { new_world_id: newWorldId }),
        ...(agents === undefined ? {} : { agents }),
        ...(agentsEnv === undefined ? {} : { agents_env: { ...agentsEnv } }),
      },
      call,
    );
  }

  /** What has become of its files since it was made. */
  async diffWorld(worldId: string, options?: CallOptions): Promise<SyscallResponse<'WORLD_DIFF'>['changes']> {
    return (await this.call('WORLD_DIFF', { world_id: worldId }, options)).changes;
  }

  /** Worlds that begin as this one is now. Returns their ids. */
  async branchWorld(worldId: string, count = 1, options?: CallOptions): Promise<string[]> {
    return (await this.call('WORLD_BRANCH', { world_id: worldId, count }, options)).world_ids;
  }

  /** Leaves what this agent wants to come back with when its world is restored; without a state it only asks what it came back with. */
  async checkpoint(
    state?: unknown,
    options: CallOptions = {},
  ): Promise<SyscallResponse<'WORLD_CHECKPOINT'>['restored']> {
    return (await this.#leave(state === undefined ? {} : { state: state }, options)).restored;
  }

  /** What this agent came back with; null = it did not come back, it has begun. @throws NOT_FOUND (in no world) */
  async restoredState<State>(options?: CallOptions): Promise<State | null> {
    const restored = await this.checkpoint(undefined, options);
    return restored === null ? null : (restored.state as State);
  }

  /**
   * Whenever a snapshot is taken of the world this agent is in, `state` is asked for what the agent wants to come back with. The
   * snapshot is taken before the next hook is called; what else the agent does meanwhile is in its own hands. A hook that throws
   * leaves the state of before. Resolves when snapshots know of it, to how to stop; a client that is closed stops by itself.
   * @throws NOT_FOUND (in no world)
   */
  async onCheckpoint(state: () => unknown): Promise<() => void> {
    await this.#leave({ offer: true }, {});
    const stopped = new AbortController();
    const listen = async () => {
      while (!stopped.signal.aborted) {
        const { checkpoint_id } = await this.#leave(
          { wait: true },
          { timeoutMs: null, signal: stopped.signal },
        );
        if (checkpoint_id === null) continue;
        try {
          await this.#leave({ checkpoint_id, state: await state() }, { timeoutMs: null });
        } catch (error) {
          process.emitWarning(`a checkpoint was not answered: ${(error as Error).message}`);
        }
      }
    };
    // Without a kernel nobody asks.
    listen().catch(() => {});
    return () => {
      stopped.abort();
      void this.#leave({ offer: false }, {}).catch(() => {});
    };
  }

  #leave(
    request: { state?: unknown; checkpoint_id?: number; wait?: boolean; offer?: boolean },
    options: CallOptions,
  ): Promise<SyscallResponse<'WORLD_CHECKPOINT'>> {
    return this.call('WORLD_CHECKPOINT', request, options);
  }

  /** Waits on the clock of the world the caller is in. `untilMs`: ms after the world's start. */
  waitInWorld(
    time: { readonly ms: number } | { readonly untilMs: number },
    options: CallOptions = {},
  ): Promise<SyscallResponse<'WORLD_WAIT'>> {
    const request = 'ms' in time ? { ms: time.ms } : { until_ms: time.untilMs };
    // How long that is in real time, nobody knows.
    return this.call('WORLD_WAIT', request, { timeoutMs: null, ...options });
  }

  /** Moves its clock; returns the time since its start, ms. @throws NOT_FOUND, CONFLICT */
  async advanceWorld(worldId: string, ms: number, options?: CallOptions): Promise<number> {
    return (await this.call('WORLD_ADVANCE', { world_id: worldId, ms }, options)).monotonic_ms;
  }
}
