import { z } from 'zod';
import { JsonText } from '../json.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { waitingInWorld } from '../worlds/waiting.ts';
import { defineSyscall } from './define.ts';
import { json, requestId, waiting, waitMsOf } from './fields.ts';

const asyncResult = z.object({
  request_id: z.int(),
  opcode: z.int(),
  opcode_name: z.string(),
  payload: z.string().describe('JSON text of what the call would have been answered without `async`.'),
  success: z.boolean().describe('As in that answer.'),
  result: json.describe('That answer.'),
  error: z.string().nullable().describe('As in that answer; null = none.'),
});

export const asyncPoll = defineSyscall({
  opcode: OPCODES.ASYNC_POLL,
  name: 'ASYNC_POLL',
  summary:
    'Takes answers of the caller’s calls made with `async`, in the order in which they ended, or waits for one. Each is given once, and kept until then, but no longer than its caller lasts: an agent’s process, an operator’s connection.',
  request: z
    .object({
      max: z.int().default(10).describe('At most so many; 0 or less takes none.'),
      request_id: requestId.describe('Only this one. NOT_FOUND when there is none.'),
      ...waiting,
    })
    .default({ max: 10 }),
  response: z.object({ success: z.literal(true), results: z.array(asyncResult), count: z.int() }),
  permission: 'none',
  audit: 'SYSCALL',
  replay: 'recorded',
  errorShape: { results: [], count: 0 },
  async handle(request, context) {
    const { kernel, caller, signal } = context;
    const take = {
      max: request.max,
      requestId: request.request_id || null,
      waitMs: waitMsOf(request),
      signal,
    };
    const ended =
      take.waitMs === 0
        ? await kernel.tasks.poll(caller.id, take)
        : await waitingInWorld(context, (after) => kernel.tasks.poll(caller.id, { ...take, after }));
    const results = ended.map((each) => ({
      request_id: each.requestId,
      opcode: each.opcode,
      opcode_name: each.name,
      payload: each.text,
      success: each.success,
      result: new JsonText(each.text),
      error: each.error,
    }));
    return { success: true as const, results, count: results.length };
  },
});

export const asyncSyscalls = [asyncPoll] as const;
