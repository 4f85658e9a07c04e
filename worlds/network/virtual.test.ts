import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { http } from 'msw';
import { afterEach, describe, expect, it } from 'vitest';
import { isCloveError } from '../../errors/index.ts';
import { defineService, networkSchema, servicesSchema } from './index.ts';
import { ALICE, BOB, START_MS, testNetwork } from './testing.ts';
import type { NetworkCaller, WorldNetwork } from './types.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function folderWith(files: Record<string, string>): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'clove-network-'));
  folders.push(folder);
  for (const [name, content] of Object.entries(files)) writeFileSync(path.join(folder, name), content);
  return folder;
}

const ask = (network: WorldNetwork, url: string, init: RequestInit = {}, caller: NetworkCaller = ALICE) =>
  network.fetch(new Request(url, init), caller);
const post = (body: unknown): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
});
const codeOf = async (promise: Promise<unknown>) => {
  const error = await promise.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  return isCloveError(error) ? [error.code, error.details?.fault ?? null] : error;
};

describe('what an answer and a log may take up', () => {
  it('is bounded: a body put in many times over is refused', async () => {
    const { network } = await testNetwork({
      routes: [
        { host: 'a.test', path: '/text', body: '{{text}}'.repeat(2000) },
        { host: 'a.test', path: '/json', json: Array.from({ length: 2000 }, () => '{{body}}') },
      ],
    });
    const large = post('x'.repeat(2 ** 20));
    for (const path of ['text', 'json']) {
      const answer = await ask(network, `http://a.test/${path}`, large).catch((error: unknown) => error);
      const refused = isCloveError(answer) ? answer.code : (answer as Response).status;
      expect(['PAYLOAD_TOO_LARGE', 500]).toContain(refused);
    }
    const small = await ask(network, 'http://a.test/text', post('x'));
    expect((await small.text()).length).toBe(2000 * 3);
  });

  it('is bounded in bytes too: the oldest entries go', async () => {
    const { network } = await testNetwork({
      routes: [{ host: 'a.test', path: '/*', body: 'ok' }],
      limits: { log_entries: 1000, log_body_bytes: 2 ** 20 },
    });
    const body = post('x'.repeat(2 ** 20 - 2));
    for (let n = 0; n < 100; n++) await ask(network, 'http://a.test/', body);
    const kept = network.log.entries();
    expect(kept.length).toBeGreaterThan(50);
    expect(kept.length).toBeLessThanOrEqual(64);
    expect(network.log.dropped).toBe(100 - kept.length);
    expect(kept.at(-1)?.id).toBe(100);
  });
});

describe('routes written as data', () => {
  it('answer by host, method and path, with parameters and bodies filled in', async () => {
    const { network } = await testNetwork({
      routes: [
        {
          host: 'api.shop.test',
          path: '/orders/:id',
          method: 'GET',
          headers: { 'x-agent': '{{agent}}' },
          json: { id: '{{params.id}}', first: '{{calls}}', q: '{{query.q}}', at: '{{now}}' },
        },
        {
          host: 'api.shop.test',
          path: '/orders',
          method: 'POST',
          status: 201,
          json: { got: '{{body.items}}' },
        },
      ],
    });
    const read = await ask(network, 'https://api.shop.test/orders/4%202?q=x');
    expect(read.headers.get('x-agent')).toBe('alice');
    expect(await read.json()).toEqual({ id: '4 2', first: 1, q: 'x', at: '2026-01-01T00:00:00.000Z' });
    const made = await ask(network, 'http://api.shop.test/orders', post({ items: [1, 2] }));
    expect([made.status, await made.json()]).toEqual([201, { got: [1, 2] }]);
    expect(await codeOf(ask(network, 'https://other.test/orders/1'))).toEqual(['NETWORK_REFUSED', null]);
    expect(network.log.entries().map(({ outcome, matched, status }) => [outcome, matched, status])).toEqual([
      ['answered', 'route:0', 200],
      ['answered', 'route:1', 201],
      ['refused', null, null],
    ]);
  });

  it('take conditions on query, headers, body and agent', async () => {
    const { network } = await testNetwork({
      routes: [
        { when: { body: { user: { role: 'admin' } } }, body: 'admin' },
        { when: { query: { q: 'a*' } }, body: 'query' },
        { when: { headers: { 'x-key': 'secret' } }, body: 'key' },
        { when: { agent: 'bo*' }, body: 'bob' },
        { body: 'else' },
      ],
    });
    const text = async (url: string, init?: RequestInit, caller?: NetworkCaller) =>
      (await ask(network, url, init, caller)).text();
    expect(await text('http://x.test/', post({ user: { role: 'admin', id: 1 } }))).toBe('admin');
    expect(await text('http://x.test/?q=abc')).toBe('query');
    expect(await text('http://x.test/', { headers: { 'x-key': 'secret' } })).toBe('key');
    expect(await text('http://x.test/', {}, BOB)).toBe('bob');
    expect(await text('http://x.test/')).toBe('else');
  });

  it('go through their sequence, and snapshots keep the place', async () => {
    const definition = {
      routes: [
        { path: '/last', sequence: [{ status: 500 }, { body: 'ok' }] },
        { path: '/cycle', repeat: 'cycle' as const, sequence: [{ body: 'a' }, { body: 'b' }] },
      ],
    };
    const { network } = await testNetwork(definition);
    const statuses = [];
    for (let call = 0; call < 3; call += 1) statuses.push((await ask(network, 'http://x.test/last')).status);
    expect(statuses).toEqual([500, 200, 200]);
    expect(await (await ask(network, 'http://x.test/cycle')).text()).toBe('a');
    const state = structuredClone(network.snapshot());
    const other = (await testNetwork(definition)).network;
    other.restore(state);
    expect(await (await ask(other, 'http://x.test/cycle')).text()).toBe('b');
    expect(other.log.entries()[0]?.id).toBe(5);
  });

  it('wait in the world’s time, without a lease that would hold it', async () => {
    const { network, clock } = await testNetwork({
      routes: [
        { path: '/slow', delay_ms: 3_600_000, body: 'at last' },
        { path: '/range', delay_ms: { min: 10, max: 20 } },
      ],
    });
    const sleep = clock.sleep.bind(clock);
    const leasesInSleep: number[] = [];
    clock.sleep = (ms, signal) => {
      queueMicrotask(() => leasesInSleep.push(clock.leases));
      return sleep(ms, signal);
    };
    await ask(network, 'http://x.test/slow');
    expect(clock.nowMs() - START_MS).toBe(3_600_000);
    expect(leasesInSleep).toEqual([0]);
    expect(clock.leases).toBe(0);
    await ask(network, 'http://x.test/range');
    expect(clock.slept[1]).toBeGreaterThanOrEqual(10);
    expect(clock.slept[1]).toBeLessThanOrEqual(20);
    expect(network.log.entries()[0]?.durationMs).toBe(3_600_000);
  });

  it('are chosen by luck that the seed decides', async () => {
    const definition = { routes: [{ probability: 0.5, status: 503 }, { body: 'ok' }] };
    const statuses = async (seed: number) => {
      const { network } = await testNetwork(definition, {}, { seed });
      const found: number[] = [];
      for (let call = 0; call < 40; call += 1) found.push((await ask(network, 'http://x.test/')).status);
      return found;
    };
    const first = await statuses(3);
    expect(new Set(first)).toEqual(new Set([200, 503]));
    expect(await statuses(3)).toEqual(first);
    expect(await statuses(4)).not.toEqual(first);
  });

  it('send events one after the other', async () => {
    const { network, clock } = await testNetwork({
      routes: [
        {
          events: [
            { data: { n: 1 }, event: 'tick', id: '1' },
            { data: 'two\nlines', delay_ms: 5000 },
          ],
        },
      ],
    });
    const response = await ask(network, 'http://x.test/');
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    expect(await response.text()).toBe('event: tick\nid: 1\ndata: {"n":1}\n\ndata: two\ndata: lines\n\n');
    expect(clock.slept).toEqual([5000]);
  });
});

describe('services with a memory', () => {
  it('keep their state in snapshots, apart from other worlds', async () => {
    const service = defineService({
      state: { orders: [] as unknown[] },
      routes: {
        'POST /orders': async ({ state, json, caller }) => {
          state.orders.push({ ...(await json<object>()), by: caller.agentName });
          return Response.json({ id: state.orders.length }, { status: 201 });
        },
        'GET /orders': ({ state }) => state.orders,
        '/boom': () => {
          throw new Error('out of paper');
        },
      },
    });
    const services = { shop: { host: 'shop.test', service } };
    const { network } = await testNetwork({}, services);
    await ask(network, 'http://shop.test/orders', post({ item: 'tea' }));
    const list = async (one: WorldNetwork) => (await ask(one, 'http://shop.test/orders')).json();
    expect(await list(network)).toEqual([{ item: 'tea', by: 'alice' }]);
    const { network: fresh } = await testNetwork({}, services);
    expect(await list(fresh)).toEqual([]);
    fresh.restore(structuredClone(network.snapshot()));
    expect(await list(fresh)).toEqual([{ item: 'tea', by: 'alice' }]);
    expect(await codeOf(ask(network, 'http://shop.test/boom'))).toEqual(['NETWORK_FAULT', 'handler']);
    expect(await codeOf(ask(network, 'http://shop.test/nothing'))).toEqual(['NETWORK_REFUSED', null]);
  });

  it('come ready-made as collections', async () => {
    const { network } = await testNetwork(
      {},
      { db: { host: 'db.test', collections: { users: [{ id: 1, name: 'Ada' }] } } },
    );
    const json = async (url: string, init?: RequestInit) => {
      const response = await ask(network, url, init);
      return [response.status, response.status === 204 ? null : await response.json()];
    };
    expect(await json('http://db.test/users', post({ name: 'Bob' }))).toEqual([201, { name: 'Bob', id: 2 }]);
    expect(await json('http://db.test/users/2', { ...post({ age: 3 }), method: 'PATCH' })).toEqual([
      200,
      { name: 'Bob', id: 2, age: 3 },
    ]);
    expect(await json('http://db.test/users?name=Ada')).toEqual([200, [{ id: 1, name: 'Ada' }]]);
    expect(await json('http://db.test/users/1', { method: 'DELETE' })).toEqual([204, null]);
    expect((await json('http://db.test/users/1'))[0]).toBe(404);
  });

  it('and handlers may be modules beside the definition, but nowhere else', async () => {
    const folder = folderWith({
      'shop.mjs': `export default { [Symbol.for('clove.world.service')]: true, state: { n: 0 }, routes: { 'GET /n': ({ state }) => ++state.n } };`,
      'handlers.mjs': `export default [{ run: () => null, info: { path: 'https://h.test/x' } }];`,
    });
    const services = { shop: { host: 'shop.test', module: './shop.mjs' } };
    const { network } = await testNetwork({ handlers: ['./handlers.mjs'] }, services, { folder });
    expect(await (await ask(network, 'http://shop.test/n')).json()).toBe(1);
    expect(network.declaredHosts).toContain('h.test');
    await expect(testNetwork({}, services)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(
      testNetwork({}, { s: { host: 'x.test', module: '../../../etc/x.mjs' } }, { folder }),
    ).rejects.toMatchObject({ code: 'CONFIG' });
    await expect(
      testNetwork(
        {},
        { s: { host: 'x.test', module: `../${path.basename(folderWith({ 'a.mjs': '' }))}/a.mjs` } },
        { folder },
      ),
    ).rejects.toMatchObject({ code: 'PATH_REFUSED' });
  });
});

describe('tables of mocks', () => {
  it('prefer exact URLs to patterns, and fall back to the default', async () => {
    const { network, clock } = await testNetwork({
      mocks: {
        'https://a.test/*': 'pattern',
        'https://a.test/x': { status: 404, body: 'no', latency_ms: 50, headers: { 'x-y': '1' } },
        'http://bare.test': 'bare',
      },
      default_response: { status: 418, body: 'teapot' },
    });
    expect(await (await ask(network, 'https://a.test/y')).text()).toBe('pattern');
    const exact = await ask(network, 'https://a.test/x');
    expect([exact.status, await exact.text(), exact.headers.get('x-y'), clock.slept]).toEqual([
      404,
      'no',
      '1',
      [50],
    ]);
    expect(await (await ask(network, 'http://bare.test')).text()).toBe('bare');
    expect((await ask(network, 'http://z.test/')).status).toBe(418);
  });
});

describe('record, replay and pass-through', () => {
  it('record keeps what allowed hosts answer, replay gives it back without them', async () => {
    let asked = 0;
    const upstream = async (request: Request) => {
      asked += 1;
      return Response.json(
        { asked, path: new URL(request.url).pathname },
        { headers: { 'set-cookie': 'session=secret', 'x-a': 'b' } },
      );
    };
    const { network } = await testNetwork({ mode: 'record', allow: ['*.real.test'] }, {}, { upstream });
    expect(await (await ask(network, 'https://api.real.test/v1')).json()).toEqual({ asked: 1, path: '/v1' });
    await ask(network, 'https://api.real.test/v1');
    expect(await codeOf(ask(network, 'https://elsewhere.test/'))).toEqual(['NETWORK_REFUSED', null]);
    expect(network.metrics()).toMatchObject({
      requests_passed_through: 2,
      recorded_count: 2,
      requests_refused: 1,
    });
    const { cassette } = network.snapshot();
    expect(JSON.stringify(cassette)).not.toContain('secret');
    const { network: replay } = await testNetwork({ mode: 'replay', cassette: [...cassette] });
    const bodies = [];
    for (let call = 0; call < 3; call += 1)
      bodies.push(await (await ask(replay, 'https://api.real.test/v1')).json());
    expect(bodies.map((body) => (body as { asked: number }).asked)).toEqual([1, 2, 2]);
    expect(await codeOf(ask(replay, 'https://api.real.test/v2'))).toEqual(['NETWORK_REFUSED', null]);
    expect(asked).toBe(2);
  });

  it('need a way out that somebody gave them', async () => {
    await expect(testNetwork({ mode: 'passthrough', allow: ['real.test'] })).rejects.toMatchObject({
      code: 'FORBIDDEN',
    });
    await expect(testNetwork({ mode: 'replay', cassette: [{ method: 1 }] })).rejects.toMatchObject({
      code: 'DATA_CORRUPT',
    });
  });
});

describe('faults', () => {
  it('act on the hosts and agents they are meant for, until they are cleared', async () => {
    const { network } = await testNetwork({ default_response: 'ok' });
    const handle = network.faults.set({ kind: 'partition', hosts: ['db.test'], agents: ['al*'] });
    expect(await codeOf(ask(network, 'http://db.test/'))).toEqual(['NETWORK_FAULT', 'partition']);
    expect((await ask(network, 'http://web.test/')).status).toBe(200);
    expect((await ask(network, 'http://db.test/', {}, BOB)).status).toBe(200);
    expect(network.faults.list()).toMatchObject([{ handle, hits: 1 }]);
    expect(network.faults.clear(handle)).toBe(true);
    expect(network.faults.clear(handle)).toBe(false);
    expect((await ask(network, 'http://db.test/')).status).toBe(200);
  });

  it('of every kind do what they say', async () => {
    const { network, clock } = await testNetwork({ default_response: { body: 'x'.repeat(1000) } });
    const under = async (spec: Parameters<typeof network.faults.set>[0], url = 'https://x.test/') => {
      const handle = network.faults.set(spec);
      const before = clock.nowMs();
      const result = await codeOf(ask(network, url).then(() => null));
      network.faults.clear(handle);
      return { result, ms: clock.nowMs() - before, faults: network.log.entries().at(-1)?.faults };
    };
    expect((await under({ kind: 'dns_failure', rcode: 'NXDOMAIN' })).result).toEqual([
      'NETWORK_FAULT',
      'dns_failure',
    ]);
    expect(await under({ kind: 'partition', hangMs: 60_000 })).toMatchObject({
      result: ['NETWORK_FAULT', 'partition'],
      ms: 60_000,
    });
    expect((await under({ kind: 'tls_expiry' })).result).toEqual(['NETWORK_FAULT', 'tls_expiry']);
    expect((await under({ kind: 'tls_expiry' }, 'http://x.test/')).result).toBe(null);
    expect((await under({ kind: 'reset' })).result).toEqual(['NETWORK_FAULT', 'reset']);
    expect(await under({ kind: 'latency', ms: 250 })).toMatchObject({ ms: 250, faults: ['latency'] });
    const jittered = await under({ kind: 'latency', ms: 100, jitterMs: 50 });
    expect(jittered.ms).toBeGreaterThanOrEqual(50);
    expect(jittered.ms).toBeLessThanOrEqual(150);
    expect(await under({ kind: 'bandwidth', bytesPerSecond: 100 })).toMatchObject({
      ms: 10_000,
      faults: ['bandwidth'],
    });
    expect((await under({ kind: 'loss', probability: 1 })).result).toEqual(['NETWORK_FAULT', 'loss']);
    expect(network.log.entries().at(-1)).toMatchObject({ outcome: 'failed', faults: ['loss'] });
    network.faults.set({ kind: 'error_rate', status: 502, body: 'bad gateway' });
    const broken = await ask(network, 'https://x.test/');
    expect([broken.status, await broken.text()]).toEqual([502, 'bad gateway']);
  });

  it('lose some messages and deliver them later', async () => {
    const { network, clock } = await testNetwork({ default_response: 'ok' });
    network.faults.set({ kind: 'loss', probability: 0.5, retransmitMs: 100 });
    const outcomes = new Set<number>();
    for (let call = 0; call < 60; call += 1) {
      const before = clock.nowMs();
      await ask(network, 'http://x.test/').catch(() => null);
      outcomes.add(clock.nowMs() - before);
    }
    expect(outcomes).toContain(0);
    expect(outcomes).toContain(100);
    expect(outcomes).toContain(300);
  });

  it('that make no sense are refused', async () => {
    const { network } = await testNetwork({});
    expect(() => network.faults.set({ kind: 'loss', probability: 2 })).toThrow(/no such fault/);
    expect(() => network.faults.set({ kind: 'latency', ms: Number.NaN })).toThrow(/no such fault/);
  });
});

describe('bounds', () => {
  it('hold for bodies and for the log', async () => {
    const { network } = await testNetwork({
      routes: [{ path: '/big', body: 'x'.repeat(100) }],
      default_response: 'ok',
      limits: { request_bytes: 10, response_bytes: 50, log_entries: 3, log_body_bytes: 4 },
    });
    expect(await codeOf(ask(network, 'http://x.test/', post('way too long')))).toEqual([
      'PAYLOAD_TOO_LARGE',
      null,
    ]);
    expect(await codeOf(ask(network, 'http://x.test/big'))).toEqual(['PAYLOAD_TOO_LARGE', null]);
    await ask(network, 'http://x.test/', { method: 'POST', body: 'ä€ä' });
    expect(network.log.entries().at(-1)?.requestBody).toEqual({ text: 'ä', bytes: 7, truncated: true });
    for (let call = 0; call < 50; call += 1) await ask(network, 'http://x.test/');
    expect(network.log.entries().map(({ id }) => id)).toEqual([51, 52, 53]);
    expect([network.log.total, network.log.dropped]).toEqual([53, 50]);
  });

  it('refuse definitions that make no sense, with the place of the mistake', () => {
    const paths = (definition: unknown) =>
      networkSchema.safeParse(definition).error?.issues.map((issue) => issue.path.join('.'));
    expect(paths({ routes: [{ host: 'a b' }] })).toEqual(['routes.0.host']);
    expect(paths({ routes: [{ path: 'x' }] })).toEqual(['routes.0.path']);
    expect(paths({ routes: [{ json: 1, body: 'x' }] })).toEqual(['routes.0']);
    expect(paths({ rutes: [] })).toEqual(['']);
    expect(paths({ tcp: [{ kind: 'echo', port: 70_000 }] })).toEqual(['tcp.0.port']);
    expect(servicesSchema.safeParse({ s: { host: 'x.test' } }).success).toBe(false);
  });

  it('hostile patterns cost no more than their length', async () => {
    const pattern = `http://x.test/${'*a'.repeat(2000)}b`;
    const { network } = await testNetwork({ mocks: { [pattern]: 'no' }, default_response: 'default' });
    expect(await (await ask(network, `http://x.test/${'a'.repeat(8000)}`)).text()).toBe('default');
  });
});

describe('the log', () => {
  it('filters, and exports an HTTP archive', async () => {
    const { network } = await testNetwork({
      default_response: { status: 200, body: 'ok', headers: { location: '/next' } },
    });
    await ask(network, 'http://a.test/x?q=1');
    await ask(network, 'http://b.test/', post({ n: 1 }), BOB);
    const urls = (filter: Parameters<typeof network.log.entries>[0]) =>
      network.log.entries(filter).map(({ url }) => url);
    expect(urls({ agent: 'bob' })).toEqual(['http://b.test/']);
    expect(urls({ agent: 7 })).toEqual(['http://a.test/x?q=1']);
    expect(urls({ host: '*.test', method: 'post' })).toEqual(['http://b.test/']);
    expect(urls({ after: 1 })).toEqual(['http://b.test/']);
    expect(urls({ outcome: 'refused' })).toEqual([]);
    const { log } = network.log.toHar();
    expect(log.version).toBe('1.2');
    expect(log.entries).toHaveLength(2);
    expect(log.entries[0]).toMatchObject({
      startedDateTime: '2026-01-01T00:00:00.000Z',
      request: { method: 'GET', url: 'http://a.test/x?q=1', queryString: [{ name: 'q', value: '1' }] },
      response: { status: 200, redirectURL: '/next', content: { text: 'ok', size: 2 } },
      _clove: { agent: 'alice', outcome: 'answered', matched: 'default' },
    });
    expect(log.entries[1]?.request).toMatchObject({
      postData: { mimeType: 'application/json', text: '{"n":1}' },
    });
  });
});

it('a delay ends with the request, and is logged', async () => {
  const { network, clock } = await testNetwork({ routes: [{ delay_ms: 3_600_000 }] });
  clock.sleep = (_ms, signal) =>
    new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(new Error('aborted'))));
  const client = new AbortController();
  const asked = codeOf(ask(network, 'http://x.test/', { signal: client.signal }));
  setImmediate(() => client.abort());
  expect(await asked).toEqual(['CANCELLED', null]);
  expect(network.log.entries()).toMatchObject([{ outcome: 'failed', reason: 'the request was given up' }]);
  expect(clock.leases).toBe(0);
});

it('a request of a closed world is given up', async () => {
  const { network, clock } = await testNetwork({ routes: [{ delay_ms: 1000 }] });
  clock.sleep = (_ms, signal) =>
    new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(new Error('aborted'))));
  const asked = codeOf(ask(network, 'http://x.test/'));
  setImmediate(() => network.close());
  expect(await asked).toEqual(['CANCELLED', null]);
});

it('handlers of msw answer first', async () => {
  const handlers = [http.get('https://m.test/:id', ({ params }) => Response.json(params))];
  const { VirtualNetwork } = await import('./virtual.ts');
  const { JumpingClock } = await import('./testing.ts');
  const { Luck } = await import('../luck/streams.ts');
  const network = new VirtualNetwork(
    networkSchema.parse({ default_response: 'x' }),
    { clock: new JumpingClock(), luck: new Luck(1) },
    handlers,
    [],
    [],
  );
  expect(await (await ask(network, 'https://m.test/5')).json()).toEqual({ id: '5' });
  expect(network.log.entries()[0]?.matched).toBe('handler');
});
