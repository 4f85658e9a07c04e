import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { AGENT_STATES } from '../agents/agent.ts';
import type { Kernel } from '../kernel.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import type { Group } from '../supervision/nodes.ts';
import { memberName } from '../supervision/plan.ts';
import { DEFAULT_GROUP, type GroupSpec, STRATEGIES } from '../supervision/types.ts';
import { liveAgent, target } from './agent-fields.ts';
import { defineSyscall } from './define.ts';
import { MAX_TIMER_MS } from './fields.ts';

export const notify = defineSyscall({
  opcode: OPCODES.NOTIFY,
  name: 'NOTIFY',
  summary:
    'An agent speaks about itself to its supervisor: that it is ready, that it lives, how it is, and in answer to a ping. Whatever it says counts as a heartbeat.',
  request: z.object({
    ready: z
      .boolean()
      .nullish()
      .describe('true = those that depend on it may start, where it was started with ready on "notify".'),
    status: z.string().max(256).nullish().describe('For people: shown in LIST. Untrusted text.'),
    pong: z
      .string()
      .max(64)
      .nullish()
      .describe('The `nonce` of the message of type "clove.ping" that this answers.'),
  }),
  response: z.object({
    success: z.literal(true),
    answered: z.boolean().describe('The pong was the one that was waited for.'),
  }),
  permission: 'none',
  audit: 'AGENT_LIFECYCLE',
  replay: 'recorded',
  handle(request, { kernel, caller }) {
    const agent = kernel.agents.get(caller.id);
    if (agent === undefined) throw new CloveError('BAD_REQUEST', 'only agents have a supervisor');
    if (request.status != null) agent.status = request.status;
    const note = { isReady: request.ready === true, pong: request.pong ?? null };
    return { success: true as const, answered: kernel.supervisor.noted(agent.id, note) };
  },
});

export const waitReady = defineSyscall({
  opcode: OPCODES.WAIT_READY,
  name: 'WAIT_READY',
  summary: 'Answers when an agent is ready: its incarnation runs and has become what it was started to be.',
  request: z.object({
    ...target,
    timeout_ms: z.int().min(0).max(MAX_TIMER_MS).nullish().describe('Default: no limit.'),
  }),
  response: z.object({
    success: z.literal(true),
    agent_id: z.int(),
    name: z.string(),
    state: z.enum(AGENT_STATES),
    ready: z.literal(true),
    pid: z.int().describe('On the host.'),
  }),
  permission: 'agents.control',
  audit: 'AGENT_LIFECYCLE',
  replay: 'recorded',
  errorShape: { ready: false },
  async handle(request, { kernel, signal }) {
    const agent = liveAgent(kernel, request);
    await kernel.supervisor.waitForReady(agent, request.timeout_ms ?? null, signal);
    const { id, name, state, pid } = agent;
    return { success: true as const, agent_id: id, name, state, ready: true as const, pid };
  },
});

const bound = z.number().min(0).max(1e7);
const described = z.object({
  name: z.string(),
  parent: z.string().nullable(),
  strategy: z.enum(STRATEGIES),
  order: z.int(),
  max_restarts: z.int(),
  restart_window: z.number().describe('Seconds.'),
  restart_backoff_ms: z.number(),
  restart_backoff_max_ms: z.number(),
  failed: z.boolean().describe('Its members were given up, and none came after that.'),
  agents: z.array(z.int()).describe('Of itself and of the groups below it, in their order.'),
});

export const groupSet = defineSyscall({
  opcode: OPCODES.GROUP_SET,
  name: 'GROUP_SET',
  summary:
    'Makes a group of a supervision tree, or gives one other rules. Agents join it by SPAWN; it outlives them and the kernel.',
  request: z.object({
    name: memberName,
    parent: memberName
      .nullish()
      .describe('Group that it is a member of; default: none, it is a tree of its own.'),
    strategy: z
      .enum(STRATEGIES)
      .nullish()
      .describe(
        'When a member fails: one_for_one (default) starts it again, one_for_all all members, rest_for_one it and those after it. The latter two start their members in order.',
      ),
    order: z.int().min(0).max(1_000_000).nullish().describe('Place in its parent.'),
    max_restarts: z
      .int()
      .min(0)
      .max(1_000_000)
      .nullish()
      .describe(
        'Of members within the window; one more and the group fails: its parent deals with it, or all are given up.',
      ),
    restart_window: bound.nullish().describe('Seconds; default 300.'),
    restart_backoff_ms: z
      .int()
      .min(0)
      .max(MAX_TIMER_MS)
      .nullish()
      .describe('Before the group is started anew.'),
    restart_backoff_max_ms: z.int().min(0).max(MAX_TIMER_MS).nullish(),
  }),
  response: z.object({ success: z.literal(true), group: described }),
  permission: 'agents.all',
  audit: 'AGENT_LIFECYCLE',
  replay: 'recorded',
  async handle(request, { kernel }) {
    const backoffBaseMs = request.restart_backoff_ms ?? DEFAULT_GROUP.backoffBaseMs;
    const spec: GroupSpec = {
      name: request.name,
      parent: request.parent ?? null,
      strategy: request.strategy ?? DEFAULT_GROUP.strategy,
      order: request.order ?? DEFAULT_GROUP.order,
      maxRestarts: request.max_restarts ?? DEFAULT_GROUP.maxRestarts,
      windowMs: request.restart_window == null ? DEFAULT_GROUP.windowMs : request.restart_window * 1000,
      backoffBaseMs,
      backoffCapMs: request.restart_backoff_max_ms ?? Math.max(DEFAULT_GROUP.backoffCapMs, backoffBaseMs),
    };
    await kernel.groups.set(spec);
    const group = kernel.groups.list().find((each) => each.spec.name === spec.name);
    if (group === undefined) throw new CloveError('CONFLICT', `group ${spec.name} was removed meanwhile`);
    return { success: true as const, group: describeGroup(kernel, group) };
  },
});

export const groupList = defineSyscall({
  opcode: OPCODES.GROUP_LIST,
  name: 'GROUP_LIST',
  summary: 'All groups of the supervision trees.',
  request: z.object({}).catch({}),
  response: z.object({ success: z.literal(true), groups: z.array(described) }),
  permission: 'agents.all',
  audit: 'AGENT_LIFECYCLE',
  replay: 'recorded',
  errorShape: { groups: [] },
  handle(_request, { kernel }) {
    const groups = kernel.groups.list().map((group) => describeGroup(kernel, group));
    return { success: true as const, groups };
  },
});

export const groupRemove = defineSyscall({
  opcode: OPCODES.GROUP_REMOVE,
  name: 'GROUP_REMOVE',
  summary:
    'Ends all agents of a group and of those below it, those first that others do not need, and removes the groups. Answers when nothing is left.',
  request: z.object({
    name: memberName,
    grace_ms: z
      .int()
      .min(0)
      .max(MAX_TIMER_MS)
      .nullish()
      .describe('Between SIGTERM and SIGKILL; default: what each agent was started with, else 5000.'),
  }),
  response: z.object({ success: z.literal(true), name: z.string(), killed: z.array(z.int()) }),
  permission: 'agents.all',
  audit: 'AGENT_LIFECYCLE',
  replay: 'recorded',
  errorShape: { killed: [] },
  async handle(request, { kernel, caller }) {
    const killed = await kernel.supervisor.removeGroup(request.name, request.grace_ms ?? null, caller.id);
    return { success: true as const, name: request.name, killed };
  },
});

function describeGroup(kernel: Kernel, { spec, hasFailed }: Group): z.input<typeof described> {
  return {
    name: spec.name,
    parent: spec.parent,
    strategy: spec.strategy,
    order: spec.order,
    max_restarts: spec.maxRestarts,
    restart_window: spec.windowMs / 1000,
    restart_backoff_ms: spec.backoffBaseMs,
    restart_backoff_max_ms: spec.backoffCapMs,
    failed: hasFailed,
    agents: kernel.groups.memberIdsOf(spec.name),
  };
}

export const supervisionSyscalls = [notify, waitReady, groupSet, groupList, groupRemove] as const;
