import { CloveError, isCloveError } from '../errors/index.ts';
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
import { parseEvent } from './chaos/kinds.ts';
import { parseDurationMs } from './clock/duration.ts';
import { BlockStore } from './filesystem/blocks.ts';
import { compareTrees } from './filesystem/changes.ts';
import type { WorldImage } from './image.ts';
import { pastsOf } from './kept-agents.ts';
import { readLegacySnapshot } from './legacy/snapshot.ts';
import { Mounting } from './mounting.ts';
import { outsideOf } from './outside.ts';
import { isOperator, type WorldLimits, WorldRegistry } from './registry.ts';
import { type ResolvedDefinition, resolveConfig, resolveFile, resolveOrigin } from './resolve.ts';
import { narrow } from './roles.ts';
import { readSnapshotFile, writeSnapshotFile } from './snapshot/file.ts';
import { corrupt } from './snapshot/format.ts';
import { unpackInto, withAgents } from './snapshot/pack.ts';
import { imageFor, packFor } from './snapshot/take.ts';
import { fromWire, toWire } from './snapshot/wire.ts';
import { worldState } from './state.ts';
import { upstreamOf } from './upstream.ts';
import { createVirtualWorld, type VirtualWorldOrder } from './virtual-world.ts';
import type { World } from './world.ts';

export type { WorldLimits } from './registry.ts';

/** How long a snapshot waits for calls to end; one that waits in the world's own time may never. */
const QUIET_MS = 1000;

const LIMITS: WorldLimits = { worlds: 4096, worldsPerAgent: 32, bytes: 2 * 2 ** 30 };

/** The worlds of one kernel, for `createKernel`. */
export function worldHost(limits: Partial<WorldLimits> = {}): WorldHostFactory {
  return (kernel) => new WorldEngine(kernel, { ...LIMITS, ...limits });
}

/** All virtual worlds of a kernel: how they come and go, and what is asked of them. */
export class WorldEngine implements WorldHost {
  readonly blocks: BlockStore;
  readonly #kernel: () => Kernel;
  readonly #registry: WorldRegistry;
  readonly #mounting: Mounting;
  readonly #folders = new WeakMap<World, string>();

  constructor(kernel: () => Kernel, limits: WorldLimits) {
    this.#kernel = kernel;
    this.#registry = new WorldRegistry(kernel, limits);
    this.#mounting = new Mounting(kernel);
    this.blocks = new BlockStore(limits.bytes);
  }

  joinedBy(callerId: number): JoinedWorld | null {
    return this.#registry.membershipOf(callerId)?.world ?? null;
  }

  async create(request: CreateWorld, caller: Caller): Promise<CreatedWorld> {
    const resolved =
      request.path === null
        ? await resolveConfig(request.config, request.template, request.seed)
        : await resolveFile(request.path, request.config, request.seed);
    const name = nameOf(request, resolved);
    // As existing clients know it: the id tells what was asked for, the name what it is.
    const id = this.#registry.newId(request.name || name);
    const world = await this.#make(id, caller, resolved, {
      name,
      seed: request.seed ?? resolved.definition.seed,
    });
    return { ...world.info(), warnings: resolved.warnings };
  }

  async destroy(worldId: string, force: boolean, caller: Caller): Promise<void> {
    const refused = () =>
      new CloveError('NOT_FOUND', 'Failed to destroy world (not found or has active agents)');
    const world = this.#registry.managed(worldId, caller, refused);
    if (world.memberIds().length > 0 && !force) {
      throw new CloveError('CONFLICT', refused().message, {
        hint: `${world.memberIds().length} are in it; force ends it all the same.`,
      });
    }
    this.#end(world);
  }

  memberIdsOf(worldId: string): readonly number[] {
    return this.#registry.get(worldId)?.memberIds() ?? [];
  }

  list(caller: Caller): readonly WorldInfo[] {
    return this.#registry
      .all()
      .filter((world) => this.#registry.sees(world, caller))
      .map((world) => world.info());
  }

  async join(worldId: string, member: Member, caller: Caller): Promise<WorldInfo> {
    const refused = 'Failed to join world (not found or already in a world)';
    const world = this.#registry.get(worldId);
    if (world === undefined || !this.#registry.sees(world, caller))
      throw new CloveError('NOT_FOUND', refused);
    if (this.#registry.membershipOf(member.id) !== undefined) {
      throw new CloveError('CONFLICT', refused, { hint: 'Leave the world it is in first.' });
    }
    const isOwn = member.id === caller.id;
    this.#registry.enter(world, member, isOwn ? caller : null, !isOwn);
    return world.info();
  }

  /** A virtual world adds nothing to a launch: what its members ask of the kernel is what it answers. A mounted one does. */
  async attach(worldId: string | null, agent: Member, caller: Caller): Promise<Attachment | null> {
    const world =
      worldId === null ? this.#registry.membershipOf(caller.id)?.world : this.#registry.seen(worldId, caller);
    if (world === undefined) return null;
    this.#registry.enter(world, agent, null, true, {
      isWatched: this.#mounting.of(world) !== undefined,
      fromStart: true,
    });
    narrow(this.#kernel().permissions, world.parts.definition, agent, caller);
    return this.#mounting.of(world)?.attach(agent) ?? null;
  }

  leave(caller: Caller): string {
    const membership = this.#registry.membershipOf(caller.id);
    if (membership === undefined) throw new CloveError('NOT_FOUND', 'Not in any world');
    if (membership.placed) {
      throw new CloveError('FORBIDDEN', 'an agent that was started in a world stays in it');
    }
    this.#registry.exit(caller.id);
    return membership.world.id;
  }

  inject(
    worldId: string,
    type: string,
    params: Readonly<Record<string, unknown>>,
    caller: Caller,
  ): InjectedEvent {
    const world = this.#registry.managed(
      worldId,
      caller,
      () => new CloveError('NOT_FOUND', 'Failed to inject event (world not found)'),
    );
    const { duration_ms, duration, ...rest } = params;
    try {
      const event = parseEvent(type, rest);
      const active = world.chaos.inject(event, { forMs: durationOf(duration_ms, duration), source: 'hand' });
      return { event_id: active.id, event_type: type, until_ms: active.untilMs };
    } catch (error) {
      if (!isCloveError(error)) throw error;
      throw new CloveError(error.code, `Failed to inject event (${error.message})`, {
        cause: error,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
      });
    }
  }

  clearEvents(worldId: string, eventId: string | null, caller: Caller): number {
    const world = this.#registry.managed(worldId, caller);
    if (eventId === null) return world.chaos.clearAll();
    if (world.chaos.clear(eventId)) return 1;
    throw new CloveError('NOT_FOUND', `no event ${eventId.slice(0, 64)} goes on in this world`);
  }

  async state(worldId: string, caller: Caller): Promise<Readonly<Record<string, unknown>>> {
    return worldState(this.#registry.seen(worldId, caller));
  }

  async snapshot(worldId: string, file: string | null, caller: Caller): Promise<WorldSnapshotAnswer> {
    const world = this.#registry.managed(worldId, caller);
    // Agents that are asked for their state wait until the snapshot is taken; what they take for it is real time.
    using _taken = await world.checkpointsTaken();
    const underWay = await world.quiet(QUIET_MS);
    const taken = packFor(world, caller, this.#kernel());
    const pasts =
      caller.kind === 'operator'
        ? pastsOf(world, this.#kernel(), (id) => this.#registry.membershipOf(id)?.fromStart === true)
        : null;
    const packed = pasts === null ? taken : withAgents(taken, await pasts(taken.body.image.agents));
    const agents = packed.body.image.agents.map(({ name, reason }) => ({ name, reason }));
    const told = { snapshot_id: packed.id, calls_under_way: underWay, agents };
    if (file === null) return { ...told, snapshot: toWire(world, packed) };
    await writeSnapshotFile(file, packed);
    return { ...told, snapshot: { id: world.id, name: world.name, snapshot_path: file } };
  }

  async restore(
    source: { readonly snapshot: unknown } | { readonly file: string },
    newWorldId: string | null,
    caller: Caller,
  ): Promise<RestoredWorld> {
    if (newWorldId !== null && this.#registry.has(newWorldId)) {
      throw new CloveError('CONFLICT', `a world ${newWorldId} exists`);
    }
    const packed =
      'file' in source
        ? await readSnapshotFile(source.file)
        : fromWire(source.snapshot as Readonly<Record<string, unknown>>);
    if (packed === null) {
      const world = await this.#restoreLegacy((source as { snapshot: unknown }).snapshot, newWorldId, caller);
      return { world, agents: [], atMs: 0, hold: { [Symbol.dispose]: () => undefined } };
    }
    const { body } = packed;
    const resolved = await resolveOrigin(body.origin, body.seed, caller.kind === 'operator');
    const release = unpackInto(this.blocks, packed);
    try {
      const id = newWorldId ?? this.#registry.newId(body.name);
      const world = await this.#make(id, caller, resolved, {
        name: body.name,
        seed: body.seed,
        // Messages that an agent wrote into a snapshot itself would come from whomever it names.
        image: caller.kind === 'operator' ? body.image : { ...body.image, mail: {}, agents: [] },
      });
      const hold = world.parts.clock.still('agents come back');
      return { world: world.info(), agents: body.image.agents, atMs: body.image.clock.monotonicMs, hold };
    } catch (error) {
      // The parts read their own state, and may meet what only looks like it.
      throw isCloveError(error) ? error : corrupt((error as Error).message);
    } finally {
      release();
    }
  }

  async diff(worldId: string, caller: Caller): Promise<readonly FileChange[]> {
    const { files } = this.#registry.seen(worldId, caller).parts;
    if (files === null) return [];
    return compareTrees({
      before: files.baseEntries(),
      after: files.entries(),
      content: (hash) => files.content(hash),
    });
  }

  async branch(worldId: string, count: number, caller: Caller): Promise<readonly WorldInfo[]> {
    const parent = this.#registry.managed(worldId, caller);
    const { definition, origin, seed } = parent.parts;
    const image = imageFor(parent, caller, this.#kernel());
    const folder = this.#folders.get(parent) ?? null;
    const made: World[] = [];
    try {
      for (let index = 0; index < count; index += 1) {
        const resolved = { definition, origin, folder, warnings: [] };
        made.push(
          await this.#make(this.#registry.newId(parent.name), caller, resolved, {
            name: parent.name,
            seed,
            image,
          }),
        );
      }
    } catch (error) {
      for (const world of made) this.#end(world);
      throw error;
    }
    return made.map((world) => world.info());
  }

  async advance(worldId: string, ms: number, caller: Caller): Promise<number> {
    const { clock } = this.#registry.managed(worldId, caller).parts;
    await clock.advance(ms);
    return clock.monotonicMs();
  }

  agentStarted({
    id,
    name,
    parentId,
  }: {
    readonly id: number;
    readonly name: string;
    readonly parentId: number;
  }): void {
    // A restart finds it where it was.
    if (this.#registry.membershipOf(id) !== undefined) return;
    const parent = this.#registry.membershipOf(parentId);
    if (parent !== undefined) this.#registry.enter(parent.world, { id, name }, null, true);
  }

  release(callerId: number): void {
    this.#registry.exit(callerId);
    for (const world of this.#registry.all()) {
      if (world.ownerId !== callerId) continue;
      // An operator's worlds outlast its connection; an agent's are nobody's when it is gone.
      if (isOperator(callerId) || world.memberIds().length > 0) world.ownerId = 0;
      else this.#end(world);
    }
  }

  async close(): Promise<void> {
    for (const world of this.#registry.all()) this.#end(world);
    await this.#mounting.settled();
  }

  /** The world itself, for those in this process. */
  world(worldId: string): World | undefined {
    return this.#registry.get(worldId);
  }

  async #make(
    id: string,
    caller: Caller,
    { definition, origin, folder }: ResolvedDefinition,
    { name, seed, image }: { name: string; seed: number; image?: WorldImage },
  ): Promise<World> {
    return this.#registry.add(id, caller, async () => {
      const order: VirtualWorldOrder = {
        id,
        name,
        seed,
        ownerId: caller.id,
        definition,
        origin,
        folder,
        blocks: this.blocks,
        outside: outsideOf(this.#kernel, id),
        upstream: upstreamOf(
          this.#kernel,
          (memberId) => this.#registry.membershipOf(memberId)?.caller ?? null,
        ),
        ...(image === undefined ? {} : { image }),
      };
      const isMounted = definition.form === 'mounted';
      const world = await (isMounted ? this.#mounting.make(order, caller) : createVirtualWorld(order));
      if (folder !== null) this.#folders.set(world, folder);
      return world;
    });
  }

  async #restoreLegacy(snapshot: unknown, newWorldId: string | null, caller: Caller): Promise<WorldInfo> {
    const { name, config, events } = readLegacySnapshot(snapshot);
    const resolved = await resolveConfig(config, null);
    const shown = name ?? 'world';
    const world = await this.#make(newWorldId ?? this.#registry.newId(shown), caller, resolved, {
      name: shown,
      seed: resolved.definition.seed,
    });
    for (const { type, params } of events) {
      try {
        world.chaos.inject(parseEvent(type, params), { forMs: null, source: 'snapshot' });
      } catch (error) {
        this.#end(world);
        throw error;
      }
    }
    return world.info();
  }

  #end(world: World): void {
    this.#registry.delete(world);
    this.#mounting.takeDown(world);
    world.close();
  }
}

function nameOf({ name }: CreateWorld, { definition, origin }: ResolvedDefinition): string {
  // Of a template the name is the kind; the caller's is this one's.
  const own = origin.kind === 'inline' ? definition.name : undefined;
  return own ?? (name || definition.name || 'unnamed');
}

/** 250 years, as long as a duration in a definition. */
const MAX_EVENT_MS = 250 * 365 * 86_400_000;

function durationOf(ms: unknown, text: unknown): number | null {
  if (typeof ms === 'number' && ms > 0 && ms <= MAX_EVENT_MS) return ms;
  if (text === undefined || text === null) return null;
  const parsed = typeof text === 'number' && text > 0 ? text * 1000 : parseDurationMs(String(text));
  if (parsed !== null && parsed <= MAX_EVENT_MS) return parsed;
  throw new CloveError('BAD_REQUEST', 'duration: expected seconds, or text such as "10m"');
}
