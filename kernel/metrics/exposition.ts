import { setImmediate as yieldToLoop } from 'node:timers/promises';
import { AGENT_STATES, type Agent } from '../agents/agent.ts';
import type { Kernel } from '../kernel.ts';
import { KERNEL_VERSION } from '../protocol/version.ts';
import type { CallMetrics } from './call-metrics.ts';
import { counter, type Family, gauge, type Labels, renderPrometheus, type Sample } from './prometheus.ts';

/** Agents with series of their own; the others are in the sums only, and counted as left out. */
const MAX_AGENT_SERIES = 1000;
/** Reading one agent is a dozen files: others want to be served in between. */
const AGENTS_PER_TURN = 8;
/** However many ask and however often, the figures are gathered no more often. */
const MIN_INTERVAL_MS = 1000;

export interface ExpositionOptions {
  readonly kernel: () => Kernel;
  readonly calls: CallMetrics;
  /** Further families, of parts that are not always there. */
  readonly more: () => readonly Family[];
  readonly maxAgentSeries?: number;
}

/** The page for Prometheus: machine, kernel, agents. */
export class Exposition {
  readonly #options: ExpositionOptions;
  readonly #maxAgentSeries: number;
  #page: Promise<string> | null = null;
  #gatheredMs = Number.NEGATIVE_INFINITY;

  constructor(options: ExpositionOptions) {
    this.#options = options;
    this.#maxAgentSeries = options.maxAgentSeries ?? MAX_AGENT_SERIES;
  }

  /** At most a second old. */
  page(): Promise<string> {
    const now = performance.now();
    if (this.#page === null || now - this.#gatheredMs > MIN_INTERVAL_MS) {
      this.#gatheredMs = now;
      const page = this.#gather();
      this.#page = page;
      page.catch(() => {
        if (this.#page === page) this.#page = null;
      });
    }
    return this.#page;
  }

  async #gather(): Promise<string> {
    const kernel = this.#options.kernel();
    return renderPrometheus([
      ...kernelFamilies(kernel),
      ...this.#options.calls.families(),
      ...wireFamilies(kernel),
      ...llmFamilies(kernel),
      ...this.#options.more(),
      ...(await systemFamilies(kernel)),
      ...(await agentFamilies(kernel, this.#maxAgentSeries)),
    ]);
  }
}

function kernelFamilies({ bootId, startedAt, dispatcher, options }: Kernel): Family[] {
  const { user, system } = process.cpuUsage();
  return [
    {
      name: 'clove_info',
      type: 'gauge',
      help: 'Always 1; which kernel this is.',
      samples: [{ labels: { version: KERNEL_VERSION, boot: bootId, sandbox: options.sandbox }, value: 1 }],
    },
    gauge('clove_uptime_seconds', 'Since the kernel started.', (Date.now() - startedAt) / 1000),
    counter('clove_process_cpu_seconds_total', 'CPU time of the kernel itself.', (user + system) / 1e6),
    gauge('clove_process_resident_memory_bytes', 'Memory of the kernel itself.', process.memoryUsage.rss()),
    counter(
      'clove_syscalls_blocked_total',
      'Calls refused for want of a permission.',
      dispatcher.counters.blocked,
    ),
  ];
}

function wireFamilies({ wire }: Kernel): Family[] {
  const counters = wire.counters();
  return [
    gauge('clove_wire_connections', 'Open connections.', counters.connectionsOpen),
    counter('clove_wire_connections_total', 'Connections accepted.', counters.connectionsTotal),
    counter('clove_wire_connections_refused_total', 'Connections refused.', counters.connectionsRefused),
    counter('clove_wire_frames_received_total', 'Whole frames.', counters.framesReceived),
    counter('clove_wire_frames_sent_total', 'Whole frames.', counters.framesSent),
    counter('clove_wire_received_bytes_total', 'With headers.', counters.bytesReceived),
    counter('clove_wire_sent_bytes_total', 'With headers.', counters.bytesSent),
    counter('clove_wire_protocol_errors_total', 'Connections ended for them.', counters.protocolErrors),
    counter('clove_wire_noops_total', 'NOOPs, answered by the wire thread alone.', counters.answeredNatively),
  ];
}

function llmFamilies({ llm }: Kernel): Family[] {
  if (llm.provider === null) return [];
  const { answered, failed, inputTokens, outputTokens } = llm.totals;
  return [
    gauge('clove_llm_running', 'Questions at the provider.', llm.queue.running),
    gauge('clove_llm_waiting', 'Questions that wait for their turn.', llm.queue.waiting),
    {
      name: 'clove_llm_questions_total',
      type: 'counter',
      help: 'Questions that were asked, by whether they were answered.',
      samples: [
        { labels: { outcome: 'answered' }, value: answered },
        { labels: { outcome: 'failed' }, value: failed },
      ],
    },
    {
      name: 'clove_llm_tokens_total',
      type: 'counter',
      help: 'Tokens used, as the provider counts them.',
      samples: [
        { labels: { type: 'input' }, value: inputTokens },
        { labels: { type: 'output' }, value: outputTokens },
      ],
    },
  ];
}

async function systemFamilies({ metrics }: Kernel): Promise<Family[]> {
  const { cpu, memory, swap, disk, network } = await metrics.system();
  return [
    gauge('clove_system_cpu_percent', 'Of all cores, 0 to 100.', cpu.percent),
    gauge('clove_system_cpu_cores', 'Cores.', cpu.count),
    {
      name: 'clove_system_load',
      type: 'gauge',
      help: 'Load average.',
      samples: ['1m', '5m', '15m'].map((window, at) => ({
        labels: { window },
        value: cpu.load_avg[at] ?? 0,
      })),
    },
    gauge('clove_system_memory_total_bytes', 'Of the machine.', memory.total),
    gauge('clove_system_memory_used_bytes', 'What is not available.', memory.used),
    gauge('clove_system_swap_used_bytes', 'Of the machine.', swap.used),
    counter('clove_system_disk_read_bytes_total', 'All disks.', disk.read_bytes),
    counter('clove_system_disk_written_bytes_total', 'All disks.', disk.write_bytes),
    gauge('clove_system_disk_used_bytes', 'Of the root file system.', disk.used),
    gauge('clove_system_disk_total_bytes', 'Of the root file system.', disk.total),
    counter('clove_system_network_received_bytes_total', 'All interfaces but lo.', network.bytes_recv),
    counter('clove_system_network_sent_bytes_total', 'All interfaces but lo.', network.bytes_sent),
  ];
}

/** One family of agents' figures: its name and help, and the figure of one agent; null = this agent has none. */
type AgentFigure = readonly [
  name: string,
  type: 'counter' | 'gauge',
  help: string,
  of: (agent: Agent, stats: ReturnType<NonNullable<Agent['sandbox']>['stats']> | null) => number | null,
];

const AGENT_FIGURES: readonly AgentFigure[] = [
  [
    'clove_agent_cpu_seconds_total',
    'counter',
    'CPU time of its processes, of this incarnation.',
    (_agent, stats) => stats && stats.cpuUsageUs / 1e6,
  ],
  [
    'clove_agent_cpu_throttled_seconds_total',
    'counter',
    'Time it was held back by its limit.',
    (_agent, stats) => stats && stats.cpuThrottledUs / 1e6,
  ],
  [
    'clove_agent_memory_bytes',
    'gauge',
    'Memory of its processes.',
    (_agent, stats) => stats && stats.memoryBytes,
  ],
  [
    'clove_agent_memory_peak_bytes',
    'gauge',
    'The most so far.',
    (_agent, stats) => stats && stats.memoryPeakBytes,
  ],
  [
    'clove_agent_memory_limit_bytes',
    'gauge',
    'Where it has a limit.',
    (_agent, stats) => stats && stats.memoryLimitBytes,
  ],
  ['clove_agent_processes', 'gauge', 'Processes and threads.', (_agent, stats) => stats && stats.pids],
  [
    'clove_agent_oom_kills_total',
    'counter',
    'Processes ended for want of memory.',
    (_agent, stats) => stats && stats.oomKills,
  ],
  ['clove_agent_restarts_total', 'counter', 'Restarts over its life.', (agent) => agent.restart.count],
  ['clove_agent_syscalls_total', 'counter', 'Calls of the kernel.', (agent) => agent.counters.syscalls],
  ['clove_agent_messages_sent_total', 'counter', 'Messages.', (agent) => agent.counters.messagesSent],
  ['clove_agent_messages_received_total', 'counter', 'Messages.', (agent) => agent.counters.messagesReceived],
  ['clove_agent_llm_calls_total', 'counter', 'Questions to models.', (agent) => agent.counters.llmCalls],
  ['clove_agent_llm_tokens_total', 'counter', 'Tokens of models.', (agent) => agent.counters.llmTokens],
];

async function agentFamilies({ agents, dispatcher }: Kernel, maxSeries: number): Promise<Family[]> {
  dispatcher.collectNativeCounts();
  const live = agents.list();
  const shown = live.slice(0, maxSeries);
  const samples = AGENT_FIGURES.map((): Sample[] => []);
  for (const [index, agent] of shown.entries()) {
    if (index % AGENTS_PER_TURN === AGENTS_PER_TURN - 1) await yieldToLoop();
    const labels: Labels = { agent_id: String(agent.id), agent: agent.name };
    const stats = agent.sandbox?.stats() ?? null;
    for (const [at, [, , , of]] of AGENT_FIGURES.entries()) {
      const value = of(agent, stats);
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
    ...AGENT_FIGURES.map(([name, type, help], at) => ({ name, type, help, samples: samples[at] ?? [] })),
  ];
}
