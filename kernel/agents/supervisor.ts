import type { Logger } from 'pino';
import { CloveError, errorToData } from '../../errors/index.ts';
import type { Sandbox, SandboxExit } from '../../native/types.ts';
import type { EventBus } from '../events/event-bus.ts';
import { drain } from '../exec/drain.ts';
import type { Mailboxes } from '../ipc/mailboxes.ts';
import { Announcer } from '../supervision/announcer.ts';
import type { GroupRegistry } from '../supervision/groups.ts';
import type { Health } from '../supervision/health-state.ts';
import { endInWaves, endOf, readinessOf } from '../supervision/stopping.ts';
import type { SupervisionTree } from '../supervision/tree.ts';
import type { Command } from '../supervision/types.ts';
import { startWatch } from '../supervision/watching.ts';
import type { Agent } from './agent.ts';
import { lifecycleData } from './events.ts';
import type { Fleet } from './fleet.ts';
import type { DesiredSpec } from './fleet-rows.ts';
import { Handover, type ReloadFailure, type ReloadOrder } from './handover.ts';
import type { Launched, Launcher } from './launcher.ts';
import { clearTimers, type Life, newLife } from './life.ts';
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
  readonly groups: GroupRegistry;
  readonly log: Logger;
  readonly maxAgents: number;
  /** Calls that an agent has made so far, those included that the wire server answers by itself. */
  readonly callsOf: (agent: Agent) => number;
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
 * Starts agents, sees them end, and does what the supervision tree decides then. An agent keeps id, name, socket and mailbox
 * from spawn until it is retired; only then is anything of it given to others.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #tree: SupervisionTree;
  readonly #announcer: Announcer;
  readonly #lives = new Map<number, Life>();
  readonly #handover: Handover;
  #wakeTimer: NodeJS.Timeout | null = null;
  #closing = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#tree = options.groups.tree;
    this.#announcer = new Announcer(options.events, options.log);
    this.#handover = new Handover({
      isClosing: () => this.#closing,
      open: (agent) => options.launcher.open(agent.id),
      start: (life) => this.#start(life),
      concluded: (life, exit, livedMs) => this.#concluded(life, exit, livedMs),
      retire: (life) => {
        if (this.#lives.has(life.agent.id)) this.#retire(life);
      },
      suspend: ({ agent }) => this.#tree.suspend(agent.id),
      resume: ({ agent }) => {
        this.#apply(this.#tree.resume(agent.id, performance.now()));
        if (agent.ready) this.#apply(this.#tree.ready(agent.id, performance.now()));
      },
      publish: (type, data) => this.#announcer.say(type, data),
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
        clearTimers(life);
        this.#lives.delete(id);
        agents.remove(agent);
        this.#apply(this.#tree.release(id, performance.now()));
        life.end.resolve();
      });
      if (this.#closing) throw new CloveError('CANCELLED', 'the kernel is stopping');
      await this.#awaitTurn(life);
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

  /** What it depends on is ready, and all before it in an ordered group. @throws NOT_FOUND, BAD_REQUEST, CONFLICT, CANCELLED */
  async #awaitTurn(life: Life): Promise<void> {
    const { agent } = life;
    const go = Promise.withResolvers<void>();
    life.go = go;
    this.#apply(this.#tree.admit(memberOf(agent), performance.now()));
    await go.promise;
  }

  /**
   * SIGTERM, and SIGKILL to the whole tree when `graceMs` have passed (null: what the agent asked for); a paused agent is
   * killed at once, for it could not react. No restart follows. Resolves when nothing of it is left.
   */
  async kill(agent: Agent, graceMs: number | null, by: number): Promise<void> {
    const life = this.#lives.get(agent.id);
    if (life === undefined) return;
    // At once: should the kernel be killed while the agent ends, it does not come back either.
    const removed = this.#options.fleet.remove(agent.id);
    removed?.catch(() => {});
    await this.#stop(life, graceMs ?? agent.supervision.stopGraceMs, by);
    await removed;
  }

  /** Ends what is in a group, from the last to the first, and the group. @throws NOT_FOUND */
  async removeGroup(name: string, graceMs: number | null, by: number): Promise<number[]> {
    const { groups } = this.#options;
    const ids = groups.memberIdsOf(name);
    await endInWaves(this.#tree.stopWaves(ids), async (id) => {
      const agent = this.#lives.get(id)?.agent;
      if (agent !== undefined) await this.kill(agent, graceMs, by);
    });
    for (const below of groups.namesBelow(name).toReversed()) await groups.remove(below);
    return ids;
  }

  async #stop(life: Life, graceMs: number, by: number): Promise<void> {
    const { agent } = life;
    life.stoppedBy ??= by;
    this.#apply(this.#tree.release(agent.id, performance.now()));
    if (life.go !== null) {
      life.go.reject(new CloveError('CANCELLED', `agent ${agent.name} was ended before it could start`));
      life.go = null;
      return;
    }
    if (life.isWaiting) {
      this.#retireWaiting(life);
      return;
    }
    this.#signalEnd(life, graceMs);
    await life.end.promise;
  }

  /** SIGTERM, and later SIGKILL. */
  #signalEnd(life: Life, graceMs: number): void {
    const { agent } = life;
    const { sandbox } = agent;
    if (sandbox === null) return;
    if (agent.state === 'paused' || graceMs === 0) sandbox.kill('killed');
    else if (life.graceTimer === null) {
      sandbox.signal('SIGTERM');
      life.graceTimer = setTimeout(() => sandbox.kill('killed'), graceMs);
    }
    agent.state = 'stopping';
  }

  /** Freezes the whole tree. @throws CONFLICT unless running */
  async pause(agent: Agent, by: number): Promise<void> {
    if (agent.state !== 'running' || agent.sandbox === null) {
      throw new CloveError('CONFLICT', `agent ${agent.name} is ${agent.state}, not running`);
    }
    agent.state = 'paused';
    const watch = this.#lives.get(agent.id)?.watch;
    watch?.pause();
    try {
      await agent.sandbox.freeze();
    } catch (error) {
      if (agent.state === 'paused') agent.state = 'running';
      watch?.resume();
      throw error;
    }
    if (agent.state !== 'paused') throw new CloveError('CONFLICT', `agent ${agent.name} ended meanwhile`);
    this.#announcer.say('AGENT_PAUSED', { ...lifecycleData(agent), paused_by: by });
  }

  /** @throws CONFLICT unless paused */
  async resume(agent: Agent, by: number): Promise<void> {
    if (agent.state !== 'paused' || agent.sandbox === null) {
      throw new CloveError('CONFLICT', `agent ${agent.name} is ${agent.state}, not paused`);
    }
    await agent.sandbox.thaw();
    if (agent.state === 'paused') agent.state = 'running';
    this.#lives.get(agent.id)?.watch?.resume();
    this.#announcer.say('AGENT_RESUMED', { ...lifecycleData(agent), resumed_by: by });
  }

  /** As Handover.reload(). @throws CONFLICT, CANCELLED when the agent was ended meanwhile */
  reload(agent: Agent, order: ReloadOrder): Promise<ReloadFailure> {
    return this.#handover.reload(this.#lives.get(agent.id), agent, order);
  }

  /** Resolves when the agent has ended for good. @throws TIMEOUT, CANCELLED */
  waitForEnd(agent: Agent, timeoutMs: number | null, signal: AbortSignal): Promise<void> {
    const life = this.#lives.get(agent.id);
    return life === undefined ? Promise.resolve() : endOf(life, timeoutMs, signal);
  }

  /** Resolves when it is ready. @throws TIMEOUT, CANCELLED, CONFLICT when it has ended for good */
  waitForReady(agent: Agent, timeoutMs: number | null, signal: AbortSignal): Promise<void> {
    const life = this.#lives.get(agent.id);
    if (life === undefined) {
      return Promise.reject(new CloveError('CONFLICT', `agent ${agent.name} has ended`));
    }
    return readinessOf(life, timeoutMs, signal);
  }

  /** How the agent is, by its check. */
  healthOf(agentId: number): Health {
    const life = this.#lives.get(agentId);
    if (life === undefined || life.agent.supervision.health === null) return 'none';
    return life.watch?.health ?? 'unknown';
  }

  /** The agent speaks about itself. Returns whether a pong was the one that is awaited. */
  noted(agentId: number, note: { readonly isReady: boolean; readonly pong: string | null }): boolean {
    const watch = this.#lives.get(agentId)?.watch;
    if (note.isReady) watch?.notifyReady();
    return note.pong !== null && watch?.pong(note.pong) === true;
  }

  /** It has registered a name. */
  nameTaken(agentId: number, name: string): void {
    this.#lives.get(agentId)?.watch?.nameTaken(name);
  }

  /** Names of those it has to wait for before it can start. */
  waitsFor(agentId: number): string[] {
    return this.#tree.waitsFor(agentId);
  }

  /** Ends all agents and lets no new one in, those first that others do not need. Those that outlive the kernel are what the next one begins with. */
  async close(graceMs: number): Promise<void> {
    this.#closing = true;
    if (this.#wakeTimer !== null) clearTimeout(this.#wakeTimer);
    const deadlineMs = performance.now() + graceMs;
    const waves = this.#tree.stopWaves([...this.#lives.keys()]);
    // None of them comes back, whenever its turn to end is.
    for (const life of this.#lives.values()) life.stoppedBy ??= 0;
    await endInWaves(
      waves,
      async (id) => {
        const life = this.#lives.get(id);
        if (life !== undefined) await this.#stop(life, Math.max(0, deadlineMs - performance.now()), 0);
      },
      () => deadlineMs - performance.now() + DRAIN_MS,
    );
  }

  /** An agent of the last kernel; its name is taken already. It is planned and started when all are there and the delay is over. */
  restore(agent: Agent, delayMs: number, prepare: () => Promise<Plan>): void {
    const life = this.#admit(agent);
    life.prepare = prepare;
    this.#waits(life, delayMs);
    this.#announcer.restarting(agent, null, 'kernel_restart', delayMs);
    this.#tree.admit(memberOf(agent), performance.now(), { delayMs, isPaced: true });
  }

  /** All of them were. */
  restored(): void {
    this.#apply(this.#tree.restored(performance.now()));
  }

  liveIds(): number[] {
    return [...this.#lives.keys()];
  }

  #admit(agent: Agent): Life {
    const life = newLife(agent);
    this.#lives.set(agent.id, life);
    this.#options.agents.add(agent);
    return life;
  }

  // ---- what the tree decides

  #apply(commands: readonly Command[]): void {
    // All of them are being ended.
    if (this.#closing) return;
    for (const command of commands) this.#do(command);
    this.#wakeLater();
  }

  #do(command: Command): void {
    if (command.kind === 'group_restarting' || command.kind === 'group_escalated') {
      this.#options.groups.announce(command, (type, data) => this.#announcer.say(type, data));
      return;
    }
    const life = this.#lives.get(command.id);
    if (life === undefined) return;
    switch (command.kind) {
      case 'start':
        if (life.go !== null) {
          life.go.resolve();
          life.go = null;
        } else void this.#restart(life);
        return;
      case 'stop':
        life.isStoppedForGroup = true;
        this.#signalEnd(life, life.agent.supervision.stopGraceMs);
        return;
      case 'waiting':
        this.#options.fleet.restartPending(life.agent, command.delayMs);
        this.#waits(life, command.delayMs);
        this.#announcer.restarting(
          life.agent,
          life.agent.lastExit,
          command.group === null ? (life.agent.lastExit?.reason ?? 'setup') : 'group',
          command.delayMs,
        );
        return;
      case 'retire':
        if (life.go !== null) {
          // It never ran: whoever asked for it is told, and nothing of it stays.
          life.go.reject(
            new CloveError('CONFLICT', `group ${command.group} was given up: too many restarts`),
          );
          life.go = null;
          return;
        }
        if (command.escalated) this.#announcer.escalated(life.agent, life.agent.lastExit);
        this.#retire(life);
    }
  }

  #waits(life: Life, delayMs: number): void {
    life.isWaiting = true;
    life.agent.state = 'starting';
    life.agent.restartAt = Date.now() + delayMs;
  }

  #wakeLater(): void {
    if (this.#wakeTimer !== null) clearTimeout(this.#wakeTimer);
    this.#wakeTimer = null;
    const at = this.#closing ? null : this.#tree.nextWakeMs();
    if (at === null) return;
    const delayMs = Math.min(Math.max(0, Math.ceil(at - performance.now())), 2 ** 31 - 1);
    this.#wakeTimer = setTimeout(() => this.#apply(this.#tree.tick(performance.now())), delayMs);
  }

  // ---- incarnations

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
    this.#announcer.spawned(agent);
    sandbox.exited
      .then((exit) => this.#ended(life, launched, exit))
      .catch((error: unknown) => {
        // A fault here must not leave an agent that is gone in the table for ever.
        this.#options.log.error({ err: error, agent: agent.id }, 'fault at the end of an agent');
        this.#retire(life);
      });
    // Told to end while it was being set up.
    if (life.stoppedBy !== null || life.isStoppedForGroup) {
      agent.state = 'stopping';
      sandbox.kill('killed');
    } else {
      startWatch(life, sandbox, {
        ...this.#options,
        say: (type, data) => this.#announcer.say(type, data),
        ready: () => {
          this.#apply(this.#tree.ready(agent.id, performance.now()));
          for (const tell of life.waitingForReady.splice(0)) tell();
        },
      });
    }
    return sandbox;
  }

  async #ended(life: Life, launched: Launched, exit: SandboxExit): Promise<void> {
    const { agent } = life;
    clearTimers(life);
    agent.sandbox = null;
    agent.ready = false;
    const { drained: ended, abandonOutput: giveUp } = launched;
    const readBytes = () => agent.stdout.totalBytes + agent.stderr.totalBytes;
    await drain({ ended, readBytes, giveUp }, DRAIN_MS);
    // An agent that ends in answer to SIGTERM was killed, however it then exits.
    const byItself = exit.reason === 'exited' || exit.reason === 'signal';
    const reason = (life.stoppedBy !== null || life.isStoppedForGroup) && byItself ? 'killed' : exit.reason;
    this.#concluded(life, { ...exit, reason }, performance.now() - life.startedMonotonicMs);
  }

  #concluded(life: Life, exit: SandboxExit, livedMs: number): void {
    const { agent } = life;
    agent.lastExit = {
      ...exit,
      reason: life.fault ?? exit.reason,
      agentId: agent.id,
      name: agent.name,
      endedAt: Date.now(),
      restartCount: agent.restart.count,
    };
    const isFaulty = life.fault !== null;
    life.fault = null;
    life.isStoppedForGroup = false;
    this.#options.onEnded(agent);
    this.#announcer.exited(agent, agent.lastExit, life.stoppedBy);
    if (life.stoppedBy !== null || this.#closing) {
      this.#retire(life);
      return;
    }
    if (life.handover !== null) {
      life.handover(exit);
      return;
    }
    const clean = !isFaulty && exit.reason === 'exited' && exit.exitCode === 0;
    this.#apply(this.#tree.ended(agent.id, { clean, livedMs }, performance.now()));
    if (agent.supervision.group !== null) this.#options.groups.save(agent.supervision.group);
  }

  /** A restart that cannot be started counts as one that failed at once: it is tried again, then given up. */
  async #restart(life: Life): Promise<void> {
    const { agent } = life;
    life.isWaiting = false;
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
    if (agent.lastExit !== null) {
      agent.lastExit = { ...agent.lastExit, reason: 'killed', endedAt: Date.now() };
      this.#announcer.exited(agent, agent.lastExit, life.stoppedBy);
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
    agent.ready = false;
    agent.labels = agent.plan.request?.labels ?? agent.labels;
    agent.plan = withoutBulk(agent.plan);
    this.#lives.delete(agent.id);
    this.#options.agents.retire(agent);
    this.#options.launcher.close(agent.id);
    const isKept = this.#closing && life.stoppedBy === 0;
    const removed = isKept ? null : this.#options.fleet.remove(agent.id);
    this.#options.onRetired(agent);
    this.#apply(this.#tree.release(agent.id, performance.now()));
    this.#failThoseThatNeed(agent);
    if (removed === null) life.end.resolve();
    // Whoever waits for its end is told when it will not come back, whatever happens to the kernel.
    else
      removed
        .catch((error: unknown) => {
          this.#options.log.error({ err: error, agent: agent.id }, 'the next kernel will start it again');
        })
        .finally(() => life.end.resolve());
  }

  /** Whoever has asked for an agent is told that it will not start, rather than to wait for somebody who is gone. */
  #failThoseThatNeed({ name }: Agent): void {
    for (const { agent, go } of this.#lives.values()) {
      if (go === null || !this.#tree.missing(agent.id).includes(name)) continue;
      go.reject(new CloveError('CONFLICT', `agent ${name}, which it depends on, has ended`));
    }
  }
}

function memberOf({ id, name, restart, supervision }: Agent) {
  const { group, order, dependsOn } = supervision;
  return { id, name, group, order, dependsOn, restart };
}
