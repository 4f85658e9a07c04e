import { readFileSync } from 'node:fs';
import type { Agent, AgentExit } from '../agents/agent.ts';
import { type CgroupRoots, findCgroupRoots } from '../metrics/cgroup.ts';
import { LimitGauge, type LimitWarning } from './gauge.ts';
import { Probe } from './probe.ts';

/** Looks are made every so often, each at those whose time has come. */
const TICK_MS = 25;
/** Between two looks at an agent that does something. */
const ACTIVE_MS = 2 * TICK_MS;
/** The longest between two looks at one that does nothing, and what each agent more than a hundred adds to it. */
const IDLE_MS = 3 * TICK_MS;
const IDLE_MS_PER_AGENT = IDLE_MS / 100;
/** A timer that fires a little early is not to cost a tick. */
const EARLY_MS = TICK_MS / 5;
/** Looks take at most so much of the kernel's thread, however many agents are busy. */
const MAX_SHARE = 0.1;

export interface LimitWatchOptions {
  /** Parent of the agents' cgroups, as in SandboxSpec. */
  readonly cgroupParent: string;
  readonly warn: (agent: Agent, warning: LimitWarning) => void;
}

interface Watched {
  readonly agent: Agent;
  readonly gauge: LimitGauge;
  readonly instance: string;
  /** Made for the first look: one that ends before is not to pay for it. */
  probe: Probe | null;
  work: string | null;
  dueMs: number;
  pidsRefused: number;
  droppedBytes: number;
}

/**
 * Notices within a tenth of a second when a running agent meets a limit, and tells it: operators, and the agent itself. One
 * that does nothing costs two reads of open files every 75 ms.
 */
export class LimitWatch {
  readonly #options: LimitWatchOptions;
  readonly #roots: CgroupRoots;
  readonly #watched = new Map<number, Watched>();
  #timer: NodeJS.Timeout | null = null;
  #restUntilMs = 0;

  constructor(options: LimitWatchOptions) {
    this.#options = options;
    this.#roots = findCgroupRoots(
      readFileSync('/proc/self/mountinfo', 'utf8'),
      readFileSync('/proc/self/cgroup', 'utf8'),
    );
  }

  started(agent: Agent): void {
    const { sandbox } = agent;
    if (sandbox === null) return;
    this.#watched.get(agent.id)?.probe?.close();
    this.#watched.set(agent.id, {
      agent,
      gauge: new LimitGauge(),
      instance: sandbox.instance,
      probe: null,
      work: null,
      dueMs: performance.now() + ACTIVE_MS,
      pidsRefused: 0,
      droppedBytes: droppedBytesOf(agent),
    });
    this.#timer ??= setInterval(() => this.#look(), TICK_MS).unref();
  }

  /** With what was not told while it ran. */
  ended(agent: Agent, exit: AgentExit): void {
    const watched = this.#watched.get(agent.id);
    if (watched === undefined) return;
    this.#watched.delete(agent.id);
    watched.probe?.close();
    if (this.#watched.size === 0) this.close();
    const { gauge } = watched;
    const { memoryBytes, maxPids } = agent.plan.sandbox.limits;
    const now = performance.now();
    const peak = { limit: memoryBytes, used: exit.memoryPeakBytes };
    this.#tell(agent, gauge.met('memory', exit.oomKills, peak, now));
    this.#countPids(watched, exit.pidsRefused, maxPids, now);
    this.#countDropped(watched, now);
    for (const warning of gauge.rest()) this.#tell(agent, warning);
  }

  /** It has as many connections as it may have. */
  connectionsFull(agentId: number, limit: number): void {
    const watched = this.#watched.get(agentId);
    if (watched === undefined) return;
    const about = { limit, used: limit };
    this.#tell(watched.agent, watched.gauge.met('connections', 1, about, performance.now()));
  }

  /** A call of it was answered with OVERLOAD. */
  overloaded(agentId: number, syscall: string, details: Readonly<Record<string, unknown>> | undefined): void {
    const watched = this.#watched.get(agentId);
    if (watched === undefined) return;
    const { quota } = details ?? {};
    const isQuota = typeof quota === 'string';
    const resource = !isQuota ? 'queue' : quota === 'syscalls_per_second' ? 'syscalls' : 'quota';
    const about = {
      limit: typeof details?.limit === 'number' ? details.limit : null,
      where: resource === 'queue' ? syscall : isQuota && resource === 'quota' ? quota : null,
    };
    this.#tell(watched.agent, watched.gauge.met(resource, 1, about, performance.now()));
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  #look(): void {
    const now = performance.now();
    if (now < this.#restUntilMs) return;
    for (const watched of this.#watched.values())
      if (watched.dueMs <= now + EARLY_MS) this.#lookAt(watched, now);
    const tookMs = performance.now() - now;
    this.#restUntilMs = now + tookMs / MAX_SHARE;
  }

  #lookAt(watched: Watched, now: number): void {
    const { agent } = watched;
    const { sandbox, plan } = agent;
    if (sandbox === null || sandbox.instance !== watched.instance) return;
    const { limits } = plan.sandbox;
    watched.probe ??= new Probe(
      this.#roots,
      `${this.#options.cgroupParent}/${sandbox.instance}`,
      sandbox,
      limits,
    );
    const { probe } = watched;
    const { maxPids } = limits;
    const work = probe.work();
    const isActive = work === null || work !== watched.work;
    watched.work = work;
    // With thousands that do nothing, each is looked at more seldom.
    watched.dueMs = now + (isActive ? ACTIVE_MS : Math.max(IDLE_MS, this.#watched.size * IDLE_MS_PER_AGENT));
    this.#countPids(watched, probe.pidsRefused(), maxPids, now);
    this.#countDropped(watched, now);
    if (isActive) this.#lookAtFills(watched, probe, now);
  }

  #lookAtFills({ agent, gauge }: Watched, probe: Probe, now: number): void {
    const { bytes, inodes } = probe.fills();
    for (const { where, used, limit } of bytes)
      this.#tell(agent, gauge.level('tmpfs', used, limit, where, now));
    for (const { where, used, limit } of inodes)
      this.#tell(agent, gauge.level('inodes', used, limit, where, now));
    const { maxOpenFiles } = agent.plan.sandbox.limits;
    this.#tell(agent, gauge.level('fds', probe.fds(), maxOpenFiles, null, now));
  }

  #countPids(watched: Watched, refused: number, limit: number | null, now: number): void {
    const more = Math.max(0, refused - watched.pidsRefused);
    watched.pidsRefused += more;
    this.#tell(watched.agent, watched.gauge.met('pids', more, { limit, used: limit }, now));
  }

  #countDropped(watched: Watched, now: number): void {
    const { agent, gauge } = watched;
    const more = Math.max(0, droppedBytesOf(agent) - watched.droppedBytes);
    watched.droppedBytes += more;
    this.#tell(agent, gauge.met('log', more, { limit: agent.plan.logBytes }, now));
  }

  #tell(agent: Agent, warning: LimitWarning | null): void {
    if (warning !== null) this.#options.warn(agent, warning);
  }
}

function droppedBytesOf({ stdout, stderr }: Agent): number {
  return stdout.droppedBytes + stderr.droppedBytes;
}
