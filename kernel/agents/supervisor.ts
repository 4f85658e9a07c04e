import type { Logger } from 'pino';
import { CloveError, errorToData } from '../../errors/index.ts';
import type { Sandbox, SandboxExit } from '../../native/types.ts';
import type { EventBus } from '../events/event-bus.ts';
import { drain } from '../exec/drain.ts';
import type { Mailboxes } from '../ipc/mailboxes.ts';
import type { Agent, AgentExit } from './agent.ts';
import { exitedData, exitedDetails, lifecycleData, restartData } from './events.ts';
import type { Fleet } from './fleet.ts';
import type { DesiredSpec } from './fleet-rows.ts';
import { Handover, type ReloadFailure, type ReloadOrder } from './handover.ts';
import type { Launched, Launcher } from './launcher.ts';
import { clearTimers, type Life } from './life.ts';
import { newAgent, SETUP_EXIT, withoutBulk } from './new-agent.ts';
import type { Plan } from './plan.ts';
import type { AgentTable } from './table.ts';

/** Output still in the pipes when the tree is gone is a page or two. */
const DRAIN_MS = 1000;

export interface SupervisorOptions {
  readonly agents: AgentTable;
  readonly launcher: Launcher;
  readonly events: EventBus;
  readonly mailboxes: Mailboxes;
  readonly fleet: Fleet;
  readonly log: Logger;
  readonly maxAgents: number;
  /** An incarnation runs. */
  readonly onStarted?: (agent: Agent) => void;
  /** An incarnation is over; the agent may come back. */
  readonly onEnded: (agent: Agent) => void;
  /** The agent will not come back. */
  readonly onRetired: (agent: Agent) => void;
  readonly random?: () => number;
}

export interface SpawnOrder {
  /** null = made from the id. */
  readonly name: string | null;
  readonly parentId: number;
  /** Called with id and name decided and taken. */
  plan(agentId: number, name: string): Promise<Plan>;
  /** What the next kernel needs to start it again; null = it ends with this one. */
  readonly desired?: ((plan: Plan) => DesiredSpec) | null;
}

/**
 * Starts agents, sees them end, starts them again by their policy. An agent keeps id, name, socket and mailbox from spawn
 * until it is retired; only then is anything of it given to others.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #lives = new Map<number, Life>();
  readonly #handover: Handover;
  #closing = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#handover = new Handover({
      isClosing: () => this.#closing,
      open: (agent) => options.launcher.open(agent.id),
      start: (life) => this.#start(life),
      concluded: (life, exit, livedMs) => this.#concluded(life, exit, livedMs),
      retire: (life) => {
        if (this.#lives.has(life.agent.id)) this.#retire(life);
      },
      publish: (type, data) => this.#publish(type, data),
    });
  }

  /** Resolves when the program runs. @throws CONFLICT, OVERLOAD, SANDBOX_UNAVAILABLE, EXEC_FAILED, NOT_FOUND … */
  async spawn(order: SpawnOrder): Promise<{ agent: Agent; plan: Plan; sandbox: Sandbox }> {
    const { agents, mailboxes, launcher, fleet } = this.#options;
    if (this.#closing) throw new CloveError('CANCELLED', 'the kernel is stopping');
    if (this.#lives.size >= this.#options.maxAgents) {
      throw new CloveError(
        'OVERLOAD',
        `${this.#options.maxAgents} agents are alive, the most this kernel takes`,
      );
    }
    const id = agents.nextId();
    const name = order.name ?? `agent_${id}`;
    if (agents.byName(name) !== undefined) {
      throw new CloveError('CONFLICT', `an agent named ${name} is alive`);
    }
    // The mailbox holds the name from here on, also while the agent is being planned.
    mailboxes.open(id, { name, parentId: order.parentId });
    const undo: (() => void)[] = [() => mailboxes.release(id)];
    const reserved = fleet.reserve(id);
    // Looked at when the agent runs.
    reserved?.catch(() => {});
    try {
      launcher.open(id);
      undo.push(() => launcher.close(id));
      const plan = await order.plan(id, name);
      const agent = newAgent(id, order.parentId, plan, this.#options.random);
      const life = this.#admit(agent);
      undo.push(() => {
        this.#lives.delete(id);
        agents.remove(agent);
        life.end.resolve();
      });
      if (this.#closing) throw new CloveError('CANCELLED', 'the kernel is stopping');
      const isDesired = order.desired !== undefined && order.desired !== null;
      if (isDesired) {
        fleet.admit(id);
        undo.push(() => fleet.remove(id)?.catch(() => {}));
      }
      const sandbox = await this.#start(life);
      const written = isDesired ? fleet.put(agent, order.desired(plan)) : null;
      try {
        await Promise.all([reserved, written]);
      } catch (error) {
        // What is not on disk must not be acknowledged, and what is not acknowledged must not run.
        await this.kill(agent, 0, 0);
        throw error;
      }
      return { agent, plan, sandbox };
    } catch (error) {
      for (const step of undo.reverse()) step();
      throw error;
    }
  }

  /**
   * SIGTERM, and SIGKILL to the whole tree when `graceMs` have passed; a paused agent is killed at once, for it could not
   * react. No restart follows. Resolves when nothing of it is left.
   */
  async kill(agent: Agent, graceMs: number, by: number): Promise<void> {
    const life = this.#lives.get(agent.id);
    if (life === undefined) return;
    // At once: should the kernel be killed while the agent ends, it does not come back either.
    const removed = this.#options.fleet.remove(agent.id);
    removed?.catch(() => {});
    await this.#stop(life, graceMs, by);
    await removed;
  }

  async #stop(life: Life, graceMs: number, by: number): Promise<void> {
    const { agent } = life;
    life.stoppedBy ??= by;
    if (life.restartTimer !== null) {
      this.#retireWaiting(life);
      return;
    }
    const { sandbox } = agent;
    if (sandbox !== null) {
      if (agent.state === 'paused' || graceMs === 0) sandbox.kill('killed');
      else if (life.graceTimer === null) {
        sandbox.signal('SIGTERM');
        life.graceTimer = setTimeout(() => sandbox.kill('killed'), graceMs);
      }
      agent.state = 'stopping';
    }
    await life.end.promise;
  }

  /** Freezes the whole tree. @throws CONFLICT unless running */
  async pause(agent: Agent, by: number): Promise<void> {
    if (agent.state !== 'running' || agent.sandbox === null) {
      throw new CloveError('CONFLICT', `agent ${agent.name} is ${agent.state}, not running`);
    }
    agent.state = 'paused';
    try {
      await agent.sandbox.freeze();
    } catch (error) {
      if (agent.state === 'paused') agent.state = 'running';
      throw error;
    }
    if (agent.state !== 'paused') throw new CloveError('CONFLICT', `agent ${agent.name} ended meanwhile`);
    this.#publish('AGENT_PAUSED', { ...lifecycleData(agent), paused_by: by });
  }

  /** @throws CONFLICT unless paused */
  async resume(agent: Agent, by: number): Promise<void> {
    if (agent.state !== 'paused' || agent.sandbox === null) {
      throw new CloveError('CONFLICT', `agent ${agent.name} is ${agent.state}, not paused`);
    }
    await agent.sandbox.thaw();
    if (agent.state === 'paused') agent.state = 'running';
    this.#publish('AGENT_RESUMED', { ...lifecycleData(agent), resumed_by: by });
  }

  /** As Handover.reload(). @throws CONFLICT, CANCELLED when the agent was ended meanwhile */
  reload(agent: Agent, order: ReloadOrder): Promise<ReloadFailure> {
    return this.#handover.reload(this.#lives.get(agent.id), agent, order);
  }

  /** Resolves when the agent has ended for good. @throws TIMEOUT, CANCELLED */
  async waitForEnd(agent: Agent, timeoutMs: number | null, signal: AbortSignal): Promise<void> {
    const life = this.#lives.get(agent.id);
    if (life === undefined) return;
    if (signal.aborted) throw new CloveError('CANCELLED', 'the wait was cancelled');
    const cut = Promise.withResolvers<never>();
    const onAbort = () => cut.reject(new CloveError('CANCELLED', 'the wait was cancelled'));
    const timer =
      timeoutMs === null
        ? undefined
        : setTimeout(
            () => cut.reject(new CloveError('TIMEOUT', `agent ${agent.name} has not ended`)),
            timeoutMs,
          );
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.race([life.end.promise, cut.promise]);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Ends all agents and lets no new one in. Those that outlive the kernel are what the next one begins with. */
  async close(graceMs: number): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#lives.values()].map((life) => this.#stop(life, graceMs, 0)));
  }

  /** An agent of the last kernel; its name is taken already. It is planned and started when the delay is over. */
  restore(agent: Agent, delayMs: number, prepare: () => Promise<Plan>): void {
    const life = this.#admit(agent);
    life.prepare = prepare;
    this.#waitForRestart(life, delayMs);
    this.#publish('AGENT_RESTARTING', {
      ...lifecycleData(agent),
      agent_name: agent.name,
      restart_count: agent.restart.count,
      exit_code: null,
      signal: null,
      reason: 'kernel_restart',
      delay_ms: delayMs,
    });
  }

  liveIds(): number[] {
    return [...this.#lives.keys()];
  }

  #admit(agent: Agent): Life {
    const life: Life = {
      agent,
      end: Promise.withResolvers<void>(),
      stoppedBy: null,
      startedMonotonicMs: performance.now(),
      restartTimer: null,
      timeoutTimer: null,
      graceTimer: null,
      prepare: null,
      handover: null,
    };
    this.#lives.set(agent.id, life);
    this.#options.agents.add(agent);
    return life;
  }

  async #start(life: Life): Promise<Sandbox> {
    const { agent } = life;
    agent.state = 'starting';
    agent.restartAt = null;
    const launched = await this.#options.launcher.launch(agent);
    const { sandbox } = launched;
    agent.sandbox = sandbox;
    agent.pid = sandbox.pid;
    agent.startedAt = Date.now();
    agent.state = 'running';
    life.startedMonotonicMs = performance.now();
    this.#options.onStarted?.(agent);
    const { timeoutMs } = agent.plan;
    if (timeoutMs !== null) life.timeoutTimer = setTimeout(() => sandbox.kill('timeout'), timeoutMs);
    this.#publish('AGENT_SPAWNED', {
      ...lifecycleData(agent),
      pid: agent.pid,
      parent_id: agent.parentId,
      restart_count: agent.restart.count,
    });
    sandbox.exited
      .then((exit) => this.#ended(life, launched, exit))
      .catch((error: unknown) => {
        // A fault here must not leave an agent that is gone in the table for ever.
        this.#options.log.error({ err: error, agent: agent.id }, 'fault at the end of an agent');
        this.#retire(life);
      });
    // Told to end while it was being set up.
    if (life.stoppedBy !== null) {
      agent.state = 'stopping';
      sandbox.kill('killed');
    }
    return sandbox;
  }

  async #ended(life: Life, launched: Launched, exit: SandboxExit): Promise<void> {
    const { agent } = life;
    clearTimers(life);
    agent.sandbox = null;
    const { drained: ended, abandonOutput: giveUp } = launched;
    const readBytes = () => agent.stdout.totalBytes + agent.stderr.totalBytes;
    await drain({ ended, readBytes, giveUp }, DRAIN_MS);
    // An agent that ends in answer to SIGTERM was killed, however it then exits.
    const reason =
      life.stoppedBy !== null && (exit.reason === 'exited' || exit.reason === 'signal')
        ? 'killed'
        : exit.reason;
    this.#concluded(life, { ...exit, reason }, performance.now() - life.startedMonotonicMs);
  }

  #concluded(life: Life, exit: SandboxExit, livedMs: number): void {
    const { agent } = life;
    agent.lastExit = {
      ...exit,
      agentId: agent.id,
      name: agent.name,
      endedAt: Date.now(),
      restartCount: agent.restart.count,
    };
    this.#options.onEnded(agent);
    this.#publishExit(life, agent.lastExit);
    if (life.stoppedBy !== null || this.#closing) {
      this.#retire(life);
      return;
    }
    if (life.handover !== null) {
      life.handover(exit);
      return;
    }
    const clean = exit.reason === 'exited' && exit.exitCode === 0;
    const decision = agent.restart.decide({ clean, livedMs, nowMs: performance.now() });
    if (decision.kind === 'restart') this.#scheduleRestart(life, agent.lastExit, decision.delayMs);
    else {
      if (decision.kind === 'escalate') {
        const data = restartData(agent, agent.lastExit, agent.restart.count);
        this.#publish('AGENT_ESCALATED', data);
        this.#options.log.warn(data, 'agent given up: too many restarts');
      }
      this.#retire(life);
    }
  }

  #scheduleRestart(life: Life, exit: AgentExit, delayMs: number): void {
    const { agent } = life;
    this.#options.fleet.restartPending(agent, delayMs);
    this.#waitForRestart(life, delayMs);
    this.#publish('AGENT_RESTARTING', {
      ...restartData(agent, exit, agent.restart.count),
      delay_ms: delayMs,
    });
  }

  #waitForRestart(life: Life, delayMs: number): void {
    const { agent } = life;
    agent.state = 'starting';
    agent.restartAt = Date.now() + delayMs;
    life.restartTimer = setTimeout(() => {
      life.restartTimer = null;
      void this.#restart(life);
    }, delayMs);
  }

  /** A restart that cannot be started counts as one that failed at once: it is tried again, then given up. */
  async #restart(life: Life): Promise<void> {
    const { agent } = life;
    try {
      if (life.prepare !== null) {
        this.#options.launcher.open(agent.id);
        agent.plan = (await life.prepare()).launch;
        life.prepare = null;
      }
      await this.#start(life);
    } catch (error) {
      this.#options.log.error({ agent: agent.id, error: errorToData(error) }, 'restart failed');
      agent.stderr.append(Buffer.from(`clove: restart failed: ${errorToData(error).message}\n`));
      this.#concluded(life, SETUP_EXIT, 0);
    }
  }

  /** Killed between two incarnations. */
  #retireWaiting(life: Life): void {
    const { agent } = life;
    clearTimers(life);
    if (agent.lastExit !== null) {
      agent.lastExit = { ...agent.lastExit, reason: 'killed', endedAt: Date.now() };
      this.#publishExit(life, agent.lastExit);
    }
    this.#retire(life);
  }

  #retire(life: Life): void {
    const { agent } = life;
    clearTimers(life);
    const exit = agent.lastExit;
    const asWanted = life.stoppedBy !== null || (exit?.reason === 'exited' && exit.exitCode === 0);
    agent.state = asWanted ? 'stopped' : 'failed';
    agent.restartAt = null;
    agent.plan = withoutBulk(agent.plan);
    this.#lives.delete(agent.id);
    this.#options.agents.retire(agent);
    this.#options.launcher.close(agent.id);
    const isKept = this.#closing && life.stoppedBy === 0;
    const removed = isKept ? null : this.#options.fleet.remove(agent.id);
    this.#options.onRetired(agent);
    if (removed === null) life.end.resolve();
    // Whoever waits for its end is told when it will not come back, whatever happens to the kernel.
    else
      removed
        .catch((error: unknown) => {
          this.#options.log.error({ err: error, agent: agent.id }, 'the next kernel will start it again');
        })
        .finally(() => life.end.resolve());
  }

  #publishExit(life: Life, exit: AgentExit): void {
    const { events, log } = this.#options;
    const { agent } = life;
    const data = exitedData(agent, exit, life.stoppedBy);
    events.publish('AGENT_EXITED', { ...data, ...exitedDetails(agent, exit) }, 0, 'operators');
    events.publish('AGENT_EXITED', data, 0, 'agents');
    log.debug({ event: 'AGENT_EXITED', ...data }, 'agent');
    if (exit.oomKills > 0) this.#warnOf(agent, 'memory', exit.oomKills);
    if (exit.pidsRefused > 0) this.#warnOf(agent, 'pids', exit.pidsRefused);
  }

  /** A limit was hit. Told to operators, and to the agent itself should it come back. */
  #warnOf(agent: Agent, resource: 'memory' | 'pids', count: number): void {
    const data = { ...lifecycleData(agent), resource, count };
    this.#options.events.publish('RESOURCE_WARNING', data, 0, 'operators');
    this.#options.events.publish('RESOURCE_WARNING', data, 0, agent.id);
  }

  #publish(type: Parameters<EventBus['publish']>[0], data: Readonly<Record<string, unknown>>): void {
    this.#options.events.publish(type, data, 0);
    this.#options.log.debug({ event: type, ...data }, 'agent');
  }
}
