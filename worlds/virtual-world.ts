import { CloveError } from '../errors/index.ts';
import type { WorldClock } from './clock/types.ts';
import { createVirtualClock } from './clock/virtual.ts';
import type { WorldDefinition } from './definition.ts';
import type { BlockStore } from './filesystem/blocks.ts';
import { initialTree } from './filesystem/initial.ts';
import type { TreeEntry } from './filesystem/types.ts';
import { VirtualFiles } from './filesystem/virtual.ts';
import type { WorldImage } from './image.ts';
import { StreamBook } from './luck/stream-book.ts';
import { Luck } from './luck/streams.ts';
import type { WorldNetwork } from './network/types.ts';
import { createVirtualNetwork, type Upstream } from './network/virtual.ts';
import type { Origin } from './origin.ts';
import type { WorldOutside } from './parts.ts';
import { World } from './world.ts';

export interface VirtualWorldOrder {
  readonly id: string;
  readonly name: string;
  readonly ownerId: number;
  readonly seed: number;
  readonly definition: WorldDefinition;
  readonly origin: Origin;
  /** Of the definition, for the code and files it names; null = it came over a socket and may name none. */
  readonly folder: string | null;
  readonly blocks: BlockStore;
  readonly outside: WorldOutside;
  readonly upstream: Upstream | null;
  /** Where it goes on; absent = at its beginning. Contents of its files must be in the store. */
  readonly image?: WorldImage | undefined;
}

/** A world in the kernel's own process. @throws CONFIG, FORBIDDEN, OVERLOAD, DATA_CORRUPT, PATH_REFUSED */
export async function createVirtualWorld(order: VirtualWorldOrder): Promise<World> {
  const { definition, image, seed } = order;
  const undo: (() => void)[] = [];
  try {
    const clock = createVirtualClock(definition.clock, image?.clock);
    undo.push(() => clock.close());
    const luck = new StreamBook(new Luck(seed));
    if (image !== undefined) luck.restore(image.luck);
    const told = { skewMs: () => 0 };
    const files = await filesOf(order, clock, luck, () => told.skewMs());
    if (files !== null) undo.push(() => files.close());
    const network = await networkOf(order, clock, luck);
    if (network !== null) undo.push(() => network.close());
    const world = new World({
      id: order.id,
      name: order.name,
      ownerId: order.ownerId,
      seed,
      definition,
      origin: order.origin,
      form: 'virtual',
      clock,
      luck,
      files,
      network,
      pressure: null,
      outside: order.outside,
    });
    told.skewMs = () => world.chaos.skewMs;
    undo.push(() => world.close());
    if (image === undefined) await world.start();
    else await goOn(world, image);
    return world;
  } catch (error) {
    for (const step of undo.reverse()) step();
    throw error;
  }
}

async function filesOf(
  { definition, blocks, folder, image }: VirtualWorldOrder,
  clock: WorldClock,
  luck: StreamBook,
  skewMs: () => number,
): Promise<VirtualFiles | null> {
  const { files } = definition;
  if (files === 'own') return null;
  const { limits, intercept, readonly, writable } = files;
  const make = (base: readonly TreeEntry[], entries?: readonly TreeEntry[]) =>
    new VirtualFiles({
      // Times of files are those that members are told.
      clock: {
        nowMs: () => clock.nowMs() + skewMs(),
        sleep: (ms, signal, owner) => clock.sleep(ms, signal, owner),
      },
      blocks,
      limits: { bytes: limits.bytes, files: limits.files, fileBytes: limits.file_bytes },
      rules: { intercept, readonly, writable },
      random: (purpose) => luck.next(purpose),
      base,
      ...(entries === undefined ? {} : { entries }),
    });
  if (image !== undefined) {
    if (image.files === null)
      throw new CloveError('DATA_CORRUPT', 'the snapshot has no files, the definition has');
    const made = make(image.files.base, image.files.entries);
    for (const { handle, spec } of image.files.faults) made.faults.restoreOne(handle, spec);
    return made;
  }
  const initial = await initialTree(files, { blocks, folder, startMs: clock.nowMs() });
  try {
    return make(initial.entries);
  } finally {
    initial.release();
  }
}

async function networkOf(
  { definition, folder, upstream, image }: VirtualWorldOrder,
  clock: WorldClock,
  luck: StreamBook,
): Promise<WorldNetwork | null> {
  const { network, services } = definition;
  if (network === 'own') return null;
  const made = await createVirtualNetwork(
    { network, services },
    { clock, luck: luck.luck, folder, upstream },
  );
  if (image !== undefined) {
    if (image.network === null)
      throw new CloveError('DATA_CORRUPT', 'the snapshot has no network, the definition has');
    made.restore(image.network);
  }
  return made;
}

export async function goOn(world: World, image: WorldImage): Promise<void> {
  for (const { key, text, ttlMs } of image.state) {
    await world.state.store(0, { key, text, ttlMs, scope: 'global' });
  }
  for (const { name, checkpoint } of image.agents)
    if (checkpoint !== null) world.checkpoints.expect(name, checkpoint);
  for (const [name, messages] of Object.entries(image.mail)) world.pendingMail.set(name, [...messages]);
  world.chaos.restore(image.chaos);
  world.schedule.restore(image.schedule);
}
