import { CloveError, errorToData } from '../../errors/index.ts';
import type { SandboxExit } from '../../native/types.ts';
import type { Agent, LaunchPlan } from './agent.ts';
import { lifecycleData, logTail } from './events.ts';
import type { Life } from './life.ts';
import { SETUP_EXIT } from './new-agent.ts';

export interface ReloadOrder {
  /** What is to run from now on. */
  readonly plan: LaunchPlan;
  /** What is to run again when that does not come up. */
  readonly before: LaunchPlan;
  /** Between SIGTERM and SIGKILL for the old incarnation. */
  readonly drainMs: number;
  /** New code is up when it has lived so long. */
  readonly readyMs: number;
  readonly by: number;
}

/** How new code failed to come up; null = it is up. */
export type ReloadFailure = { readonly reason: string; readonly logTail: string } | null;

/** What the supervisor does for a handover. */
export interface HandoverOptions {
  readonly isClosing: () => boolean;
  /** Its user and its socket, where it does not have them yet. */
  readonly open: (agent: Agent) => void;
  readonly start: (life: Life) => Promise<unknown>;
  /** Nobody else starts or ends it until resume(), whatever becomes of it meanwhile. */
  readonly suspend: (life: Life) => void;
  readonly resume: (life: Life) => void;
  readonly concluded: (life: Life, exit: SandboxExit, livedMs: number) => void;
  /** Does nothing for an agent that has ended already. */
  readonly retire: (life: Life) => void;
  readonly publish: (type: 'AGENT_RELOADED', data: Readonly<Record<string, unknown>>) => void;
}

/** From one code of an agent to the next, and back. */
export class Handover {
  readonly #options: HandoverOptions;

  constructor(options: HandoverOptions) {
    this.#options = options;
  }

  /**
   * New code under the same id, name, mailbox and state: the old incarnation ends, the new one starts, and where that does not
   * live long enough the old code starts again. @throws CONFLICT, CANCELLED when the agent was ended meanwhile
   */
  async reload(life: Life | undefined, agent: Agent, order: ReloadOrder): Promise<ReloadFailure> {
    if (life === undefined || life.stoppedBy !== null) {
      throw new CloveError('CONFLICT', `agent ${agent.name} is ending`);
    }
    if (life.handover !== null || (!life.isWaiting && agent.sandbox === null)) {
      throw new CloveError('CONFLICT', `agent ${agent.name} is being started`);
    }
    this.#options.suspend(life);
    try {
      await this.#drain(life, order.drainMs);
      agent.plan = order.plan;
      life.prepare = null;
      const failure = await this.#tryStart(life, order.readyMs);
      if (failure !== null) {
        agent.plan = order.before;
        await this.#startAgain(life);
      }
      this.#options.publish('AGENT_RELOADED', {
        ...lifecycleData(agent),
        pid: agent.pid,
        rolled_back: failure !== null,
        reloaded_by: order.by,
        ...(failure === null ? {} : { reason: failure.reason }),
      });
      return failure;
    } finally {
      life.handover = null;
      this.#options.resume(life);
    }
  }

  async #drain(life: Life, drainMs: number): Promise<void> {
    const { agent } = life;
    if (life.isWaiting) {
      life.isWaiting = false;
      this.#options.open(agent);
      // Nobody else starts or ends it meanwhile.
      life.handover = () => {};
      return;
    }
    const ended = this.#endOf(life);
    const { sandbox } = agent;
    if (agent.state === 'paused' || drainMs === 0) sandbox?.kill('killed');
    else {
      sandbox?.signal('SIGTERM');
      life.graceTimer ??= setTimeout(() => sandbox?.kill('killed'), drainMs);
    }
    agent.state = 'stopping';
    await ended;
    this.#assertWanted(life);
  }

  /** The end of the incarnation that runs, or of the agent. */
  #endOf(life: Life): Promise<SandboxExit | null> {
    const { promise, resolve } = Promise.withResolvers<SandboxExit | null>();
    life.handover = resolve;
    void life.end.promise.then(() => resolve(null));
    return promise;
  }

  /** Told to end between two incarnations: there is nobody to signal. */
  #assertWanted(life: Life): void {
    if (life.stoppedBy === null && !this.#options.isClosing()) return;
    if (life.agent.sandbox === null) this.#options.retire(life);
    throw new CloveError('CANCELLED', `agent ${life.agent.name} was ended meanwhile`);
  }

  async #tryStart(life: Life, readyMs: number): Promise<ReloadFailure> {
    const { agent } = life;
    const ended = this.#endOf(life);
    try {
      await this.#options.start(life);
    } catch (error) {
      this.#assertWanted(life);
      return { reason: errorToData(error).message, logTail: '' };
    }
    const timer = Promise.withResolvers<'ready'>();
    const timeout = setTimeout(() => timer.resolve('ready'), readyMs);
    const outcome = await Promise.race([ended, timer.promise]);
    clearTimeout(timeout);
    // It may just have ended, with its output not wholly read.
    if (outcome === 'ready' && agent.sandbox !== null) return null;
    const exit = outcome === 'ready' ? await ended : outcome;
    this.#assertWanted(life);
    const how = exit?.signal ?? `status ${exit?.exitCode ?? 'unknown'}`;
    return { reason: `it ended within ${readyMs} ms: ${how}`, logTail: logTail(agent, 2048) };
  }

  /** Back to the old code. Should that not start either, it is the restart policy's to try again. */
  async #startAgain(life: Life): Promise<void> {
    life.handover = null;
    try {
      await this.#options.start(life);
    } catch (error) {
      this.#assertWanted(life);
      const { message } = errorToData(error);
      life.agent.stderr.append(
        Buffer.from(`clove: the code from before could not be started again: ${message}\n`),
      );
      this.#options.concluded(life, SETUP_EXIT, 0);
    }
  }
}
