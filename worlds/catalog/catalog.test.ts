import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestClient, TestKernel } from '../../kernel/fixture.ts';
import { worldHost } from '../engine.ts';
import { CATALOG_NAMES, catalogWorld, describeCatalog } from './index.ts';
import { ATTACK_KINDS, planShift } from './soc-shift/attacks.ts';
import { planShift as planOutages } from './sre-outage/faults.ts';
import { initialState } from './sre-outage/service.ts';
import { sreOutage } from './sre-outage/world.ts';

const HOUR_MS = 3_600_000;
let kernel: TestKernel;
let client: TestClient;

beforeAll(async () => {
  kernel = await TestKernel.boot({}, { worlds: worldHost() });
  client = await kernel.connect();
});
afterAll(() => kernel.close());

/** Makes one, and a client that is in it. */
async function enter(template: string, more: object = {}) {
  const { world_id, warnings, success, error } = await client.call('WORLD_CREATE', { template, ...more });
  expect({ success, error, warnings }).toEqual({ success: true, error: undefined, warnings: [] });
  const member = await kernel.connect();
  await member.call('WORLD_JOIN', { world_id });
  const http = async (method: string, url: string, body?: unknown) => {
    const answer = await member.call('HTTP', {
      url,
      method,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    return { status: answer.status_code, body: answer.body === '' ? null : JSON.parse(answer.body), answer };
  };
  const advance = (hours: number) => client.call('WORLD_ADVANCE', { world_id, ms: hours * HOUR_MS });
  const state = async () => (await client.call('WORLD_STATE', { world_id })).state;
  return { id: world_id as string, member, http, advance, state };
}

it('describes each of its worlds', async () => {
  for (const { name, description } of await describeCatalog())
    expect(description, name).toMatch(/\w{3}.{20}/);
});

it.each(CATALOG_NAMES)('%s can be made, lived through for eight hours, kept and restored', async (name) => {
  const { id, advance, state } = await enter(name);
  expect(await advance(8)).toMatchObject({ success: true });
  const before = await state();
  expect(before.schedule.latest.filter(({ error }: { error: unknown }) => error !== null)).toEqual([]);
  expect(before.clock.monotonicMs).toBeGreaterThanOrEqual(8 * HOUR_MS);
  const snapshot = `${kernel.folder}/${name}.world`;
  expect(await client.call('WORLD_SNAPSHOT', { world_id: id, path: snapshot })).toMatchObject({
    success: true,
  });
  const restored = await client.call('WORLD_RESTORE', { snapshot_path: snapshot });
  expect(restored).toMatchObject({ success: true });
  const after = (await client.call('WORLD_STATE', { world_id: restored.world_id })).state;
  expect(after.clock.monotonicMs).toBeGreaterThanOrEqual(before.clock.monotonicMs);
  expect(after.clock.monotonicMs - before.clock.monotonicMs).toBeLessThan(HOUR_MS);
  expect(after.schedule.upcoming).toEqual(before.schedule.upcoming);
  expect(after.vfs_metrics.total_size_bytes).toBe(before.vfs_metrics.total_size_bytes);
});

describe('soc-shift', () => {
  it('has the attacks it says, from the seed', () => {
    const { attacks, events } = planShift(7);
    expect(planShift(7)).toEqual(planShift(7));
    expect(planShift(8)).not.toEqual(planShift(7));
    const counts = Object.fromEntries(attacks.map(({ kind, events: count }) => [kind, count]));
    expect(counts).toEqual({
      brute_force: 30,
      sql_injection: 8,
      port_scan: 18,
      data_exfil: 5,
      privilege_escalation: 3,
      ddos: 60,
    });
    expect(attacks).toHaveLength(Object.keys(ATTACK_KINDS).length + 3);
    expect(Math.max(...events.map(({ atMs }) => atMs))).toBeLessThan(8 * HOUR_MS + 60_000);
  });

  it('systems, logs and services tell the same story', async () => {
    const { member, http, advance } = await enter('soc-shift', { name: 'lab', seed: 7 });
    const { attacks, events } = planShift(7);
    await advance(8.1);
    const { body: stats } = await http('GET', 'http://siem.corp/stats');
    expect(stats.events).toBe(events.length);
    const log = (await member.call('READ', { path: '/var/log/auth.log' })).content as string;
    expect(log.trim().split('\n')).toHaveLength(events.filter(({ system }) => system === 'auth').length);
    expect(log).toMatch(/^2026-03-02T\d\d:\d\d:\d\d\.\d{3}Z auth FAILED_LOGIN src=[\d.]+ user=\w+$/m);
    expect(await member.call('WRITE', { path: '/var/log/auth.log', content: '' })).toMatchObject({
      error: 'Virtual filesystem write denied',
    });
    const brute = attacks.find(({ kind }) => kind === 'brute_force');
    const { body: found } = await http(
      'GET',
      `http://siem.corp/events?type=BRUTE_FORCE&source_ip=${brute?.sourceIp}`,
    );
    expect(found.events.length).toBeGreaterThan(0);
    expect((await http('GET', `http://intel.corp/ip/${brute?.sourceIp}`)).body.score).toBeTypeOf('number');
    // Only systems send events.
    expect((await http('POST', 'http://siem.corp/events', { type: 'FORGED' })).status).toBe(403);
  });

  it('what is done has effect: a blocked address sends no more, a locked account is locked', async () => {
    const { http, advance } = await enter('soc-shift', { seed: 7 });
    const { attacks } = planShift(7);
    const first = attacks.toSorted((a, b) => a.startMs - b.startMs)[0];
    expect((await http('POST', 'http://firewall.corp/rules', { ip: '10.20.1.5' })).status).toBe(422);
    expect((await http('POST', 'http://firewall.corp/rules', { ip: first?.sourceIp })).status).toBe(201);
    await advance((first?.endMs ?? 0) / HOUR_MS + 0.01);
    const { body: events } = await http('GET', `http://siem.corp/events?source_ip=${first?.sourceIp}`);
    expect(events.events).toEqual([]);
    expect((await http('GET', 'http://siem.corp/stats')).body.blocked).toBe(first?.events);
    expect((await http('POST', 'http://idp.corp/users/backup/lock')).body).toMatchObject({ locked: true });
    expect((await http('POST', 'http://edr.corp/hosts/db-1/isolate')).body).toMatchObject({ isolated: true });
    expect((await http('GET', 'http://firewall.corp/actions')).body.actions).toHaveLength(3);
    const alert = await http('POST', 'http://siem.corp/alerts', { title: 'brute force', severity: 'high' });
    expect(alert.status).toBe(201);
    expect(
      (await http('PATCH', `http://siem.corp/alerts/${alert.body.id}`, { status: 'closed' })).body.status,
    ).toBe('closed');
  });
});

it('e-commerce: sells, keeps repeated charges apart from new ones, and loses its database for ten minutes', async () => {
  const { http, advance, state } = await enter('e-commerce');
  expect((await http('GET', 'http://app.shop.test/products')).body).toHaveLength(3);
  expect((await http('POST', 'http://app.shop.test/carts/c1/items', { sku: 'mug' })).body).toEqual({
    items: ['mug'],
  });
  expect((await http('GET', 'http://db.shop.test/orders/1')).body).toMatchObject({ total: 1290 });
  await advance(5.01);
  expect((await http('GET', 'http://db.shop.test/orders/1').catch(() => null))?.status ?? 503).toBe(503);
  await advance(0.5);
  expect((await http('GET', 'http://db.shop.test/orders/1')).status).toBe(200);
  expect((await state()).history.map(({ kind }: { kind: string }) => kind)).toContain('load_spike');
});

it('sre-outage: an outage hurts until its cause is mended; files count, not words; nobody reads the plan', async () => {
  const only = planOutages(5, { outages: 1, only: 'bad_config' });
  const { member, http, advance } = await enter('sre-outage', {
    seed: 5,
    config: {
      services: { platform: { state: JSON.parse(JSON.stringify(initialState(5, only))) } },
      schedule: sreOutage(5, only).schedule ?? [],
    },
  });
  const [outage] = only.outages;
  const slo = async () => (await http('GET', 'http://metrics.sre/slo')).body;
  expect((await http('GET', 'http://metrics.sre/slo')).status).toBe(409);
  expect((await http('POST', 'http://pager.sre/on-call')).body).toMatchObject({ began: true });
  await advance(0.04);
  expect(await slo()).toMatchObject({ promised: true });
  await advance((outage?.startMs ?? 0) / HOUR_MS);
  expect(await slo()).toMatchObject({ promised: false });
  const path = `/etc/shop/${outage?.component}.yaml`;
  expect((await member.call('READ', { path })).content).toContain('upstream_timeout_ms: 5\n');
  // Started anew it reads the same file; and only the world tells what is in files.
  await http('POST', `http://cluster.sre/components/${outage?.component}/restart`);
  expect((await http('POST', `http://cluster.sre/files/${outage?.component}/config`)).status).toBe(403);
  await advance(0.05);
  expect(await slo()).toMatchObject({ promised: false });
  await member.call('WRITE', { path, content: 'upstream_timeout_ms: 2000\n' });
  await advance(0.05);
  expect(await slo()).toMatchObject({ promised: true });
  const seen = JSON.stringify((await http('GET', 'http://cluster.sre/changes')).body);
  expect(seen).not.toContain('bad_config');
});

it('coding-project: tests cannot be changed, and issues come in', async () => {
  const { member, http, advance } = await enter('coding-project');
  expect(await member.call('WRITE', { path: '/work/test/split.test.js', content: '' })).toMatchObject({
    success: false,
  });
  expect(
    await member.call('EXEC', { command: 'cd /work && ls src && grep -c floor src/split.js' }),
  ).toMatchObject({
    stdout: 'format.js\nsplit.js\n1\n',
  });
  await advance(3.5);
  expect((await http('GET', 'http://tracker.test/issues')).body).toHaveLength(4);
});

it('trading-desk: trades on accounts by name, and only those who may look after others', async () => {
  const { member, http, advance } = await enter('trading-desk', { seed: 3 });
  expect((await http('GET', 'http://exchange.test/quotes')).status).toBe(409);
  expect((await http('POST', 'http://exchange.test/open')).body).toMatchObject({ began: true });
  await advance(0.01);
  const order = { symbol: 'ACME', side: 'buy', quantity: 10, client_id: 'a' };
  expect((await http('POST', 'http://broker.test/orders', order)).body).toMatchObject({
    status: 'filled',
    filled: 10,
  });
  expect((await http('POST', 'http://broker.test/orders', { ...order, quantity: 100_000 })).status).toBe(422);
  expect((await http('POST', 'http://broker.test/orders', { ...order, quantity: -1 })).status).toBe(400);
  const nonsense = { url: 'http://broker.test/orders', method: 'POST', body: '{' };
  expect(await member.call('HTTP', nonsense)).toMatchObject({ status_code: 400 });
  expect((await http('GET', 'http://broker.test/orders?client_id=a')).body.orders).toHaveLength(2);
  expect((await http('GET', 'http://broker.test/account')).body).toMatchObject({ positions: { ACME: 10 } });
  // Who has no name is an operator, and may; who has one may what it is for.
  expect((await http('GET', 'http://broker.test/accounts')).body.accounts).toHaveLength(1);
  await member.call('REGISTER', { name: 'momentum' });
  for (const [method, path] of [
    ['GET', '/accounts'],
    ['GET', '/fills'],
    ['POST', '/stop'],
    ['POST', '/accounts/momentum/halt'],
    ['POST', '/accounts/momentum/reduce'],
  ] as const)
    expect((await http(method, `http://broker.test${path}`, method === 'POST' ? {} : undefined)).status).toBe(
      403,
    );
});

it('is laid under a definition that extends it', async () => {
  const { id, http } = await enter('e-commerce', {
    config: { name: 'mine', network: { routes: [{ host: 'extra.test', path: '/', json: { extra: true } }] } },
  });
  expect((await http('GET', 'http://extra.test/')).body).toEqual({ extra: true });
  expect((await http('GET', 'http://app.shop.test/health')).body.status).toBe('ok');
  expect(id).toMatch(/^mine-|^unnamed-|^e-commerce-/);
  expect(await client.call('WORLD_CREATE', { template: 'nothing' })).toMatchObject({
    success: false,
    code: 'NOT_FOUND',
    hint: expect.stringContaining('soc-lab'),
  });
  expect((await catalogWorld('blank')).name).toBe('blank');
});
