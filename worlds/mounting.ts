import path from 'node:path';
import { CloveError } from '../errors/index.ts';
import type { Caller } from '../kernel/identity.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { MountedWorld } from './mounted-world.ts';
import type { VirtualWorldOrder } from './virtual-world.ts';
import type { World } from './world.ts';

/** What stands in front of worlds for real processes, from when it is made until it is taken down. */
export class Mounting {
  readonly #kernel: () => Kernel;
  readonly #mounted = new WeakMap<World, MountedWorld>();
  readonly #closing = new Set<Promise<void>>();
  #lastNumber = 0;

  constructor(kernel: () => Kernel) {
    this.#kernel = kernel;
  }

  of(world: World): MountedWorld | undefined {
    return this.#mounted.get(world);
  }

  /** @throws FORBIDDEN (an agent asks), SANDBOX_UNAVAILABLE */
  async make(order: VirtualWorldOrder, caller: Caller): Promise<World> {
    if (caller.kind !== 'operator')
      throw new CloveError('FORBIDDEN', 'only operators make mounted worlds: they hold memory of the host');
    this.#lastNumber += 1;
    const bootFolder = path.dirname(this.#kernel().launcher.socketPathOf(0));
    const hostFolder = path.join(bootFolder, 'worlds', `w${this.#lastNumber}`);
    const { createMountedWorld } = await import('./mounted-world.ts');
    const mounted = await createMountedWorld({
      ...order,
      hostFolder,
      pidOf: (memberId) => this.#kernel().agents.get(memberId)?.sandbox?.pid ?? null,
    });
    this.#mounted.set(mounted.world, mounted);
    return mounted.world;
  }

  /** Not waited for; what fails is logged. */
  takeDown(world: World): void {
    const closing = this.#mounted.get(world)?.close();
    if (closing === undefined) return;
    this.#closing.add(closing);
    closing
      .catch((error: unknown) =>
        this.#kernel().log.warn({ err: error, world: world.id }, 'not everything of a world was taken down'),
      )
      .finally(() => this.#closing.delete(closing));
  }

  /** Until all that is being taken down is gone. */
  async settled(): Promise<void> {
    await Promise.all(this.#closing);
  }
}
