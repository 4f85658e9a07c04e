import { setImmediate as yieldToLoop } from 'node:timers/promises';
import { z } from 'zod';
import { CloveError, isCloveError } from '../../errors/index.ts';
import { LAYERS } from '../../native/types.ts';
import { AGENT_STATES, type Agent } from '../agents/agent.ts';
import { logTail, usageReport } from '../agents/events.ts';
import { summariseIsolation } from '../agents/isolation.ts';
import { makePlan } from '../agents/plan.ts';
import { RESTART_POLICIES } from '../agents/restart-policy.ts';
import { spawnRequest } from '../agents/spawn-request.ts';
import { usageOf } from '../agents/usage.ts';
import type { Kernel } from '../kernel.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { defineSyscall } from './define.ts';
import { MAX_TIMER_MS } from './fields.ts';

/** Agents whose counters LIST reads before it lets others have the event loop. */
const LIST_SLICE = 8;
const DEFAULT_GRACE_MS = 5000;
const MAX_LOG_TAIL_BYTES = 2 ** 20;
const DEFAULT_LOGS_BYTES = 2 ** 20;
/** Control characters take six bytes each in JSON: two streams of these still fit one answer. */
const MAX_LOGS_BYTES = 4 * 2 ** 20;

/** Which agent: id wins over name; 0 and "" mean not given. */
const target = {
  id: z.int().min(0).nullish(),
  agent_id: z.int().min(0).nullish().describe('As `id`.'),
  name: z.string().nullish(),
};

interface Target {
  readonly id?: number | null | undefined;
  readonly agent_id?: number | null | undefined;
  readonly name?: string | null | undefined;
}

function keyOf(request: Target): number | string {
  const key = request.id || request.agent_id || request.name || null;
  if (key === null) throw new CloveError('BAD_REQUEST', 'invalid request: id or name required');
  return key;
}

/** @throws NOT_FOUND, BAD_REQUEST */
function liveAgent(kernel: Kernel, request: Target): Agent {
  const key = keyOf(request);
  const agent = typeof key === 'number' ? kernel.agents.get(key) : kernel.agents.byName(key);
  if (agent === undefined) throw new CloveError('NOT_FOUND', `agent not found: ${key}`);
  return agent;
}

/** Live or ended and not yet forgotten. */
function knownAgent(kernel: Kernel, request: Target): Agent {
  const key = keyOf(request);
  const agent = kernel.agents.find(key);
  if (agent === undefined) throw new CloveError('NOT_FOUND', `agent not found: ${key}`);
  return agent;
}

const layerReport = z.object({
  layer: z.enum(LAYERS),
  requested: z.boolean(),
  state: z.enum(['on', 'off', 'degraded', 'n/a']),
  how: z.string(),
  errno: z.string().nullable(),
  hint: z.string().nullable(),
});

const isolationSummary = z.object({
  fully_isolated: z.boolean().describe('Every wall of the default profile stands.'),
  namespaces: z.record(z.string(), z.boolean()),
  cgroups: z.record(z.string(), z.boolean()),
  degraded_reason: z.string().optional(),
  on: z.int(),
  off: z.array(z.enum(LAYERS)).readonly(),
  degraded: z.array(z.enum(LAYERS)).readonly(),
});

const usage = z.object({
  cpu_user_us: z.number(),
  cpu_system_us: z.number(),
  cpu_throttled_us: z.number(),
  memory_peak_bytes: z.number(),
  oom_kills: z.int(),
  pids_refused: z.int(),
  wall_us: z.number(),
});

export const spawn = defineSyscall({
  opcode: OPCODES.SPAWN,
  name: 'SPAWN',
  summary: 'Starts an agent in a sandbox of its own; answers when its program runs, with what protects it.',
  request: spawnRequest,
  response: z.object({
    success: z.literal(true),
    id: z.int(),
    agent_id: z.int().describe('As `id`.'),
    name: z.string(),
    pid: z.int().describe('On the host.'),
    status: z.literal('running'),
    restart_policy: z.enum(RESTART_POLICIES),
    isolation: isolationSummary.extend({ layers: z.array(layerReport).readonly() }),
    script: z
      .object({ path: z.string(), mounted: z.string(), reason: z.string().nullable() })
      .nullable()
      .describe('What of the script’s surroundings can be read inside.'),
    setup_us: z.record(z.string(), z.number()).describe('Time of the set-up by stage.'),
  }),
  permission: 'agents.spawn',
  audit: 'AGENT_LIFECYCLE',
  replay: 'recorded',
  async handle(request, { kernel, caller }) {
    const { supervisor, launcher, options } = kernel;
    try {
      const { agent, plan, sandbox } = await supervisor.spawn({
        name: request.name ?? null,
        parentId: caller.id,
        plan: (agentId, name) =>
          makePlan(request, {
            agentId,
            name,
            sandboxOff: options.sandbox === 'off',
            stagingFolder: launcher.stagingFolderOf(agentId),
            socketPath: launcher.socketPathOf(agentId),
            sdkFolder: () => launcher.sdkFolder(),
          }),
      });
      return {
        success: true as const,
        id: agent.id,
        agent_id: agent.id,
        name: agent.name,
        pid: sandbox.pid,
        status: 'running' as const,
        restart_policy: agent.restart.options.policy,
        isolation: { ...summariseIsolation(sandbox.layers), layers: [...sandbox.layers] },
        script: plan.script,
        setup_us: { ...sandbox.setupUs },
      };
    } catch (error) {
      throw asSpawnFailure(error);
    }
  },
});

/** The words existing clients look for come first; what went wrong follows. */
function asSpawnFailure(error: unknown): unknown {
  if (!isCloveError(error) || error.code === 'BAD_REQUEST') return error;
  return new CloveError(error.code, `failed to spawn agent: ${error.message}`, {
    cause: error,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    ...(error.details === undefined ? {} : { details: error.details }),
  });
}

export const kill = defineSyscall({
  opcode: OPCODES.KILL,
  name: 'KILL',
  summary:
    'Ends an agent for good: SIGTERM, then SIGKILL to everything it started. Answers when nothing of it is left.',
  request: z.object({
    ...target,
    grace_ms: z.int().min(0).max(MAX_TIMER_MS).nullish().describe('Between the two signals; default 5000.'),
  }),
  response: z.object({ success: z.literal(true), killed: z.literal(true), agent_id: z.int() }),
  permission: 'agents.control',
  audit: 'AGENT_LIFECYCLE',
  replay: 'recorded',
  errorShape: { killed: false, agent_id: 0 },
  async handle(request, { kernel, caller }) {
    const agent = liveAgent(kernel, request);
    await kernel.supervisor.kill(agent, request.grace_ms ?? DEFAULT_GRACE_MS, caller.id);
    return { success: true as const, killed: true as const, agent_id: agent.id };
  },
});

export const pause = defineSyscall({
  opcode: OPCODES.PAUSE,
  name: 'PAUSE',
  summary: 'Freezes an agent with everything it started.',
  request: z.object(target),
  response: z.object({ success: z.literal(true), paused: z.literal(true), agent_id: z.int() }),
  permission: 'agents.control',
  audit: 'AGENT_LIFECYCLE',
  replay: 'recorded',
  errorShape: { paused: false, agent_id: 0 },
  async handle(request, { kernel, caller }) {
    const agent = liveAgent(kernel, request);
    await kernel.supervisor.pause(agent, caller.id);
    return { success: true as const, paused: true as const, agent_id: agent.id };
  },
});

export const resume = defineSyscall({
  opcode: OPCODES.RESUME,
  name: 'RESUME',
  summary: 'Lets a paused agent run on.',
  request: z.object(target),
  response: z.object({ success: z.literal(true), resumed: z.literal(true), agent_id: z.int() }),
  permission: 'agents.control',
  audit: 'AGENT_LIFECYCLE',
  replay: 'recorded',
  errorShape: { resumed: false, agent_id: 0 },
  async handle(request, { kernel, caller }) {
    const agent = liveAgent(kernel, request);
    await kernel.supervisor.resume(agent, caller.id);
    return { success: true as const, resumed: true as const, agent_id: agent.id };
  },
});

const listed = z.object({
  id: z.int(),
  name: z.string(),
  pid: z.int().describe('0 between two incarnations.'),
  state: z.enum(AGENT_STATES),
  running: z.boolean(),
  uptime: z.number().describe('Of the latest incarnation, seconds.'),
  uptime_ms: z.int(),
  memory: z.number().describe('Bytes of the whole tree.'),
  cpu: z.number().describe('Percent of one core.'),
  restarts: z.int(),
  restart_policy: z.enum(RESTART_POLICIES),
  restart_in_ms: z.int().nullable().describe('Until the pending restart; null = none is pending.'),
  parent_id: z.int(),
  isolation: isolationSummary.nullable(),
});

export const list = defineSyscall({
  opcode: OPCODES.LIST,
  name: 'LIST',
  summary: 'All live agents, also those that wait for their restart; with `all` also ended ones still known.',
  request: z.object({ all: z.boolean().default(false) }).catch({ all: false }),
  response: z.array(listed),
  permission: 'agents.list',
  audit: 'AGENT_LIFECYCLE',
  replay: 'recorded',
  async handle({ all }, { kernel }) {
    const agents = all ? [...kernel.agents.listEnded(), ...kernel.agents.list()] : kernel.agents.list();
    const rows: z.input<typeof listed>[] = [];
    for (const [index, agent] of agents.entries()) {
      if (index > 0 && index % LIST_SLICE === 0) await yieldToLoop();
      rows.push(describeAgent(agent));
    }
    return rows;
  },
});

function describeAgent(agent: Agent): z.input<typeof listed> {
  const { sandbox } = agent;
  const uptimeMs = sandbox === null ? 0 : Math.max(0, Date.now() - agent.startedAt);
  const { memoryBytes, cpuPercent } = usageOf(agent);
  return {
    id: agent.id,
    name: agent.name,
    pid: sandbox === null ? 0 : agent.pid,
    state: agent.state,
    running: agent.state === 'running',
    uptime: uptimeMs / 1000,
    uptime_ms: uptimeMs,
    memory: memoryBytes,
    cpu: Math.round(cpuPercent * 10) / 10,
    restarts: agent.restart.count,
    restart_policy: agent.restart.options.policy,
    restart_in_ms: agent.restartAt === null ? null : Math.max(0, agent.restartAt - Date.now()),
    parent_id: agent.parentId,
    isolation: sandbox === null ? null : summariseIsolation(sandbox.layers),
  };
}

export const wait = defineSyscall({
  opcode: OPCODES.WAIT,
  name: 'WAIT',
  summary:
    'Answers when an agent has ended for good (no restart follows), with how it ended and what it used.',
  request: z.object({
    ...target,
    timeout_ms: z.int().min(0).max(MAX_TIMER_MS).nullish().describe('Default: no limit.'),
    log_bytes: z.int().min(0).max(MAX_LOG_TAIL_BYTES).nullish().describe('Of `log_tail`; default 8192.'),
  }),
  response: z.object({
    success: z.literal(true),
    agent_id: z.int(),
    name: z.string(),
    state: z.enum(AGENT_STATES),
    reason: z.enum(['exited', 'signal', 'oom', 'timeout', 'killed', 'setup']),
    exit_code: z.int().nullable(),
    signal: z.string().nullable(),
    restart_count: z.int(),
    ended_at_ms: z.number(),
    usage: usage.describe('Of the last incarnation.'),
    log_tail: z.string().describe('End of stderr, or of stdout where stderr is empty. Untrusted text.'),
  }),
  permission: 'agents.control',
  audit: 'AGENT_LIFECYCLE',
  replay: 'recorded',
  async handle(request, { kernel, signal }) {
    const agent = knownAgent(kernel, request);
    await kernel.supervisor.waitForEnd(agent, request.timeout_ms ?? null, signal);
    const exit = agent.lastExit;
    if (exit === null) throw new CloveError('NOT_FOUND', `agent ${agent.name} never ran`);
    return {
      success: true as const,
      agent_id: agent.id,
      name: agent.name,
      state: agent.state,
      reason: exit.reason,
      exit_code: exit.exitCode,
      signal: exit.signal,
      restart_count: exit.restartCount,
      ended_at_ms: exit.endedAt,
      usage: usageReport(exit),
      log_tail: logTail(agent, request.log_bytes ?? 8192),
    };
  },
});

export const logs = defineSyscall({
  opcode: OPCODES.LOGS,
  name: 'LOGS',
  summary:
    'The last output of an agent, over all its incarnations. The kernel keeps the end and counts what it dropped.',
  request: z.object({
    ...target,
    max_bytes: z.int().min(0).max(MAX_LOGS_BYTES).nullish().describe('Of each stream; default 1 MiB.'),
  }),
  response: z.object({
    success: z.literal(true),
    agent_id: z.int(),
    name: z.string(),
    stdout: z.string().describe('Untrusted text.'),
    stderr: z.string().describe('Untrusted text.'),
    stdout_bytes: z.number().describe('Ever written.'),
    stderr_bytes: z.number(),
    stdout_dropped: z.number().describe('No longer kept.'),
    stderr_dropped: z.number(),
  }),
  permission: 'agents.control',
  audit: 'AGENT_LIFECYCLE',
  replay: 'recorded',
  errorShape: { stdout: '', stderr: '' },
  handle(request, { kernel }) {
    const { id, name, stdout, stderr } = knownAgent(kernel, request);
    const maxBytes = request.max_bytes ?? DEFAULT_LOGS_BYTES;
    return {
      success: true as const,
      agent_id: id,
      name,
      stdout: stdout.tail(maxBytes).toString('utf8'),
      stderr: stderr.tail(maxBytes).toString('utf8'),
      stdout_bytes: stdout.totalBytes,
      stderr_bytes: stderr.totalBytes,
      stdout_dropped: stdout.droppedBytes,
      stderr_dropped: stderr.droppedBytes,
    };
  },
});

export const agentSyscalls = [spawn, kill, list, pause, resume, wait, logs] as const;
