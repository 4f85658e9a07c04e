import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { EVENT_TYPES } from '../events/event-bus.ts';
import { JsonText } from '../json.ts';
import { waitingInWorld } from '../worlds/waiting.ts';
import { defineSyscall } from './define.ts';
import { callerId, json, waiting, waitMsOf } from './fields.ts';

/** Most events of one answer, whatever `max` says. */
const MAX_POLLED = 10_000;

const typeNames = {
  event_types: z
    .array(z.string())
    .optional()
    .describe(`Of ${EVENT_TYPES.join(', ')}; \`*\` = all; any other name means custom events of that name.`),
  events: z.array(z.string()).optional().describe('As `event_types`.'),
  event: z.string().optional().describe('As `event_types`, for a single one.'),
};

const event = z.object({
  type: z.enum(EVENT_TYPES),
  event_type: z.enum(EVENT_TYPES).describe('As `type`.'),
  custom_type: z.string().optional().describe('The name a CUSTOM event was emitted under.'),
  data: json,
  source_agent_id: callerId.describe('Whose doing it was; 0 = the kernel’s own.'),
  source_agent: callerId.describe('As `source_agent_id`.'),
  timestamp: z.int().describe('When it happened, ms since the epoch.'),
  age_ms: z.int().min(0),
});

export const subscribe = defineSyscall({
  opcode: 0x60,
  name: 'SUBSCRIBE',
  summary: 'Asks for events of some types from now on. They wait to be polled.',
  request: z.object(typeNames),
  response: z.object({
    success: z.literal(true),
    subscribed: z.array(z.string()).describe('What this call asked for.'),
    subscriptions: z.array(z.string()).describe('All that the caller is subscribed to now.'),
  }),
  permission: 'events.subscribe',
  audit: 'IPC',
  replay: 'deterministic',
  errorShape: { subscribed: [] },
  handle(request, { kernel, caller }) {
    const types = typesOf(request);
    if (types.length === 0) throw new CloveError('BAD_REQUEST', 'No events specified');
    kernel.events.subscribe(caller.id, types);
    return {
      success: true as const,
      subscribed: types,
      subscriptions: kernel.events.subscriptions(caller.id),
    };
  },
});

export const unsubscribe = defineSyscall({
  opcode: 0x61,
  name: 'UNSUBSCRIBE',
  summary: 'Ends subscriptions. Events that wait already can still be polled.',
  request: z.object({ ...typeNames, all: z.boolean().default(false) }),
  response: z.object({
    success: z.literal(true),
    unsubscribed: z.array(z.string()),
    subscribed: z.array(z.string()).describe('What remains.'),
  }),
  permission: 'events.subscribe',
  audit: 'IPC',
  replay: 'deterministic',
  errorShape: { unsubscribed: [], subscribed: [] },
  handle(request, { kernel, caller }) {
    const types = typesOf(request);
    const before = kernel.events.subscriptions(caller.id);
    const remaining = kernel.events.unsubscribe(caller.id, request.all ? 'all' : types);
    return {
      success: true as const,
      unsubscribed: before.filter((type) => !remaining.includes(type)),
      subscribed: remaining,
    };
  },
});

export const pollEvents = defineSyscall({
  opcode: 0x62,
  name: 'POLL_EVENTS',
  summary: 'Takes the oldest events that the caller is subscribed to, or waits for one.',
  request: z.object({
    max: z.int().default(100).describe('At most so many; 0 or less takes none.'),
    ...waiting,
  }),
  response: z.object({
    success: z.literal(true),
    events: z.array(event),
    count: z.int(),
    dropped: z
      .int()
      .describe('Events lost since the last poll because the queue was full; the oldest went first.'),
  }),
  permission: 'events.subscribe',
  audit: 'IPC',
  replay: 'recorded',
  errorShape: { events: [], count: 0 },
  async handle(request, context) {
    const { kernel, caller, signal } = context;
    const take = { max: Math.min(request.max, MAX_POLLED), waitMs: waitMsOf(request), signal };
    const polled =
      take.waitMs === 0
        ? await kernel.events.poll(caller.id, take)
        : await waitingInWorld(context, (after) => kernel.events.poll(caller.id, { ...take, after }));
    const events = polled.events.map((each) => ({
      type: each.type,
      event_type: each.type,
      ...(each.customType === null ? {} : { custom_type: each.customType }),
      data: new JsonText(each.text),
      source_agent_id: each.sourceId,
      source_agent: each.sourceId,
      timestamp: Math.floor(each.publishedWallMs),
      age_ms: Math.floor(each.ageMs),
    }));
    return { success: true as const, events, count: events.length, dropped: polled.dropped };
  },
});

export const emit = defineSyscall({
  opcode: 0x63,
  name: 'EMIT',
  summary:
    'Emits a custom event, also to the emitter itself. The types of the kernel’s own events are refused.',
  request: z.object({
    event_type: z.string().optional().describe('Name of the event; absent = CUSTOM.'),
    event: z.string().optional().describe('As `event_type`.'),
    data: json.default({}),
  }),
  response: z.object({
    success: z.literal(true),
    event: z.string(),
    event_type: z.string().describe('As `event`.'),
    delivered_to: z.int().describe('Number of subscribers it reached.'),
  }),
  permission: 'events.emit',
  audit: 'IPC',
  replay: 'recorded',
  errorShape: { delivered_to: 0 },
  handle(request, { kernel, caller }) {
    const name = request.event_type ?? request.event ?? 'CUSTOM';
    const reached = kernel.events.emit(caller.id, name, request.data);
    return { success: true as const, event: name, event_type: name, delivered_to: reached };
  },
});

export const eventSyscalls = [subscribe, unsubscribe, pollEvents, emit] as const;

function typesOf(request: {
  readonly event_types?: readonly string[] | undefined;
  readonly events?: readonly string[] | undefined;
  readonly event?: string | undefined;
}): string[] {
  const single = request.event === undefined ? [] : [request.event];
  return [...new Set([...(request.event_types ?? []), ...(request.events ?? []), ...single])];
}
