import { afterEach, beforeEach, expect, it } from 'vitest';
import { type TestClient, TestKernel, until } from '../fixture.ts';
import { FIRST_CLIENT_ID } from '../identity.ts';
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

const agent = (name: string): Promise<AgentConnection> => AgentConnection.spawn(kernel, client, name);

const idOf = async (of: TestClient): Promise<number> => (await of.call('HELLO')).agent_id;

it('a message reaches its receiver under every name of every field', async () => {
  const worker = await agent('worker');
  const sender = await idOf(client);
  await client.call('REGISTER', { name: 'boss' });
  const message = { text: 'hëllo', deep: [1, { a: null }] };
  const { id } = worker;
  for (const target of [{ to: id }, { to_name: 'worker' }, { target_id: id }, { target_name: 'worker' }]) {
    expect(await client.call('SEND', { ...target, message })).toEqual({
      success: true,
      delivered: true,
      delivered_to: id,
    });
  }
  const before = Date.now() / 1000;
  const answer = await worker.call('RECV');
  expect(answer).toMatchObject({ success: true, count: 4 });
  for (const received of answer.messages) {
    expect(received).toMatchObject({
      from: sender,
      from_id: sender,
      from_agent: sender,
      from_name: 'boss',
      message,
    });
    expect(received.age_ms).toBeGreaterThanOrEqual(0);
    expect(Math.abs(received.timestamp - before)).toBeLessThan(60);
  }
});

it('an id wins over a name, a missing message is {}, null stays null', async () => {
  const worker = await agent('worker');
  await agent('other');
  await client.call('SEND', { to: worker.id, to_name: 'other' });
  await client.call('SEND', { to: worker.id, message: null });
  const { messages } = await worker.call('RECV');
  expect(messages.map((each: { message: unknown }) => each.message)).toEqual([{}, null]);
});

it('nobody can send to an id or name that does not exist, nor to none', async () => {
  expect(await client.call('SEND', { to: 4242, message: 1 })).toEqual({
    success: false,
    error: 'target agent not found: 4242',
    code: 'NOT_FOUND',
    delivered: false,
  });
  expect(await client.call('SEND', { to_name: 'nobody' })).toMatchObject({
    success: false,
    error: 'target agent not found: nobody',
  });
  expect(await client.call('SEND', { message: 1 })).toMatchObject({
    success: false,
    error: 'target agent required (to or to_name)',
    code: 'BAD_REQUEST',
  });
  expect(kernel.running.kernel.mailboxes.usage().mailboxes).toBe(1);
});

it.each([
  ['an array', []],
  ['a text', 'x'],
  ['a text where an id belongs', { to: '7' }],
  ['a fraction', { to: 1.5 }],
  ['a negative id', { to: -1 }],
  ['an id above 32 bits', { to: 2 ** 32 }],
  ['a number where a name belongs', { to_name: 7 }],
])('SEND refuses %s', async (_what, request) => {
  const answer = await client.call('SEND', request);
  expect(answer).toMatchObject({ success: false, code: 'BAD_REQUEST', delivered: false });
  expect(answer.error).toMatch(/^invalid request: /);
});

it('an error answer of RECV and BROADCAST has what clients read from it', async () => {
  expect(await client.call('RECV', { max: 'all' })).toMatchObject({ success: false, messages: [], count: 0 });
  expect(await client.call('BROADCAST', { include_self: 'yes' })).toMatchObject({
    success: false,
    delivered_count: 0,
  });
});

it('parent means whoever spawned the agent', async () => {
  const parent = await idOf(client);
  const child = await agent('child');
  await child.call('SEND', { to_name: 'parent', message: { hello: 'world' } });
  expect((await client.call('RECV')).messages).toMatchObject([
    { from: child.id, message: { hello: 'world' } },
  ]);
  await client.close();
  await until(() => !kernel.running.kernel.mailboxes.has(parent));
  expect(await child.call('SEND', { to_name: 'parent' })).toMatchObject({
    success: false,
    error: 'target agent not found: parent',
  });
});

it('RECV takes at most max, none for 0 or less, and waits only when told to', async () => {
  const worker = await agent('worker');
  for (const message of [1, 2, 3]) await client.call('SEND', { to: worker.id, message });
  expect((await worker.call('RECV', { max: 0 })).count).toBe(0);
  expect((await worker.call('RECV', { max: -3 })).count).toBe(0);
  expect((await worker.call('RECV', { max: 2 })).count).toBe(2);
  expect((await worker.call('RECV', { max: 2 ** 53 - 1 })).count).toBe(1);
  expect(await worker.call('RECV', { wait: false, timeout_ms: 60_000 })).toMatchObject({
    messages: [],
    count: 0,
  });
  expect(await worker.call('RECV', { timeout_ms: 5 })).toMatchObject({ success: true, count: 0 });
});

it('a receiver that waits holds up nobody else, and gets the message when it comes', async () => {
  const worker = await agent('worker');
  worker.send('RECV', { wait: true });
  const second = await worker.again();
  expect(await second.call('FETCH', { key: 'k' })).toMatchObject({ success: true });
  await client.call('SEND', { to: worker.id, message: 'there' });
  expect(await worker.next()).toMatchObject({ count: 1, messages: [{ message: 'there' }] });
});

it('a message is not lost to a receiver that went away while it waited', async () => {
  const gone = await agent('worker');
  const { served } = kernel.running.kernel.dispatcher.counters;
  gone.send('RECV', { wait: true });
  await until(() => kernel.running.kernel.dispatcher.counters.served > served);
  await gone.close();
  const back = await gone.again();
  await expect
    .poll(async () => {
      await client.call('SEND', { to: back.id, message: 'kept' });
      return (await back.call('RECV')).count;
    })
    .toBe(1);
});

it('a name belongs to its holder until the holder is gone; then all its names are free', async () => {
  const other = await kernel.connect();
  for (const name of ['orchestrator', 'second']) {
    expect(await client.call('REGISTER', { name })).toMatchObject({
      success: true,
      agent_id: await idOf(client),
      name,
    });
  }
  expect(await client.call('REGISTER', { name: 'orchestrator' })).toMatchObject({ success: true });
  expect(await other.call('REGISTER', { name: 'orchestrator' })).toMatchObject({
    success: false,
    error: 'name already registered',
    code: 'CONFLICT',
  });
  expect(await other.call('REGISTER', {})).toMatchObject({ success: false, error: 'name required' });
  const holder = await idOf(client);
  await client.close();
  await until(() => !kernel.running.kernel.mailboxes.has(holder));
  for (const name of ['second', 'orchestrator']) {
    expect(await other.call('REGISTER', { name })).toMatchObject({ success: true });
  }
});

it('an agent’s own name is its own, also while nobody is connected for it', async () => {
  const worker = await agent('worker');
  await worker.close();
  for (const name of ['worker', 'WORKER', 'parent', 'kernel', 'self']) {
    expect(await client.call('REGISTER', { name })).toMatchObject({ error: 'name already registered' });
  }
  const back = await worker.again();
  expect(await back.call('REGISTER', { name: 'worker' })).toMatchObject({
    success: true,
    agent_id: worker.id,
  });
});

it('a broadcast reaches everybody with a name, and the sender only on request', async () => {
  const [one, two] = [await agent('one'), await agent('two')];
  await kernel.connect();
  await client.call('REGISTER', { name: 'boss' });
  expect(await client.call('BROADCAST', { message: 'a' })).toEqual({
    success: true,
    delivered_count: 2,
    refused: [],
  });
  expect((await client.call('BROADCAST', { message: 'b', include_self: true })).delivered_count).toBe(3);
  for (const receiver of [one, two]) expect((await receiver.call('RECV')).count).toBe(2);
  expect((await client.call('RECV')).messages).toMatchObject([{ message: 'b' }]);
});

it('a full mailbox tells the sender, and the kernel’s memory stays bounded', async () => {
  const { id } = await agent('worker');
  const message = 'x'.repeat(1_000_000);
  let accepted = 0;
  for (; accepted < 200; accepted += 1) {
    const answer = await client.call('SEND', { to: id, message });
    if (answer.success === false) {
      expect(answer).toMatchObject({ code: 'OVERLOAD', error: 'mailbox of worker is full' });
      break;
    }
  }
  expect(accepted).toBe(67);
  expect(await client.call('BROADCAST', { message })).toMatchObject({ success: false, code: 'OVERLOAD' });
  await client.call('KILL', { id, grace_ms: 0 });
  expect(kernel.running.kernel.mailboxes.usage().bytes).toBe(0);
});

it('only the receiver is told that a message came', async () => {
  const [worker, nosy] = [await agent('worker'), await agent('nosy')];
  for (const each of [worker, nosy]) await each.call('SUBSCRIBE', { event_types: ['MESSAGE_RECEIVED'] });
  await client.call('SEND', { to: worker.id, message: 'secret' });
  const { events } = await worker.call('POLL_EVENTS');
  expect(events).toMatchObject([
    { type: 'MESSAGE_RECEIVED', data: { from: await idOf(client), from_name: '' } },
  ]);
  expect((await nosy.call('POLL_EVENTS')).count).toBe(0);
});

it('what an agent sends and takes is counted for it', async () => {
  const worker = await agent('worker');
  for (const message of [1, 2]) await worker.call('SEND', { to_name: 'self', message });
  await worker.call('BROADCAST', {});
  await worker.call('RECV', { max: 1 });
  const counters = kernel.running.kernel.agents.get(worker.id)?.counters;
  expect(counters).toMatchObject({ messagesSent: 3, messagesReceived: 1, syscalls: 4 });
});

it('the mailbox of an agent that is gone for good is gone', async () => {
  const { id } = await agent('worker');
  expect(id).toBeLessThan(FIRST_CLIENT_ID);
  await client.call('SEND', { to: id, message: 1 });
  await client.call('KILL', { id, grace_ms: 0 });
  for (const target of [{ to: id }, { to_name: 'worker' }]) {
    expect(await client.call('SEND', target)).toMatchObject({ code: 'NOT_FOUND' });
  }
  expect(kernel.running.kernel.mailboxes.usage()).toEqual({ mailboxes: 1, bytes: 0 });
});
