import { z } from 'zod';
import { CloveError, isCloveError } from '../../errors/index.ts';
import { spawnRequest } from '../agents/spawn-request.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import type { AgentPast } from '../recording/past.ts';
import { startWithPast } from '../recording/relive.ts';
import { memberOf, worldOf } from '../worlds/calls.ts';
import type { KeptAgent, RestoredWorld, ReturnedAgent } from '../worlds/host.ts';
import { type Starter, startInOrder } from '../worlds/start-order.ts';
import { spawn } from './agents.ts';
import { defineSyscall, type SyscallContext } from './define.ts';
import { json } from './fields.ts';

export const returnedAgent = z.object({
  name: z.string(),
  how: z
    .enum(['checkpoint', 'kept', 'replay', 'not'])
    .describe(
      'With its state of the snapshot’s moment, with one it had left before, by living again through what it did until then, or not at all.',
    ),
  behind_ms: z.number().nullable().describe('So old was that state at the snapshot, in the world’s time.'),
  agent_id: z.int().nullable(),
  reason: z.string().nullable().describe('Why not.'),
});

export const checkpoint = defineSyscall({
  opcode: OPCODES.WORLD_CHECKPOINT,
  name: 'WORLD_CHECKPOINT',
  summary:
    'What an agent wants to be given when it comes back with its world: leaves a state, waits until a snapshot asks for one, or answers it; an answer is answered when the snapshot is taken. Tells in any case what the agent itself came back with.',
  request: z
    .object({
      state: json.optional().describe('As JSON at most 1 MiB.'),
      checkpoint_id: z.int().min(1).nullish().describe('The one this state answers.'),
      offer: z
        .boolean()
        .nullish()
        .describe('True: snapshots ask the caller from now on, and wait a few seconds for its answer.'),
      wait: z.boolean().default(false).describe('Until a snapshot asks.'),
    })
    .default({ wait: false })
    .refine(({ state, wait }) => !wait || state === undefined, 'wait, or give a state'),
  response: z.object({
    success: z.literal(true),
    world_id: z.string(),
    checkpoint_id: z.int().nullable().describe('Asked for by a snapshot: to be answered with a state.'),
    restored: z
      .object({ state: json, world_ms: z.number() })
      .nullable()
      .describe(
        'The state the caller came back with, and the time in the world it is of; null = it did not.',
      ),
  }),
  permission: 'worlds.use',
  audit: 'WORLD',
  replay: 'recorded',
  async handle({ state, checkpoint_id, wait, offer }, context) {
    const world = worldOf(context);
    if (world === null) throw new CloveError('NOT_FOUND', 'Not in any world');
    const { caller, signal } = context;
    if (caller.kind !== 'agent')
      throw new CloveError('FORBIDDEN', 'agents come back with a world, nobody else');
    const { checkpoints } = world;
    let asked: number | null = null;
    if (offer != null) checkpoints.offer(caller.id, offer);
    if (wait) {
      using _listens = world.listens(caller.id);
      asked = await checkpoints.wanted(caller.id, signal);
    } else if (state !== undefined) {
      const text = JSON.stringify(state);
      if (checkpoint_id == null) checkpoints.keep(caller.id, text);
      else await checkpoints.answer(caller.id, checkpoint_id, text);
    }
    const restored = checkpoints.restoredOf(memberOf(context).name);
    return {
      success: true as const,
      world_id: world.id,
      checkpoint_id: asked,
      restored: restored === null ? null : { state: JSON.parse(restored.text), world_ms: restored.atMs },
    };
  },
});

/**
 * Starts the agents of a restored world where they were, side by side where none waits for another; no time passes there meanwhile. One that
 * cannot come back holds up nobody.
 */
export async function comeBack(
  context: SyscallContext,
  { world, agents, atMs, hold }: RestoredWorld,
  { wanted, env }: { readonly wanted: boolean; readonly env: Readonly<Record<string, string>> },
): Promise<ReturnedAgent[]> {
  using _hold = hold;
  const start = async (index: number): Promise<ReturnedAgent> => {
    const agent = agents[index] as KeptAgent;
    const not = (reason: string): ReturnedAgent => ({
      name: agent.name,
      how: 'not',
      behind_ms: null,
      agent_id: null,
      reason,
    });
    if (!wanted) return not(agent.reason ?? 'nobody asked for it (agents: true)');
    try {
      return await comeBackOne(context, world.id, agent, { atMs, env });
    } catch (error) {
      if (!isCloveError(error)) throw error;
      return not(error.message);
    }
  };
  // In a strict world the order in which agents come is a part of what repeats.
  return startInOrder(agents.map(starterOf), { isStrict: world.clock_mode === 'strict', start });
}

function starterOf({ name, request }: KeptAgent): Starter {
  const after = request?.depends_on;
  const group = request?.group;
  return {
    name,
    after: Array.isArray(after) ? after.filter((each) => typeof each === 'string') : [],
    group: typeof group === 'string' ? group : null,
  };
}

/** @throws as SPAWN; CONFLICT (it cannot come back) */
async function comeBackOne(
  context: SyscallContext,
  worldId: string,
  { name, request, withheld, checkpoint: state, past, reason }: KeptAgent,
  { atMs, env }: { readonly atMs: number; readonly env: Readonly<Record<string, string>> },
): Promise<ReturnedAgent> {
  if (reason !== null || request === null || (state === null && past === null))
    throw new CloveError('CONFLICT', reason ?? 'the snapshot does not say what it was started from');
  const missing = withheld.filter((variable) => env[variable] === undefined);
  if (missing.length > 0)
    throw new CloveError('CONFLICT', `snapshots keep no secrets: give ${missing.join(', ')} (agents_env)`);
  const given = Object.fromEntries(Object.entries(env).filter(([variable]) => withheld.includes(variable)));
  const parsed = spawnRequest.safeParse({
    ...request,
    name,
    world: worldId,
    persist: false,
    env: {
      ...((request.env as object | null | undefined) ?? {}),
      ...(state === null && past?.seed != null ? { CLOVE_SEED: past.seed } : {}),
      ...given,
    },
  });
  if (!parsed.success) throw new CloveError('DATA_CORRUPT', z.prettifyError(parsed.error));
  const start = async () => (await spawn.handle(parsed.data, context)).id;
  const told = { name, reason: null };
  if (state !== null) {
    const how = state.isAsked ? ('checkpoint' as const) : ('kept' as const);
    return { ...told, how, behind_ms: Math.max(0, atMs - state.atMs), agent_id: await start() };
  }
  const id = await startWithPast(context.kernel, name, past as AgentPast, start);
  return { ...told, how: 'replay', behind_ms: 0, agent_id: id };
}
