import type { MemberInfo } from './chaos/target.ts';
import { type WorldInput, worldSchema } from './definition.ts';
import { BlockStore } from './filesystem/blocks.ts';
import type { WorldImage } from './image.ts';
import { createVirtualWorld } from './virtual-world.ts';
import type { World } from './world.ts';

/** A world for tests, without a kernel: its members are whoever is put into it, and what is done to them is noted. */
export interface TestWorld {
  readonly world: World;
  readonly blocks: BlockStore;
  readonly members: MemberInfo[];
  /** `crash 1`, `pause 2`, `send 1,2 {…}` … */
  readonly done: string[];
}

export async function testWorld(
  input: WorldInput,
  options: { seed?: number; image?: WorldImage; blocks?: BlockStore } = {},
): Promise<TestWorld> {
  const definition = worldSchema.parse(input);
  const blocks = options.blocks ?? new BlockStore();
  const members: MemberInfo[] = [];
  const done: string[] = [];
  const note = (text: string) => {
    done.push(text);
  };
  const world = await createVirtualWorld({
    id: 'test-0001',
    name: definition.name ?? 'test',
    ownerId: 0,
    seed: options.seed ?? definition.seed,
    definition,
    origin: { kind: 'inline', definition: input as Record<string, unknown> },
    folder: null,
    blocks,
    upstream: null,
    outside: {
      members: {
        list: () => members,
        crash: (id) => note(`crash ${id}`),
        pause: async (id) => note(`pause ${id}`),
        resume: async (id) => note(`resume ${id}`),
      },
      send: (ids, message) => note(`send ${ids.join()} ${JSON.stringify(message)}`),
      emit: (ids, type) => note(`emit ${ids.join()} ${type}`),
      changed: () => {},
    },
    ...(options.image === undefined ? {} : { image: options.image }),
  });
  return { world, blocks, members, done };
}

export const ALICE = { id: 1, name: 'alice' };
export const BOB = { id: 2, name: 'bob' };

/** Puts an agent into the world. */
export function join(
  { world, members }: TestWorld,
  member: { readonly id: number; readonly name: string },
): void {
  members.push({ ...member, isAgent: true });
  world.add(member, false);
}

export function text(world: World, path: string): Promise<string> {
  return world.read({ id: 0, name: 'test' }, path).then(String);
}

export function get(world: World, url: string, timeoutMs = 30_000) {
  return world.http(ALICE, {
    url,
    method: 'GET',
    headers: {},
    body: null,
    timeoutMs,
    redirect: 'follow',
    maxBytes: 1e6,
    signal: new AbortController().signal,
  });
}
