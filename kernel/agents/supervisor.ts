import { CloveError } from '../../errors/index.ts';
import type { Sandbox } from '../../native/types.ts';
import type { Health } from '../supervision/health-state.ts';
import { endInWaves, endOf, readinessOf } from '../supervision/stopping.ts';
import type { Agent } from './agent.ts';
import { lifecycleData } from './events.ts';
import type { DesiredSpec } from './fleet-rows.ts';
import { Handover, type ReloadFailure, type ReloadOrder } from './handover.ts';
import { Incarnations, type IncarnationsOptions } from './incarnations.ts';
import type { Life } from './life.ts';
import { newAgent } from './new-agent.ts';
import type { Plan } from './plan.ts';

const ANNOUNCED_AT_ONCE = 256;

/** For what even SIGKILL does not end at once. */
const PATIENCE_MS = 1000;

export interface SupervisorOptions extends IncarnationsOptions {
  readonly maxAgents: number;
  readonly random?: () => number;
}

export interface SpawnOrder {
  /** null = made from the id. */
  readonly name: string | null;
  readonly parentId: number;
  /** Called with id and name decided and taken. */
  plan(agentId: number, name: string): Promise<Plan>;
  /** It is being set up: what can still fail is the agent's start. */
  readonly begun?: () => void;
  /** What the next kernel needs to start it again; null = it ends with this one. */
  readonly desired?: ((plan: Plan) => DesiredSpec) | null;
}

/**
 * Starts agents, sees them end, and does what the supervision tree decides then. An agent keeps id, name, socket and mailbox
 * from spawn until it is retired; only then is anything of it given to others.
 */
export class Supervisor {
  /** Agents of the last kernel that nobody was told of yet. */
  readonly #toAnnounce: { readonly agent: Agent; readonly delayMs: number }[] = [];
  readonly #options: SupervisorOptions;
  readonly #incarnations: Incarnations;
  readonly #handover: Handover;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#incarnations = new Incarnations(options);
    this.#handover = new Handover({
      isClosing: () => this.#incarnations.isClosing,
      open: (agent) => options.launcher.open(agent.id),
      start: (life) => this.#incarnations.start(life),
      concluded: (life, exit, livedMs) => this.#incarnations.concluded(life, exit, livedMs),
      retire: (life) => {
        if (this.#incarnations.of(life.agent.id) !== undefined) this.#incarnations.retire(life);
      },
      suspend: ({ agent }) => this.#incarnations.tree.suspend(agent.id),
      resume: ({ agent }) => {
        this.#incarnations.apply(this.#incarnations.tree.resume(agent.id, performance.now()));
        if (agent.ready) this.#incarnations.apply(this.#incarnations.tree.ready(agent.id, performance.now()));
      },
      publish: (type, data) => this.#incarnations.announcer.say(type, data),
    });
  }

  /** Resolves when the program runs. @throws CONFLICT, OVERLOAD, SANDBOX_UNAVAILABLE, EXEC_FAILED, NOT_FOUND … */
  async spawn(order: SpawnOrder): Promise<{ agent: Agent; plan: Plan; sandbox: Sandbox }> {
    const { agents, mailboxes, launcher, fleet } = this.#options;
    if (this.#incarnations.isClosing) throw new CloveError('CANCELLED', 'the kernel is stopping');
    if (this.#incarnations.size >= this.#options.maxAgents) {
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
      const life = this.#incarnations.admit(agent);
      undo.push(() => this.#incarnations.forget(life));
      if (this.#incarnations.isClosing) throw new CloveError('CANCELLED', 'the kernel is stopping');
      await this.#awaitTurn(life);
      const isDesired = order.desired !== undefined && order.desired !== null;
      if (isDesired) {
        fleet.admit(id);
        undo.push(() => fleet.remove(id)?.catch(() => {}));
      }
      const sandbox = await this.#incarnations.start(life, order.begun);
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
    this.#incarnations.apply(this.#incarnations.tree.admit(memberOf(agent), performance.now()));
    await go.promise;
  }

  /**
   * SIGTERM, and SIGKILL to the whole tree when `graceMs` have passed (null: what the agent asked for); a paused agent is
   * killed at once, for it could not react. No restart follows. Resolves when all of its processes are gone.
   */
  async kill(agent: Agent, graceMs: number | null, by: number): Promise<void> {
    const life = this.#incarnations.of(agent.id);
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
    await endInWaves(this.#incarnations.tree.stopWaves(ids), async (id) => {
      const agent = this.#incarnations.of(id)?.agent;
      if (agent !== undefined) await this.kill(agent, graceMs, by);
    });
    for (const below of groups.namesBelow(name).toReversed()) await groups.remove(below);
    return ids;
  }

  async #stop(life: Life, graceMs: number, by: number): Promise<void> {
    const { agent } = life;
    life.stoppedBy ??= by;
    this.#incarnations.apply(this.#incarnations.tree.release(agent.id, performance.now()));
    if (life.go !== null) {
      life.go.reject(new CloveError('CANCELLED', `agent ${agent.name} was ended before it could start`));
      life.go = null;
      return;
    }
    if (life.isWaiting) {
      this.#incarnations.retireWaiting(life);
      return;
    }
    this.#incarnations.signalEnd(life, graceMs);
    await life.end.promise;
  }

  /** Freezes the whole tree. @throws CONFLICT unless running */
  async pause(agent: Agent, by: number): Promise<void> {
    if (agent.state !== 'running' || agent.sandbox === null) {
      throw new CloveError('CONFLICT', `agent ${agent.name} is ${agent.state}, not running`);
    }
    agent.state = 'paused';
    const watch = this.#incarnations.of(agent.id)?.watch;
    watch?.pause();
    try {
      await agent.sandbox.freeze();
    } catch (error) {
      if (agent.state === 'paused') agent.state = 'running';
      watch?.resume();
      throw error;
    }
    if (agent.state !== 'paused') throw new CloveError('CONFLICT', `agent ${agent.name} ended meanwhile`);
    this.#incarnations.announcer.say('AGENT_PAUSED', { ...lifecycleData(agent), paused_by: by });
  }

  /** @throws CONFLICT unless paused */
  async resume(agent: Agent, by: number): Promise<void> {
    if (agent.state !== 'paused' || agent.sandbox === null) {
      throw new CloveError('CONFLICT', `agent ${agent.name} is ${agent.state}, not paused`);
    }
    await agent.sandbox.thaw();
    if (agent.state === 'paused') agent.state = 'running';
    this.#incarnations.of(agent.id)?.watch?.resume();
    this.#incarnations.announcer.say('AGENT_RESUMED', { ...lifecycleData(agent), resumed_by: by });
  }

  /** As Handover.reload(). @throws CONFLICT, CANCELLED when the agent was ended meanwhile */
  reload(agent: Agent, order: ReloadOrder): Promise<ReloadFailure> {
    return this.#handover.reload(this.#incarnations.of(agent.id), agent, order);
  }

  /** Resolves when the agent has ended for good. @throws TIMEOUT, CANCELLED */
  waitForEnd(agent: Agent, timeoutMs: number | null, signal: AbortSignal): Promise<void> {
    const life = this.#incarnations.of(agent.id);
    return life === undefined ? Promise.resolve() : endOf(life, timeoutMs, signal);
  }

  /** Resolves when it is ready. @throws TIMEOUT, CANCELLED, CONFLICT when it has ended for good */
  waitForReady(agent: Agent, timeoutMs: number | null, signal: AbortSignal): Promise<void> {
    const life = this.#incarnations.of(agent.id);
    if (life === undefined) {
      return Promise.reject(new CloveError('CONFLICT', `agent ${agent.name} has ended`));
    }
    return readinessOf(life, timeoutMs, signal);
  }

  /** How the agent is, by its check. */
  healthOf(agentId: number): Health {
    const life = this.#incarnations.of(agentId);
    if (life === undefined || life.agent.supervision.health === null) return 'none';
    return life.watch?.health ?? 'unknown';
  }

  /** The agent speaks about itself. Returns whether a pong was the one that is awaited. */
  noted(agentId: number, note: { readonly isReady: boolean; readonly pong: string | null }): boolean {
    const watch = this.#incarnations.of(agentId)?.watch;
    if (note.isReady) watch?.notifyReady();
    return note.pong !== null && watch?.pong(note.pong) === true;
  }

  /** It has registered a name. */
  nameTaken(agentId: number, name: string): void {
    this.#incarnations.of(agentId)?.watch?.nameTaken(name);
  }

  /** Names of those it has to wait for before it can start. */
  waitsFor(agentId: number): string[] {
    return this.#incarnations.tree.waitsFor(agentId);
  }

  /** Ends all agents and lets no new one in, those first that others do not need. Those that outlive the kernel are what the next one begins with. */
  async close(graceMs: number): Promise<void> {
    this.#incarnations.close();
    const deadlineMs = performance.now() + graceMs;
    const waves = this.#incarnations.tree.stopWaves(this.liveIds());
    // None of them comes back, whenever its turn to end is.
    for (const life of this.#incarnations.all()) life.stoppedBy ??= 0;
    await endInWaves(
      waves,
      async (id) => {
        const life = this.#incarnations.of(id);
        if (life !== undefined) await this.#stop(life, Math.max(0, deadlineMs - performance.now()), 0);
      },
      () => deadlineMs - performance.now() + PATIENCE_MS,
    );
  }

  /** An agent of the last kernel; its name is taken already. It is planned and started when all are there and the delay is over. */
  restore(agent: Agent, delayMs: number, prepare: () => Promise<Plan>): void {
    const life = this.#incarnations.admit(agent);
    life.prepare = prepare;
    this.#incarnations.waits(life, delayMs);
    this.#toAnnounce.push({ agent, delayMs });
    this.#incarnations.tree.admit(memberOf(agent), performance.now(), { delayMs, isPaced: true });
  }

  /** All of them were. */
  restored(): void {
    this.#announceRestored();
    this.#incarnations.apply(this.#incarnations.tree.restored(performance.now()));
  }

  /** Slice by slice: ten thousand events and records are not to be waited for before the kernel is ready. */
  #announceRestored(): void {
    for (const { agent, delayMs } of this.#toAnnounce.splice(0, ANNOUNCED_AT_ONCE)) {
      this.#incarnations.announcer.restarting(agent, null, 'kernel_restart', delayMs);
    }
    if (this.#toAnnounce.length > 0) setImmediate(() => this.#announceRestored());
  }

  liveIds(): number[] {
    return this.#incarnations.all().map(({ agent }) => agent.id);
  }
}

function memberOf({ id, name, restart, supervision }: Agent) {
  const { group, order, dependsOn } = supervision;
  return { id, name, group, order, dependsOn, restart };
}
