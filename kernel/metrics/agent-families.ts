import { setImmediate as yieldToLoop } from 'node:timers/promises';
import type { SandboxStats } from '../../native/types.ts';
import { AGENT_STATES, type Agent } from '../agents/agent.ts';
import type { Kernel } from '../kernel.ts';
import { type Family, gauge, type Labels, type Sample } from './prometheus.ts';

interface AgentFigure {
  readonly name: string;
  readonly help: string;
  /** null or undefined = this agent has none, and no series. */
  readonly of: (agent: Agent, stats: SandboxStats | null) => number | null | undefined;
}

/** Names in _total are counters. Those of processes begin anew with every incarnation. */
const FIGURES: readonly AgentFigure[] = [
  {
    name: 'clove_agent_cpu_seconds_total',
    help: 'CPU time of its processes.',
    of: (_agent, stats) => seconds(stats?.cpuUsageUs),
  },
  {
    name: 'clove_agent_cpu_throttled_seconds_total',
    help: 'Time its processes were held back by their limit.',
    of: (_agent, stats) => seconds(stats?.cpuThrottledUs),
  },
  {
    name: 'clove_agent_memory_bytes',
    help: 'Memory of its processes.',
    of: (_agent, stats) => stats?.memoryBytes,
  },
  {
    name: 'clove_agent_memory_peak_bytes',
    help: 'The most so far.',
    of: (_agent, stats) => stats?.memoryPeakBytes,
  },
  {
    name: 'clove_agent_memory_limit_bytes',
    help: 'Where it has a limit.',
    of: (_agent, stats) => stats?.memoryLimitBytes,
  },
  {
    name: 'clove_agent_pids',
    help: 'Its processes and threads.',
    of: (_agent, stats) => stats?.pids,
  },
  {
    name: 'clove_agent_oom_kills_total',
    help: 'Processes ended for want of memory.',
    of: (_agent, stats) => stats?.oomKills,
  },
  {
    name: 'clove_agent_restarts_total',
    help: 'Over its life.',
    of: (agent) => agent.restart.count,
  },
  {
    name: 'clove_agent_syscalls_total',
    help: 'Calls of the kernel, NOOPs included.',
    of: (agent) => agent.counters.syscalls,
  },
  {
    name: 'clove_agent_messages_sent_total',
    help: 'Over its life.',
    of: (agent) => agent.counters.messagesSent,
  },
  {
    name: 'clove_agent_messages_received_total',
    help: 'Over its life.',
    of: (agent) => agent.counters.messagesReceived,
  },
  {
    name: 'clove_agent_llm_calls_total',
    help: 'Questions to models, those it reports included.',
    of: (agent) => agent.counters.llmCalls,
  },
  {
    name: 'clove_agent_llm_tokens_total',
    help: 'Tokens of models, those it reports included.',
    of: (agent) => agent.counters.llmTokens,
  },
];

/** Live agents: how many by state, and figures of each of the first `maxSeries`. */
export async function agentFamilies({ agents, dispatcher }: Kernel, maxSeries: number): Promise<Family[]> {
  dispatcher.collectNativeCounts();
  const live = agents.list();
  const shown = live.slice(0, maxSeries);
  const samples = FIGURES.map((): Sample[] => []);
  for (const agent of shown) {
    // Reading one agent is a dozen files, about half a millisecond: others want to be served in between.
    await yieldToLoop();
    const labels: Labels = { agent_id: String(agent.id), agent: agent.name };
    const stats = agent.sandbox?.stats() ?? null;
    for (const [at, { of }] of FIGURES.entries()) {
      const value = of(agent, stats) ?? null;
      if (value !== null) samples[at]?.push({ labels, value });
    }
  }
  const states = AGENT_STATES.map((state) => ({
    labels: { state },
    value: live.filter((agent) => agent.state === state).length,
  }));
  return [
    { name: 'clove_agents', type: 'gauge', help: 'Live agents by state.', samples: states },
    gauge(
      'clove_agents_without_series',
      'Live agents that have no series of their own on this page: there are too many.',
      live.length - shown.length,
    ),
    ...FIGURES.map(({ name, help }, at): Family => {
      const type = name.endsWith('_total') ? 'counter' : 'gauge';
      return { name, help, type, samples: samples[at] ?? [] };
    }),
  ];
}

function seconds(us: number | undefined): number | null {
  return us === undefined ? null : us / 1e6;
}
