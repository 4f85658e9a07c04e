import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { setImmediate as yieldToLoop } from 'node:timers/promises';
import type { AgentTable } from '../agents/table.ts';
import type { KeepsByCaller } from '../kernel.ts';
import { type AgentMetrics, AgentSampler } from './agent.ts';
import { type CgroupMetrics, type CgroupRoots, findCgroupRoots, isCgroupPath, readCgroup } from './cgroup.ts';
import { type SystemMetrics, SystemSampler } from './system.ts';

export interface MetricsOptions {
  readonly agents: Pick<AgentTable, 'get' | 'list'>;
  /** Parent of the agents' cgroups, as in SandboxSpec. Nothing outside of it is read. */
  readonly cgroupParent: string;
}

/** Figures of the machine, of agents and of their cgroups. */
export class Metrics implements KeepsByCaller {
  readonly #agents: MetricsOptions['agents'];
  readonly #cgroupParent: string;
  readonly #roots: CgroupRoots;
  readonly #system = new SystemSampler();
  readonly #samplers = new Map<number, AgentSampler>();

  constructor(options: MetricsOptions) {
    this.#agents = options.agents;
    this.#cgroupParent = options.cgroupParent;
    this.#roots = findCgroupRoots(
      readFileSync('/proc/self/mountinfo', 'utf8'),
      readFileSync('/proc/self/cgroup', 'utf8'),
    );
  }

  system(): Promise<SystemMetrics> {
    return this.#system.read();
  }

  /** null when no such agent lives. */
  async agent(id: number): Promise<AgentMetrics | null> {
    const sampler = this.#sampler(id);
    if (sampler === null) return null;
    const metrics = await sampler.read(this.#roots, this.#cgroupParent, totalmem());
    // It may have gone while its window was open; release() must not find a sampler that came after it.
    return this.#agents.get(id) === undefined ? null : metrics;
  }

  /** One after the other: the figures of one agent are a dozen files, and others want to be served in between. */
  async allAgents(): Promise<AgentMetrics[]> {
    const ids = this.#agents.list().map((agent) => agent.id);
    for (const id of ids) {
      // All windows open before the first is waited for, so that they last no longer than one.
      this.#sampler(id)?.open();
      await yieldToLoop();
    }
    const all: AgentMetrics[] = [];
    for (const id of ids) {
      const metrics = await this.agent(id);
      if (metrics !== null) all.push(metrics);
      await yieldToLoop();
    }
    return all;
  }

  /** null when there is none at this path, or the path is not below this kernel's own agents' parent. */
  cgroup(cgroupPath: string): CgroupMetrics | null {
    const inside = cgroupPath === this.#cgroupParent || cgroupPath.startsWith(`${this.#cgroupParent}/`);
    return inside && isCgroupPath(cgroupPath) ? readCgroup(this.#roots, cgroupPath) : null;
  }

  /** Of a live agent; null when it has none now. */
  cgroupPathOf(agentId: number): string | null {
    const sandbox = this.#agents.get(agentId)?.sandbox;
    return sandbox === null || sandbox === undefined ? null : `${this.#cgroupParent}/${sandbox.instance}`;
  }

  #sampler(id: number): AgentSampler | null {
    const agent = this.#agents.get(id);
    if (agent === undefined) return null;
    return this.#samplers.getOrInsertComputed(id, () => new AgentSampler(agent));
  }

  release(callerId: number): void {
    this.#samplers.delete(callerId);
  }
}
