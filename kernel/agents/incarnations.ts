import type { Logger } from 'pino';
import { CloveError, errorToData } from '../../errors/index.ts';
import type { Sandbox, SandboxExit } from '../../native/types.ts';
import type { EventBus } from '../events/event-bus.ts';
import { drain } from '../exec/drain.ts';
import type { Mailboxes } from '../ipc/mailboxes.ts';
import { Announcer } from '../supervision/announcer.ts';
import type { GroupRegistry } from '../supervision/groups.ts';
import type { SupervisionTree } from '../supervision/tree.ts';
import type { Command } from '../supervision/types.ts';
import { startWatch } from '../supervision/watching.ts';
import type { Agent } from './agent.ts';
import type { EndedJobs } from './ended-jobs.ts';
import type { Fleet } from './fleet.ts';
import type { Launched, Launcher } from './launcher.ts';
import { clearTimers, type Life, newLife } from './life.ts';
import { SETUP_EXIT, withoutBulk } from './new-agent.ts';
import type { AgentTable } from './table.ts';

/** Output still in the pipes when the tree is gone is a page or two. */
const DRAIN_MS = 1000;

export interface IncarnationsOptions {
  readonly agents: AgentTable;
  readonly launcher: Launcher;
  readonly events: EventBus;
  readonly mailboxes: Mailboxes;
  readonly fleet: Fleet;
  readonly endedJobs: EndedJobs;
  readonly groups: GroupRegistry;
  readonly log: Logger;
  /** Calls that an agent has made so far, those included that the wire server answers by itself. */
  readonly callsOf: (agent: Agent) => number;
  /** An incarnation runs. */
  readonly onStarted?: (agent: Agent) => void;
  /** An incarnation is over; the agent may come back. */
  readonly onEnded: (agent: Agent) => void;
  /** The agent will not come back. */
  readonly onRetired: (agent: Agent) => void;
}

/**
 * The lives of all agents, from incarnation to incarnation: does what the supervision tree decides, and tells it what came of
 * that. Who decides otherwise (ends an agent for good, gives it new code) is the supervisor.
 */
export class Incarnations {
  readonly #options: IncarnationsOptions;
  readonly #lives = new Map<number, Life>();
  readonly tree: SupervisionTree;
  readonly announcer: Announcer;
  #wakeTimer: NodeJS.Timeout | null = null;
  #closing = false;

  constructor(options: IncarnationsOptions) {
    this.#options = options;
    this.tree = options.groups.tree;
    this.announcer = new Announcer(options.events, options.log);
  }

  get size(): number {
    return this.#lives.size;
  }

  get isClosing(): boolean {
    return this.#closing;
  }

  of(agentId: number): Life | undefined {
    return this.#lives.get(agentId);
  }

  all(): Life[] {
    return [...this.#lives.values()];
  }

  /** From now on nothing is started any more. */
  close(): void {
    this.#closing = true;
    if (this.#wakeTimer !== null) clearTimeout(this.#wakeTimer);
  }

  /** Nothing of it ran, and nothing of it stays. */
  forget(life: Life): void {
    const { agent } = life;
    clearTimers(life);
    this.#lives.delete(agent.id);
    this.#options.agents.remove(agent);
    this.apply(this.tree.release(agent.id, performance.now()));
    life.end.resolve();
  }

  admit(agent: Agent): Life {
    const life = newLife(agent);
    this.#lives.set(agent.id, life);
    this.#options.agents.add(agent);
    return life;
  }

  // ---- what the tree decides

  apply(commands: readonly Command[]): void {
    // All of them are being ended.
    if (this.#closing) return;
    for (const command of commands) this.#do(command);
    this.#wakeLater();
  }

  #do(command: Command): void {
    if (command.kind === 'group_restarting' || command.kind === 'group_escalated') {
      this.#options.groups.announce(command, (type, data) => this.announcer.say(type, data));
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
        this.signalEnd(life, life.agent.supervision.stopGraceMs);
        return;
      case 'waiting':
        this.#options.fleet.restartPending(life.agent, command.delayMs);
        this.waits(life, command.delayMs);
        this.announcer.restarting(
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
        if (command.escalated) this.announcer.escalated(life.agent, life.agent.lastExit);
        this.retire(life, command.escalated || command.group !== null);
    }
  }

  waits(life: Life, delayMs: number): void {
    life.isWaiting = true;
    life.agent.state = 'starting';
    life.agent.restartAt = Date.now() + delayMs;
  }

  #wakeLater(): void {
    if (this.#wakeTimer !== null) clearTimeout(this.#wakeTimer);
    this.#wakeTimer = null;
    const at = this.#closing ? null : this.tree.nextWakeMs();
    if (at === null) return;
    const delayMs = Math.min(Math.max(0, Math.ceil(at - performance.now())), 2 ** 31 - 1);
    this.#wakeTimer = setTimeout(() => this.apply(this.tree.tick(performance.now())), delayMs);
  }

  // ---- incarnations

  async start(life: Life, begun?: () => void): Promise<Sandbox> {
    const { agent } = life;
    agent.state = 'starting';
    agent.restartAt = null;
    const launching = this.#options.launcher.launch(agent);
    begun?.();
    const launched = await launching;
    const { sandbox } = launched;
    agent.sandbox = sandbox;
    agent.pid = sandbox.pid;
    agent.startedAt = Date.now();
    agent.state = 'running';
    life.startedMonotonicMs = performance.now();
    this.#options.onStarted?.(agent);
    const { timeoutMs } = agent.plan;
    if (timeoutMs !== null) life.timeoutTimer = setTimeout(() => sandbox.kill('timeout'), timeoutMs);
    this.announcer.spawned(agent);
    sandbox.exited
      .then((exit) => this.#ended(life, launched, exit))
      .catch((error: unknown) => {
        // A fault here must not leave an agent that is gone in the table for ever.
        this.#options.log.error({ err: error, agent: agent.id }, 'fault at the end of an agent');
        this.retire(life);
      });
    // Told to end while it was being set up.
    if (life.stoppedBy !== null || life.isStoppedForGroup) {
      agent.state = 'stopping';
      sandbox.kill('killed');
    } else {
      startWatch(life, sandbox, {
        ...this.#options,
        say: (type, data) => this.announcer.say(type, data),
        ready: () => {
          this.apply(this.tree.ready(agent.id, performance.now()));
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
    launched.takeRestOfOutput();
    const { drained: ended, abandonOutput: giveUp } = launched;
    const readBytes = () => agent.stdout.totalBytes + agent.stderr.totalBytes;
    await drain({ ended, readBytes, giveUp }, DRAIN_MS);
    // An agent that ends in answer to SIGTERM was killed, however it then exits.
    const byItself = exit.reason === 'exited' || exit.reason === 'signal';
    const reason = (life.stoppedBy !== null || life.isStoppedForGroup) && byItself ? 'killed' : exit.reason;
    this.concluded(life, { ...exit, reason }, performance.now() - life.startedMonotonicMs);
  }

  concluded(life: Life, exit: SandboxExit, livedMs: number): void {
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
    this.announcer.exited(agent, agent.lastExit, life.stoppedBy);
    if (life.stoppedBy !== null || this.#closing) {
      this.retire(life);
      return;
    }
    if (life.handover !== null) {
      life.handover(exit);
      return;
    }
    const clean = !isFaulty && exit.reason === 'exited' && exit.exitCode === 0;
    this.apply(this.tree.ended(agent.id, { clean, livedMs }, performance.now()));
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
      await this.start(life);
    } catch (error) {
      this.#options.log.error({ agent: agent.id, error: errorToData(error) }, 'restart failed');
      agent.stderr.append(Buffer.from(`clove: restart failed: ${errorToData(error).message}\n`));
      this.concluded(life, SETUP_EXIT, 0);
    }
  }

  /** Killed between two incarnations. */
  retireWaiting(life: Life): void {
    const { agent } = life;
    if (agent.lastExit !== null) {
      agent.lastExit = { ...agent.lastExit, reason: 'killed', endedAt: Date.now() };
      this.announcer.exited(agent, agent.lastExit, life.stoppedBy);
    }
    this.retire(life);
  }

  /** Who is given up has failed, with whatever status it ended the last time. */
  retire(life: Life, isGivenUp = false): void {
    const { agent } = life;
    clearTimers(life);
    const exit = agent.lastExit;
    const isClean = exit?.reason === 'exited' && exit.exitCode === 0;
    const asWanted = life.stoppedBy !== null || (isClean && !isGivenUp);
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
    const recorded =
      isClean && !isGivenUp && life.stoppedBy === null ? this.#options.endedJobs.record(agent) : null;
    this.#options.onRetired(agent);
    this.apply(this.tree.release(agent.id, performance.now()));
    this.#failThoseThatNeed(agent);
    if (removed === null && recorded === null) life.end.resolve();
    // Whoever waits for its end is told when it will not come back, whatever happens to the kernel.
    else
      Promise.all([removed, recorded])
        .catch((error: unknown) => {
          this.#options.log.error({ err: error, agent: agent.id }, 'the next kernel will start it again');
        })
        .finally(() => life.end.resolve());
  }

  /** Whoever has asked for an agent is told that it will not start, rather than to wait for somebody who is gone. */
  #failThoseThatNeed({ name }: Agent): void {
    for (const { agent, go } of this.#lives.values()) {
      if (go === null || !this.tree.missing(agent.id).includes(name)) continue;
      go.reject(new CloveError('CONFLICT', `agent ${name}, which it depends on, has ended`));
    }
  }

  /** SIGTERM, and later SIGKILL. */
  signalEnd(life: Life, graceMs: number): void {
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
}
