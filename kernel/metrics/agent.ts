import type { Layer } from '../../native/types.ts';
import type { Agent, AgentState } from '../agents/agent.ts';
import { type CgroupMetrics, type CgroupRoots, readCgroup } from './cgroup.ts';
import { descendants, type ProcessMetrics, processCpuMs, readProcessTree } from './process-tree.ts';
import { SampleWindow, type Window } from './sample-window.ts';

/** Figures of one agent. */
export interface AgentMetrics {
  /** ms since the epoch. */
  timestamp: number;
  agent_id: number;
  name: string;
  /** Host pid of its main process; 0 = none now. */
  pid: number;
  status: AgentState;
  /** Of the present incarnation; 0 = none now. */
  uptime_ms: number;
  /** Whether it is confined: own file system view, own processes, own user, filtered system calls. */
  sandboxed: boolean;
  /** null = no process now. */
  process: ProcessMetrics | null;
  /** null = no cgroup. */
  cgroup: CgroupMetrics | null;
  /** What it did through the kernel since it was spawned, over all incarnations. */
  kernel_stats: {
    syscall_count: number;
    llm_calls: number;
    llm_tokens_used: number;
    messages_sent: number;
    messages_recv: number;
    bytes_read: number;
    bytes_written: number;
  };
}

interface CpuSample {
  readonly instance: string | null;
  readonly cpuUs: number;
}

/** Without all of these an agent can reach what is not its own. */
const CONFINING: readonly Layer[] = ['mntns', 'pidns', 'uid', 'seccomp'];

/** Keeps the window of one agent's CPU use. */
export class AgentSampler {
  readonly #agent: Agent;
  readonly #cpu: SampleWindow<CpuSample>;

  constructor(agent: Agent) {
    this.#agent = agent;
    this.#cpu = new SampleWindow(() => cpuSample(agent));
  }

  /** Takes the first sample of a window; read() then waits for the rest of it only. */
  open(): void {
    // What fails here fails in read() too, which tells.
    this.#cpu.current().catch(() => {});
  }

  async read(roots: CgroupRoots, cgroupParent: string, totalMemoryBytes: number): Promise<AgentMetrics> {
    const agent = this.#agent;
    const percent = cpuPercentOf(await this.#cpu.current());
    const sandbox = agent.sandbox;
    const processIds = sandbox?.stats().processIds ?? [];
    return {
      timestamp: Date.now(),
      agent_id: agent.id,
      name: agent.name,
      pid: sandbox === null ? 0 : agent.pid,
      status: agent.state,
      uptime_ms: sandbox === null ? 0 : Math.max(0, Date.now() - agent.startedAt),
      sandboxed: sandbox !== null && isConfined(agent),
      process:
        sandbox === null
          ? null
          : readProcessTree(agent.pid, processIds, { cpuPercent: percent, totalMemoryBytes }),
      cgroup: sandbox === null ? null : readCgroup(roots, `${cgroupParent}/${sandbox.instance}`),
      kernel_stats: {
        syscall_count: agent.counters.syscalls,
        llm_calls: agent.counters.llmCalls,
        llm_tokens_used: agent.counters.llmTokens,
        messages_sent: agent.counters.messagesSent,
        messages_recv: agent.counters.messagesReceived,
        bytes_read: agent.counters.bytesRead,
        bytes_written: agent.counters.bytesWritten,
      },
    };
  }
}

function isConfined(agent: Agent): boolean {
  const layers = agent.sandbox?.layers ?? [];
  return CONFINING.every((layer) => layers.some((report) => report.layer === layer && report.state === 'on'));
}

function cpuSample(agent: Agent): CpuSample {
  const sandbox = agent.sandbox;
  if (sandbox === null) return { instance: null, cpuUs: 0 };
  const { cpuUsageUs } = sandbox.stats();
  // No CPU accounting without a cgroup: then the live processes' own times are what can be known.
  const cpuUs = cpuUsageUs > 0 ? cpuUsageUs : processCpuMs(descendants(agent.pid)) * 1000;
  return { instance: sandbox.instance, cpuUs };
}

/** Percent of one core. What an incarnation used that began inside the window was all used inside it. */
function cpuPercentOf({ before, after, elapsedMs }: Window<CpuSample>): number {
  const start = before.sample.instance === after.sample.instance ? before.sample.cpuUs : 0;
  return Math.max(0, (after.sample.cpuUs - start) / 10 / elapsedMs);
}
