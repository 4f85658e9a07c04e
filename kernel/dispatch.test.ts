import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callingAgent, type TestClient, TestKernel, until } from './fixture.ts';
import { FIRST_CLIENT_ID } from './identity.ts';
import { OPCODES, type SyscallName } from './protocol/opcodes.ts';
import { SYSCALL_BY_OPCODE } from './syscalls/table.ts';

let kernel: TestKernel;
let client: TestClient;

beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
});
afterAll(() => kernel.close());

/** EXIT and NOOP answer with bytes; LIST with a bare array. */
const RAW: readonly number[] = [OPCODES.NOOP, OPCODES.EXIT];

describe('every opcode', () => {
  it('answers every odd payload with one typed answer, and the connection lives on', async () => {
    const payloads: (string | Uint8Array)[] = [
      '',
      '{}',
      '[]',
      'null',
      '0',
      '"x"',
      '-1e999',
      '{"id":"1","name":5,"key":[],"max":"ten","command":7,"script":{},"event_types":{},"message":{}}',
      '{"id":9007199254740993}',
      '{"id":1.5}',
      `{"key":"${'k'.repeat(100_000)}"}`,
      Buffer.from([0x22, 0xff, 0xfe, 0x22]),
      `${'['.repeat(5000)}`,
      '{"__proto__":{"x":1}}',
      '{"a":1,"a":2}',
      '\0',
    ];
    for (let opcode = 0; opcode < 256; opcode += 1) {
      for (const payload of payloads) {
        const text = await client.callText(opcode, payload);
        if (RAW.includes(opcode)) continue;
        const answer = JSON.parse(text);
        if (Array.isArray(answer)) continue;
        expect(answer).toHaveProperty('success');
        if (answer.success === false && opcode !== OPCODES.EXEC) {
          expect(answer.error, `opcode ${opcode}`).toBeTypeOf('string');
          expect(answer.code).toMatch(/^[A-Z_]+$/);
          expect(answer.code).not.toBe('INTERNAL');
        }
        if (!SYSCALL_BY_OPCODE.has(opcode)) expect(answer.code).toBe('UNKNOWN_SYSCALL');
      }
    }
    expect(await client.callText(OPCODES.NOOP, 'alive')).toBe('alive');
  });

  it('takes a payload of the largest size, and no larger one', async () => {
    const largest = `{"key":"${'k'.repeat(2 ** 20 - 10)}"}`;
    expect(Buffer.byteLength(largest)).toBe(2 ** 20);
    for (const opcode of SYSCALL_BY_OPCODE.keys()) {
      const text = await client.callText(opcode, largest);
      if (!RAW.includes(opcode)) expect(JSON.parse(text).code).not.toBe('INTERNAL');
    }
    const other = await kernel.connect();
    const answer = JSON.parse(await other.callText(OPCODES.STORE, `${largest} `));
    expect(answer).toMatchObject({ success: false, error: expect.any(String) });
    await expect(other.call('HELLO')).rejects.toThrow('connection ended');
    expect(await client.callText(OPCODES.NOOP, 'alive')).toBe('alive');
  });

  it('survives generated JSON of every shape', async () => {
    // Not SPAWN and EXEC with valid requests: those would start things.
    const names = Object.keys(OPCODES).filter((name) => name !== 'NOOP' && name !== 'EXIT') as SyscallName[];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...names), fc.jsonValue({ maxDepth: 3 }), async (name, value) => {
        const answer = await client.call(name, value);
        expect(Array.isArray(answer) || 'success' in answer).toBe(true);
        if (!Array.isArray(answer)) expect(answer.code).not.toBe('INTERNAL');
      }),
      { numRuns: 400 },
    );
  });

  it('is answered under the caller’s own id, whatever the header claims', async () => {
    const frame = await client.raw.call({ opcode: OPCODES.NOOP, agentId: 42, payload: 'x' });
    expect(frame.agentId).toBeGreaterThanOrEqual(FIRST_CLIENT_ID);
    const other = await kernel.connect();
    const theirs = await other.raw.call({ opcode: OPCODES.HELLO });
    expect(theirs.agentId).not.toBe(frame.agentId);
  });
});

describe('the form of answers', () => {
  it('is compact JSON with ascending keys', async () => {
    for (const opcode of [OPCODES.HELLO, OPCODES.KILL, 0x51]) {
      const text = await client.callText(opcode, '{}');
      const keys = Object.keys(JSON.parse(text));
      expect(keys).toEqual(keys.toSorted());
      expect(text).toBe(JSON.stringify(JSON.parse(text)));
    }
  });

  it('of errors has success, error and code, and what clients read besides', async () => {
    expect(await client.call('KILL', { name: 'nobody' })).toMatchObject({
      success: false,
      killed: false,
      agent_id: 0,
      code: 'NOT_FOUND',
    });
    expect(await client.call('READ', {})).toEqual({
      success: false,
      error: 'path required',
      code: 'BAD_REQUEST',
      content: '',
      size: 0,
    });
    expect((await client.call('KILL', { id: 'one' })).error).toMatch(/^invalid request: id: /);
  });
});

describe('a fault of a handler', () => {
  it('is an answer and a log line, never the end of the kernel, and tells an agent nothing', async () => {
    const { state } = kernel.running.kernel;
    const fetch = state.fetch;
    state.fetch = () => {
      throw new TypeError('boom at /secret/path');
    };
    try {
      expect(await client.call('FETCH', { key: 'a' })).toMatchObject({
        success: false,
        code: 'INTERNAL',
        error: 'boom at /secret/path',
        exists: false,
      });
      const { stdout } = await client.run(callingAgent([['FETCH', { key: 'a' }]]));
      expect(JSON.parse(stdout)[0].answer).toMatchObject({ code: 'INTERNAL', error: 'internal error' });
    } finally {
      state.fetch = fetch;
    }
    expect(await client.call('FETCH', { key: 'a' })).toMatchObject({ success: true });
  });
});

describe('requests of one connection', () => {
  it('are answered in their order, and file effects happen in it', async () => {
    const file = `${kernel.folder}/order.txt`;
    for (let n = 0; n < 50; n += 1)
      client.send('WRITE', { path: file, content: `${n},`, mode: n === 0 ? 'write' : 'append' });
    client.send('READ', { path: file });
    for (let n = 0; n < 50; n += 1) expect(await client.next()).toMatchObject({ success: true });
    expect((await client.next()).content).toBe(Array.from({ length: 50 }, (_, n) => `${n},`).join(''));
  });

  it('do not wait for one that waits', async () => {
    const { id } = await client.spawn({ command: ['/bin/sleep', '30'] });
    client.send('WAIT', { id });
    client.send('KILL', { id, grace_ms: 0 });
    expect(await client.next()).toMatchObject({ reason: 'killed', agent_id: id });
    expect(await client.next()).toMatchObject({ killed: true });
  });

  it('end with it: a wait on a closed connection leaves nothing behind', async () => {
    const { id } = await client.spawn({ command: ['/bin/sleep', '30'] });
    const leaving = await kernel.connect();
    leaving.send('WAIT', { id });
    leaving.send('RECV', { wait: true });
    await new Promise((resolve) => setTimeout(resolve, 20));
    await leaving.close();
    expect(await client.call('KILL', { id, grace_ms: 0 })).toMatchObject({ killed: true });
  });
});

describe('a flood of requests', () => {
  it('of one agent over many connections does not keep others waiting for its end', async () => {
    const source = `
      const net = require('node:net');
      const body = Buffer.from('{"key":"none"}');
      const frame = Buffer.alloc(17);
      frame.writeUInt32LE(0x41474e54, 0); frame[8] = ${OPCODES.FETCH}; frame.writeUInt32LE(body.length, 9);
      const many = Buffer.concat(Array.from({ length: 500 }, () => Buffer.concat([frame, body])));
      for (let n = 0; n < 12; n += 1) {
        const socket = net.connect(process.env.CLOVE_SOCKET);
        const flood = () => { while (socket.write(many)); };
        socket.on('data', () => {}).on('error', () => {}).on('drain', flood);
        flood();
      }`;
    const { dispatcher, agents } = kernel.running.kernel;
    const { id } = await client.spawn({ command: ['node', '-e', source] });
    const counters = agents.get(id)?.counters;
    await until(() => (counters?.syscalls ?? 0) > 20_000);
    const before = dispatcher.counters.served;
    for (let n = 0; n < 30; n += 1) expect(await client.call('HELLO')).toMatchObject({ success: true });
    // It takes its turns in between, no more: far fewer than what it keeps waiting at any time would be served first.
    expect((dispatcher.counters.served - before) / 30).toBeLessThan(10_000);
    await client.call('KILL', { id, grace_ms: 0 });
  });
});

describe('an agent', () => {
  it('is known by its socket, holds its own things only, and every refusal is an event', async () => {
    await client.call('SUBSCRIBE', { event_types: ['SYSCALL_BLOCKED'] });
    const forbidden: SyscallName[] = [
      'SPAWN',
      'KILL',
      'LIST',
      'PAUSE',
      'RESUME',
      'WAIT',
      'LOGS',
      'METRICS_SYSTEM',
      'METRICS_ALL_AGENTS',
    ];
    const calls = forbidden.map((name) => [name, { id: 1, command: ['/bin/true'] }] as const);
    const exit = await client.run({
      name: 'limited',
      ...callingAgent([['HELLO', {}, 99], ...calls, ['NOOP', 'ping', 77], ['STORE', { key: 'a', value: 1 }]]),
    });
    expect(exit.stderr).toBe('');
    const answers = JSON.parse(exit.stdout);
    const [hello, ...rest] = answers;
    expect(hello.answer).toMatchObject({ agent_id: exit.agent_id, agent_name: 'limited', pid: 0 });
    expect(hello.answer.capabilities).toContain('exec');
    expect(hello.answer.capabilities).not.toContain('agents.spawn');
    for (const { id } of answers) expect(id).toBe(exit.agent_id);
    for (const [index, name] of forbidden.entries()) {
      expect(rest[index].answer, name).toMatchObject({ success: false, code: 'FORBIDDEN' });
    }
    expect(rest.at(-2).answer).toBe('ping');
    expect(rest.at(-1).answer).toMatchObject({ success: true });
    const { events } = await client.call('POLL_EVENTS', {});
    expect(events.map((event: { data: { syscall: string } }) => event.data.syscall)).toEqual(forbidden);
    expect(events[0].data).toMatchObject({
      agent_id: exit.agent_id,
      name: 'limited',
      permission: 'agents.spawn',
    });
  });

  it('learns nothing of the host from an error', async () => {
    const exit = await client.run(
      callingAgent([
        ['READ', { path: '/etc/shadow' }],
        ['READ', { path: '/work/none' }],
        ['WRITE', { path: '/usr/x', content: '' }],
        ['EXEC', { argv: ['/none'] }],
      ]),
    );
    expect(exit.stdout).not.toContain(kernel.folder);
    for (const { answer } of JSON.parse(exit.stdout)) {
      expect(answer.success).toBe(false);
      expect(answer).not.toHaveProperty('details');
    }
  });
});
