import type { Kernel } from '../kernel.ts';
import { KERNEL_VERSION } from '../protocol/version.ts';
import { agentFamilies } from './agent-families.ts';
import type { CallMetrics } from './call-metrics.ts';
import { counter, type Family, gauge, renderPrometheus } from './prometheus.ts';

/** Agents with series of their own; the others are counted as left out. */
const MAX_AGENT_SERIES = 1000;
/** However many ask and however often, the figures are gathered no more often, and take no more than a tenth of the time. */
const MIN_INTERVAL_MS = 1000;
const MIN_INTERVAL_PER_GATHERING = 10;

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
  #dueMs = Number.POSITIVE_INFINITY;

  constructor(options: ExpositionOptions) {
    this.#options = options;
    this.#maxAgentSeries = options.maxAgentSeries ?? MAX_AGENT_SERIES;
  }

  /** About a second old at most; older where there is very much to gather. */
  page(): Promise<string> {
    if (this.#page === null || performance.now() > this.#dueMs) this.#page = this.#gatherAnew();
    return this.#page;
  }

  async #gatherAnew(): Promise<string> {
    this.#dueMs = Number.POSITIVE_INFINITY;
    const kernel = this.#options.kernel();
    let startedMs = performance.now();
    try {
      // These may have to wait for their window, which costs nothing.
      const system = await systemFamilies(kernel);
      startedMs = performance.now();
      return await this.#gather(kernel, system);
    } finally {
      const tookMs = performance.now() - startedMs;
      this.#dueMs = startedMs + Math.max(MIN_INTERVAL_MS, tookMs * MIN_INTERVAL_PER_GATHERING);
    }
  }

  async #gather(kernel: Kernel, system: readonly Family[]): Promise<string> {
    return renderPrometheus([
      ...kernelFamilies(kernel),
      ...this.#options.calls.families(),
      ...wireFamilies(kernel),
      ...llmFamilies(kernel),
      ...this.#options.more(),
      ...system,
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
