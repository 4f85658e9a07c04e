import path from 'node:path';
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
import { imageOf, type WorldImage } from './image.ts';
import { keptAgents, pastsOf } from './kept-agents.ts';
import { readLegacySnapshot } from './legacy/snapshot.ts';
import type { MountedWorld } from './mounted-world.ts';
import { outsideOf } from './outside.ts';
import { type ResolvedDefinition, resolveConfig, resolveFile, resolveOrigin } from './resolve.ts';
import { narrow } from './roles.ts';
import { readSnapshotFile, writeSnapshotFile } from './snapshot/file.ts';
import { corrupt, SNAPSHOT_FORMAT, SNAPSHOT_VERSION } from './snapshot/format.ts';
import { type Packed, pack, unpackInto, withAgents } from './snapshot/pack.ts';
import { fromWire, toWire } from './snapshot/wire.ts';
import { worldState } from './state.ts';
import { upstreamOf } from './upstream.ts';
import { createVirtualWorld, type VirtualWorldOrder } from './virtual-world.ts';
import type { World } from './world.ts';

export interface WorldLimits {
  /** Of one kernel. */
  readonly worlds: number;
  /** Of one agent. */
  readonly worldsPerAgent: number;
  /** Contents of all files of all worlds. */
  readonly bytes: number;
}

/** How long a snapshot waits for calls to end; one that waits in the world's own time may never. */
const QUIET_MS = 1000;

const LIMITS: WorldLimits = { worlds: 4096, worldsPerAgent: 32, bytes: 2 * 2 ** 30 };

/** The worlds of one kernel, for `createKernel`. */
export function worldHost(limits: Partial<WorldLimits> = {}): WorldHostFactory {
  return (kernel) => new WorldEngine(kernel, { ...LIMITS, ...limits });
}

interface Membership {
  readonly world: World;
  readonly caller: Caller | null;
  /** It was put there, and cannot leave. */
  readonly placed: boolean;
  /** It was in it before it ran. */
  readonly fromStart: boolean;
}

/** All virtual worlds of a kernel: who made them, who is in them, how they come and go. */
export class WorldEngine implements WorldHost {
  readonly blocks: BlockStore;
  readonly #kernel: () => Kernel;
  readonly #limits: WorldLimits;
  readonly #worlds = new Map<string, World>();
  readonly #memberships = new Map<number, Membership>();
  /** Ids that are being made. */
  /** Ids of worlds that are being made, and for whom. */
  readonly #reserved = new Map<string, number>();
  #lastNumber = 0;

  constructor(kernel: () => Kernel, limits: WorldLimits) {
    this.#kernel = kernel;
    this.#limits = limits;
    this.blocks = new BlockStore(limits.bytes);
  }

  joinedBy(callerId: number): JoinedWorld | null {
    return this.#memberships.get(callerId)?.world ?? null;
  }

  async create(request: CreateWorld, caller: Caller): Promise<CreatedWorld> {
    const resolved =
      request.path === null
        ? await resolveConfig(request.config, request.template, request.seed)
        : await resolveFile(request.path, request.config, request.seed);
    const name = nameOf(request, resolved);
    // As existing clients know it: the id tells what was asked for, the name what it is.
    const id = this.#newId(request.name || name);
    const world = await this.#make(id, caller, resolved, {
      name,
      seed: request.seed ?? resolved.definition.seed,
    });
    return { ...world.info(), warnings: resolved.warnings };
  }

  async destroy(worldId: string, force: boolean, caller: Caller): Promise<void> {
    const refused = () =>
      new CloveError('NOT_FOUND', 'Failed to destroy world (not found or has active agents)');
    const world = this.#managed(worldId, caller, refused);
    if (world.memberIds().length > 0 && !force) {
      throw new CloveError('CONFLICT', refused().message, {
        hint: `${world.memberIds().length} are in it; force ends it all the same.`,
      });
    }
    this.#end(world);
  }

  memberIdsOf(worldId: string): readonly number[] {
    return this.#worlds.get(worldId)?.memberIds() ?? [];
  }

  list(caller: Caller): readonly WorldInfo[] {
    return [...this.#worlds.values()]
      .filter((world) => this.#sees(world, caller))
      .map((world) => world.info());
  }

  async join(worldId: string, member: Member, caller: Caller): Promise<WorldInfo> {
    const refused = 'Failed to join world (not found or already in a world)';
    const world = this.#worlds.get(worldId);
    if (world === undefined || !this.#sees(world, caller)) throw new CloveError('NOT_FOUND', refused);
    if (this.#memberships.has(member.id)) {
      throw new CloveError('CONFLICT', refused, { hint: 'Leave the world it is in first.' });
    }
    const isOwn = member.id === caller.id;
    this.#enter(world, member, isOwn ? caller : null, !isOwn);
    return world.info();
  }

  /** A virtual world adds nothing to a launch: what its members ask of the kernel is what it answers. A mounted one does. */
  async attach(worldId: string | null, agent: Member, caller: Caller): Promise<Attachment | null> {
    const world = worldId === null ? this.#memberships.get(caller.id)?.world : this.#seen(worldId, caller);
    if (world === undefined) return null;
    this.#enter(world, agent, null, true, { isWatched: this.#mounted.has(world), fromStart: true });
    narrow(this.#kernel().permissions, world.parts.definition, agent, caller);
    return this.#mounted.get(world)?.attach(agent) ?? null;
  }

  leave(caller: Caller): string {
    const membership = this.#memberships.get(caller.id);
    if (membership === undefined) throw new CloveError('NOT_FOUND', 'Not in any world');
    if (membership.placed) {
      throw new CloveError('FORBIDDEN', 'an agent that was started in a world stays in it');
    }
    this.#exit(caller.id);
    return membership.world.id;
  }

  inject(
    worldId: string,
    type: string,
    params: Readonly<Record<string, unknown>>,
    caller: Caller,
  ): InjectedEvent {
    const world = this.#managed(
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
    const world = this.#managed(worldId, caller);
    if (eventId === null) return world.chaos.clearAll();
    if (world.chaos.clear(eventId)) return 1;
    throw new CloveError('NOT_FOUND', `no event ${eventId.slice(0, 64)} goes on in this world`);
  }

  async state(worldId: string, caller: Caller): Promise<Readonly<Record<string, unknown>>> {
    return worldState(this.#seen(worldId, caller));
  }

  async snapshot(worldId: string, file: string | null, caller: Caller): Promise<WorldSnapshotAnswer> {
    const world = this.#managed(worldId, caller);
    // Agents that are asked for their state wait until the snapshot is taken; what they take for it is real time.
    using _taken = await world.checkpointsTaken();
    const underWay = await world.quiet(QUIET_MS);
    const taken = this.#pack(world, caller);
    const pasts =
      caller.kind === 'operator'
        ? pastsOf(world, this.#kernel(), (id) => this.#memberships.get(id)?.fromStart === true)
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
    if (newWorldId !== null && (this.#worlds.has(newWorldId) || this.#reserved.has(newWorldId))) {
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
      const id = newWorldId ?? this.#newId(body.name);
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
    const { files } = this.#seen(worldId, caller).parts;
    if (files === null) return [];
    return compareTrees({
      before: files.baseEntries(),
      after: files.entries(),
      content: (hash) => files.content(hash),
    });
  }

  async branch(worldId: string, count: number, caller: Caller): Promise<readonly WorldInfo[]> {
    const parent = this.#managed(worldId, caller);
    const { definition, origin, seed } = parent.parts;
    const image = this.#image(parent, caller);
    const folder = this.#folders.get(parent) ?? null;
    const made: World[] = [];
    try {
      for (let index = 0; index < count; index += 1) {
        const resolved = { definition, origin, folder, warnings: [] };
        made.push(
          await this.#make(this.#newId(parent.name), caller, resolved, { name: parent.name, seed, image }),
        );
      }
    } catch (error) {
      for (const world of made) this.#end(world);
      throw error;
    }
    return made.map((world) => world.info());
  }

  async advance(worldId: string, ms: number, caller: Caller): Promise<number> {
    const { clock } = this.#managed(worldId, caller).parts;
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
    if (this.#memberships.has(id)) return;
    const parent = this.#memberships.get(parentId);
    if (parent !== undefined) this.#enter(parent.world, { id, name }, null, true);
  }

  release(callerId: number): void {
    this.#exit(callerId);
    for (const world of this.#worlds.values()) {
      if (world.ownerId !== callerId) continue;
      // An operator's worlds outlast its connection; an agent's are nobody's when it is gone.
      if (isOperator(callerId) || world.memberIds().length > 0) world.ownerId = 0;
      else this.#end(world);
    }
  }

  async close(): Promise<void> {
    for (const world of [...this.#worlds.values()]) this.#end(world);
    await Promise.all(this.#closing);
  }

  /** The world itself, for those in this process. */
  world(worldId: string): World | undefined {
    return this.#worlds.get(worldId);
  }

  readonly #folders = new WeakMap<World, string>();
  /** What stands in front of worlds for real processes. */
  readonly #mounted = new WeakMap<World, MountedWorld>();
  readonly #closing = new Set<Promise<void>>();
  #lastMounted = 0;

  /** @throws FORBIDDEN (an agent asks), SANDBOX_UNAVAILABLE */
  async #mount(order: VirtualWorldOrder, caller: Caller): Promise<World> {
    if (caller.kind !== 'operator')
      throw new CloveError('FORBIDDEN', 'only operators make mounted worlds: they hold memory of the host');
    this.#lastMounted += 1;
    const bootFolder = path.dirname(this.#kernel().launcher.socketPathOf(0));
    const hostFolder = path.join(bootFolder, 'worlds', `w${this.#lastMounted}`);
    const { createMountedWorld } = await import('./mounted-world.ts');
    const mounted = await createMountedWorld({
      ...order,
      hostFolder,
      pidOf: (memberId) => this.#kernel().agents.get(memberId)?.sandbox?.pid ?? null,
    });
    this.#mounted.set(mounted.world, mounted);
    return mounted.world;
  }

  async #make(
    id: string,
    caller: Caller,
    { definition, origin, folder }: ResolvedDefinition,
    { name, seed, image }: { name: string; seed: number; image?: WorldImage },
  ): Promise<World> {
    this.#assertRoom(caller);
    // Asked for once before, but others may have come in between.
    if (this.#worlds.has(id) || this.#reserved.has(id))
      throw new CloveError('CONFLICT', `a world ${id} exists`);
    this.#reserved.set(id, caller.id);
    try {
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
        upstream: upstreamOf(this.#kernel, (memberId) => this.#memberships.get(memberId)?.caller ?? null),
        ...(image === undefined ? {} : { image }),
      };
      const world = await (definition.form === 'mounted'
        ? this.#mount(order, caller)
        : createVirtualWorld(order));
      if (folder !== null) this.#folders.set(world, folder);
      this.#worlds.set(id, world);
      return world;
    } finally {
      this.#reserved.delete(id);
    }
  }

  async #restoreLegacy(snapshot: unknown, newWorldId: string | null, caller: Caller): Promise<WorldInfo> {
    const { name, config, events } = readLegacySnapshot(snapshot);
    const resolved = await resolveConfig(config, null);
    const shown = name ?? 'world';
    const world = await this.#make(newWorldId ?? this.#newId(shown), caller, resolved, {
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

  /** What waits in the mailboxes of others is no business of an agent, wherever it came from. */
  #image(world: World, caller: Caller): WorldImage {
    const { mailboxes } = this.#kernel();
    return imageOf(
      world,
      (memberId) => (caller.kind === 'operator' || memberId === caller.id ? mailboxes.peek(memberId) : []),
      // What others were started from is no business of an agent either.
      caller.kind === 'operator' ? keptAgents(world, this.#kernel()) : [],
    );
  }

  #pack(world: World, caller: Caller): Packed {
    const { files, origin } = world.parts;
    const body = {
      format: SNAPSHOT_FORMAT,
      version: SNAPSHOT_VERSION,
      world_id: world.id,
      name: world.name,
      seed: world.parts.seed,
      taken_at: new Date().toISOString(),
      origin: withoutContents(origin),
      image: this.#image(world, caller),
    } as const;
    // Through JSON: what is hashed is what will be read.
    return pack(JSON.parse(JSON.stringify(body)), (hash) =>
      (files as NonNullable<typeof files>).content(hash),
    );
  }

  /** `isWatched`: its process runs under the world's own clock; `fromStart`: which has not begun. */
  #enter(
    world: World,
    { id, name }: Member,
    caller: Caller | null,
    placed: boolean,
    { isWatched = false, fromStart = false } = {},
  ): void {
    const { mailboxes } = this.#kernel();
    this.#memberships.set(id, { world, caller: caller ?? agentCaller(id), placed, fromStart });
    world.add({ id, name }, !isOperator(id), isWatched);
    const waiting = world.pendingMail.get(name);
    if (waiting === undefined) return;
    world.pendingMail.delete(name);
    for (const { fromName, text } of waiting) mailboxes.put(id, fromName, text, world.id);
  }

  #exit(id: number): void {
    const membership = this.#memberships.get(id);
    if (membership === undefined) return;
    this.#memberships.delete(id);
    membership.world.remove(id);
  }

  #end(world: World): void {
    for (const id of world.memberIds()) this.#memberships.delete(id);
    this.#worlds.delete(world.id);
    const closing = this.#mounted.get(world)?.close();
    if (closing !== undefined) {
      this.#closing.add(closing);
      closing
        .catch((error: unknown) =>
          this.#kernel().log.warn(
            { err: error, world: world.id },
            'not everything of a world was taken down',
          ),
        )
        .finally(() => this.#closing.delete(closing));
    }
    world.close();
  }

  /** An agent's business: the world it is in, made, or was made by who started it, and those open to all. */
  #sees(world: World, { id, kind }: Caller): boolean {
    if (kind === 'operator' || world.ownerId === id || world.parts.definition.open) return true;
    if (this.#memberships.get(id)?.world === world) return true;
    const parentId = this.#kernel().agents.get(id)?.parentId;
    return parentId !== undefined && parentId !== 0 && world.ownerId === parentId;
  }

  #seen(worldId: string, caller: Caller): World {
    const world = this.#worlds.get(worldId);
    if (world !== undefined && this.#sees(world, caller)) return world;
    throw new CloveError('NOT_FOUND', 'World not found');
  }

  /** An agent changes only worlds that it made. */
  #managed(
    worldId: string,
    caller: Caller,
    refused: () => CloveError = () => new CloveError('NOT_FOUND', 'World not found'),
  ): World {
    const world = this.#worlds.get(worldId);
    if (world !== undefined && (caller.kind === 'operator' || world.ownerId === caller.id)) return world;
    throw refused();
  }

  #assertRoom(caller: Caller): void {
    const { worlds, worldsPerAgent } = this.#limits;
    if (this.#worlds.size + this.#reserved.size >= worlds) {
      throw new CloveError('OVERLOAD', `this kernel has ${worlds} worlds, the most it takes`);
    }
    if (caller.kind === 'operator') return;
    const own =
      [...this.#worlds.values()].filter(({ ownerId }) => ownerId === caller.id).length +
      [...this.#reserved.values()].filter((ownerId) => ownerId === caller.id).length;
    if (own >= worldsPerAgent) {
      throw new CloveError('OVERLOAD', `an agent makes at most ${worldsPerAgent} worlds`);
    }
  }

  /** Lower case, letters, digits, dash and underscore, then a number that no other world has. */
  #newId(name: string): string {
    const slug =
      name
        .toLowerCase()
        .replaceAll(' ', '-')
        .replace(/[^a-z0-9_-]/g, '')
        .slice(0, 32) || 'world';
    for (;;) {
      this.#lastNumber += 1;
      const id = `${slug}-${String(this.#lastNumber).padStart(4, '0')}`;
      if (!this.#worlds.has(id) && !this.#reserved.has(id)) return id;
    }
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

/** Contents are in the tree of the snapshot; the definition need not have them again. */
function withoutContents(origin: World['parts']['origin']): World['parts']['origin'] {
  if (origin.kind !== 'inline') return origin;
  const { files } = origin.definition;
  if (typeof files !== 'object' || files === null) return origin;
  const { initial: _, from: __, ...rules } = files as Readonly<Record<string, unknown>>;
  return { kind: 'inline', definition: { ...origin.definition, files: rules } };
}

const FIRST_CLIENT_ID = 2 ** 30;

function isOperator(callerId: number): boolean {
  return callerId >= FIRST_CLIENT_ID;
}

/** Requests of a member that was put here leave in its own name. */
function agentCaller(id: number): Caller {
  return { id, kind: 'agent', connection: 0, peer: { pid: 0, uid: -1, gid: -1 } };
}
