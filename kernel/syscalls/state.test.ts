import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { type TestClient, TestKernel, until } from '../fixture.ts';
import { AgentConnection } from './agent-connection.ts';

let kernel: TestKernel;
let client: TestClient;
let one: AgentConnection;
let two: AgentConnection;
let round = 0;
/** Keys of this test alone. */
let k: string;

beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
  one = await AgentConnection.spawn(kernel, client, 'one');
  two = await AgentConnection.spawn(kernel, client, 'two');
});
beforeEach(() => {
  round += 1;
  k = `test-${round}/`;
});
afterAll(async () => {
  await kernel.close();
});

it('a value comes back as it was, under every name of every field', async () => {
  for (const value of [null, 0, false, '', [], {}, { a: [1, 'ü🦀', 1e-7] }]) {
    expect(await client.call('STORE', { key: k, value })).toEqual({
      success: true,
      key: k,
      scope: 'global',
      version: expect.any(Number),
    });
    expect(await one.call('FETCH', { key: k })).toEqual({
      success: true,
      exists: true,
      found: true,
      value,
      scope: 'global',
      version: expect.any(Number),
    });
  }
  expect(await one.call('FETCH', { key: `${k}none` })).toEqual({
    success: true,
    exists: false,
    found: false,
    value: null,
  });
});

it('a missing key is named as such, and error answers have what clients read', async () => {
  expect(await client.call('STORE', { value: 1 })).toEqual({
    success: false,
    error: 'key is required',
    code: 'BAD_REQUEST',
  });
  expect(await client.call('FETCH')).toMatchObject({
    error: 'key is required',
    found: false,
    exists: false,
    value: null,
  });
  expect(await client.call('DELETE', { key: '' })).toMatchObject({
    error: 'key is required',
    deleted: false,
  });
  expect(await client.call('KEYS', { prefix: 1 })).toMatchObject({ success: false, keys: [], count: 0 });
});

it.each(['worlds', 'Global', 'agents', 'GLOBAL '])(
  'a scope %j is refused, never taken for another',
  async (scope) => {
    for (const name of ['STORE', 'FETCH', 'DELETE', 'KEYS'] as const) {
      expect(await client.call(name, { key: k, value: 1, scope })).toMatchObject({
        success: false,
        code: 'BAD_REQUEST',
        error: `invalid request: unknown scope "${scope}"`,
      });
    }
    expect(await client.call('FETCH', { key: k })).toMatchObject({ found: false });
  },
);

it('a scope "world" is an error outside of one', async () => {
  for (const name of ['STORE', 'FETCH', 'DELETE', 'KEYS'] as const) {
    expect(await client.call(name, { key: k, value: 1, scope: 'world' })).toMatchObject({
      success: false,
      code: 'NOT_FOUND',
      error: 'Not in any world',
    });
  }
});

it('what an agent keeps for itself, no other can read, list, overwrite or delete', async () => {
  for (const scope of ['agent', 'session']) {
    await one.call('STORE', { key: k + scope, value: 'mine', scope });
    for (const other of [two, client]) {
      expect(await other.call('FETCH', { key: k + scope })).toMatchObject({ found: false });
      expect(await other.call('FETCH', { key: k + scope, scope })).toMatchObject({ found: false });
      expect((await other.call('KEYS', { prefix: k })).keys).toEqual([]);
      expect(await other.call('DELETE', { key: k + scope, scope })).toMatchObject({ deleted: false });
      for (const forged of [`agent:${one.id}:${k}${scope}`, `session:${one.id}:${k}${scope}`]) {
        await other.call('STORE', { key: forged, value: 'forged' });
      }
    }
    expect(await one.call('FETCH', { key: k + scope })).toMatchObject({ value: 'mine', scope });
  }
  expect((await one.call('KEYS', { prefix: k })).keys).toEqual([`${k}agent`, `${k}session`]);
  expect((await one.call('KEYS', { prefix: k, scope: 'agent' })).keys).toEqual([`${k}agent`]);
});

it('what is one’s own comes before what is everybody’s', async () => {
  await two.call('STORE', { key: k, value: 'everybody’s' });
  await one.call('STORE', { key: k, value: 'own', scope: 'agent' });
  expect(await one.call('FETCH', { key: k })).toMatchObject({ value: 'own' });
  expect(await one.call('DELETE', { key: k })).toMatchObject({
    success: true,
    deleted: true,
    scope: 'agent',
  });
  expect(await one.call('FETCH', { key: k })).toMatchObject({ value: 'everybody’s' });
});

it('what a client keeps for itself goes with its connection, what an agent does stays for its next life', async () => {
  const { state } = kernel.running.kernel;
  const visitor = await kernel.connect();
  const visitorId = (await visitor.call('HELLO')).agent_id;
  await visitor.call('STORE', { key: k, value: 1, scope: 'agent' });
  await visitor.close();
  await until(() => !kernel.running.kernel.mailboxes.has(visitorId));
  expect(state.fetch(visitorId, k, null)).toBeNull();

  const third = await AgentConnection.spawn(kernel, client, 'third');
  for (const scope of ['agent', 'session']) await third.call('STORE', { key: k + scope, value: 1, scope });
  await third.close();
  state.endSession(third.id);
  const again = await third.again();
  expect((await again.call('KEYS', { prefix: k })).keys).toEqual([`${k}agent`]);
  await again.close();
});

it('lifetimes are seconds, fractions count, and none or less is over at once', async () => {
  await client.call('STORE', { key: k, value: 1, ttl: 600.5 });
  expect(await client.call('FETCH', { key: k })).toMatchObject({ found: true });
  await client.call('STORE', { key: k, value: 1, ttl: 0.05 });
  await until(async () => (await client.call('FETCH', { key: k })).found === false);
  for (const ttl of [0, -5]) {
    expect(await client.call('STORE', { key: k, value: 1, ttl })).toMatchObject({ success: true });
    expect(await client.call('FETCH', { key: k })).toMatchObject({ found: false });
  }
  expect(await client.call('STORE', { key: k, value: 1, ttl: null })).toMatchObject({ success: true });
  expect(await client.call('FETCH', { key: k })).toMatchObject({ found: true });
  expect(await client.call('STORE', { key: k, value: 1, ttl: 'soon' })).toMatchObject({
    code: 'BAD_REQUEST',
  });
});

it('keys are listed page by page', async () => {
  for (const name of ['c', 'a', 'b']) await client.call('STORE', { key: k + name, value: 1 });
  expect(await client.call('KEYS', { prefix: k, limit: 2 })).toEqual({
    success: true,
    keys: [`${k}a`, `${k}b`],
    count: 2,
    more: true,
  });
  expect(await client.call('KEYS', { prefix: k, limit: 2, after: `${k}b` })).toEqual({
    success: true,
    keys: [`${k}c`],
    count: 1,
    more: false,
  });
});

it('changes of the global scope are told, those of private ones are not', async () => {
  await two.call('SUBSCRIBE', { event_types: ['STATE_CHANGED'] });
  await one.call('STORE', { key: k, value: 1, scope: 'agent' });
  await one.call('DELETE', { key: k });
  await one.call('STORE', { key: k, value: 1 });
  await one.call('DELETE', { key: k });
  await one.call('DELETE', { key: k });
  const { events } = await two.call('POLL_EVENTS');
  expect(
    events.map((event: { data: unknown; source_agent: number }) => [event.data, event.source_agent]),
  ).toEqual([
    [{ key: k, action: 'store', agent_id: one.id, version: expect.any(Number) }, one.id],
    [{ key: k, action: 'delete', agent_id: one.id, version: expect.any(Number) }, one.id],
  ]);
});

it('keys that pollute prototypes are data or refused, and change nothing else', async () => {
  for (const key of ['__proto__', 'constructor', 'prototype']) {
    await client.call('STORE', { key, value: { polluted: true } });
    expect(await client.call('FETCH', { key })).toMatchObject({ value: { polluted: true } });
    await client.call('DELETE', { key });
  }
  const raw = await client.callText(0x30, `{"key":"${k}","value":{"__proto__":{"polluted":1}}}`);
  expect(JSON.parse(raw)).toMatchObject({ success: false, code: 'BAD_REQUEST' });
  expect(Object.prototype).not.toHaveProperty('polluted');
});

it('stores of one connection take effect in the order they were sent', async () => {
  for (let at = 0; at < 200; at += 1) client.send('STORE', { key: k, value: at });
  client.send('FETCH', { key: k });
  for (let at = 0; at < 200; at += 1) expect(await client.next()).toMatchObject({ success: true });
  expect(await client.next()).toMatchObject({ value: 199 });
});
