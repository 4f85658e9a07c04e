import type { Agent } from './agent.ts';

/** A sample this young is good enough: reading the counters of a sandbox costs some ten system calls. */
const FRESH_MS = 250;

export interface AgentUsage {
  readonly memoryBytes: number;
  /** Of one core, over the time since the sample before; 0 at first. */
  readonly cpuPercent: number;
}

interface Sample extends AgentUsage {
  readonly instance: string;
  readonly atMs: number;
  readonly cpuUsageUs: number;
}

const samples = new WeakMap<Agent, Sample>();

/** What a live agent uses now; zeros between incarnations. */
export function usageOf(agent: Agent): AgentUsage {
  const { sandbox } = agent;
  if (sandbox === null) return { memoryBytes: 0, cpuPercent: 0 };
  const now = performance.now();
  const before = samples.get(agent);
  const comparable = before?.instance === sandbox.instance ? before : undefined;
  if (comparable !== undefined && now - comparable.atMs < FRESH_MS) return comparable;
  const { memoryBytes, cpuUsageUs } = sandbox.stats();
  const cpuPercent =
    comparable === undefined
      ? 0
      : Math.max(0, ((cpuUsageUs - comparable.cpuUsageUs) / 1000 / (now - comparable.atMs)) * 100);
  const sample = { instance: sandbox.instance, atMs: now, memoryBytes, cpuUsageUs, cpuPercent };
  samples.set(agent, sample);
  return sample;
}
