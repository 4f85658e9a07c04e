import { close } from 'node:fs';
import { CloveError } from '../../errors/index.ts';
import type { Sandbox } from '../../native/types.ts';
import type { LaunchPlan } from '../agents/agent.ts';
import { commandPlan } from '../agents/command.ts';
import type { Sandboxing } from '../agents/isolation.ts';
import type { Launcher } from '../agents/launcher.ts';

/** Does nothing for as long as it is let. */
const IDLE = ['/bin/sleep', 'infinity'];

/**
 * A remote agent's place on this machine: a sandbox in which nothing runs, made when it first reads, writes or executes
 * something. What it leaves there is gone when it goes.
 */
export class Workspace {
  readonly plan: LaunchPlan;
  readonly #launcher: Pick<Launcher, 'launchCommand'>;
  #sandbox: Promise<Sandbox> | null = null;
  #isClosed = false;

  constructor(launcher: Pick<Launcher, 'launchCommand'>, sandboxing: Sandboxing) {
    this.#launcher = launcher;
    this.plan = commandPlan(IDLE, null, sandboxing);
  }

  /** @throws SANDBOX_UNAVAILABLE, EXEC_FAILED, CANCELLED */
  async sandbox(): Promise<Sandbox> {
    this.#assertOpen();
    this.#sandbox ??= this.#launch();
    const sandbox = await this.#sandbox;
    this.#assertOpen();
    return sandbox;
  }

  /** Resolves when nothing of it is left. Never rejects. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const sandbox = await this.#sandbox?.catch(() => null);
    if (sandbox == null) return;
    sandbox.kill('killed');
    await sandbox.exited;
  }

  async #launch(): Promise<Sandbox> {
    try {
      const sandbox = await this.#launcher.launchCommand(this.plan);
      // Nobody says anything there.
      for (const fd of [sandbox.stdoutFd, sandbox.stderrFd]) if (fd !== null) close(fd, () => {});
      // Killed from outside, or out of memory: the next call gets a new one.
      void sandbox.exited.then(() => {
        this.#sandbox = null;
      });
      return sandbox;
    } catch (error) {
      this.#sandbox = null;
      throw error;
    }
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new CloveError('CANCELLED', 'the agent is not connected any more');
  }
}
