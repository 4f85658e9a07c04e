import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { AGENT_STATES } from '../agents/agent.ts';
import type { AgentMetrics } from '../metrics/agent.ts';
import { defineSyscall, type SyscallContext } from './define.ts';
import { callerId } from './fields.ts';

const count = z.int().min(0);
/** -1 = no limit. */
const limit = z.int().min(-1);
const percent = z.number().min(0);

const io = z.object({ read_bytes: count, write_bytes: count, read_ops: count, write_ops: count });

const system = z.object({
  timestamp: z.int().describe('ms since the epoch.'),
  cpu: z.object({
    percent,
    per_core: z.array(percent),
    count,
    freq_mhz: z.number(),
    load_avg: z.tuple([z.number(), z.number(), z.number()]),
  }),
  memory: z.object({
    total: count,
    available: count,
    used: count,
    percent,
    buffers: count,
    cached: count,
  }),
  swap: z.object({ total: count, used: count, free: count }),
  disk: io.extend({ used: count, total: count, percent }),
  network: z.object({
    bytes_sent: count,
    bytes_recv: count,
    packets_sent: count,
    packets_recv: count,
    errors_in: count,
    errors_out: count,
  }),
});

const processTree = z.object({
  timestamp: z.int(),
  pid: count,
  ppid: count,
  name: z.string(),
  state: z.string(),
  cmdline: z.string(),
  cpu: z.object({
    percent: percent.describe('Of one core.'),
    time_user_ms: count,
    time_system_ms: count,
    priority: z.int(),
    nice: z.int(),
  }),
  memory: z.object({ rss: count, vms: count, shared: count, data: count, percent }),
  io,
  threads: count,
  fds: count,
  processes: count.describe('How many processes the sums are over.'),
});

const cgroup = z.object({
  timestamp: z.int(),
  cgroup_path: z.string(),
  valid: z.literal(true),
  controllers: z
    .array(z.enum(['cpu', 'cpuacct', 'memory', 'pids', 'io']))
    .describe('What is accounted for this cgroup on this machine; the figures of the rest are 0.'),
  cpu: z.object({
    usage_usec: count,
    user_usec: count,
    system_usec: count,
    throttled_usec: count,
    nr_periods: count,
    nr_throttled: count,
    quota_usec: limit,
    period_usec: count,
  }),
  memory: z.object({
    current: count,
    min: count,
    low: count,
    high: limit,
    max: limit,
    peak: count,
    swap_current: count,
    swap_max: limit,
    oom_kills: count,
  }),
  pids: z.object({ current: count, max: limit }),
  io,
});

const agent = z.object({
  timestamp: z.int(),
  agent_id: callerId,
  name: z.string(),
  pid: count.describe('0 = no process now.'),
  status: z.enum(AGENT_STATES),
  uptime_ms: count,
  sandboxed: z.boolean(),
  process: processTree.nullable(),
  cgroup: cgroup.nullable(),
  kernel_stats: z.object({
    syscall_count: count,
    llm_calls: count,
    llm_tokens_used: count,
    messages_sent: count,
    messages_recv: count,
    bytes_read: count,
    bytes_written: count,
  }),
});

/** The main figures once more under the names that flat readers look for. */
const agentFlat = z.object({
  agent_id: callerId,
  name: z.string(),
  cpu_percent: percent,
  memory_bytes: count,
  memory_percent: percent,
  syscalls_count: count,
  uptime_seconds: z.number(),
  state: z.enum(AGENT_STATES),
});

export const metricsSystem = defineSyscall({
  opcode: 0xc0,
  name: 'METRICS_SYSTEM',
  summary:
    'Figures of the whole machine. Rates are over a window of at least a second that all callers share.',
  request: z.unknown(),
  response: z.object({
    success: z.literal(true),
    metrics: system,
    cpu_percent: percent,
    memory_used_bytes: count,
    memory_total_bytes: count,
    memory_percent: percent,
    disk_used_bytes: count,
    disk_total_bytes: count,
    disk_percent: percent,
    network_rx_bytes: count,
    network_tx_bytes: count,
    load_average: z.tuple([z.number(), z.number(), z.number()]),
  }),
  permission: 'metrics.all',
  audit: 'RESOURCE',
  replay: 'recorded',
  async handle(_request, { kernel }) {
    const metrics = await kernel.metrics.system();
    return {
      success: true as const,
      metrics,
      cpu_percent: metrics.cpu.percent,
      memory_used_bytes: metrics.memory.used,
      memory_total_bytes: metrics.memory.total,
      memory_percent: metrics.memory.percent,
      disk_used_bytes: metrics.disk.used,
      disk_total_bytes: metrics.disk.total,
      disk_percent: metrics.disk.percent,
      network_rx_bytes: metrics.network.bytes_recv,
      network_tx_bytes: metrics.network.bytes_sent,
      load_average: metrics.cpu.load_avg,
    };
  },
});

export const metricsAgent = defineSyscall({
  opcode: 0xc1,
  name: 'METRICS_AGENT',
  malformed: 'Invalid JSON payload',
  summary:
    'Figures of one agent: its processes, its cgroup and what it did through the kernel. An agent sees only its own.',
  request: z.object({ agent_id: callerId.default(0).describe('0 = the caller.') }),
  response: agentFlat.extend({ success: z.literal(true), metrics: agent }),
  permission: 'metrics.self',
  audit: 'RESOURCE',
  replay: 'recorded',
  async handle(request, context) {
    const id = request.agent_id === 0 ? context.caller.id : request.agent_id;
    assertOwn(context, id);
    const metrics = await context.kernel.metrics.agent(id);
    if (metrics === null)
      throw new CloveError('NOT_FOUND', 'Agent not found', {
        details: { answer: { agent_id: id } },
      });
    return { success: true as const, metrics, ...flat(metrics) };
  },
});

export const metricsAllAgents = defineSyscall({
  opcode: 0xc2,
  name: 'METRICS_ALL_AGENTS',
  summary: 'Figures of every live agent.',
  request: z.unknown(),
  response: z.object({
    success: z.literal(true),
    agents: z.array(agent.extend(agentFlat.shape)),
    count,
  }),
  permission: 'metrics.all',
  audit: 'RESOURCE',
  replay: 'recorded',
  errorShape: { agents: [], count: 0 },
  async handle(_request, { kernel }) {
    const agents = (await kernel.metrics.allAgents()).map((metrics) => ({ ...metrics, ...flat(metrics) }));
    return { success: true as const, agents, count: agents.length };
  },
});

export const metricsCgroup = defineSyscall({
  opcode: 0xc3,
  name: 'METRICS_CGROUP',
  malformed: 'Invalid JSON payload',
  summary: 'Figures of one cgroup of this kernel’s agents. An agent sees only its own.',
  request: z.object({
    cgroup_path: z.string().default('').describe('As METRICS_AGENT reports it; empty = that of `agent_id`.'),
    agent_id: callerId.default(0).describe('0 = the caller.'),
  }),
  response: z.object({
    success: z.literal(true),
    metrics: cgroup,
    cpu_usage_usec: count,
    memory_current: count,
    memory_limit: limit,
    pids_current: count,
    pids_limit: limit,
  }),
  permission: 'metrics.self',
  audit: 'RESOURCE',
  replay: 'recorded',
  handle(request, context) {
    const { kernel, caller } = context;
    const id = request.agent_id === 0 ? caller.id : request.agent_id;
    const ofAgent = kernel.metrics.cgroupPathOf(id);
    const cgroupPath = request.cgroup_path === '' ? (ofAgent ?? '') : request.cgroup_path;
    if (cgroupPath !== kernel.metrics.cgroupPathOf(caller.id)) assertOwn(context, null);
    const metrics = kernel.metrics.cgroup(cgroupPath);
    if (metrics === null) {
      throw new CloveError('NOT_FOUND', 'Cgroup not found or not readable', {
        details: { answer: { cgroup_path: cgroupPath } },
      });
    }
    return {
      success: true as const,
      metrics,
      cpu_usage_usec: metrics.cpu.usage_usec,
      memory_current: metrics.memory.current,
      memory_limit: metrics.memory.max,
      pids_current: metrics.pids.current,
      pids_limit: metrics.pids.max,
    };
  },
});

export const metricsSyscalls = [metricsSystem, metricsAgent, metricsAllAgents, metricsCgroup] as const;

function assertOwn({ kernel, caller }: SyscallContext, agentId: number | null): void {
  if (agentId === caller.id || kernel.permissions.allows(caller, 'metrics.all')) return;
  throw new CloveError('FORBIDDEN', 'Permission denied: metrics of others');
}

function flat(metrics: AgentMetrics): {
  agent_id: number;
  name: string;
  cpu_percent: number;
  memory_bytes: number;
  memory_percent: number;
  syscalls_count: number;
  uptime_seconds: number;
  state: AgentMetrics['status'];
} {
  return {
    agent_id: metrics.agent_id,
    name: metrics.name,
    cpu_percent: metrics.process?.cpu.percent ?? 0,
    memory_bytes: memoryBytesOf(metrics),
    memory_percent: metrics.process?.memory.percent ?? 0,
    syscalls_count: metrics.kernel_stats.syscall_count,
    uptime_seconds: metrics.uptime_ms / 1000,
    state: metrics.status,
  };
}

/** The cgroup counts shared pages once; without one the processes' own figures are what there is. */
function memoryBytesOf({ cgroup, process }: AgentMetrics): number {
  return cgroup?.controllers.includes('memory') === true ? cgroup.memory.current : (process?.memory.rss ?? 0);
}
