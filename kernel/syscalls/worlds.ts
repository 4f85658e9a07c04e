import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { memberOf, worldsOf } from '../worlds/calls.ts';
import { defineSyscall } from './define.ts';
import { json } from './fields.ts';
import { checkpoint } from './world-checkpoint.ts';
import { asFailure, hostFile, jsonObject, requireWorldId, worldId, worldInfo } from './world-fields.ts';
import { branch, diff, restore, snapshot } from './world-snapshots.ts';
import { advance, wait } from './world-time.ts';

export const create = defineSyscall({
  opcode: OPCODES.WORLD_CREATE,
  name: 'WORLD_CREATE',
  summary: 'Makes a world: files, network, clock and luck of its own for those who join it.',
  request: z.object({
    name: z.string().max(256).nullish().describe('Default "unnamed"; `config.name` wins.'),
    config: jsonObject
      .nullish()
      .describe('A definition as in a world file, or the configuration of existing clients.'),
    template: z
      .string()
      .max(128)
      .nullish()
      .describe('A world of the catalogue to begin with; `config` is laid over it.'),
    path: z
      .string()
      .max(4096)
      .nullish()
      .describe('A world file on the host, absolute, in place of `template`. Operators only.'),
    seed: z
      .int()
      .min(0)
      .max(2 ** 32 - 1)
      .nullish()
      .describe('In place of the definition’s.'),
  }),
  response: z.object({
    success: z.literal(true),
    world_id: z.string(),
    name: z.string(),
    world: worldInfo,
    warnings: z.array(z.string()).readonly().describe('What of the configuration has no effect, and why.'),
  }),
  permission: 'worlds.manage',
  audit: 'WORLD',
  replay: 'recorded',
  async handle(request, context) {
    try {
      const { warnings, ...world } = await worldsOf(context).create(
        {
          name: request.name ?? null,
          config: request.config ?? {},
          template: request.template ?? null,
          seed: request.seed ?? null,
          path: hostFile(context, request.path),
        },
        context.caller,
      );
      return {
        success: true as const,
        world_id: world.id,
        name: request.name ?? world.name,
        world,
        warnings,
      };
    } catch (error) {
      throw asFailure('Failed to create world', error);
    }
  },
});

export const destroy = defineSyscall({
  opcode: OPCODES.WORLD_DESTROY,
  name: 'WORLD_DESTROY',
  summary: 'Ends a world. Its members are in none then, where `force` allows there to be any.',
  request: z.object({ world_id: worldId, force: z.boolean().default(false) }),
  response: z.object({ success: z.literal(true), world_id: z.string() }),
  permission: 'worlds.manage',
  audit: 'WORLD',
  replay: 'recorded',
  async handle(request, context) {
    const id = requireWorldId(request.world_id);
    await worldsOf(context).destroy(id, request.force, context.caller);
    return { success: true as const, world_id: id };
  },
});

export const list = defineSyscall({
  opcode: OPCODES.WORLD_LIST,
  name: 'WORLD_LIST',
  summary: 'All worlds; an agent sees those that are its business.',
  request: z.unknown(),
  response: z.object({ success: z.literal(true), worlds: z.array(worldInfo).readonly(), count: z.int() }),
  permission: 'worlds.use',
  audit: 'WORLD',
  replay: 'recorded',
  errorShape: { worlds: [], count: 0 },
  handle(_request, context) {
    const worlds = context.kernel.worlds?.list(context.caller) ?? [];
    return { success: true as const, worlds: [...worlds], count: worlds.length };
  },
});

export const join = defineSyscall({
  opcode: OPCODES.WORLD_JOIN,
  name: 'WORLD_JOIN',
  summary: 'The caller’s files, commands, requests and shared state are the world’s from now on.',
  request: z.object({
    world_id: worldId,
    agent_id: json
      .optional()
      .describe(
        'A live agent that answers to the caller: it joins in place of it. Any other value means the caller.',
      ),
  }),
  response: z.object({ success: z.literal(true), world_id: z.string(), world: worldInfo }),
  permission: 'worlds.use',
  audit: 'WORLD',
  replay: 'recorded',
  async handle(request, context) {
    const id = requireWorldId(request.world_id);
    const { kernel, caller } = context;
    const named = typeof request.agent_id === 'number' ? kernel.agents.get(request.agent_id) : undefined;
    const isOther =
      named !== undefined && named.id !== caller.id && kernel.permissions.governs(caller, named.id);
    const member = {
      id: isOther ? named.id : caller.id,
      name: isOther ? named.name : memberOf(context).name,
    };
    const world = await worldsOf(context).join(id, member, caller);
    return { success: true as const, world_id: id, world };
  },
});

export const leave = defineSyscall({
  opcode: OPCODES.WORLD_LEAVE,
  name: 'WORLD_LEAVE',
  summary: 'Back to the caller’s own. An agent that was started in a world stays in it.',
  request: z.unknown(),
  response: z.object({ success: z.literal(true), world_id: z.string() }),
  permission: 'worlds.use',
  audit: 'WORLD',
  replay: 'recorded',
  handle(_request, context) {
    return { success: true as const, world_id: worldsOf(context).leave(context.caller) };
  },
});

export const event = defineSyscall({
  opcode: OPCODES.WORLD_EVENT,
  name: 'WORLD_EVENT',
  summary: 'Lets something happen in a world: a full disk, a partition, a crash; or ends it with `clear`.',
  request: z.object({
    world_id: worldId,
    event_type: z.string().max(128).nullish().describe('Such as disk_full; "clear" ends events.'),
    params: jsonObject
      .nullish()
      .describe(
        '`duration_ms` or `duration` (as "10m"), and what the kind takes; for "clear": `event_id`, else all.',
      ),
    config: jsonObject.nullish().describe('As `params`.'),
  }),
  response: z.object({
    success: z.literal(true),
    world_id: z.string(),
    event_type: z.string(),
    event_id: z.string().describe('For "clear"; empty where nothing lasts.'),
    until_ms: z
      .number()
      .nullable()
      .describe('When it is over, ms since the world’s start; null = when it is cleared.'),
    cleared: z.int().optional().describe('Events that were ended.'),
  }),
  permission: 'worlds.manage',
  audit: 'WORLD',
  replay: 'recorded',
  handle(request, context) {
    const id = requireWorldId(request.world_id);
    const type = request.event_type ?? '';
    if (type === '') throw new CloveError('BAD_REQUEST', 'event_type required');
    const params = request.params ?? request.config ?? {};
    const worlds = worldsOf(context);
    if (type === 'clear') {
      const eventId = typeof params.event_id === 'string' ? params.event_id : null;
      const cleared = worlds.clearEvents(id, eventId, context.caller);
      return {
        success: true as const,
        world_id: id,
        event_type: type,
        event_id: eventId ?? '',
        until_ms: null,
        cleared,
      };
    }
    return { success: true as const, world_id: id, ...worlds.inject(id, type, params, context.caller) };
  },
});

export const state = defineSyscall({
  opcode: OPCODES.WORLD_STATE,
  name: 'WORLD_STATE',
  summary: 'What goes on in a world: members, files, network, events, clock, schedule.',
  request: z.object({ world_id: worldId }),
  response: z.object({
    success: z.literal(true),
    state: jsonObject,
    id: z.string(),
    name: z.string(),
    agents: z.array(z.int()).readonly(),
    metrics: jsonObject,
    chaos_events_injected: z.int(),
  }),
  permission: 'worlds.use',
  audit: 'WORLD',
  replay: 'recorded',
  async handle(request, context) {
    const id = requireWorldId(request.world_id);
    const state = (await worldsOf(context).state(id, context.caller)) as Record<string, unknown>;
    const { vfs_metrics, network_metrics, chaos_metrics } = state;
    return {
      success: true as const,
      state: { ...state },
      id,
      name: String(state.name),
      agents: [...(state.agents as readonly number[])],
      metrics: { vfs_metrics, network_metrics, chaos_metrics },
      chaos_events_injected: Number(state.events_injected ?? 0),
    };
  },
});

export const worldSyscalls = [
  create,
  destroy,
  list,
  join,
  leave,
  event,
  state,
  snapshot,
  restore,
  diff,
  branch,
  advance,
  wait,
  checkpoint,
] as const;
