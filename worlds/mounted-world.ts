import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { type Attachment, combineAttachments } from '../kernel/agents/attachment.ts';
import type { MountedFiles } from './filesystem/mounted/files.ts';
import { filesFrom } from './filesystem/mounted/open.ts';
import { StreamBook } from './luck/stream-book.ts';
import { Luck } from './luck/streams.ts';
import { openMountedClock } from './mounted-clock.ts';
import { createAuthority } from './network/mounted/authority.ts';
import { type AgentNetwork, MountedNetwork } from './network/mounted/network.ts';
import { createVirtualNetwork } from './network/virtual.ts';
import { processPressure } from './pressure.ts';
import { goOn, type VirtualWorldOrder } from './virtual-world.ts';
import { World } from './world.ts';

export interface MountedWorldOrder extends VirtualWorldOrder {
  /** Folder on the host for what this world shows to its processes; made and removed here. Private to the kernel. */
  readonly hostFolder: string;
  /** A process of a member; null = it has none. */
  readonly pidOf: (memberId: number) => number | null;
}

/** A world for real processes: the same world, with namespaces and mounts in front of it. */
export interface MountedWorld {
  readonly world: World;
  readonly files: MountedFiles | null;
  readonly network: MountedNetwork | null;
  /** What of the definition processes will not see, and why. */
  readonly warnings: readonly string[];
  /** What the launch of one agent gets; `detach` of the answer takes it back. */
  attach(agent: { readonly id: number; readonly name: string }): Attachment;
  close(): Promise<void>;
}

/** @throws SANDBOX_UNAVAILABLE, CONFIG, FORBIDDEN, OVERLOAD, DATA_CORRUPT, PATH_REFUSED */
export async function createMountedWorld(order: MountedWorldOrder): Promise<MountedWorld> {
  const { definition, image, seed, id, hostFolder } = order;
  const undo: (() => unknown)[] = [];
  try {
    await mkdir(hostFolder, { recursive: true, mode: 0o700 });
    undo.push(() => rm(hostFolder, { recursive: true, force: true }));
    const clock = await openMountedClock(definition.clock, image?.clock, seed);
    undo.push(() => clock.close());
    const luck = new StreamBook(new Luck(seed));
    if (image !== undefined) luck.restore(image.luck);
    // Keys are made on other threads: meanwhile the files are written.
    const authority =
      definition.network === 'own' ? null : createAuthority(order.name, () => clock.clock.nowMs());
    authority?.catch(() => {});
    const files = await filesFrom(order, clock.clock, luck, path.join(hostFolder, 'files'));
    if (files !== null) undo.push(() => files.close());
    const virtual =
      definition.network === 'own'
        ? null
        : await createVirtualNetwork(
            { network: definition.network, services: definition.services },
            { clock: clock.clock, luck: luck.luck, folder: order.folder, upstream: order.upstream },
          );
    if (virtual !== null && image?.network != null) virtual.restore(image.network);
    if (virtual !== null) undo.push(() => virtual.close());
    const network =
      virtual === null || authority === null
        ? null
        : await MountedNetwork.open(virtual, await authority, path.join(hostFolder, 'ca'));
    if (network !== null) undo.push(() => network.close());
    const world = new World({
      id,
      name: order.name,
      ownerId: order.ownerId,
      seed,
      definition,
      origin: order.origin,
      form: 'mounted',
      clock: clock.clock,
      luck,
      files,
      network: virtual,
      pressure: processPressure(order.pidOf),
      outside: order.outside,
    });
    undo.push(() => world.close());
    if (image === undefined) await world.start();
    else await goOn(world, image);
    return {
      world,
      files,
      network,
      warnings: (files?.unshown ?? []).map(
        ({ path: at, reason }) => `${at} is not shown to processes: ${reason}`,
      ),
      attach: (agent) =>
        combineAttachments(id, [
          ...(files === null ? [] : [files]),
          ...(network === null ? [] : [networkAttachment(id, network, agent)]),
          ...clock.attachments(id, agent),
          luckAttachment(id, luck.luck.derive(`agents/${agent.name}`)),
        ]),
      async close() {
        await network?.close();
        world.close();
        clock.close();
        await rm(hostFolder, { recursive: true, force: true });
      },
    };
  } catch (error) {
    for (const step of undo.reverse()) await step();
    throw error;
  }
}

/** What an agent draws by itself comes from the world's seed, too. */
function luckAttachment(worldId: string, seed: number): Attachment {
  const env = { CLOVE_SEED: String(seed) };
  return {
    worldId,
    prepare: async () => ({ mounts: [], env, world: null, launched: () => undefined }),
    detach: async () => undefined,
  };
}

/** One namespace for all incarnations of an agent: its address and its log stay the same. */
function networkAttachment(
  worldId: string,
  network: MountedNetwork,
  agent: { readonly id: number; readonly name: string },
): Attachment {
  let attached: Promise<AgentNetwork> | null = null;
  return {
    worldId,
    async prepare() {
      attached ??= network.attach({ agentId: agent.id, agentName: agent.name });
      attached.catch(() => {
        attached = null;
      });
      const { netnsFd, resolv, mounts, env, how } = await attached;
      return {
        mounts,
        env,
        world: { netnsFd, trees: [], resolv, hosts: null, layers: { netns: how } },
        launched: () => undefined,
      };
    },
    async detach() {
      await (await attached?.catch(() => null))?.close();
    },
  };
}
