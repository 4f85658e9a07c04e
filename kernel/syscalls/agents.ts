import { setImmediate as yieldToLoop } from 'node:timers/promises';
import { z } from 'zod';
import { CloveError, isCloveError } from '../../errors/index.ts';
import { AGENT_STATES, type Agent } from '../agents/agent.ts';
import type { Attachment } from '../agents/attachment.ts';
import type { DesiredSpec } from '../agents/fleet-rows.ts';
import { summariseIsolation } from '../agents/isolation.ts';
import { makePlan, type Plan } from '../agents/plan.ts';
import { RESTART_POLICIES } from '../agents/restart-policy.ts';
import { spawnRequest } from '../agents/spawn-request.ts';
import { usageOf } from '../agents/usage.ts';
import type { Caller } from '../identity.ts';
import type { Kernel } from '../kernel.ts';
import { authoriseSpawn } from '../permissions/spawn.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { worldsOf } from '../worlds/calls.ts';
import { isolationSummary, layerReport, liveAgent, target } from './agent-fields.ts';
import { logs, wait } from './agent-outcome.ts';
import { reload } from './agent-reload.ts';
import { defineSyscall, type SyscallContext } from './define.ts';
import { MAX_TIMER_MS } from './fields.ts';

/** Agents whose counters LIST reads before it lets others have the event loop. */
const LIST_SLICE = 8;

export const spawn = defineSyscall({
  opcode: OPCODES.SPAWN,
  name: 'SPAWN',
  malformed: 'invalid JSON',
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
    template: z
      .object({ used: z.boolean(), reason: z.string().nullable() })
      .nullable()
      .describe('Whether it was forked from the template, or why not; null = none was asked for.'),
    setup_us: z.record(z.string(), z.number()).describe('Time of the set-up by stage.'),
  }),
  permission: 'agents.spawn',
  audit: 'AGENT_LIFECYCLE',
  replay: 'recorded',
  async handle(request, context) {
    const { kernel, caller } = context;
    const { supervisor, launcher, fleet, options } = kernel;
    const begun = kernel.audit.whenBegun();
    const authority = authoriseSpawn(kernel, caller, request);
    const { readScript } = authority;
    const isInWorld = request.world != null || kernel.worlds?.joinedBy(caller.id) != null;
    if (request.world != null && request.persist === true) {
      throw new CloveError(
        'BAD_REQUEST',
        'invalid request: persist: an agent of a world ends with this kernel',
      );
    }
    const isDesired = request.persist ?? (!isInWorld && (request.restart_policy ?? 'never') !== 'never');
    let admitted: number | null = null;
    try {
      const { agent, plan, sandbox } = await supervisor.spawn({
        name: request.name ?? null,
        parentId: caller.id,
        begun,
        plan: async (agentId, name) => {
          const made = await makePlan(authority.request, {
            agentId,
            name,
            sandboxing: options.sandbox,
            stagingFolder: launcher.stagingFolderOf(agentId),
            socketPath: launcher.socketPathOf(agentId),
            sdkFolder: () => launcher.sdkFolder(),
            openMounts: (mounts) => launcher.openMounts(mounts),
            templateOwner: `uid ${caller.peer.uid}`,
            readScript:
              readScript === null || !isDesired
                ? readScript
                : async (script) => {
                    const content = await readScript(script);
                    await fleet.keepScript(agentId, content);
                    return content;
                  },
          });
          authority.admit(agentId, made.launch);
          admitted = agentId;
          const attachment = isInWorld
            ? await attachmentOf(context, request.world ?? null, agentId, name)
            : null;
          if (attachment !== null) launcher.attach(agentId, attachment);
          return made;
        },
        desired: isDesired ? (plan) => desiredSpec(kernel, caller, plan) : null,
      });
      authority.started(agent.id);
      // After the answer: nobody waits for it. Without it a reload that fails has only the new code to go back to.
      setImmediate(() => kernel.codeCopies.keep(agent, plan.script).catch(() => {}));
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
        template: agent.startedFrom == null ? null : { ...agent.startedFrom },
        setup_us: { ...sandbox.setupUs },
      };
    } catch (error) {
      if (admitted !== null) {
        authority.failed(admitted);
        kernel.worlds?.release(admitted);
      }
      throw asSpawnFailure(error);
    }
  },
});

/** What a world adds to the launch. Who asks for one must have it. @throws SETUP_FAILED, NOT_FOUND, FORBIDDEN */
async function attachmentOf(
  context: SyscallContext,
  worldId: string | null,
  id: number,
  name: string,
): Promise<Attachment | null> {
  const { attach } = worldsOf(context);
  if (attach !== undefined) return attach.call(worldsOf(context), worldId, { id, name }, context.caller);
  if (worldId === null) return null;
  throw new CloveError('SETUP_FAILED', 'this kernel starts no agents in worlds');
}

function desiredSpec(kernel: Kernel, caller: Caller, { launch }: Plan): DesiredSpec {
  return {
    parentId: caller.kind === 'agent' ? caller.id : 0,
    above: caller.kind === 'agent' ? kernel.quotas.payersOf(caller.id) : [],
    spawnedAt: Date.now(),
    request: launch.request ?? {},
    seed: launch.sandbox.env.CLOVE_SEED ?? '',
    isScriptKept: launch.isScriptOfAgent === true,
  };
}

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
    'Ends an agent for good: SIGTERM, then SIGKILL to everything it started. Answers when all of its processes are gone.',
  request: z.object({
    ...target,
    grace_ms: z
      .int()
      .min(0)
      .max(MAX_TIMER_MS)
      .nullish()
      .describe('Between the two signals; default: what the agent was started with, else 5000.'),
  }),
  response: z.object({ success: z.literal(true), killed: z.literal(true), agent_id: z.int() }),
  permission: 'agents.control',
  audit: 'AGENT_LIFECYCLE',
  replay: 'recorded',
  errorShape: { killed: false, agent_id: 0 },
  async handle(request, { kernel, caller }) {
    const agent = liveAgent(kernel, request);
    await kernel.supervisor.kill(agent, request.grace_ms ?? null, caller.id);
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
  ready: z.boolean().describe('Those that depend on it may run.'),
  health: z.enum(['none', 'unknown', 'healthy', 'unhealthy']).describe('none = there is no check.'),
  status: z.string().describe('What it says of itself. Untrusted text.'),
  group: z.string().nullable().describe('Of the supervision tree.'),
  waits_for: z.array(z.string()).describe('Agents that must be ready before it starts.'),
  labels: z.record(z.string(), z.string()),
  ended: z
    .object({ reason: z.string(), exit_code: z.int().nullable(), signal: z.string().nullable() })
    .nullable()
    .describe('How its latest incarnation has ended; null while none has.'),
  isolation: isolationSummary.nullable(),
});

export const list = defineSyscall({
  opcode: OPCODES.LIST,
  name: 'LIST',
  summary:
    'All live agents, also those that wait for their restart; with `all` also ended ones still known. An agent sees itself and those that answer to it.',
  request: z.object({ all: z.boolean().default(false) }).catch({ all: false }),
  response: z.array(listed),
  permission: 'agents.list',
  audit: 'AGENT_LIFECYCLE',
  replay: 'recorded',
  async handle({ all }, { kernel, caller }) {
    const agents = (
      all ? [...kernel.agents.listEnded(), ...kernel.agents.list()] : kernel.agents.list()
    ).filter((agent) => kernel.permissions.sees(caller, agent));
    const rows: z.input<typeof listed>[] = [];
    for (const [index, agent] of agents.entries()) {
      if (index > 0 && index % LIST_SLICE === 0) await yieldToLoop();
      rows.push(describeAgent(agent, kernel));
    }
    return rows;
  },
});

function describeAgent(agent: Agent, { supervisor }: Kernel): z.input<typeof listed> {
  const { sandbox, lastExit: ended } = agent;
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
    restart_in_ms: agent.restartAt === null ? null : Math.max(0, Math.ceil(agent.restartAt - Date.now())),
    parent_id: agent.parentId,
    ready: agent.ready,
    health: supervisor.healthOf(agent.id),
    status: agent.status,
    group: agent.supervision.group,
    waits_for: supervisor.waitsFor(agent.id),
    labels: { ...(agent.plan.request?.labels ?? agent.labels) },
    ended: ended === null ? null : { reason: ended.reason, exit_code: ended.exitCode, signal: ended.signal },
    isolation: sandbox === null ? null : summariseIsolation(sandbox.layers),
  };
}

export const agentSyscalls = [spawn, kill, list, pause, resume, wait, logs, reload] as const;
