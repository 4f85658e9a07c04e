import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { worldOf, worldsOf } from '../worlds/calls.ts';
import { waitingInWorld } from '../worlds/waiting.ts';
import { defineSyscall } from './define.ts';
import { requireWorldId, worldId } from './world-fields.ts';

/** Ten simulated years. */
const MAX_ADVANCE_MS = 10 * 366 * 86_400_000;
/** No world gets older. */
const MAX_WORLD_MS = 250 * 366 * 86_400_000;

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
