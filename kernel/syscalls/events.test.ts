import { afterEach, beforeEach, expect, it } from 'vitest';
import { type TestClient, TestKernel, until } from '../fixture.ts';
import { AgentConnection } from './agent-connection.ts';

let kernel: TestKernel;
let client: TestClient;

beforeEach(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
});

afterEach(async () => {
  await kernel.close();
});

const agent = (name = 'listener'): Promise<AgentConnection> => AgentConnection.spawn(kernel, client, name);

it.each([
  ['event_types', { event_types: ['AGENT_EXITED', 'CUSTOM', 'CUSTOM'] }, ['AGENT_EXITED', 'CUSTOM']],
  ['events', { events: ['AGENT_EXITED'] }, ['AGENT_EXITED']],
  ['event', { event: 'STATE_CHANGED' }, ['STATE_CHANGED']],
])('subscriptions may be asked for by %s', async (_field, request, expected) => {
  expect(await client.call('SUBSCRIBE', request)).toEqual({
    success: true,
    subscribed: expected,
    subscriptions: expected,
  });
});

it('asking for nothing, or for what is no list of names, is an error', async () => {
  for (const request of [{}, { event_types: [] }]) {
    expect(await client.call('SUBSCRIBE', request)).toEqual({
      success: false,
      error: 'No events specified',
      code: 'BAD_REQUEST',
      subscribed: [],
    });
  }
  for (const request of [{ event_types: 'CUSTOM' }, { event_types: [1] }, { event: ['x'] }]) {
    expect(await client.call('SUBSCRIBE', request)).toMatchObject({ success: false, code: 'BAD_REQUEST' });
  }
});

it('unsubscribing tells what ended and what remains', async () => {
  await client.call('SUBSCRIBE', { event_types: ['AGENT_EXITED', 'CUSTOM', 'STATE_CHANGED'] });
  expect(await client.call('UNSUBSCRIBE', { events: ['CUSTOM', 'AGENT_PAUSED'] })).toEqual({
    success: true,
    unsubscribed: ['CUSTOM'],
    subscribed: ['AGENT_EXITED', 'STATE_CHANGED'],
  });
  expect(await client.call('UNSUBSCRIBE', { all: true })).toEqual({
    success: true,
    unsubscribed: ['AGENT_EXITED', 'STATE_CHANGED'],
    subscribed: [],
  });
  expect(await client.call('UNSUBSCRIBE', {})).toEqual({ success: true, unsubscribed: [], subscribed: [] });
});

it.each(['event_type', 'event'])('a custom event keeps the name that was given as %s', async (field) => {
  const listener = await agent();
  await listener.call('SUBSCRIBE', { event_types: ['CUSTOM'] });
  await client.call('SUBSCRIBE', { event_types: ['build_done'] });
  const source = (await client.call('HELLO')).agent_id;
  const before = Date.now();
  expect(await client.call('EMIT', { [field]: 'build_done', data: { ok: true } })).toEqual({
    success: true,
    event: 'build_done',
    event_type: 'build_done',
    delivered_to: 2,
  });
  for (const subscriber of [listener, client]) {
    const answer = await subscriber.call('POLL_EVENTS');
    expect(answer).toMatchObject({ success: true, count: 1, dropped: 0 });
    const [event] = answer.events;
    expect(event).toMatchObject({
      type: 'CUSTOM',
      event_type: 'CUSTOM',
      custom_type: 'build_done',
      data: { ok: true, custom_type: 'build_done' },
      source_agent_id: source,
      source_agent: source,
    });
    expect(event.timestamp).toBeGreaterThanOrEqual(before);
    expect(event.age_ms).toBeGreaterThanOrEqual(0);
  }
});

it.each([
  'AGENT_SPAWNED',
  'AGENT_EXITED',
  'STATE_CHANGED',
  'MESSAGE_RECEIVED',
  'SYSCALL_BLOCKED',
  'RESOURCE_WARNING',
])('nobody can forge %s', async (type) => {
  const [forger, listener] = [await agent('forger'), await agent('listener')];
  await listener.call('SUBSCRIBE', { event_types: ['*'] });
  for (const each of [forger, client]) {
    expect(await each.call('EMIT', { event_type: type, data: {} })).toMatchObject({
      success: false,
      code: 'FORBIDDEN',
      delivered_to: 0,
    });
  }
  expect((await listener.call('POLL_EVENTS')).count).toBe(0);
});

it('who never polls costs a bounded queue, and learns how much it missed', async () => {
  const sleeper = await agent();
  await sleeper.call('SUBSCRIBE', { event_types: ['CUSTOM'] });
  const data = 'x'.repeat(900_000);
  for (let at = 0; at < 25; at += 1) await client.call('EMIT', { data: { at, data } });
  expect(kernel.running.kernel.events.usage().bytes).toBeLessThanOrEqual(16 * 2 ** 20);
  let dropped = 0;
  const seen: number[] = [];
  for (;;) {
    const answer = await sleeper.call('POLL_EVENTS', { max: 3 });
    dropped += answer.dropped;
    seen.push(...answer.events.map((event: { data: { at: number } }) => event.data.at));
    if (answer.count === 0) break;
  }
  expect(dropped).toBeGreaterThan(0);
  expect(seen).toEqual(Array.from({ length: 25 - dropped }, (_, at) => dropped + at));
});

it('a poll waits when told to, and holds up nobody else', async () => {
  const listener = await agent();
  await listener.call('SUBSCRIBE', { event_types: ['AGENT_SPAWNED', 'AGENT_EXITED'] });
  listener.send('POLL_EVENTS', { wait: true, timeout_ms: 60_000 });
  const { id } = await client.spawn({ name: 'short', command: ['true'] });
  expect(await listener.next()).toMatchObject({
    events: [{ type: 'AGENT_SPAWNED', data: { agent_id: id } }],
  });
  expect(await listener.call('POLL_EVENTS', { wait: true })).toMatchObject({
    events: [{ type: 'AGENT_EXITED', data: { agent_id: id } }],
  });
  expect(await listener.call('POLL_EVENTS', { timeout_ms: 5 })).toMatchObject({ success: true, count: 0 });
});

it('an error answer of POLL_EVENTS has what clients read from it', async () => {
  expect(await client.call('POLL_EVENTS', { max: 'all' })).toMatchObject({
    success: false,
    events: [],
    count: 0,
  });
});

it('subscriptions of a client go with its connection, those of an agent stay while it lives', async () => {
  const { events, mailboxes } = kernel.running.kernel;
  const id = (await client.call('HELLO')).agent_id;
  await client.call('SUBSCRIBE', { event_types: ['CUSTOM'] });
  const first = await agent();
  await first.call('SUBSCRIBE', { event_types: ['CUSTOM'] });
  await Promise.all([client.close(), first.close()]);
  await until(() => !mailboxes.has(id));
  expect(events.usage().subscribers).toBe(1);
  const again = await first.again();
  await again.call('EMIT', { event_type: 'x' });
  expect((await again.call('POLL_EVENTS')).count).toBe(1);
  kernel.running.kernel.release(first.id);
  expect(events.usage().subscribers).toBe(0);
});
