import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connect } from '../../sdk/typescript/index.ts';
import { type Answer, type TestClient, TestKernel, until } from '../fixture.ts';
import { AgentConnection } from './agent-connection.ts';

let kernel: TestKernel;
let client: TestClient;
let one: AgentConnection;
let two: AgentConnection;

beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
  one = await AgentConnection.spawn(kernel, client, 'one');
  two = await AgentConnection.spawn(kernel, client, 'two');
});
afterAll(() => kernel.close());

const create = async (by: TestClient, request: Record<string, unknown> = {}): Promise<Answer> => {
  const answer = await by.call('TASK_CREATE', request);
  expect(answer).toMatchObject({ success: true });
  return answer.task;
};
const status = async (task: Answer): Promise<Answer> =>
  (await client.call('TASK_STATUS', { task_id: task.task_id })).task;

describe('tasks', () => {
  it('go from whoever makes them to whoever takes them, and back with a result', async () => {
    const made = await create(one, { kind: 'sum', title: 'add', payload: { a: 1, b: 2 } });
    expect(made).toMatchObject({ state: 'pending', creator: one.id, assignee: null, attempts: 0 });
    expect(await two.call('TASK_ASSIGN', { kinds: ['other'] })).toEqual({
      success: true,
      assigned: false,
      task: null,
    });
    const { task } = await two.call('TASK_ASSIGN', { kinds: ['sum'] });
    expect(task).toMatchObject({ task_id: made.task_id, state: 'assigned', assignee: two.id, attempts: 1 });
    expect(task.payload).toEqual({ a: 1, b: 2 });
    expect(await one.call('TASK_ASSIGN', {})).toMatchObject({ assigned: false });
    const done = await two.call('TASK_COMPLETE', { task_id: made.task_id, attempt: 1, result: 3 });
    expect(done).toMatchObject({ completed: true, already: false, task: { state: 'completed', result: 3 } });
    const again = await two.call('TASK_COMPLETE', { task_id: made.task_id, attempt: 1, result: 4 });
    expect(again).toMatchObject({ completed: true, already: true, task: { result: 3 } });
    expect(await one.call('TASK_STATUS', { task_id: made.task_id })).toMatchObject({ task: { result: 3 } });
  });

  it('are taken by urgency, then age, and only when what they need is done', async () => {
    const kind = 'order';
    const low = await create(client, { kind, priority: -1 });
    const first = await create(client, { kind });
    const second = await create(client, { kind });
    const high = await create(client, { kind, priority: 5, depends_on: [first.task_id] });
    const take = async () => (await one.call('TASK_ASSIGN', { kinds: [kind] })).task?.task_id;
    expect(await take()).toBe(first.task_id);
    expect(await take()).toBe(second.task_id);
    await one.call('TASK_COMPLETE', { task_id: first.task_id });
    expect(await take()).toBe(high.task_id);
    expect(await take()).toBe(low.task_id);
    expect(await take()).toBeUndefined();
  });

  it('that wait for one that fails, fail with it', async () => {
    const first = await create(client, { kind: 'chain', max_attempts: 1 });
    const second = await create(client, { kind: 'chain', depends_on: [first.task_id] });
    const third = await create(client, { kind: 'chain', depends_on: [second.task_id] });
    await one.call('TASK_ASSIGN', { kinds: ['chain'] });
    await one.call('TASK_COMPLETE', { task_id: first.task_id, error: 'broken' });
    expect(await status(first)).toMatchObject({ state: 'failed', error: 'broken' });
    for (const each of [second, third]) expect(await status(each)).toMatchObject({ state: 'failed' });
    expect(await client.call('TASK_CREATE', { depends_on: [first.task_id] })).toMatchObject({
      code: 'CONFLICT',
    });
    expect(await client.call('TASK_CREATE', { depends_on: [1e9] })).toMatchObject({ code: 'NOT_FOUND' });
  });

  it('go to the next when a lease is over, and the late one is told', async () => {
    const made = await create(client, { kind: 'slow', lease_ms: 1, max_attempts: 2 });
    const { task } = await one.call('TASK_ASSIGN', { kinds: ['slow'] });
    // Answered when the first lease is over.
    const next = await two.call('TASK_ASSIGN', { kinds: ['slow'], wait: true, lease_ms: 60_000 });
    expect(next.task).toMatchObject({ task_id: made.task_id, attempts: 2, assignee: two.id });
    expect(await one.call('TASK_COMPLETE', { task_id: made.task_id, attempt: task.attempts })).toMatchObject({
      success: false,
      completed: false,
    });
    // More time, asked for by who has it.
    expect(await two.call('TASK_ASSIGN', { task_id: made.task_id, lease_ms: 90_000 })).toMatchObject({
      task: { attempts: 2, lease_ms: 90_000 },
    });
    expect(await two.call('TASK_COMPLETE', { task_id: made.task_id, error: 'no' })).toMatchObject({
      completed: false,
      task: { state: 'failed', error: 'no' },
    });
  });

  it('expire, come back from workers that are gone, and can be waited for', async () => {
    const expiring = await create(client, { kind: 'brief', timeout_ms: 1 });
    await until(async () => (await status(expiring)).state === 'expired');
    const short = await AgentConnection.spawn(kernel, client, 'short');
    short.send('TASK_ASSIGN', { kinds: ['gone'], wait: true });
    const made = await create(client, { kind: 'gone' });
    expect(await short.next()).toMatchObject({ assigned: true, task: { task_id: made.task_id } });
    two.send('TASK_ASSIGN', { kinds: ['gone'], wait: true });
    await client.call('KILL', { name: 'short', grace_ms: 0 });
    expect(await two.next()).toMatchObject({ task: { task_id: made.task_id, attempts: 2 } });
    expect(await two.call('TASK_ASSIGN', { kinds: ['gone'], timeout_ms: 5 })).toMatchObject({
      assigned: false,
    });
  });

  it('are no business of those who neither made them nor work on them', async () => {
    const made = await create(one, { kind: 'private', assignee: 'one' });
    expect(made).toMatchObject({ state: 'assigned', assignee: one.id });
    for (const name of ['TASK_STATUS', 'TASK_COMPLETE', 'TASK_ASSIGN'] as const) {
      expect(await two.call(name, { task_id: made.task_id })).toMatchObject({ code: 'NOT_FOUND' });
    }
    const { tasks } = await two.call('TASK_LIST', { kind: 'private' });
    expect(tasks).toEqual([]);
    await one.call('TASK_ASSIGN', { task_id: made.task_id, assignee: two.id });
    expect(await two.call('TASK_ASSIGN', { task_id: made.task_id, assignee: 'one' })).toMatchObject({
      code: 'FORBIDDEN',
    });
    expect(await two.call('TASK_LIST', { kind: 'private', state: 'assigned' })).toMatchObject({ count: 1 });
    expect(await client.call('TASK_LIST', { limit: 1 })).toMatchObject({ count: 1, more: true });
  });

  it('tell of every change those whom it concerns', async () => {
    await client.call('SUBSCRIBE', { event_types: ['TASK_CHANGED'] });
    await two.call('SUBSCRIBE', { event_types: ['TASK_CHANGED'] });
    const made = await create(one, { kind: 'told', assignee: 'one' });
    await one.call('TASK_COMPLETE', { task_id: made.task_id });
    const { events } = await client.call('POLL_EVENTS');
    expect(events.map(({ data }: Answer) => [data.task_id, data.state])).toEqual([
      [made.task_id, 'assigned'],
      [made.task_id, 'completed'],
    ]);
    expect((await two.call('POLL_EVENTS')).events).toEqual([]);
  });

  it('survive the kernel; what an agent that does not was at work on is for others', async () => {
    const first = await TestKernel.boot();
    const operator = await first.connect();
    const kept = await AgentConnection.spawn(first, operator, 'kept', { persist: true });
    const lost = await AgentConnection.spawn(first, operator, 'lost');
    const [mine, theirs, pending] = [
      await create(operator, { kind: 'k', payload: [1] }),
      await create(operator, { kind: 'k' }),
      await create(operator, { kind: 'later' }),
    ];
    await kept.call('TASK_ASSIGN', { kinds: ['k'] });
    await lost.call('TASK_ASSIGN', { kinds: ['k'] });
    await kept.raw.close();
    await lost.raw.close();
    await first.running.close();
    const second = await TestKernel.boot({ dataDirectory: path.join(first.folder, 'data') });
    const again = await second.connect();
    const { tasks } = await again.call('TASK_LIST');
    expect(tasks.map((task: Answer) => [task.task_id, task.state, task.assignee])).toEqual([
      [mine.task_id, 'assigned', kept.id],
      [theirs.task_id, 'pending', lost.id],
      [pending.task_id, 'pending', null],
    ]);
    expect(tasks[0]).toMatchObject({ payload: [1], creator: 0 });
    expect((await create(again)).task_id).toBeGreaterThan(pending.task_id);
    await second.close();
    await first.close();
  });

  it('are made, taken and done with the client', async () => {
    const sdk = await connect(kernel.running.socketPath);
    expect(await sdk.takeTask({ kinds: ['sdk'] })).toBeNull();
    const waiting = sdk.takeTask({ kinds: ['sdk'], wait: true });
    const made = await sdk.createTask({ kind: 'sdk', payload: 'p' });
    const taken = await waiting;
    expect(taken).toMatchObject({ task_id: made.task_id, payload: 'p', assignee: sdk.agentId });
    await sdk.assignTask(made.task_id, undefined, { leaseMs: 5000 });
    expect(await sdk.completeTask(made.task_id, { result: 'r', attempt: 1 })).toMatchObject({ result: 'r' });
    expect(await sdk.task(made.task_id)).toMatchObject({ state: 'completed' });
    expect((await sdk.tasks({ kind: 'sdk' })).map(({ task_id }) => task_id)).toEqual([made.task_id]);
    await sdk.close();
  });
});
