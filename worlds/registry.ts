import { CloveError } from '../errors/index.ts';
import { type Caller, FIRST_CLIENT_ID } from '../kernel/identity.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Member } from '../kernel/worlds/host.ts';
import type { World } from './world.ts';

export interface WorldLimits {
  /** Of one kernel. */
  readonly worlds: number;
  /** Of one agent. */
  readonly worldsPerAgent: number;
  /** Contents of all files of all worlds. */
  readonly bytes: number;
}

export interface Membership {
  readonly world: World;
  readonly caller: Caller | null;
  /** It was put there, and cannot leave. */
  readonly placed: boolean;
  /** It was in it before it ran. */
  readonly fromStart: boolean;
}

/** The worlds of a kernel by their ids, who is in which, and whose business each of them is. */
export class WorldRegistry {
  readonly #kernel: () => Kernel;
  readonly #limits: WorldLimits;
  readonly #worlds = new Map<string, World>();
  readonly #memberships = new Map<number, Membership>();
  /** Ids of worlds that are being made, and for whom. */
  readonly #reserved = new Map<string, number>();
  #lastNumber = 0;

  constructor(kernel: () => Kernel, limits: WorldLimits) {
    this.#kernel = kernel;
    this.#limits = limits;
  }

  get(worldId: string): World | undefined {
    return this.#worlds.get(worldId);
  }

  all(): World[] {
    return [...this.#worlds.values()];
  }

  /** A world of this id is there, or being made. */
  has(worldId: string): boolean {
    return this.#worlds.has(worldId) || this.#reserved.has(worldId);
  }

  /** Lower case, letters, digits, dash and underscore, then a number that no other world has. */
  newId(name: string): string {
    const slug =
      name
        .toLowerCase()
        .replaceAll(' ', '-')
        .replace(/[^a-z0-9_-]/g, '')
        .slice(0, 32) || 'world';
    for (;;) {
      this.#lastNumber += 1;
      const id = `${slug}-${String(this.#lastNumber).padStart(4, '0')}`;
      if (!this.has(id)) return id;
    }
  }

  /** Makes a world under an id that nobody else gets meanwhile. @throws OVERLOAD, CONFLICT, and what `make` throws */
  async add(id: string, caller: Caller, make: () => Promise<World>): Promise<World> {
    this.#assertRoom(caller);
    // Asked for once before, but others may have come in between.
    if (this.has(id)) throw new CloveError('CONFLICT', `a world ${id} exists`);
    this.#reserved.set(id, caller.id);
    try {
      const world = await make();
      this.#worlds.set(id, world);
      return world;
    } finally {
      this.#reserved.delete(id);
    }
  }

  /** With all that are in it. */
  delete(world: World): void {
    for (const id of world.memberIds()) this.#memberships.delete(id);
    this.#worlds.delete(world.id);
  }

  membershipOf(memberId: number): Membership | undefined {
    return this.#memberships.get(memberId);
  }

  /** `isWatched`: its process runs under the world's own clock; `fromStart`: which has not begun. */
  enter(
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

  exit(id: number): void {
    const membership = this.#memberships.get(id);
    if (membership === undefined) return;
    this.#memberships.delete(id);
    membership.world.remove(id);
  }

  /** An agent's business: the world it is in, made, or was made by who started it, and those open to all. */
  sees(world: World, { id, kind }: Caller): boolean {
    if (kind === 'operator' || world.ownerId === id || world.parts.definition.open) return true;
    if (this.#memberships.get(id)?.world === world) return true;
    const parentId = this.#kernel().agents.get(id)?.parentId;
    return parentId !== undefined && parentId !== 0 && world.ownerId === parentId;
  }

  /** @throws NOT_FOUND */
  seen(worldId: string, caller: Caller): World {
    const world = this.#worlds.get(worldId);
    if (world !== undefined && this.sees(world, caller)) return world;
    throw new CloveError('NOT_FOUND', 'World not found');
  }

  /** An agent changes only worlds that it made. @throws NOT_FOUND */
  managed(
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
}

export function isOperator(callerId: number): boolean {
  return callerId >= FIRST_CLIENT_ID;
}

/** Requests of a member that was put here leave in its own name. */
function agentCaller(id: number): Caller {
  return { id, kind: 'agent', connection: 0, peer: { pid: 0, uid: -1, gid: -1 } };
}
