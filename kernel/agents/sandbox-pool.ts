import type { Logger } from 'pino';
import { furnish, poolState, resizePool, unfurnish } from '../../native/index.ts';
import type { SandboxPoolState, SandboxSpec } from '../../native/types.ts';

/**
 * Sandboxes that wait for agents of this boot: made of nothing that belongs to any agent, used once each, gone with the kernel
 * or before. Which launches can use one is decided where they are made (native/sandbox-pool.ts).
 */
export class SandboxPool {
  readonly #cgroupParent: string;
  #isOpen = false;
  /** The user of the agent that is expected next; null = nobody is. */
  #expectedUid: number | null = null;

  constructor(cgroupParent: string) {
    this.#cgroupParent = cgroupParent;
  }

  /** From now on; the first are made after the first agents. */
  open(size: number, log: Logger): void {
    if (size === 0) return;
    this.#isOpen = true;
    resizePool(this.#cgroupParent, size).catch((error: unknown) => {
      log.error({ err: error }, 'no sandboxes are made ahead');
    });
  }

  /** The next agent's user and place are known, and that it will be as `spec` is guessed: what it runs does not matter. */
  expect(spec: SandboxSpec): void {
    if (!this.#isOpen || this.#expectedUid === spec.uid) return;
    this.#expectedUid = spec.uid;
    furnish(spec);
  }

  /** An agent of this user does not come, or is gone: the number is free for others. */
  dismiss(uid: number): void {
    if (this.#expectedUid !== uid) return;
    this.#expectedUid = null;
    unfurnish(this.#cgroupParent, uid);
  }

  state(): Promise<SandboxPoolState> {
    return poolState(this.#cgroupParent);
  }

  /** Resolves when nothing of it is left. */
  close(): Promise<void> {
    this.#isOpen = false;
    return resizePool(this.#cgroupParent, 0);
  }
}
