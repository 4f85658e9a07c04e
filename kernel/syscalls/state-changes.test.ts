import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { connect } from '../../sdk/typescript/index.ts';
import { type Answer, type TestClient, TestKernel } from '../fixture.ts';
import { AgentConnection } from './agent-connection.ts';

let kernel: TestKernel;
let client: TestClient;
let agent: AgentConnection;
let round = 0;
/** Keys of this test alone. */
let k: string;

beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
  agent = await AgentConnection.spawn(kernel, client, 'one');
});
beforeEach(() => {
  round += 1;
  k = `changes-${round}/`;
});
afterAll(() => kernel.close());

it('CAS stores where the expected is found, and tells what is there where not', async () => {
  const absent = await client.call('CAS', { key: k, value: 1 });
  expect(absent).toEqual({
    success: true,
    swapped: true,
    key: k,
    scope: 'global',
    exists: true,
    value: 1,
    version: expect.any(Number),
  });
  expect(await agent.call('CAS', { key: k, value: 2 })).toEqual({ ...absent, swapped: false });
  expect(await agent.call('CAS', { key: k, expected: 2, value: 3 })).toEqual({ ...absent, swapped: false });
  const second = await agent.call('CAS', { key: k, expected: 1, value: 2 });
  expect(second).toMatchObject({ swapped: true, value: 2 });
  expect(second.version).toBeGreaterThan(absent.version);
  expect(await client.call('FETCH', { key: k })).toMatchObject({ value: 2, version: second.version });
  const byVersion = { key: k, expected_version: absent.version, value: 3 };
  expect(await client.call('CAS', byVersion)).toMatchObject({ swapped: false });
  expect(await client.call('CAS', { ...byVersion, expected_version: second.version, ttl: 0 })).toMatchObject({
    swapped: true,
    exists: false,
    value: null,
  });
  expect(await client.call('CAS', { key: k, expected_version: 0, value: null })).toMatchObject({
    swapped: true,
  });
  expect(await client.call('CAS', { key: k, expected: null, value: 5 })).toMatchObject({ swapped: true });
});

it('CAS refuses what makes no sense', async () => {
  expect(await client.call('CAS', { value: 1 })).toMatchObject({ swapped: false, error: 'key is required' });
  for (const request of [
    { key: k, value: 1, scope: 'public' },
    { key: k, value: 1, expected: 1, expected_version: 1 },
    { key: k, value: 1, expected_version: -1 },
  ]) {
    expect(await client.call('CAS', request)).toMatchObject({ success: false, code: 'BAD_REQUEST' });
  }
});

it('WATCH answers with what changed, who did it, and where to go on', async () => {
  await client.call('SUBSCRIBE', { event_types: ['STATE_CHANGED'] });
  const { version: start } = await client.call('WATCH', { prefix: k, timeout_ms: 0 });
  agent.send('WATCH', { keys: [`${k}a`], since_version: start });
  const stored = await client.call('STORE', { key: `${k}a`, value: { n: 1 } });
  expect(await agent.next()).toEqual({
    success: true,
    changes: [
      {
        key: `${k}a`,
        version: stored.version,
        deleted: false,
        value: { n: 1 },
        previous_value: null,
        previous_exists: false,
        agent_id: expect.any(Number),
      },
    ],
    count: 1,
    version: stored.version,
    more: false,
    resync: false,
  });
  const removed = await agent.call('DELETE', { key: `${k}a` });
  const after = await client.call('WATCH', { prefix: k, since_version: stored.version });
  expect(after.changes).toMatchObject([
    { deleted: true, value: null, previous_value: { n: 1 }, version: removed.version },
  ]);
  const { events } = await client.call('POLL_EVENTS');
  expect(events.map(({ data }: Answer) => [data.action, data.version])).toEqual([
    ['store', stored.version],
    ['delete', removed.version],
  ]);
  await client.call('UNSUBSCRIBE', { all: true });
});

it('WATCH refuses what makes no sense', async () => {
  expect(await client.call('WATCH')).toMatchObject({ code: 'BAD_REQUEST', changes: [], count: 0 });
  expect(await client.call('WATCH', { keys: [] })).toMatchObject({ code: 'BAD_REQUEST' });
  expect(await client.call('WATCH', { keys: [''] })).toMatchObject({ code: 'BAD_REQUEST' });
  expect(await client.call('WATCH', { prefix: '', scope: 'public' })).toMatchObject({ code: 'BAD_REQUEST' });
});

it('the client follows every change of a prefix, and swaps', async () => {
  const sdk = await connect(kernel.running.socketPath);
  const seen: unknown[] = [];
  const { version } = await sdk.call('WATCH', { prefix: k, timeout_ms: 0 });
  const follow = (async () => {
    for await (const { changes, resync } of sdk.watch({ prefix: k }, { sinceVersion: version })) {
      expect(resync).toBe(false);
      seen.push(...changes.map((change) => (change.deleted ? null : change.value)));
      if (seen.at(-1) === 'end') return;
    }
  })();
  expect(await sdk.cas(`${k}n`, undefined, 0)).toMatchObject({ swapped: true });
  for (let n = 0; n < 50; n += 1) {
    expect(await sdk.cas(`${k}n`, n, n + 1)).toMatchObject({ swapped: true, value: n + 1 });
  }
  await sdk.delete(`${k}n`);
  await sdk.store(`${k}n`, 'end');
  await follow;
  expect(seen).toEqual([...Array.from({ length: 51 }, (_, n) => n), null, 'end']);
  await expect(sdk.watch(['x'], { scope: 'agent' }).next()).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  await sdk.close();
});

interface Operation {
  readonly startedAt: number;
  readonly endedAt: number;
  /** Of the counter: a write of n is 2n, a read of n is 2n + 1, so that the numbers are in the order of any legal history. */
  readonly place: number;
}

/**
 * Whether a history of one counter can be put into one order that respects time. Every value is written once, so the order of
 * writes is known, and a read stands between the write it saw and the next: what remains is that nothing which ended before
 * something else began stands behind it.
 */
function isLinearizable(history: readonly Operation[]): boolean {
  const writes = history.filter(({ place }) => place % 2 === 0).map(({ place }) => place);
  if (new Set(writes).size !== writes.length) return false;
  const byStart = history.toSorted((a, b) => a.startedAt - b.startedAt);
  const byEnd = history.toSorted((a, b) => a.endedAt - b.endedAt);
  let ended = 0;
  let latest = -1;
  for (const operation of byStart) {
    for (; ended < byEnd.length; ended += 1) {
      const earlier = byEnd[ended] as Operation;
      if (earlier.endedAt >= operation.startedAt) break;
      latest = Math.max(latest, earlier.place);
    }
    if (operation.place < latest) return false;
  }
  return true;
}

it('the checker of histories knows a bad one', () => {
  const at = (startedAt: number, endedAt: number, place: number) => ({ startedAt, endedAt, place });
  expect(isLinearizable([at(0, 5, 2), at(1, 6, 1), at(7, 8, 3)])).toBe(true);
  expect(isLinearizable([at(0, 5, 2), at(6, 7, 1)])).toBe(false);
  expect(isLinearizable([at(0, 5, 2), at(1, 6, 2)])).toBe(false);
  expect(isLinearizable([at(0, 5, 2), at(0, 5, 4), at(6, 7, 3)])).toBe(false);
});

it('64 clients on one counter: a linearizable history, and no increment lost', async () => {
  const CLIENTS = 64;
  const INCREMENTS = 6;
  await client.call('STORE', { key: k, value: 0 });
  const history: Operation[] = [];
  const connections = await Promise.all(Array.from({ length: CLIENTS }, () => kernel.connect()));
  await Promise.all(
    connections.map(async (connection) => {
      let known = (await connection.call('FETCH', { key: k })).value as number;
      for (let done = 0; done < INCREMENTS; ) {
        const startedAt = performance.now();
        const swap = await connection.call('CAS', { key: k, expected: known, value: known + 1 });
        const endedAt = performance.now();
        const value = swap.value as number;
        history.push({ startedAt, endedAt, place: swap.swapped ? value * 2 : value * 2 + 1 });
        known = value;
        if (swap.swapped) done += 1;
      }
    }),
  );
  expect(await client.call('FETCH', { key: k })).toMatchObject({ value: CLIENTS * INCREMENTS });
  expect(history.length).toBeGreaterThan(CLIENTS * INCREMENTS);
  expect(isLinearizable(history)).toBe(true);
});
