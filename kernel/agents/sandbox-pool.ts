import type { Logger } from 'pino';
import { poolState, resizePool } from '../../native/index.ts';
import type { SandboxPoolState } from '../../native/types.ts';

/**
 * Sandboxes that wait for agents of this boot: made of nothing that belongs to any agent, used once each, gone with the kernel
 * or before. Which launches can use one is decided where they are made (native/sandbox-pool.ts).
 */
export class SandboxPool {
  readonly #cgroupParent: string;

  constructor(cgroupParent: string) {
    this.#cgroupParent = cgroupParent;
  }

  /** From now on; the first are made after the first agents. */
  open(size: number, log: Logger): void {
    if (size === 0) return;
    resizePool(this.#cgroupParent, size).catch((error: unknown) => {
      log.error({ err: error }, 'no sandboxes are made ahead');
    });
  }

  state(): Promise<SandboxPoolState> {
    return poolState(this.#cgroupParent);
  }

  /** Resolves when nothing of it is left. */
  close(): Promise<void> {
    return resizePool(this.#cgroupParent, 0);
  }
}
