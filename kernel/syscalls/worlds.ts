import path from 'node:path';
import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { MAX_ANSWER_BYTES } from '../protocol/constants.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { memberOf, worldOf, worldsOf } from '../worlds/calls.ts';
import { waitingInWorld } from '../worlds/waiting.ts';
import { defineSyscall, type SyscallContext } from './define.ts';
import { json } from './fields.ts';
import { checkpoint, comeBack, returnedAgent } from './world-checkpoint.ts';

const MAX_BRANCHES = 256;
/** Ten simulated years. */
const MAX_ADVANCE_MS = 10 * 366 * 86_400_000;
/** No world gets older. */
const MAX_WORLD_MS = 250 * 366 * 86_400_000;

const jsonObject = z.record(z.string(), z.unknown());
const worldId = z.string().max(256).nullish().describe('As WORLD_CREATE answered it.');
const hostPath = z
  .string()
  .max(4096)
  .nullish()
  .describe('Of a file on the host, absolute. Operators only; snapshots of any size.');

function requireWorldId(id: string | null | undefined): string {
  if (id) return id;
  throw new CloveError('BAD_REQUEST', 'world_id required');
}

/** A file of the host is no business of agents. @throws FORBIDDEN, BAD_REQUEST */
function hostFile({ caller }: SyscallContext, file: string | null | undefined): string | null {
  if (!file) return null;
  if (caller.kind !== 'operator') {
    throw new CloveError('FORBIDDEN', 'only operators name files of the host');
  }
  if (!path.isAbsolute(file)) {
    throw new CloveError('BAD_REQUEST', 'invalid request: a path of the host must be absolute');
  }
  return file;
}

export const worldInfo = z.object({
  id: z.string(),
  name: z.string(),
  description: z.string(),
  agent_count: z.int(),
  syscall_count: z.int().describe('Of its members, since it was made.'),
  vfs_enabled: z.boolean(),
  network_mock_enabled: z.boolean(),
  chaos_enabled: z.boolean(),
  created_at: z.number().describe('Seconds since the epoch, real time.'),
  owner_id: z.int().describe('Who made it; 0 = nobody who is still there.'),
  seed: z.number(),
  clock_mode: z.string(),
  world_time: z.string().describe('The time there, ISO 8601.'),
});

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

export const snapshot = defineSyscall({
  opcode: OPCODES.WORLD_SNAPSHOT,
  name: 'WORLD_SNAPSHOT',
  summary: `A world as data: files, network, clock, luck, schedule, events, state and mailboxes, each part with its hash. As an answer at most ${MAX_ANSWER_BYTES / 2 ** 20} MiB.`,
  request: z.object({ world_id: worldId, path: hostPath }),
  response: z.object({
    success: z.literal(true),
    world_id: z.string(),
    snapshot_id: z.string().describe('SHA-256 of its content.'),
    snapshot: jsonObject.describe('Without the files’ content where it went to `path`.'),
    snapshot_data: jsonObject
      .optional()
      .describe(
        'As `snapshot`, for clients that know it by this name; absent where both would be too large.',
      ),
    snapshot_path: z.string().optional(),
    calls_under_way: z.int().describe('Of members, that had not ended when it was taken.'),
    agents: z
      .array(z.object({ name: z.string(), reason: z.string().nullable() }))
      .readonly()
      .describe('Who could come back with it, and why who could not (`reason`).'),
  }),
  permission: 'worlds.manage',
  audit: 'WORLD',
  replay: 'recorded',
  async handle(request, context) {
    const id = requireWorldId(request.world_id);
    const file = hostFile(context, request.path);
    const made = await worldsOf(context).snapshot(id, file, context.caller);
    return {
      success: true as const,
      world_id: id,
      snapshot_id: made.snapshot_id,
      calls_under_way: made.calls_under_way,
      agents: made.agents,
      snapshot: made.snapshot,
      ...(file === null && isSmall(made.snapshot) ? { snapshot_data: made.snapshot } : {}),
      ...(file === null ? {} : { snapshot_path: file }),
    };
  },
});

export const restore = defineSyscall({
  opcode: OPCODES.WORLD_RESTORE,
  name: 'WORLD_RESTORE',
  summary:
    'Makes a world from a snapshot, ours or one of existing clients. Its time goes on where it stood; nobody is in it but the agents that come back with it.',
  request: z.object({
    snapshot: jsonObject.nullish().describe('Or a whole answer of WORLD_SNAPSHOT.'),
    snapshot_path: hostPath,
    new_world_id: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, 'letters, digits, dot, dash and underscore')
      .or(z.literal(''))
      .nullish()
      .describe('Taken as it is; default: made from the name.'),
    agents: z
      .boolean()
      .default(false)
      .describe(
        'Starts its agents again, with the state they left: only of a snapshot one trusts. Operators only.',
      ),
    agents_env: z
      .record(z.string(), z.string())
      .default({})
      .describe('Values of secret variables of theirs, which no snapshot keeps.'),
  }),
  response: z.object({
    success: z.literal(true),
    world_id: z.string(),
    world: worldInfo,
    agents: z.array(returnedAgent).describe('How each came back, or that it did not.'),
  }),
  permission: 'worlds.manage',
  audit: 'WORLD',
  replay: 'recorded',
  async handle(request, context) {
    const file = hostFile(context, request.snapshot_path);
    const given = request.snapshot;
    if (file === null && (given === null || given === undefined || Object.keys(given).length === 0)) {
      throw new CloveError('BAD_REQUEST', 'snapshot required');
    }
    // Existing clients hand back the whole answer.
    const nested = given?.snapshot ?? given?.snapshot_data;
    const source = file === null ? { snapshot: nested ?? given } : { file };
    if (request.agents && context.caller.kind !== 'operator')
      throw new CloveError('FORBIDDEN', 'only operators start the agents of a snapshot');
    try {
      const made = await worldsOf(context).restore(source, request.new_world_id || null, context.caller);
      const agents = await comeBack(context, made, { wanted: request.agents, env: request.agents_env });
      return { success: true as const, world_id: made.world.id, world: made.world, agents };
    } catch (error) {
      throw asFailure('Failed to restore world', error);
    }
  },
});

export const diff = defineSyscall({
  opcode: OPCODES.WORLD_DIFF,
  name: 'WORLD_DIFF',
  summary: 'What has become of a world’s files since it was made: added, changed, deleted.',
  request: z.object({ world_id: worldId }),
  response: z.object({
    success: z.literal(true),
    world_id: z.string(),
    changes: z.array(
      z.object({
        path: z.string(),
        change: z.enum(['added', 'changed', 'deleted']),
        kind: z.enum(['file', 'folder', 'link']),
        patch: z.string().optional().describe('Unified; absent where the content is no text or too large.'),
        bytes_before: z.int().nullable(),
        bytes_after: z.int().nullable(),
      }),
    ),
    count: z.int(),
  }),
  permission: 'worlds.use',
  audit: 'WORLD',
  replay: 'recorded',
  errorShape: { changes: [], count: 0 },
  async handle(request, context) {
    const id = requireWorldId(request.world_id);
    const changes = await worldsOf(context).diff(id, context.caller);
    return { success: true as const, world_id: id, changes: [...changes], count: changes.length };
  },
});

export const branch = defineSyscall({
  opcode: OPCODES.WORLD_BRANCH,
  name: 'WORLD_BRANCH',
  summary: 'Worlds that begin as another is now, and share with it what neither changes.',
  request: z.object({ world_id: worldId, count: z.int().min(1).max(MAX_BRANCHES).default(1) }),
  response: z.object({
    success: z.literal(true),
    world_id: z.string(),
    worlds: z.array(worldInfo).readonly(),
    world_ids: z.array(z.string()),
    count: z.int(),
  }),
  permission: 'worlds.manage',
  audit: 'WORLD',
  replay: 'recorded',
  errorShape: { worlds: [], world_ids: [], count: 0 },
  async handle(request, context) {
    const id = requireWorldId(request.world_id);
    const worlds = await worldsOf(context).branch(id, request.count, context.caller);
    return {
      success: true as const,
      world_id: id,
      worlds: [...worlds],
      world_ids: worlds.map((world) => world.id),
      count: worlds.length,
    };
  },
});

export const advance = defineSyscall({
  opcode: OPCODES.WORLD_ADVANCE,
  name: 'WORLD_ADVANCE',
  summary: 'Moves a world’s clock; what was due in between happens on the way, in its order.',
  request: z.object({ world_id: worldId, ms: z.number().min(0).max(MAX_ADVANCE_MS) }),
  response: z.object({
    success: z.literal(true),
    world_id: z.string(),
    monotonic_ms: z.number().describe('Since the world’s start, on its clock.'),
  }),
  permission: 'worlds.manage',
  audit: 'WORLD',
  replay: 'recorded',
  async handle(request, context) {
    const id = requireWorldId(request.world_id);
    const monotonic_ms = await worldsOf(context).advance(id, request.ms, context.caller);
    return { success: true as const, world_id: id, monotonic_ms };
  },
});

export const wait = defineSyscall({
  opcode: OPCODES.WORLD_WAIT,
  name: 'WORLD_WAIT',
  summary:
    'Waits on the clock of the world the caller is in; a clock that skips goes on when every agent there waits.',
  request: z
    .object({
      ms: z.number().min(0).max(MAX_ADVANCE_MS).nullish().describe('So long, in the world’s time.'),
      until_ms: z
        .number()
        .min(0)
        .max(MAX_WORLD_MS)
        .nullish()
        .describe('Until so many ms after the world’s start.'),
    })
    .refine(
      ({ ms, until_ms }) => (ms ?? null) === null || (until_ms ?? null) === null,
      'give ms or until_ms',
    ),
  response: z.object({
    success: z.literal(true),
    world_id: z.string(),
    monotonic_ms: z.number().describe('Since the world’s start, on its clock.'),
    world_time_ms: z.number().describe('The time there, ms since the epoch.'),
  }),
  permission: 'worlds.use',
  audit: 'WORLD',
  replay: 'recorded',
  async handle({ ms, until_ms }, context) {
    const world = worldOf(context);
    if (world === null) throw new CloveError('NOT_FOUND', 'Not in any world');
    const until = until_ms === null || until_ms === undefined ? { forMs: ms ?? 0 } : { untilMs: until_ms };
    const { nowMs, monotonicMs } = await waitingInWorld(context, () =>
      world.sleep(context.caller.id, until, context.signal),
    );
    return { success: true as const, world_id: world.id, monotonic_ms: monotonicMs, world_time_ms: nowMs };
  },
});

/** Whether an answer has room for it twice. */
function isSmall(snapshot: unknown): boolean {
  return Buffer.byteLength(JSON.stringify(snapshot)) <= MAX_ANSWER_BYTES / 3;
}

/** The words existing clients look for come first; what went wrong follows. */
function asFailure(words: string, error: unknown): unknown {
  if (!(error instanceof CloveError) || error.code === 'BAD_REQUEST' || error.code === 'FORBIDDEN')
    return error;
  return new CloveError(error.code, `${words}: ${error.message}`, {
    cause: error,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    ...(error.details === undefined ? {} : { details: error.details }),
  });
}

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
