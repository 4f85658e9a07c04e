import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { MAX_ANSWER_BYTES } from '../protocol/constants.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { worldsOf } from '../worlds/calls.ts';
import { defineSyscall } from './define.ts';
import { comeBack, returnedAgent } from './world-checkpoint.ts';
import {
  asFailure,
  hostFile,
  hostPath,
  jsonObject,
  requireWorldId,
  worldId,
  worldInfo,
} from './world-fields.ts';

const MAX_BRANCHES = 256;

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

/** Whether an answer has room for it twice. */
function isSmall(snapshot: unknown): boolean {
  return Buffer.byteLength(JSON.stringify(snapshot)) <= MAX_ANSWER_BYTES / 3;
}
