import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import type { Mailboxes } from '../ipc/mailboxes.ts';
import { JsonText } from '../json.ts';
import { waitingInWorld } from '../worlds/waiting.ts';
import { defineSyscall, type SyscallContext } from './define.ts';
import { callerId, json, waiting, waitMsOf } from './fields.ts';

/** Most messages of one answer, whatever `max` says. */
const MAX_RECEIVED = 10_000;

const message = z.object({
  from: callerId.describe('Id of the sender.'),
  from_id: callerId.describe('As `from`.'),
  from_agent: callerId.describe('As `from`.'),
  from_name: z.string().describe('Name of the sender when it sent; empty = it had none.'),
  message: json,
  age_ms: z.int().min(0).describe('How long it lay in the mailbox.'),
  timestamp: z.number().describe('When it was sent, seconds since the epoch.'),
});

export const register = defineSyscall({
  opcode: 0x23,
  name: 'REGISTER',
  summary:
    'Takes a name by which others reach the caller. A caller may have several; the first is the one shown. Names go with their holder.',
  request: z.object({ name: z.string().default('') }),
  response: z.object({ success: z.literal(true), agent_id: callerId, name: z.string() }),
  permission: 'ipc.register',
  audit: 'IPC',
  replay: 'recorded',
  async handle({ name }, { kernel, caller }) {
    kernel.mailboxes.register(caller.id, name);
    if (kernel.fleet.has(caller.id)) await kernel.fleet.saveNames(caller.id);
    kernel.supervisor.nameTaken(caller.id, name);
    return { success: true as const, agent_id: caller.id, name };
  },
});

export const send = defineSyscall({
  opcode: 0x20,
  name: 'SEND',
  summary:
    'Puts a message into the mailbox of one agent or client, by id or by name. `parent` and `self` are names every agent has.',
  request: z.object({
    to: callerId.default(0).describe('Id of the receiver; wins over the name.'),
    to_name: z.string().default(''),
    target_id: callerId.default(0).describe('As `to`.'),
    target_name: z.string().default('').describe('As `to_name`.'),
    message: json.default({}),
  }),
  response: z.object({ success: z.literal(true), delivered_to: callerId, delivered: z.literal(true) }),
  permission: 'ipc.send',
  audit: 'IPC',
  replay: 'recorded',
  errorShape: { delivered: false },
  handle(request, context) {
    const { kernel, caller } = context;
    const to = request.to || request.target_id;
    const name = request.to_name || request.target_name;
    const target = to !== 0 ? to : resolveName(kernel.mailboxes, caller.id, name);
    const severed = kernel.worlds?.joinedBy(caller.id)?.severs(caller.id, target) ?? null;
    if (severed !== null) throw new CloveError('NETWORK_FAULT', `not delivered: ${severed}`);
    kernel.mailboxes.send(caller.id, target, JSON.stringify(request.message));
    countSent(context);
    announce(context, target);
    return { success: true as const, delivered_to: target, delivered: true as const };
  },
});

export const receive = defineSyscall({
  opcode: 0x21,
  name: 'RECV',
  summary:
    'Takes the oldest messages out of the caller’s mailbox, or waits for one. A message is delivered at most once.',
  request: z.object({
    max: z.int().default(10).describe('At most so many; 0 or less takes none.'),
    ...waiting,
  }),
  response: z.object({ success: z.literal(true), messages: z.array(message), count: z.int() }),
  permission: 'ipc.receive',
  audit: 'IPC',
  replay: 'recorded',
  errorShape: { messages: [], count: 0 },
  async handle(request, context) {
    const { kernel, caller, signal } = context;
    const take = { max: Math.min(request.max, MAX_RECEIVED), waitMs: waitMsOf(request), signal };
    const received =
      take.waitMs === 0
        ? await kernel.mailboxes.receive(caller.id, take)
        : await waitingInWorld(context, (after) => kernel.mailboxes.receive(caller.id, { ...take, after }));
    const counters = kernel.agents.get(caller.id)?.counters;
    if (counters !== undefined) counters.messagesReceived += received.length;
    const messages = received.map((each) => ({
      from: each.fromId,
      from_id: each.fromId,
      from_agent: each.fromId,
      from_name: each.fromName,
      message: new JsonText(each.text),
      age_ms: Math.floor(each.ageMs),
      timestamp: each.sentWallMs / 1000,
    }));
    return { success: true as const, messages, count: messages.length };
  },
});

export const broadcast = defineSyscall({
  opcode: 0x22,
  name: 'BROADCAST',
  summary: 'Puts a message into the mailbox of everybody who has a name; every agent has.',
  request: z.object({ message: json.default({}), include_self: z.boolean().default(false) }),
  response: z.object({
    success: z.literal(true),
    delivered_count: z.int(),
    refused: z.array(callerId).describe('Ids whose mailboxes were full: they did not get it.'),
  }),
  permission: 'ipc.send',
  audit: 'IPC',
  replay: 'recorded',
  errorShape: { delivered_count: 0 },
  handle(request, context) {
    const { kernel, caller } = context;
    const text = JSON.stringify(request.message);
    const world = kernel.worlds?.joinedBy(caller.id) ?? null;
    const reaches = (id: number) => world === null || world.severs(caller.id, id) === null;
    const { delivered, refused } = kernel.mailboxes.broadcast(caller.id, text, request.include_self, reaches);
    if (delivered.length === 0 && refused.length > 0) {
      if (!refused.some(reaches))
        throw new CloveError('NETWORK_FAULT', 'not delivered: a partition is in between');
      throw new CloveError('OVERLOAD', 'every mailbox is full', { details: { refused } });
    }
    countSent(context);
    for (const id of delivered) announce(context, id);
    return { success: true as const, delivered_count: delivered.length, refused: [...refused] };
  },
});

export const ipcSyscalls = [send, receive, broadcast, register] as const;

function resolveName(mailboxes: Mailboxes, caller: number, name: string): number {
  if (name === '') throw new CloveError('BAD_REQUEST', 'target agent required (to or to_name)');
  const id = mailboxes.resolve(caller, name);
  if (id === undefined) throw new CloveError('NOT_FOUND', `target agent not found: ${name}`);
  return id;
}

function countSent({ kernel, caller }: SyscallContext): void {
  const counters = kernel.agents.get(caller.id)?.counters;
  if (counters !== undefined) counters.messagesSent += 1;
}

/** Tells the receiver alone, if it asked for this event: who talks to whom is nobody else's business. */
function announce({ kernel, caller }: SyscallContext, receiverId: number): void {
  const fromName = kernel.mailboxes.nameOf(caller.id);
  kernel.events.publish('MESSAGE_RECEIVED', { from: caller.id, from_name: fromName }, caller.id, receiverId);
}
