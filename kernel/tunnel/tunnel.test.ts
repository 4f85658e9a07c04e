import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Answer, type TestClient, TestKernel, until } from '../fixture.ts';
import { FIRST_CLIENT_ID, FIRST_REMOTE_ID } from '../identity.ts';
import type { UserKernelOptions } from '../options.ts';
import { TestRelay } from './testing.ts';

/** Patient where a slow machine would be taken for a dead relay. */
const QUICK = { reconnectMs: 20, pingMs: 50, deadMs: 10_000, connectMs: 30_000, authMs: 10_000 };

let kernel: TestKernel;
let operator: TestClient;
let relay: TestRelay;
const relays: TestRelay[] = [];

async function boot(options: UserKernelOptions = {}): Promise<void> {
  kernel = await TestKernel.boot({ tunnel: QUICK, ...options });
  operator = await kernel.connect();
}

async function startRelay(...options: Parameters<typeof TestRelay.start>): Promise<TestRelay> {
  const started = await TestRelay.start(...options);
  relays.push(started);
  return started;
}

beforeEach(async () => {
  relay = await startRelay({ machines: { 'm-1': 'secret-of-m1' } });
});
afterEach(async () => {
  await kernel.close();
  for (const each of relays.splice(0)) await each.close();
});

const connect = (more: Record<string, unknown> = {}): Promise<Answer> =>
  operator.call('TUNNEL_CONNECT', {
    relay_url: relay.url,
    machine_id: 'm-1',
    token: 'secret-of-m1',
    ...more,
  });

/** The relay says that an agent is there; its id in this kernel. */
async function announce(relayId: number, name: string): Promise<number> {
  relay.say({ type: 'agent_connected', agent_id: relayId, name });
  let id = 0;
  await until(async () => {
    const { agents } = await operator.call('TUNNEL_LIST_REMOTES');
    id =
      agents.find((agent: Answer) => agent.relay_agent_id === relayId && agent.name === name)?.agent_id ?? 0;
    return id !== 0;
  });
  return id;
}

describe('the syscalls', () => {
  it('answer with what existing clients read, and more', async () => {
    await boot();
    expect(await operator.call('TUNNEL_STATUS')).toMatchObject({
      success: true,
      connected: false,
      state: 'disconnected',
      remote_agent_count: 0,
      connected_since: null,
    });
    expect(await connect()).toMatchObject({
      success: true,
      connected: true,
      relay_url: relay.url,
      machine_id: 'm-1',
      tunnel_id: 'm-1',
    });
    await until(async () => (await operator.call('TUNNEL_STATUS')).latency_ms !== null);
    const id = await announce(1000, 'far');
    expect(await operator.call('TUNNEL_STATUS')).toMatchObject({ connected: true, remote_agent_count: 1 });
    const { agents, remotes, count } = await operator.call('TUNNEL_LIST_REMOTES');
    expect(agents).toEqual(remotes);
    expect(count).toBe(1);
    expect(agents[0]).toMatchObject({ agent_id: id, name: 'far', relay_agent_id: 1000, level: 'minimal' });
    expect(id).toBeGreaterThanOrEqual(FIRST_REMOTE_ID);
    expect(id).toBeLessThan(FIRST_CLIENT_ID);
    expect(await operator.call('TUNNEL_DISCONNECT')).toMatchObject({ success: true });
    expect(await operator.call('TUNNEL_STATUS')).toMatchObject({ connected: false, remote_agent_count: 0 });
    expect(await operator.call('TUNNEL_DISCONNECT')).toMatchObject({ success: true });
  });

  it('TUNNEL_CONFIG sets the defaults of TUNNEL_CONNECT, and no answer or record holds the token', async () => {
    await boot();
    const config = await operator.call('TUNNEL_CONFIG', {
      relay_url: relay.url,
      machine_id: 'm-1',
      token: 'secret-of-m1',
      reconnect_interval: 7,
    });
    expect(config).toMatchObject({ success: true, has_token: true, reconnect_interval: 7 });
    // As the oldest clients ask: nothing named at all.
    expect(JSON.parse(await operator.callText(0xb0, ''))).toMatchObject({ success: true, connected: true });
    const records = await operator.call('GET_AUDIT_LOG', { category: 'SECURITY', limit: 1000 });
    expect(records.entries.map((entry: Answer) => entry.event_type)).toContain('TUNNEL_CONNECTED');
    expect(JSON.stringify([config, records, await operator.call('TUNNEL_STATUS')])).not.toContain(
      'secret-of-m1',
    );
  });

  it.each([
    ['no relay', {}, 'BAD_REQUEST', /relay_url required/],
    ['not a relay’s URL', { relay_url: 'http://localhost' }, 'BAD_REQUEST', /relay_url/],
    ['a user in it', { relay_url: 'ws://me:pw@localhost' }, 'BAD_REQUEST', /user name/],
    ['nobody there', { relay_url: 'ws://127.0.0.1:1' }, 'UNREACHABLE', /Failed to connect to relay server/],
    ['a wrong type', { relay_url: 7 }, 'BAD_REQUEST', /invalid request/],
  ])('TUNNEL_CONNECT with %s is an error with words', async (_what, request, code, error) => {
    await boot();
    const answer = await operator.call('TUNNEL_CONNECT', request);
    expect(answer).toMatchObject({ success: false, connected: false, code });
    expect(answer.error).toMatch(error);
    expect(await operator.call('TUNNEL_STATUS')).toMatchObject({ connected: false, state: 'disconnected' });
  });

  it('a relay that refuses the token is an error of the call, and nothing is tried again', async () => {
    await boot();
    expect(await connect({ token: 'wrong' })).toMatchObject({
      success: false,
      code: 'UNREACHABLE',
      error: 'Failed to connect to relay server: Invalid credentials',
    });
    expect(await operator.call('TUNNEL_STATUS')).toMatchObject({
      state: 'disconnected',
      next_attempt_ms: null,
      last_error: expect.stringContaining('Invalid credentials'),
    });
  });

  it('are for operators: no agent points the tunnel elsewhere or learns of it', async () => {
    await boot();
    await connect();
    await announce(1000, 'far');
    for (const name of ['TUNNEL_CONNECT', 'TUNNEL_DISCONNECT', 'TUNNEL_STATUS', 'TUNNEL_CONFIG'] as const) {
      expect(await relay.call(1000, name, { relay_url: 'ws://127.0.0.1:1' })).toMatchObject({
        success: false,
        code: 'FORBIDDEN',
      });
    }
    expect(await operator.call('TUNNEL_STATUS')).toMatchObject({ connected: true });
  });

  it('a relay that says nothing holds up who asked for it, and nobody else', async () => {
    const silent = net.createServer();
    await new Promise<void>((resolve) => {
      silent.listen(0, '127.0.0.1', resolve);
    });
    await boot();
    const other = await kernel.connect();
    const { port } = silent.address() as net.AddressInfo;
    operator.send('TUNNEL_CONNECT', { relay_url: `ws://127.0.0.1:${port}` });
    expect(await other.call('HELLO')).toMatchObject({ success: true });
    await until(async () => (await other.call('TUNNEL_STATUS')).state === 'connecting');
    // Whoever changes their mind is not held up either.
    expect(await other.call('TUNNEL_DISCONNECT')).toMatchObject({ success: true });
    expect(await operator.next()).toMatchObject({ success: false, code: 'CANCELLED' });
    silent.close();
  });
});

describe('remote agents', () => {
  it('are principals of their own: least grants, mailbox, state, quotas, records', async () => {
    await boot();
    await connect();
    const id = await announce(1000, 'far');
    expect(await relay.call(1000, 'HELLO', {})).toMatchObject({ success: true, agent_id: id, pid: 0 });
    expect(await relay.call(1000, 'NOOP', 'bytes')).toEqual({ text: 'bytes' });
    for (const name of ['EXEC', 'READ', 'WRITE', 'SPAWN', 'HTTP', 'KILL', 'SET_AUDIT_CONFIG'] as const) {
      expect(await relay.call(1000, name, {}), name).toMatchObject({ success: false, code: 'FORBIDDEN' });
    }
    expect(await relay.call(1000, 'SET_PERMS', { level: 'unrestricted' })).toMatchObject({
      code: 'FORBIDDEN',
    });
    expect(await operator.call('SEND', { to: id, message: 'hi' })).toMatchObject({ delivered_to: id });
    const { messages } = (await relay.call(1000, 'RECV', {})) as Answer;
    expect(messages).toMatchObject([{ message: 'hi' }]);
    expect(await operator.call('SEND', { to_name: 'remote:far', message: 1 })).toMatchObject({
      success: true,
    });
    expect(await operator.call('SET_QUOTA', { agent_id: id, quotas: { messages: 0 } })).toMatchObject({
      quotas: { messages: 0, syscalls_per_second: 500 },
    });
    expect(await relay.call(1000, 'SEND', { to: id, message: 1 })).toMatchObject({ code: 'OVERLOAD' });
    const { entries } = await operator.call('GET_AUDIT_LOG', { category: 'SECURITY', agent_id: id });
    expect(entries.length).toBeGreaterThan(5);
  });

  it('read, write and execute in a sandbox of their own when an operator lets them, never on the host', async () => {
    await boot();
    await connect();
    const id = await announce(1000, 'far');
    expect(await operator.call('SET_PERMS', { agent_id: id, permissions: { exec: ['*'] } })).toMatchObject({
      success: true,
      agent_id: id,
    });
    expect(await operator.call('GET_PERMS', { agent_id: id })).toMatchObject({ commands: ['*'] });
    expect(await relay.call(1000, 'WRITE', { path: 'a', content: 'here' })).toMatchObject({
      success: true,
      bytes_written: 4,
    });
    expect(await relay.call(1000, 'READ', { path: '/work/a' })).toMatchObject({ content: 'here' });
    expect(
      await relay.call(1000, 'EXEC', { command: 'cat a; hostname; test -e /etc/clove-host' }),
    ).toMatchObject({
      stdout: 'hereclove-exec\n',
    });
    expect(await relay.call(1000, 'READ', { path: kernel.folder })).toMatchObject({ success: false });
    // Gone with it.
    relay.say({ type: 'agent_disconnected', agent_id: 1000 });
    await until(async () => (await operator.call('TUNNEL_LIST_REMOTES')).count === 0);
    const again = await announce(1000, 'far');
    expect(again).not.toBe(id);
    expect(await relay.call(1000, 'READ', { path: '/work/a' })).toMatchObject({ code: 'FORBIDDEN' });
    expect(await operator.call('SET_PERMS', { agent_id: id, level: 'readonly' })).toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  it('may start agents where an operator lets them, and only what is no freer than themselves', async () => {
    await boot();
    await connect();
    const id = await announce(1000, 'far');
    await operator.call('SET_PERMS', { agent_id: id, permissions: { can_spawn: true } });
    const child = (await relay.call(1000, 'SPAWN', { name: 'kid', command: ['/bin/sleep', '60'] })) as Answer;
    expect(child).toMatchObject({ success: true });
    expect(await operator.call('GET_PERMS', { agent_id: child.id })).toMatchObject({ commands: [] });
    expect(await relay.call(1000, 'SPAWN', { command: ['/bin/sleep', '60'], network: true })).toMatchObject({
      success: false,
    });
    expect(
      await relay.call(1000, 'SPAWN', { command: ['/bin/true'], permissions: 'unrestricted' }),
    ).toMatchObject({ code: 'FORBIDDEN' });
    expect(await relay.call(1000, 'KILL', { id: child.id, grace_ms: 0 })).toMatchObject({ killed: true });
  });

  it('take no name that an agent here has, and another one under the same number has nothing of the first', async () => {
    await boot();
    await connect();
    await operator.call('REGISTER', { name: 'remote:far' });
    const first = await announce(1000, 'far');
    expect(await operator.call('FETCH', { key: 'x' })).toMatchObject({ exists: false });
    await relay.call(1000, 'STORE', { key: 'x', value: 1, scope: 'agent' });
    // Without a farewell of the first.
    const second = await announce(1000, 'other');
    expect(second).not.toBe(first);
    expect(await relay.call(1000, 'FETCH', { key: 'x', scope: 'agent' })).toMatchObject({ exists: false });
  });
});

describe('a relay that misbehaves', () => {
  it('in the name of nobody, or of agents of this kernel: nothing is done', async () => {
    await boot();
    const local = await operator.spawn({ name: 'local', command: ['/bin/sleep', '60'] });
    await connect();
    await announce(1000, 'far');
    for (const forged of [local.id, 0, 1, 4_000_000_000, FIRST_REMOTE_ID]) {
      expect(await relay.call(forged, 'STORE', { key: 'forged', value: 1 })).toMatchObject({
        success: false,
        code: 'NOT_FOUND',
      });
    }
    expect(await operator.call('FETCH', { key: 'forged' })).toMatchObject({ exists: false });
  });

  it('asking for code to be run is refused and recorded', async () => {
    await boot();
    await connect();
    const refused = relay.heard(({ type }) => type === 'error');
    relay.say({ type: 'deploy_agent', script_name: 'x.py', script_content: 'cHJpbnQoMSk=', args: [] });
    expect(await refused).toMatchObject({ type: 'error', code: 'FORBIDDEN' });
    await until(async () => {
      const { entries } = await operator.call('GET_AUDIT_LOG', { category: 'SECURITY', limit: 1000 });
      return entries.some((entry: Answer) => entry.event_type === 'TUNNEL_REQUEST_REFUSED');
    });
    expect(await operator.call('LIST')).toEqual([]);
  });

  it('replayed calls are not made again; without a number every call is one', async () => {
    await boot();
    await connect();
    await announce(1000, 'far');
    const cas = { key: 'n', value: 1 };
    const first = await relay.call(1000, 'CAS', cas, { seq: 1, id: 'a' });
    expect(first).toMatchObject({ swapped: true });
    expect(await relay.call(1000, 'CAS', cas, { seq: 1, id: 'b' })).toEqual(first);
    expect(await relay.call(1000, 'CAS', cas, { seq: 2 })).toMatchObject({ swapped: false });
    expect(await relay.call(1000, 'CAS', { ...cas, key: 'm' }, { seq: 1 })).toMatchObject({
      code: 'CONFLICT',
    });
    expect(await relay.call(1000, 'CAS', { ...cas, key: 'm' }, { seq: 0 })).toMatchObject({
      code: 'CONFLICT',
    });
    const keyed = { idempotency_key: 'order-7' };
    const once = await relay.call(1000, 'CAS', { ...cas, key: 'k' }, keyed);
    expect(once).toMatchObject({ swapped: true });
    // Also over a new connection of the agent.
    relay.say({ type: 'agent_disconnected', agent_id: 1000 });
    await announce(1001, 'far');
    expect(await relay.call(1001, 'CAS', { ...cas, key: 'k' }, keyed)).toEqual(once);
    expect(await relay.call(1001, 'CAS', { ...cas, key: 'other' }, keyed)).toMatchObject({
      code: 'CONFLICT',
    });
  });

  it('answers come in the order of calls, with the id of each', async () => {
    await boot();
    await connect();
    await announce(1000, 'far');
    const ids: unknown[] = [];
    const last = relay.heard((message) => {
      if (message.type === 'response') ids.push(message.id);
      return message.id === 9;
    });
    for (let id = 0; id < 10; id += 1) {
      relay.say({ type: 'syscall', agent_id: 1000, opcode: 0xfe, payload: 'e30=', id });
    }
    await last;
    expect(ids).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('nonsense of every kind ends nothing', async () => {
    await boot();
    await connect();
    await announce(1000, 'far');
    for (const nonsense of [
      '',
      '{',
      'null',
      '[]',
      '7',
      '{"type":7}',
      '{"type":"unheard_of"}',
      '{"type":"syscall"}',
      '{"type":"syscall","agent_id":-1,"opcode":2}',
      '{"type":"syscall","agent_id":1000,"opcode":999,"payload":""}',
      '{"type":"syscall","agent_id":1000,"opcode":2,"payload":7}',
      '{"type":"remote_list","agents":"all"}',
      '['.repeat(200_000),
      '{"type":"agent_connected","agent_id":1e308,"name":{}}',
      '{"type":"auth_ok"}',
    ]) {
      relay.say(nonsense);
    }
    relay.kernel.send(Buffer.from([0xff, 0x00, 0xfe]));
    const { sent } = { sent: relay.call(1000, 'STORE', '{"key":"a","key":"b"}') };
    expect(await sent).toMatchObject({ success: false, code: 'BAD_REQUEST' });
    expect(await relay.call(1000, 'HELLO', '')).toMatchObject({ success: true });
    expect(await operator.call('TUNNEL_STATUS')).toMatchObject({ connected: true, losses: 0 });
  });

  it('a payload that is too large is refused; a message that is too large ends the connection, which comes back', async () => {
    await boot();
    await connect();
    await announce(1000, 'far');
    expect(await relay.call(1000, 'STORE', 'x'.repeat(2 ** 20 + 1))).toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
    });
    expect(await relay.call(1000, 'NOOP', 'still here')).toEqual({ text: 'still here' });
    relay.say('x'.repeat(8 * 2 ** 20));
    await until(async () => {
      const { connected, losses } = await operator.call('TUNNEL_STATUS');
      return connected && losses === 1;
    });
  });

  it('an answer that is more than the relay takes is an error, not the end of the tunnel', async () => {
    await boot();
    await connect();
    const id = await announce(1000, 'far');
    await operator.call('STORE', { key: 'big', value: 'x'.repeat(900_000) });
    expect(await operator.call('GET_PERMS', { agent_id: id })).toMatchObject({ success: true });
    expect(await relay.call(1000, 'FETCH', { key: 'big' })).toMatchObject({
      success: false,
      code: 'PAYLOAD_TOO_LARGE',
    });
    expect(await operator.call('TUNNEL_STATUS')).toMatchObject({ connected: true, losses: 0 });
  });

  it('a flood of calls is refused with OVERLOAD, in order, while others are served', async () => {
    await boot();
    await connect();
    await announce(1000, 'flood');
    await announce(1001, 'calm');
    const answers: Answer[] = [];
    const COUNT = 400;
    const all = relay.heard((message) => {
      if (message.type === 'response' && message.agent_id === 1000) answers.push(message);
      return answers.length === COUNT;
    });
    // One that waits, and all others behind it.
    for (let id = 0; id < COUNT; id += 1) {
      const request = id === 0 ? { wait: true, timeout_ms: 1500 } : {};
      relay.say({
        type: 'syscall',
        agent_id: 1000,
        opcode: 0x21,
        payload: Buffer.from(JSON.stringify(request)).toString('base64'),
        id,
      });
    }
    expect(await relay.call(1001, 'HELLO', {})).toMatchObject({ success: true });
    expect(await operator.call('HELLO')).toMatchObject({ success: true });
    await all;
    expect(answers.map(({ id }) => id)).toEqual(Array.from({ length: COUNT }, (_, id) => id));
    const codes = answers.map(({ payload }) => JSON.parse(Buffer.from(payload, 'base64').toString()).code);
    expect(codes.filter((code) => code === 'OVERLOAD').length).toBe(COUNT - 64);
    expect(codes[0]).toBeUndefined();
  });

  it('an agent that goes on calling without taking answers is let go, alone', async () => {
    await boot();
    await connect();
    await announce(1000, 'greedy');
    await announce(1001, 'calm');
    for (let id = 0; id < 1200; id += 1) {
      const payload = Buffer.from('{"wait":true}').toString('base64');
      relay.say({ type: 'syscall', agent_id: 1000, opcode: 0x21, payload, id });
    }
    await until(async () => (await operator.call('TUNNEL_LIST_REMOTES')).count === 1);
    expect(await relay.call(1001, 'HELLO', {})).toMatchObject({ success: true });
  });

  it('more agents than there is room for are not let in', async () => {
    await boot({ tunnel: { ...QUICK, maxRemotes: 3 } });
    await connect();
    for (let id = 1000; id < 1010; id += 1)
      relay.say({ type: 'agent_connected', agent_id: id, name: `a${id}` });
    await until(async () => (await operator.call('TUNNEL_STATUS')).refused_agents === 7);
    expect(await operator.call('TUNNEL_STATUS')).toMatchObject({ remote_agent_count: 3 });
    expect(await relay.call(1009, 'HELLO', {})).toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('losing the relay', () => {
  it('that is killed: agents are gone, their calls are called off, and the tunnel comes back when the relay does', async () => {
    await boot();
    await connect();
    const id = await announce(1000, 'far');
    relay.say({
      type: 'syscall',
      agent_id: 1000,
      opcode: 0x21,
      payload: Buffer.from('{"wait":true}').toString('base64'),
    });
    const { port } = relay;
    await relay.kill();
    await until(async () => (await operator.call('TUNNEL_STATUS')).state === 'reconnecting');
    expect(await operator.call('TUNNEL_STATUS')).toMatchObject({
      connected: false,
      remote_agent_count: 0,
      losses: 1,
    });
    expect(await operator.call('SEND', { to: id, message: 1 })).toMatchObject({ code: 'NOT_FOUND' });
    relay = await startRelay({ port, machines: { 'm-1': 'secret-of-m1' } });
    await until(async () => (await operator.call('TUNNEL_STATUS')).connected);
    // Numbers of a relay that was started again begin anew, and mean somebody else.
    const other = await announce(1000, 'far');
    expect(other).not.toBe(id);
    expect(await relay.call(1000, 'HELLO', {})).toMatchObject({ agent_id: other });
  });

  it('that is there and says nothing any more: it is found out and left', async () => {
    await boot({ tunnel: { ...QUICK, deadMs: 500 } });
    await connect();
    relay.isMute = true;
    await until(async () => {
      const { entries } = await operator.call('GET_AUDIT_LOG', { category: 'SECURITY', limit: 1000 });
      return entries.some(
        (entry: Answer) => entry.event_type === 'TUNNEL_LOST' && /silent/.test(entry.details.reason),
      );
    });
    relay.isMute = false;
    await until(async () => (await operator.call('TUNNEL_STATUS')).connected);
  });

  it('agents that are there when the kernel comes back are known from the relay’s list, also their calls that were faster', async () => {
    await boot();
    await connect();
    const { url } = relay;
    const { WebSocket } = await import('ws');
    const agent = new WebSocket(url);
    await new Promise((resolve) => agent.once('open', resolve));
    const messages: Answer[] = [];
    agent.on('message', (data: Buffer) => messages.push(JSON.parse(data.toString())));
    agent.send(JSON.stringify({ type: 'agent_auth', name: 'ws', token: 't', target_machine: 'm-1' }));
    await until(() => messages.some(({ type }) => type === 'auth_ok'));
    relay.kernel.terminate();
    await until(() => messages.some(({ type }) => type === 'kernel_disconnected'));
    await until(async () => (await operator.call('TUNNEL_STATUS')).remote_agent_count === 1);
    agent.send(JSON.stringify({ type: 'syscall', opcode: 0xfe, payload: 'e30=', id: 'h' }));
    await until(() => messages.some(({ type, id }) => type === 'response' && id === 'h'));
    agent.close();
  });

  it('a kernel that stops leaves the relay, and no process behind', async () => {
    await boot();
    await connect();
    const id = await announce(1000, 'far');
    await operator.call('SET_PERMS', { agent_id: id, permissions: { exec: ['*'] } });
    expect(await relay.call(1000, 'EXEC', { command: 'true' })).toMatchObject({ success: true });
    await kernel.running.close();
    await until(() => !relay.hasKernel);
  });
});

describe('from one kernel to the next', () => {
  it('what TUNNEL_CONFIG set holds, below what a kernel is started with; nothing else is kept', async () => {
    const dataDirectory = mkdtempSync(path.join(tmpdir(), 'clove-tunnel-'));
    try {
      await boot({ dataDirectory });
      await operator.call('TUNNEL_CONFIG', {
        relay_url: relay.url,
        machine_id: 'm-1',
        token: 'secret-of-m1',
        remote_level: 'readonly',
      });
      await operator.call('TUNNEL_CONFIG', { max_remotes: 7 });
      await kernel.close();

      await boot({ dataDirectory });
      expect(await operator.call('TUNNEL_STATUS')).toMatchObject({ connected: false, relay_url: relay.url });
      expect(await operator.call('TUNNEL_CONNECT')).toMatchObject({ success: true, machine_id: 'm-1' });
      expect(await operator.call('TUNNEL_CONFIG')).toMatchObject({
        has_token: true,
        remote_level: 'readonly',
        max_remotes: 7,
        // As this kernel has it, not as a default.
        reconnect_interval: QUICK.reconnectMs / 1000,
      });
      await kernel.close();

      await boot({ dataDirectory, tunnel: { ...QUICK, machineId: 'm-2' } });
      expect(await operator.call('TUNNEL_STATUS')).toMatchObject({ relay_url: relay.url, machine_id: 'm-2' });
    } finally {
      rmSync(dataDirectory, { recursive: true, force: true });
    }
  });

  it('one that is told to connect when it starts goes on trying until the relay is there', async () => {
    const later = await TestRelay.start({ machines: { 'm-1': 'secret-of-m1' } });
    const { url } = later;
    await later.close();
    const target = { relayUrl: url, machineId: 'm-1', token: 'secret-of-m1' };
    await boot({ tunnel: { ...QUICK, ...target, connectAtStart: true } });
    await until(async () => (await operator.call('TUNNEL_STATUS')).last_error !== null);
    expect(await operator.call('TUNNEL_STATUS')).toMatchObject({ connected: false, state: 'reconnecting' });
    await startRelay({ machines: { 'm-1': 'secret-of-m1' }, port: Number(new URL(url).port) });
    await until(async () => (await operator.call('TUNNEL_STATUS')).connected);
    expect(await operator.call('TUNNEL_DISCONNECT')).toMatchObject({ success: true });
    expect(await operator.call('TUNNEL_STATUS')).toMatchObject({ state: 'disconnected' });
  });
});
