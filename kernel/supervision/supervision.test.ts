import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, callingAgent, type TestClient, TestKernel, until } from '../fixture.ts';

let kernel: TestKernel;
let client: TestClient;
beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
});
afterEach(async () => {
  const { groups } = await client.call('GROUP_LIST');
  for (const { name, parent } of groups)
    if (parent === null) await client.call('GROUP_REMOVE', { name, grace_ms: 0 });
  for (const { id } of await client.call('LIST')) await client.call('KILL', { id, grace_ms: 0 });
  await client.close();
  client = await kernel.connect();
});
afterAll(() => kernel.close());

const sleeper = { command: ['/bin/sleep', '600'] };
const shell = (script: string, fields: Record<string, unknown> = {}) => ({
  command: ['/bin/sh', '-c', script],
  ...fields,
});
/** Of a Node agent that has the SDK. */
const node = (source: string, fields: Record<string, unknown> = {}) => ({
  command: [
    'node',
    '--input-type=module',
    '-e',
    `import { connect } from 'clove/sdk'; const clove = await connect(); ${source}`,
  ],
  ...fields,
});

/** All events until one fits. */
async function eventsUntil(fits: (event: Answer) => boolean): Promise<Answer[]> {
  const seen: Answer[] = [];
  while (!seen.some(fits)) {
    const { events } = await client.call('POLL_EVENTS', { wait: true, timeout_ms: 20_000 });
    seen.push(...events);
  }
  return seen;
}
const rowOf = async (name: string): Promise<Answer> =>
  (await client.call('LIST')).find((row: Answer) => row.name === name);

describe('an agent that others depend on', () => {
  it('is ready when it says so, and only then are they started', async () => {
    await client.spawn(
      node(
        `const messages = await clove.receive({ wait: true, timeoutMs: 60000 }); await clove.notify({ ready: true, status: String(messages.length) }); setInterval(() => {}, 1000);`,
        { name: 'db', ready: { on: 'notify' } },
      ),
    );
    const other = await kernel.connect();
    other.send('SPAWN', { ...sleeper, name: 'web', depends_on: ['db'] });
    await until(async () => (await rowOf('web'))?.waits_for.includes('db'));
    expect(await rowOf('db')).toMatchObject({ state: 'running', ready: false });
    expect(await rowOf('web')).toMatchObject({ state: 'starting', ready: false, pid: 0 });
    await client.call('SEND', { to_name: 'db', message: 'go' });
    expect(await other.next()).toMatchObject({ success: true, name: 'web' });
    expect(await client.call('WAIT_READY', { name: 'db' })).toMatchObject({ ready: true, name: 'db' });
    expect(await rowOf('db')).toMatchObject({ ready: true });
    expect(await rowOf('web')).toMatchObject({ ready: true, waits_for: [] });
    await other.close();
  });

  it('is ready when its name is registered', async () => {
    await client.call('SUBSCRIBE', { events: ['AGENT_READY'] });
    const { id } = await client.spawn(
      node(`await clove.register('service'); setInterval(() => {}, 1000);`, {
        ready: { on: 'name', name: 'service' },
      }),
    );
    expect(await client.call('WAIT_READY', { id, timeout_ms: 30_000 })).toMatchObject({ agent_id: id });
    const [event] = await eventsUntil(({ type }) => type === 'AGENT_READY');
    expect(event.data).toMatchObject({ agent_id: id, ready_on: 'name' });
  });

  it('that never gets ready has failed', async () => {
    const exit = await client.run({
      ...sleeper,
      ready: { on: 'notify', timeout_ms: 50 },
      restart_policy: 'on-failure',
      max_restarts: 1,
      restart_backoff_ms: 1,
    });
    expect(exit).toMatchObject({ reason: 'unready', restart_count: 1, state: 'failed' });
  });

  it('that ends instead lets those that wait for it fail', async () => {
    const { id } = await client.spawn({ ...sleeper, name: 'base', ready: { on: 'notify' } });
    const other = await kernel.connect();
    other.send('SPAWN', { ...sleeper, name: 'needs', depends_on: ['base'] });
    await until(async () => (await rowOf('needs')) !== undefined);
    await client.call('KILL', { id, grace_ms: 0 });
    expect(await other.next()).toMatchObject({ success: false, code: 'CONFLICT' });
    expect(await client.call('LIST')).toEqual([]);
    expect(await client.call('SPAWN', { ...sleeper, depends_on: ['nobody'] })).toMatchObject({
      code: 'NOT_FOUND',
    });
    await other.close();
  });

  it('need not be waited for by who is killed before', async () => {
    await client.spawn({ ...sleeper, name: 'base', ready: { on: 'notify' } });
    const other = await kernel.connect();
    other.send('SPAWN', { ...sleeper, name: 'needs', depends_on: ['base'] });
    await until(async () => (await rowOf('needs')) !== undefined);
    expect(await client.call('KILL', { name: 'needs' })).toMatchObject({ killed: true });
    expect(await other.next()).toMatchObject({ code: 'CANCELLED' });
    await other.close();
  });
});

describe('a health check', () => {
  it('by a command starts an agent again that is not well', async () => {
    await client.call('SUBSCRIBE', { events: ['AGENT_HEALTH', 'AGENT_EXITED', 'AGENT_SPAWNED'] });
    const { id, pid } = await client.spawn(
      shell('sleep 600', {
        name: 'checked',
        restart_policy: 'on-failure',
        restart_backoff_ms: 1,
        ready: { on: 'health' },
        health: {
          check: 'exec',
          command: ['/bin/sh', '-c', 'test ! -e /work/bad || { echo broken; exit 3; }'],
          interval_ms: 20,
          failures: 2,
        },
      }),
    );
    await client.call('WAIT_READY', { id });
    expect(await rowOf('checked')).toMatchObject({ health: 'healthy', ready: true });
    const { sandbox } = kernel.running.kernel.agents.get(id) ?? {};
    await sandbox?.exec({
      argv: ['/usr/bin/touch', '/work/bad'],
      env: {},
      cwd: '/',
      stdin: null,
      timeoutMs: null,
    });
    const events = await eventsUntil(
      (event) => event.type === 'AGENT_SPAWNED' && event.data.restart_count === 1,
    );
    const health = events.find(({ type, data }) => type === 'AGENT_HEALTH' && data.health === 'unhealthy');
    expect(health.data).toMatchObject({ agent_id: id, failures: 2, reason: 'status 3: broken' });
    expect(events.find(({ type }) => type === 'AGENT_EXITED').data).toMatchObject({
      agent_id: id,
      reason: 'unhealthy',
    });
    expect((await rowOf('checked')).pid).not.toBe(pid);
  });

  it('by heartbeat is any call, and its absence is told and acted on', async () => {
    const beating = await client.spawn(
      node(`setInterval(() => clove.echo('beat'), 20);`, {
        name: 'beating',
        health: { check: 'heartbeat', timeout_ms: 5000, interval_ms: 20 },
      }),
    );
    await until(async () => (await rowOf('beating')).health === 'healthy');
    await client.call('SUBSCRIBE', { events: ['AGENT_HEALTH'] });
    const silent = await client.spawn({
      ...sleeper,
      health: { check: 'heartbeat', timeout_ms: 100, action: 'report' },
    });
    const [event] = await eventsUntil(({ data }) => data.agent_id === silent.id);
    expect(event.data).toMatchObject({
      health: 'unhealthy',
      reason: expect.stringMatching(/^no call for \d+ ms$/),
    });
    const rows: Answer[] = await client.call('LIST');
    expect(rows.map(({ id, health, running }) => [id, health, running])).toEqual([
      [beating.id, 'healthy', true],
      [silent.id, 'unhealthy', true],
    ]);
  });

  it('by ping wants an answer with the right nonce', async () => {
    const source = `for await (const { message } of clove.messages()) if (message.type === 'clove.ping') await clove.notify({ pong: message.nonce });`;
    await client.spawn(
      node(source, {
        name: 'answers',
        ready: { on: 'health' },
        health: { check: 'ping', interval_ms: 20, timeout_ms: 20_000 },
      }),
    );
    expect(await client.call('WAIT_READY', { name: 'answers' })).toMatchObject({ ready: true });
    const exit = await client.run({
      ...callingAgent([
        ['NOTIFY', { pong: 'made-up' }],
        ['RECV', { wait: true, timeout_ms: 60_000 }],
        ['RECV', { wait: true, timeout_ms: 60_000 }],
      ]),
      health: { check: 'ping', interval_ms: 10, timeout_ms: 50, failures: 2 },
    });
    expect(exit).toMatchObject({ reason: 'unhealthy' });
  });

  it('does not judge an agent that is frozen', async () => {
    const { id } = await client.spawn({
      ...sleeper,
      health: { check: 'exec', command: ['/bin/true'], interval_ms: 10, timeout_ms: 50, failures: 1 },
    });
    await until(async () => (await client.call('LIST'))[0].health === 'healthy');
    await client.call('PAUSE', { id });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await client.call('RESUME', { id })).toMatchObject({ resumed: true });
    expect((await client.call('LIST'))[0]).toMatchObject({ id, restarts: 0, state: 'running' });
  });

  it('and readiness do not judge by time in which the kernel itself stood still', async () => {
    const health = { interval_ms: 20, timeout_ms: 3000, failures: 1, action: 'restart' };
    const always = { restart_policy: 'always' };
    const beats = `setInterval(() => clove.echo('beat').catch(() => {}), 20);`;
    await client.spawn(node(beats, { ...always, name: 'beats', health: { ...health, check: 'heartbeat' } }));
    const pongs = `for await (const { message } of clove.messages()) if (message.type === 'clove.ping') await clove.notify({ pong: message.nonce });`;
    await client.spawn(node(pongs, { ...always, name: 'answers', health: { ...health, check: 'ping' } }));
    const areWell = async () => {
      const rows = await Promise.all(['beats', 'answers'].map(rowOf));
      return rows.every((row) => row?.health === 'healthy');
    };
    await until(areWell);
    const late = `await new Promise((resolve) => setTimeout(resolve, 100)); await clove.notify({ ready: true }); setInterval(() => {}, 1000);`;
    const { pid } = await client.spawn(
      node(late, { ...always, name: 'late', ready: { on: 'notify', timeout_ms: 3000 } }),
    );
    // The kernel of these tests runs in this process.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 4000);
    await until(async () => (await rowOf('late'))?.ready === true);
    await until(areWell);
    for (const name of ['beats', 'answers', 'late'])
      expect(await rowOf(name)).toMatchObject({ name, state: 'running', restarts: 0 });
    expect((await rowOf('late')).pid).toBe(pid);
  });

  it('that makes no sense is refused', async () => {
    for (const fields of [
      { health: { check: 'exec' } },
      { health: { check: 'ping', command: ['/bin/true'] } },
      { ready: { on: 'health' } },
      { ready: { on: 'name' } },
      { health: { check: 'guess' } },
    ])
      expect(await client.call('SPAWN', { ...sleeper, ...fields })).toMatchObject({ code: 'BAD_REQUEST' });
    expect(await client.call('NOTIFY', { ready: true })).toMatchObject({ code: 'BAD_REQUEST' });
  });
});

describe('a group', () => {
  const member = (name: string, group: string, more: Record<string, unknown> = {}) => ({
    ...sleeper,
    name,
    group,
    restart_policy: 'always',
    restart_backoff_ms: 1,
    ...more,
  });

  it('one_for_all: all start anew under their ids, ended from the last to the first', async () => {
    await client.call('GROUP_SET', { name: 'g', strategy: 'one_for_all' });
    const ids: number[] = [];
    for (const name of ['a', 'b', 'c']) ids.push((await client.spawn(member(name, 'g'))).id);
    const before = await client.call('LIST');
    const events = ['AGENT_EXITED', 'AGENT_SPAWNED', 'GROUP_RESTARTING', 'AGENT_RESTARTING'];
    await client.call('SUBSCRIBE', { events });
    process.kill(before[1].pid, 'SIGKILL');
    const seen = await eventsUntil((event) => event.type === 'AGENT_SPAWNED' && event.data.name === 'c');
    const named = (type: string) =>
      seen.filter((event) => event.type === type).map(({ data }) => data.name ?? data.group);
    expect(named('AGENT_EXITED')).toEqual(['b', 'c', 'a']);
    expect(named('GROUP_RESTARTING')).toEqual(['g']);
    expect(named('AGENT_SPAWNED')).toEqual(['a', 'b', 'c']);
    const restarting = seen.filter(({ type }) => type === 'AGENT_RESTARTING');
    expect(restarting.map(({ data }) => [data.name, data.reason])).toEqual([
      ['b', 'group'],
      ['c', 'group'],
      ['a', 'group'],
    ]);
    const after: Answer[] = await client.call('LIST');
    expect(after.map(({ id, restarts, group }) => [id, restarts, group])).toEqual(
      ids.map((id) => [id, 1, 'g']),
    );
    for (const [index, row] of after.entries()) expect(row.pid).not.toBe(before[index].pid);
  });

  it('that fails too often is given up whole, and says so once', async () => {
    await client.call('GROUP_SET', { name: 'g', strategy: 'rest_for_one', max_restarts: 1 });
    const first = await client.spawn(member('first', 'g'));
    // Never ready, so that the last one has to wait.
    const broken = await client.spawn(member('broken', 'g', { ready: { on: 'notify' } }));
    const other = await kernel.connect();
    other.send('SPAWN', member('last', 'g'));
    await until(async () => (await rowOf('last')) !== undefined);
    await client.call('SUBSCRIBE', { events: ['AGENT_ESCALATED', 'GROUP_ESCALATED'] });
    process.kill(broken.pid, 'SIGKILL');
    await until(async () => (await rowOf('broken')).restarts === 1 && (await rowOf('broken')).running);
    process.kill((await rowOf('broken')).pid, 'SIGKILL');
    expect(await client.call('WAIT', { id: broken.id })).toMatchObject({
      state: 'failed',
      signal: 'SIGKILL',
    });
    expect(await client.call('WAIT', { id: first.id })).toMatchObject({ state: 'failed', reason: 'killed' });
    expect(await other.next()).toMatchObject({ success: false, code: 'CONFLICT' });
    await other.close();
    expect(await client.call('LIST')).toEqual([]);
    const { events } = await client.call('POLL_EVENTS', {});
    expect(events.map(({ type, data }: Answer) => [type, data.name ?? data.group])).toEqual([
      ['GROUP_ESCALATED', 'g'],
      ['AGENT_ESCALATED', 'broken'],
    ]);
    const { groups } = await client.call('GROUP_LIST');
    expect(groups).toMatchObject([{ name: 'g', failed: true, agents: [] }]);
    const { entries } = await client.call('GET_AUDIT_LOG', { limit: 200 });
    expect(entries.filter(({ event_type }: Answer) => event_type === 'GROUP_ESCALATED')).toHaveLength(1);
    // By hand: it is there again.
    await client.spawn(member('again', 'g'));
    expect((await client.call('GROUP_LIST')).groups).toMatchObject([{ failed: false }]);
  });

  it('is ended from the last to the first, and its subgroups with it', async () => {
    await client.call('GROUP_SET', { name: 'top', strategy: 'rest_for_one' });
    await client.call('GROUP_SET', { name: 'sub', parent: 'top', order: 5 });
    const db = await client.spawn(member('db', 'top', { group_order: 1 }));
    const worker = await client.spawn(member('worker', 'sub'));
    const web = await client.spawn(member('web', 'top', { group_order: 9, depends_on: ['worker'] }));
    expect(await client.call('GROUP_SET', { name: 'top', parent: 'sub' })).toMatchObject({
      code: 'BAD_REQUEST',
    });
    await client.call('SUBSCRIBE', { events: ['AGENT_EXITED'] });
    const removed = await client.call('GROUP_REMOVE', { name: 'top' });
    expect(removed).toMatchObject({ success: true, killed: [db.id, worker.id, web.id] });
    const { events } = await client.call('POLL_EVENTS', {});
    expect(events.map(({ data }: Answer) => data.name)).toEqual(['web', 'worker', 'db']);
    expect((await client.call('GROUP_LIST')).groups).toEqual([]);
    expect(await client.call('GROUP_REMOVE', { name: 'top' })).toMatchObject({ code: 'NOT_FOUND' });
  });

  it('is not for agents to join or make', async () => {
    await client.call('GROUP_SET', { name: 'g', strategy: 'one_for_all' });
    const exit = await client.run({
      ...callingAgent([
        ['SPAWN', { command: ['/bin/true'], group: 'g' }],
        ['GROUP_SET', { name: 'mine' }],
        ['GROUP_REMOVE', { name: 'g' }],
        ['GROUP_LIST', {}],
      ]),
      permissions: { can_spawn: true, can_exec: true },
    });
    const answers = JSON.parse(exit.stdout);
    for (const { answer } of answers) expect(answer).toMatchObject({ success: false, code: 'FORBIDDEN' });
    expect(answers).toHaveLength(4);
  });

  it('keeps new code and old restarts apart', async () => {
    await client.call('GROUP_SET', { name: 'g', strategy: 'one_for_all' });
    const a = await client.spawn(member('a', 'g'));
    const b = await client.spawn(member('b', 'g'));
    const other = await kernel.connect();
    other.send('RELOAD', { id: b.id, ready_ms: 300, labels: { version: '2' } });
    await until(async () => (await rowOf('b')).pid !== b.pid);
    process.kill(a.pid, 'SIGKILL');
    expect(await other.next()).toMatchObject({ reloaded: true });
    await until(async () =>
      (await client.call('LIST')).every(({ running, restarts }: Answer) => running && restarts === 1),
    );
    expect(await rowOf('b')).toMatchObject({ id: b.id, labels: { version: '2' } });
    await other.close();
  });
});

it('trees, what they remember and who depends on whom outlive the kernel', async () => {
  const first = await TestKernel.boot();
  const one = await first.connect();
  const dataDirectory = path.join(first.folder, 'data');
  await one.call('GROUP_SET', { name: 'top', strategy: 'one_for_all', max_restarts: 2 });
  await one.call('GROUP_SET', { name: 'sub', parent: 'top', order: 7 });
  const fields = { restart_policy: 'always', restart_backoff_ms: 1, command: ['/bin/sleep', '600'] };
  const db = await one.spawn({
    ...fields,
    name: 'db',
    group: 'top',
    group_order: 1,
    ready: { on: 'health' },
    health: { check: 'exec', command: ['/bin/true'], interval_ms: 10 },
  });
  const web = await one.spawn({
    ...fields,
    name: 'web',
    group: 'sub',
    depends_on: ['db'],
    labels: { fleet: 'x' },
  });
  process.kill(db.pid, 'SIGKILL');
  await until(async () =>
    (await one.call('LIST')).every(({ running, restarts }: Answer) => running && restarts === 1),
  );
  await first.running.close();

  const second = await TestKernel.boot({ dataDirectory });
  const two = await second.connect();
  await two.call('SUBSCRIBE', { events: ['AGENT_SPAWNED'] });
  await two.call('WAIT_READY', { id: web.id });
  expect((await two.call('GROUP_LIST')).groups).toMatchObject([
    { name: 'top', parent: null, strategy: 'one_for_all', max_restarts: 2, agents: [db.id, web.id] },
    { name: 'sub', parent: 'top', agents: [web.id] },
  ]);
  const rows: Answer[] = await two.call('LIST');
  expect(rows).toMatchObject([
    { id: db.id, restarts: 1, group: 'top' },
    { id: web.id, restarts: 1, group: 'sub', labels: { fleet: 'x' } },
  ]);
  // The restart under the first kernel counts: two more are one too many.
  const byId = (id: number) => async () => (await two.call('LIST')).find((row: Answer) => row.id === id);
  process.kill(rows[0].pid, 'SIGKILL');
  await until(async () => (await byId(db.id)())?.restarts === 2 && (await byId(db.id)())?.running);
  process.kill((await byId(db.id)()).pid, 'SIGKILL');
  expect(await two.call('WAIT', { id: web.id })).toMatchObject({ reason: 'killed', state: 'failed' });
  expect(await two.call('LIST')).toEqual([]);
  await second.close();
  await first.close();
});
