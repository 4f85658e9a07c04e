import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { OPCODES } from '../../kernel/protocol/opcodes.ts';
import { ScriptedKernel, type ScriptedRequest } from '../testing/scripted-kernel.ts';
import { type CloveClient, connect } from './index.ts';
import type { ClientOptions } from './types.ts';

const open: { close(): Promise<void> }[] = [];

afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

async function kernel(...settings: ConstructorParameters<typeof ScriptedKernel>): Promise<ScriptedKernel> {
  const scripted = new ScriptedKernel(...settings);
  open.push(scripted);
  return scripted.start();
}

async function client(to: ScriptedKernel, options: ClientOptions = {}): Promise<CloveClient> {
  const connected = await connect({ socketPath: to.socketPath, ...options });
  open.push(connected);
  return connected;
}

const code = (expected: string): object => expect.objectContaining({ code: expected }) as object;

describe('calls', () => {
  it('find their answers, however many there are at once', async () => {
    const clove = await client(await kernel());
    const texts = Array.from({ length: 2000 }, (_, at) => `call ${at} ${'x'.repeat(at % 97)}`);
    expect(await Promise.all(texts.map((text) => clove.echo(text)))).toEqual(texts);
  });

  it('reject with the kernel’s error by its code, hint and details', async () => {
    const scripted = await kernel((request) => {
      if (request.name !== 'SEND') return false;
      request.answer({
        success: false,
        error: 'mailbox of x is full',
        code: 'OVERLOAD',
        hint: 'later',
        details: { messages: 3 },
        delivered: false,
      });
      return true;
    });
    const clove = await client(scripted);
    await expect(clove.send('x', 1)).rejects.toMatchObject({
      name: 'CloveError',
      code: 'OVERLOAD',
      message: 'mailbox of x is full',
      hint: 'later',
      details: { messages: 3 },
    });
  });

  it('take a command that failed for an answer, and a command that was refused for an error', async () => {
    const ended = { success: false, exit_code: 3, stdout: 'out', stderr: '', timed_out: false };
    const refused = { success: false, exit_code: -1, stdout: '', error: 'no', code: 'FORBIDDEN' };
    const answers: unknown[] = [ended, refused];
    const scripted = await kernel((request) => {
      if (request.name !== 'EXEC') return false;
      request.answer(answers.shift());
      return true;
    });
    const clove = await client(scripted);
    expect(await clove.exec('x')).toEqual(ended);
    await expect(clove.exec('x')).rejects.toEqual(code('FORBIDDEN'));
  });

  it('time out by themselves, and the late answer is not taken for the next one’s', async () => {
    let late: ScriptedRequest | null = null;
    const scripted = await kernel((request) => {
      if (request.name !== 'FETCH') return false;
      const { key } = request.body as { key: string };
      if (key === 'slow') late = request;
      else {
        late?.answer({ success: true, found: true, value: 'slow' });
        request.answer({ success: true, found: true, value: key });
      }
      return true;
    });
    const clove = await client(scripted);
    await expect(clove.fetch('slow', { timeoutMs: 20 })).rejects.toEqual(code('TIMEOUT'));
    expect(await Promise.all([clove.fetch('a'), clove.fetch('b')])).toEqual(['a', 'b']);
    expect(scripted.connections).toBe(1);
  });

  it('get their own answer or none, however late answers come and whoever gives up', async () => {
    const scripted = await kernel((request) => {
      if (request.name !== 'FETCH') return false;
      const { key } = request.body as { key: string };
      setTimeout(() => request.answer({ success: true, found: true, value: key }), Number(key.split(' ')[1]));
      return true;
    });
    const clove = await client(scripted);
    const call = fc.record({
      answerAfterMs: fc.nat(6),
      timeoutMs: fc.option(fc.integer({ min: 1, max: 6 })),
      abortAfterMs: fc.option(fc.nat(6)),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(call, { minLength: 1, maxLength: 40, size: 'max' }), async (calls) => {
        const outcomes = calls.map(async ({ answerAfterMs, timeoutMs, abortAfterMs }, at) => {
          const key = `${at} ${answerAfterMs}`;
          const signal = abortAfterMs === null ? undefined : AbortSignal.timeout(abortAfterMs);
          try {
            expect(await clove.fetch(key, { timeoutMs, signal })).toBe(key);
          } catch (error) {
            expect(error).toMatchObject({ name: 'CloveError' });
            const { code: reason } = error as { code: string };
            expect([timeoutMs === null ? null : 'TIMEOUT', signal && 'CANCELLED']).toContain(reason);
          }
        });
        await Promise.all(outcomes);
        expect(await clove.echo('in step')).toBe('in step');
      }),
      { numRuns: 30 },
    );
    expect(scripted.connections).toBe(1);
  });

  it('are cancelled by a signal, before and after they were sent', async () => {
    const scripted = await kernel((request) => request.name === 'FETCH');
    const clove = await client(scripted);
    await expect(clove.fetch('k', { signal: AbortSignal.abort() })).rejects.toEqual(code('CANCELLED'));
    expect(scripted.requests.map((request) => request.name)).toEqual(['HELLO']);
    const abort = new AbortController();
    const call = clove.fetch('k', { signal: abort.signal });
    await sleep(10);
    abort.abort();
    await expect(call).rejects.toEqual(code('CANCELLED'));
  });

  it('that are too large are refused before anything is sent', async () => {
    const scripted = await kernel();
    const clove = await client(scripted);
    await expect(clove.store('k', 'x'.repeat(2 ** 20))).rejects.toEqual(code('PAYLOAD_TOO_LARGE'));
    await expect(clove.echo('ä'.repeat(600_000))).rejects.toEqual(code('PAYLOAD_TOO_LARGE'));
    expect(await clove.echo('x'.repeat(2 ** 20))).toHaveLength(2 ** 20);
    expect(await clove.echo('still there')).toBe('still there');
  });

  it('all reject with the reason when the connection breaks, and none is repeated', async () => {
    const scripted = await kernel((request) => {
      if (request.name === 'STORE') return true;
      if (request.name !== 'DELETE') return false;
      request.drop();
      return true;
    });
    const clove = await client(scripted);
    const calls = [clove.store('a', 1), clove.store('b', 2), clove.delete('c')];
    for (const outcome of await Promise.allSettled(calls)) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'DISCONNECTED' } });
    }
    expect(await clove.echo('again')).toBe('again');
    const names = scripted.requests.map((request) => request.name);
    expect(names.filter((name) => name === 'STORE')).toHaveLength(2);
  });

  it.each([
    ['of another opcode', (request: ScriptedRequest) => request.answerRaw(OPCODES.STORE, '{}'), 'PROTOCOL'],
    ['that is not JSON', (request: ScriptedRequest) => request.answer('{"success":tru'), 'PROTOCOL'],
    [
      'larger than allowed',
      (request: ScriptedRequest) => request.answerRaw(OPCODES.FETCH, Buffer.alloc(5000, 0x20)),
      'PAYLOAD_TOO_LARGE',
    ],
  ])('reject an answer %s', async (_what, answer, expected) => {
    const scripted = await kernel((request) => {
      if (request.name !== 'FETCH') return false;
      answer(request);
      return true;
    });
    const clove = await client(scripted, { maxAnswerBytes: 4096 });
    await expect(clove.fetch('k')).rejects.toEqual(code(expected));
  });

  it('do not keep a client that was closed alive', async () => {
    const scripted = await kernel((request) => request.name === 'FETCH');
    const clove = await client(scripted);
    const call = clove.fetch('k');
    await clove.close();
    await expect(call).rejects.toEqual(code('CANCELLED'));
    await expect(clove.echo('x')).rejects.toEqual(code('CANCELLED'));
    expect(clove.closed).toBe(true);
  });
});

describe('a lost connection', () => {
  it('is made again; names and subscriptions are renewed before anything else is sent', async () => {
    const scripted = await kernel((request) => {
      if (request.name !== 'SUBSCRIBE') return false;
      request.answer({ success: true, subscribed: [], subscriptions: ['AGENT_EXITED', 'mine'] });
      return true;
    });
    const clove = await client(scripted);
    await clove.register('worker');
    await clove.register('also-me');
    await clove.subscribe(['AGENT_EXITED', 'mine']);
    await scripted.stop();
    await expect.poll(() => clove.connected).toBe(false);
    const waiting = clove.echo('after');
    await sleep(30);
    const before = scripted.requests.length;
    await scripted.start();
    expect(await waiting).toBe('after');
    expect(scripted.requests.slice(before).map(({ name, body }) => [name, body])).toEqual([
      ['HELLO', {}],
      ['REGISTER', { name: 'worker' }],
      ['REGISTER', { name: 'also-me' }],
      ['SUBSCRIBE', { event_types: ['AGENT_EXITED', 'mine'] }],
      ['NOOP', 'after'],
    ]);
  });

  it('says when a name was taken by another meanwhile', async () => {
    let taken = false;
    const scripted = await kernel((request) => {
      if (request.name !== 'REGISTER' || !taken) return false;
      request.answer({ success: false, error: 'name already registered', code: 'CONFLICT' });
      return true;
    });
    const warnings: string[] = [];
    const clove = await client(scripted, { onWarning: (warning) => warnings.push(warning.message) });
    await clove.register('worker');
    taken = true;
    scripted.dropAll();
    await expect.poll(() => scripted.connections).toBe(2);
    expect(await clove.echo('x')).toBe('x');
    expect(warnings).toEqual(['after a reconnect: REGISTER {"name":"worker"}: name already registered']);
  });

  it('is not made again in a tight loop by a kernel that drops every connection', async () => {
    const scripted = await kernel((request) => {
      if (request.name !== 'RECV') return false;
      request.drop();
      return true;
    });
    const clove = await client(scripted, { reconnect: { initialMs: 20 } });
    const ended = (async () => {
      for await (const message of clove.messages()) throw new Error(`unexpected ${JSON.stringify(message)}`);
    })();
    scripted.dropAll();
    scripted.script = (request) => {
      request.drop();
      return true;
    };
    await sleep(300);
    await clove.close();
    await ended;
    // At once, then after pauses of 10 to 30, 20 to 60, 40 to 120, 80 to 240 ms …
    expect(scripted.connections).toBeLessThan(12);
  });

  it('ends calls made meanwhile by their own time limit, and all of them when nobody comes back', async () => {
    const scripted = await kernel();
    const patient = await client(scripted, { reconnect: { initialMs: 5 } });
    const impatient = await client(scripted, { reconnect: { initialMs: 5, giveUpMs: 50 } });
    await scripted.stop();
    await expect.poll(() => patient.connected || impatient.connected).toBe(false);
    await expect(patient.echo('x', { timeoutMs: 10 })).rejects.toEqual(code('TIMEOUT'));
    await expect(impatient.echo('x')).rejects.toEqual(code('UNREACHABLE'));
    await expect(impatient.echo('x')).rejects.toEqual(code('UNREACHABLE'));
  });

  it('stays lost where reconnecting was switched off', async () => {
    const scripted = await kernel();
    const clove = await client(scripted, { reconnect: false });
    scripted.dropAll();
    await expect.poll(() => clove.connected).toBe(false);
    await expect(clove.echo('x')).rejects.toEqual(code('DISCONNECTED'));
    expect(scripted.connections).toBe(1);
  });

  it('is not what connect() waits for, unless it is told to', async () => {
    const scripted = await kernel();
    await scripted.stop();
    await expect(connect(scripted.socketPath)).rejects.toEqual(code('UNREACHABLE'));
    const patient = connect({ socketPath: scripted.socketPath, connectRetryMs: 5000 });
    await sleep(50);
    await scripted.start();
    open.push(await patient);
  });
});

describe('calls that wait', () => {
  const empty = { success: true, messages: [], count: 0 };

  it('do not hold up other calls of an agent: each has a connection of its own', async () => {
    const waiting: ScriptedRequest[] = [];
    const scripted = await kernel((request) => {
      if (request.name !== 'RECV' && request.name !== 'WAIT') return false;
      waiting.push(request);
      return true;
    });
    const clove = await client(scripted);
    const calls = [clove.receive({ wait: true }), clove.wait('x'), clove.receive({ wait: true })];
    await expect.poll(() => waiting.length).toBe(3);
    expect(await clove.echo('meanwhile')).toBe('meanwhile');
    for (const request of waiting) request.answer(empty);
    await Promise.all(calls);
    expect(new Set(waiting.map((request) => request.connection)).size).toBe(3);
    // Idle connections are used again.
    const again = clove.receive({ wait: true });
    await expect.poll(() => waiting.length).toBe(4);
    waiting[3]?.answer(empty);
    await again;
    expect(scripted.connections).toBe(4);
  });

  it('end in the kernel too when they are given up', async () => {
    const scripted = await kernel((request) => request.name === 'RECV');
    const clove = await client(scripted);
    const abort = new AbortController();
    const call = clove.receive({ wait: true, signal: abort.signal });
    await expect.poll(() => scripted.openConnections).toBe(2);
    abort.abort();
    await expect(call).rejects.toEqual(code('CANCELLED'));
    await expect.poll(() => scripted.openConnections).toBe(1);
  });

  it('let the kernel keep the time: its end is an answer', async () => {
    const scripted = await kernel((request) => {
      if (request.name !== 'RECV') return false;
      expect(request.body).toEqual({ max: 10, wait: true, timeout_ms: 250 });
      request.answer(empty);
      return true;
    });
    expect(await (await client(scripted)).receive({ wait: true, timeoutMs: 249.5 })).toEqual([]);
  });

  it('share the one connection of a client that is no agent, a little at a time', async () => {
    let asked = 0;
    const scripted = await kernel((request) => {
      if (request.name !== 'RECV') return false;
      const { timeout_ms: timeoutMs } = request.body as { timeout_ms: number };
      expect(timeoutMs).toBeLessThanOrEqual(20);
      asked += 1;
      const message = asked === 5 ? [{ message: 'there' }] : [];
      setTimeout(
        () => request.answer({ success: true, messages: message, count: message.length }),
        timeoutMs,
      );
      return true;
    }, 2 ** 30);
    const clove = await client(scripted);
    const received = clove.receive({ wait: true });
    expect(await clove.echo('meanwhile')).toBe('meanwhile');
    expect(await received).toEqual([{ message: 'there' }]);
    expect(scripted.connections).toBe(1);
    const abort = new AbortController();
    const given = clove.receive({ wait: true, signal: abort.signal });
    abort.abort();
    await expect(given).rejects.toEqual(code('CANCELLED'));
  });

  it('iterate over messages; leaving the loop loses none', async () => {
    const batches = [['a', 'b', 'c'], ['d']];
    const scripted = await kernel((request) => {
      if (request.name !== 'RECV') return false;
      const messages = (batches.shift() ?? []).map((message) => ({ message }));
      if (messages.length > 0) request.answer({ success: true, messages, count: messages.length });
      return true;
    });
    const clove = await client(scripted);
    const seen: unknown[] = [];
    for await (const { message } of clove.messages()) {
      seen.push(message);
      break;
    }
    expect((await clove.receive({ max: 1 })).map((each) => each.message)).toEqual(['b']);
    for await (const { message } of clove.messages()) {
      seen.push(message);
      if (message === 'd') void clove.close();
    }
    expect(seen).toEqual(['a', 'c', 'd']);
  });

  it('iterate on after a reconnect', async () => {
    let connection = -1;
    const scripted = await kernel((request) => {
      if (request.name !== 'POLL_EVENTS') return false;
      connection = request.connection;
      if (scripted.requests.filter(({ name }) => name === 'POLL_EVENTS').length === 1) request.drop();
      else request.answer({ success: true, events: [{ type: 'CUSTOM' }], count: 1, dropped: 2 });
      return true;
    });
    const warnings: string[] = [];
    const clove = await client(scripted, { onWarning: (warning) => warnings.push(warning.message) });
    for await (const event of clove.events()) {
      expect(event).toEqual({ type: 'CUSTOM' });
      break;
    }
    expect(connection).toBeGreaterThan(1);
    expect(warnings).toEqual(['2 events were dropped']);
  });

  it.each([
    ['an agent', 7, 12],
    ['another client', 2 ** 30, 256],
  ])('are bounded in number for %s', async (_who, id, most) => {
    const scripted = await kernel((request) => request.name === 'WAIT', id);
    const clove = await client(scripted);
    const calls = Array.from({ length: most + 1 }, () => clove.wait('x'));
    await expect(Promise.race(calls)).rejects.toEqual(code('OVERLOAD'));
    await expect.poll(() => scripted.openConnections).toBe(most + 1);
    await clove.close();
    for (const outcome of await Promise.allSettled(calls)) expect(outcome.status).toBe('rejected');
  });
});
