import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, type TestClient, TestKernel, until } from '../fixture.ts';
import { LoopbackServer } from '../http/fixture.ts';
import { AgentConnection } from './agent-connection.ts';

let kernel: TestKernel;
let operator: TestClient;
beforeAll(async () => {
  kernel = await TestKernel.boot();
  operator = await kernel.connect();
});
afterAll(() => kernel.close());

async function pollAll(client: TestClient, count: number): Promise<Answer[]> {
  const results: Answer[] = [];
  while (results.length < count) {
    results.push(...(await client.call('ASYNC_POLL', { wait: true, timeout_ms: 20_000 })).results);
  }
  return results;
}

describe('asynchronous calls', () => {
  it('are accepted at once and answered by ASYNC_POLL as they would have been', async () => {
    const ack = await operator.call('EXEC', { command: 'echo out; exit 3', async: true, request_id: 42 });
    expect(ack).toEqual({ success: true, async: true, request_id: 42, status: 'accepted' });
    const [result] = await pollAll(operator, 1);
    expect(result).toMatchObject({
      request_id: 42,
      opcode: 2,
      opcode_name: 'EXEC',
      success: false,
      error: null,
    });
    expect(JSON.parse(result.payload)).toEqual(result.result);
    expect(result.result).toMatchObject({ success: false, stdout: 'out\n', exit_code: 3, stderr: '' });
    expect(await operator.call('ASYNC_POLL', {})).toEqual({ success: true, results: [], count: 0 });
    expect(JSON.parse(await operator.callText(0x80, 'not json'))).toEqual({
      success: true,
      results: [],
      count: 0,
    });
    expect(JSON.parse(await operator.callText(0x80, '[]'))).toMatchObject({ success: false, results: [] });
  });

  it('are synchronous unless async is true', async () => {
    for (const request of [{}, { async: false }, { async: null }, { request_id: 5 }]) {
      expect(await operator.call('EXEC', { command: 'echo x', ...request })).toMatchObject({ stdout: 'x\n' });
    }
  });

  it('of HTTP have the real answer, also when it is an error', async () => {
    const server = await LoopbackServer.http((_request, response) => {
      response.writeHead(418);
      response.end('tea');
    });
    const closed = await LoopbackServer.http(() => {});
    await closed.close();
    try {
      const ok = await operator.call('HTTP', { url: server.url(), async: true });
      const bad = await operator.call('HTTP', { url: closed.url(), async: true });
      const results = await pollAll(operator, 2);
      const of = (id: number) => results.find(({ request_id }) => request_id === id);
      expect(of(ok.request_id)).toMatchObject({
        opcode: 0x50,
        opcode_name: 'HTTP',
        success: true,
        result: { status_code: 418, body: 'tea' },
      });
      expect(of(bad.request_id)).toMatchObject({
        success: false,
        error: expect.stringContaining('Failed to execute HTTP request'),
        result: { success: false, code: 'IO', body: '', status_code: 0 },
      });
      expect(await operator.call('HTTP', { async: true })).toMatchObject({
        success: false,
        error: 'URL required',
      });
    } finally {
      await server.close();
    }
  });

  it('refuse an id that is in use', async () => {
    const client = await kernel.connect();
    await client.call('EXEC', { command: 'true', async: true, request_id: 7 });
    expect(await client.call('EXEC', { command: 'true', async: true, request_id: 7 })).toMatchObject({
      success: false,
      code: 'BAD_REQUEST',
    });
    expect(await client.call('ASYNC_POLL', { request_id: 7, wait: true, timeout_ms: 20_000 })).toMatchObject({
      count: 1,
    });
    expect(await client.call('ASYNC_POLL', { request_id: 7 })).toMatchObject({
      success: false,
      code: 'NOT_FOUND',
    });
    for (const id of [-1, 1.5, 2 ** 53, '7', true]) {
      expect(await client.call('EXEC', { command: 'true', async: true, request_id: id })).toMatchObject({
        code: 'BAD_REQUEST',
      });
    }
  });

  it('run some at a time, all in the end, while their caller goes on', async () => {
    const client = await kernel.connect();
    for (let index = 1; index <= 6; index += 1) {
      client.send('EXEC', { command: `echo ${index}`, async: true, request_id: index });
    }
    for (let index = 1; index <= 6; index += 1) expect((await client.next()).request_id).toBe(index);
    expect(await client.callText(0, 'alive')).toBe('alive');
    const results = await pollAll(client, 6);
    const seen = results.map(({ request_id, result }) => `${request_id} ${result.stdout.trim()}`);
    expect(seen.sort()).toEqual(['1 1', '2 2', '3 3', '4 4', '5 5', '6 6']);
  });

  it('are bounded: OVERLOAD until something is polled', async () => {
    const client = await kernel.connect();
    const silent = await LoopbackServer.raw(() => {});
    try {
      for (let index = 0; index < 256; index += 1) {
        client.send('HTTP', { url: silent.url(), timeout: 60, async: true });
      }
      for (let index = 0; index < 256; index += 1) expect((await client.next()).success).toBe(true);
      expect(await client.call('HTTP', { url: silent.url(), async: true })).toMatchObject({
        success: false,
        code: 'OVERLOAD',
        hint: expect.stringContaining('ASYNC_POLL'),
      });
      // Somebody else is not concerned.
      expect(await operator.call('EXEC', { command: 'true', async: true })).toMatchObject({ success: true });
      await pollAll(operator, 1);
      await until(() => silent.connections === 4);
      await client.close();
      await until(() => silent.connections === 0);
    } finally {
      await silent.close();
    }
  });

  it('belong to their caller: others can neither see nor guess them', async () => {
    const [ann, bob] = [await kernel.connect(), await kernel.connect()];
    const { request_id } = await ann.call('EXEC', { command: 'echo secret', async: true });
    expect(await bob.call('ASYNC_POLL', { request_id })).toMatchObject({ success: false, code: 'NOT_FOUND' });
    expect(await bob.call('ASYNC_POLL', { timeout_ms: 50 })).toMatchObject({ count: 0 });
    expect(await bob.call('EXEC', { command: 'echo mine', async: true, request_id })).toMatchObject({
      request_id,
    });
    expect((await pollAll(bob, 1))[0].result.stdout).toBe('mine\n');
    expect((await pollAll(ann, 1))[0].result.stdout).toBe('secret\n');
  });

  it('end with the connection of an operator', async () => {
    const client = await kernel.connect();
    const { tasks, dispatcher } = kernel.running.kernel;
    expect(dispatcher).toBeDefined();
    const { agent_id } = await client.call('HELLO');
    await client.call('EXEC', { command: 'sleep 600', async: true });
    expect(tasks.countOf(agent_id)).toBe(1);
    await client.close();
    await until(() => tasks.countOf(agent_id) === 0);
  });

  it('of an agent are on all its connections, and end with its process', async () => {
    const agent = await AgentConnection.spawn(kernel, operator, 'patient');
    const second = await agent.again();
    const { tasks } = kernel.running.kernel;
    const waiting = second.call('ASYNC_POLL', { wait: true });
    await agent.call('EXEC', { command: 'id -u', async: true, request_id: 1 });
    const { results } = await waiting;
    expect(results).toMatchObject([{ request_id: 1, success: true }]);
    // In its own sandbox, as its own user.
    expect(Number(results[0].result.stdout)).toBeGreaterThanOrEqual(200_000);
    await agent.call('EXEC', { command: 'sleep 600', async: true });
    await agent.close();
    expect(tasks.countOf(agent.id)).toBe(1);
    await operator.call('KILL', { id: agent.id });
    await until(() => tasks.countOf(agent.id) === 0);
    await second.close();
  });

  it('refused by the rules are refused at once, or told and reported later', async () => {
    const agent = await AgentConnection.spawn(kernel, operator, 'bounded');
    const server = await LoopbackServer.http((_request, response) => response.end());
    const watcher = await kernel.connect();
    await watcher.call('SUBSCRIBE', { event_types: ['SYSCALL_BLOCKED'] });
    try {
      expect(await agent.call('HTTP', { url: server.url(), async: true })).toMatchObject({
        code: 'FORBIDDEN',
      });
      await operator.call('SET_PERMS', {
        agent_id: agent.id,
        permissions: { network: ['*'], http_methods: ['*'], can_exec: true, exec: ['true'] },
      });
      expect(await agent.call('EXEC', { command: 'id', async: true })).toMatchObject({ code: 'FORBIDDEN' });
      // Only the addresses are looked at later.
      expect(await agent.call('HTTP', { url: server.url(), async: true })).toMatchObject({ success: true });
      const [result] = await pollAll(agent, 1);
      expect(result).toMatchObject({ success: false, result: { code: 'FORBIDDEN' } });
      expect(server.requests).toEqual([]);
      const { events } = await watcher.call('POLL_EVENTS', { timeout_ms: 5000 });
      expect(events.map(({ data }: Answer) => data.rule)).toEqual([
        'syscall.not-granted:HTTP',
        expect.stringMatching(/./),
        'http.private-address',
      ]);
    } finally {
      await server.close();
      await agent.close();
      await operator.call('KILL', { id: agent.id });
    }
  });

  it('that would never end are ended by their time limit, and keep nobody after them waiting for ever', async () => {
    const client = await kernel.connect();
    for (let index = 0; index < 4; index += 1) {
      await client.call('EXEC', { command: 'sleep 600', timeout: 0.3, async: true });
    }
    await client.call('EXEC', { command: 'echo next', async: true, request_id: 5 });
    const results = await pollAll(client, 5);
    expect(results.filter(({ result }) => result.timed_out === true)).toHaveLength(4);
    expect(results.find(({ request_id }) => request_id === 5)?.result.stdout).toBe('next\n');
    // What does not end by itself does not keep a kernel from stopping.
    const own = await TestKernel.boot();
    const other = await own.connect();
    for (let index = 0; index < 6; index += 1) {
      await other.call('EXEC', { command: 'sleep 600', timeout: 600, async: true });
    }
    await own.close();
  });

  it('with an answer of a size that fills the room hold up new ones until they are polled', async () => {
    const client = await kernel.connect();
    const server = await LoopbackServer.http((_request, response) =>
      response.end(Buffer.alloc(7 * 2 ** 20, 1)),
    );
    try {
      for (let index = 1; index <= 2; index += 1) {
        await client.call('HTTP', { url: server.url(), async: true, request_id: index });
        await until(() => kernel.running.kernel.tasks.totalBytes > index * 9 * 2 ** 20);
      }
      expect(await client.call('EXEC', { command: 'true', async: true })).toMatchObject({ code: 'OVERLOAD' });
      // One at a time: together they would be more than an answer should hold.
      for (let index = 1; index <= 2; index += 1) {
        const { results } = await client.call('ASYNC_POLL', {});
        expect(results).toHaveLength(1);
        expect(results[0].result.body).toHaveLength(4 * Math.ceil((7 * 2 ** 20) / 3));
        expect(JSON.parse(results[0].payload).encoding).toBe('base64');
      }
      expect(kernel.running.kernel.tasks.totalBytes).toBe(0);
      expect(await client.call('EXEC', { command: 'true', async: true })).toMatchObject({ success: true });
      await pollAll(client, 1);
    } finally {
      await server.close();
    }
  });
});
