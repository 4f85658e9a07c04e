import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeFrame } from '../kernel/wire/codec.ts';
import { RawClient, textOf } from '../kernel/wire/testing.ts';
import type { WireRequest } from './types.ts';
import {
  cleanUpAfterEach,
  closing,
  echo,
  FIRST_CONNECTION,
  inFolder,
  noMoreOpenFilesThan,
  OPTIONS,
  openFiles,
  RECV,
  STORE,
  serve,
  until,
} from './wire-testing.ts';

cleanUpAfterEach();

const connect = async (socketPath: string): Promise<RawClient> =>
  closing(await RawClient.connect(socketPath));

describe('NOOP', () => {
  it('comes back byte for byte, with the connection id in the header whatever the request claimed', async () => {
    const { socketPath, recorder } = serve(null);
    const client = await connect(socketPath);
    const payload = Uint8Array.from({ length: 256 }, (_, i) => i);
    for (const agentId of [0, 7, 0xffffffff]) {
      const answer = await client.call({ opcode: 0, agentId, payload });
      expect(answer).toMatchObject({ opcode: 0, agentId: FIRST_CONNECTION });
      expect(Buffer.from(answer.payload)).toEqual(Buffer.from(payload));
    }
    expect(recorder.requests).toEqual([]);
  });

  it('carries the agent id of the listener it came by', async () => {
    const { socketPath } = serve(echo, {}, { principal: 42 });
    const client = await connect(socketPath);
    expect((await client.call({ opcode: 0, agentId: 1 })).agentId).toBe(42);
    expect((await client.call({ opcode: STORE, payload: '{}' })).agentId).toBe(42);
  });

  it('takes payloads up to 1 MiB, also when they come byte by byte', async () => {
    const { socketPath } = serve(null);
    const client = await connect(socketPath);
    const large = Buffer.alloc(2 ** 20, 'x');
    expect(Buffer.from((await client.call({ opcode: 0, payload: large })).payload).equals(large)).toBe(true);
    const small = encodeFrame({ opcode: 0, payload: 'drip' });
    for (const byte of small) {
      client.write(Uint8Array.of(byte));
      await sleep(1);
    }
    expect(textOf(await client.next())).toBe('drip');
  });

  it('is counted, for the server and for the connection', async () => {
    const { socketPath, server, recorder } = serve(null);
    const client = await connect(socketPath);
    for (let i = 0; i < 3; i += 1) await client.call({ opcode: 0, payload: '12345' });
    expect(server.takeNativeCounts(FIRST_CONNECTION)).toBe(3);
    expect(server.takeNativeCounts(FIRST_CONNECTION)).toBe(0);
    const counters = {
      answeredNatively: 3,
      framesReceived: 3,
      framesSent: 3,
      bytesReceived: 66,
      bytesSent: 66,
    };
    expect(server.counters()).toMatchObject({ ...counters, connectionsOpen: 1, connectionsTotal: 1 });
    await client.call({ opcode: 0 });
    let atClose = -1;
    recorder.onClose = (connection) => {
      atClose = server.takeNativeCounts(connection);
    };
    await client.close();
    await until(() => atClose >= 0);
    expect(atClose).toBe(1);
    expect(server.takeNativeCounts(FIRST_CONNECTION)).toBe(0);
    expect(server.counters().connectionsOpen).toBe(0);
  });
});

describe('requests', () => {
  it('reach JavaScript with who is at the other end', async () => {
    const { socketPath, recorder } = serve(echo);
    const client = await connect(socketPath);
    expect(textOf(await client.call({ opcode: STORE, payload: '{"ключ":"ü"}' }))).toBe('{"ключ":"ü"}');
    expect(recorder.opened).toEqual([
      {
        connection: FIRST_CONNECTION,
        principal: 0,
        peer: { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() },
      },
    ]);
    expect(recorder.requests).toEqual([
      {
        connection: FIRST_CONNECTION,
        sequence: 1,
        opcode: STORE,
        payload: '{"ключ":"ü"}',
        refused: null,
      },
    ]);
  });

  it('are answered with text or bytes of any size', async () => {
    const large = Buffer.alloc(5 * 2 ** 20, 'ß');
    const { socketPath } = serve(({ payload }) =>
      payload === '1' ? large.toString() : payload === '2' ? large : new Uint8Array(0),
    );
    const client = await connect(socketPath);
    for (const payload of ['1', '2']) {
      const answer = await client.call({ opcode: STORE, payload });
      expect(Buffer.from(answer.payload).equals(large)).toBe(true);
    }
    expect((await client.call({ opcode: STORE, payload: '3' })).payload.length).toBe(0);
  });

  it('get valid UTF-8 whatever the text of the answer is', async () => {
    const { socketPath } = serve(() => 'a\ud800b');
    const client = await connect(socketPath);
    expect(textOf(await client.call({ opcode: STORE, payload: '1' }))).toBe('a\ufffdb');
  });

  it('are answered in their order, NOOPs included, however late the first answer is', async () => {
    const { socketPath, recorder } = serve(null);
    const client = await connect(socketPath);
    client.send({ opcode: 0, payload: 'at once' });
    client.send({ opcode: RECV, payload: '"slow"' });
    client.send({ opcode: STORE, payload: '"fast"' });
    client.send({ opcode: 0, payload: 'noop' });
    expect(textOf(await client.next())).toBe('at once');
    await until(() => recorder.requests.length === 2);
    const [slow, fast] = recorder.requests as [WireRequest, WireRequest];
    recorder.answer(fast, 'fast');
    await sleep(30);
    expect(client.unread).toEqual([]);
    recorder.answer(slow, 'slow');
    const answers = [await client.next(), await client.next(), await client.next()];
    expect(answers.map((answer) => [answer.opcode, textOf(answer)])).toEqual([
      [RECV, 'slow'],
      [STORE, 'fast'],
      [0, 'noop'],
    ]);
  });

  it('keep their order under any pipeline and any order of answers', async () => {
    const pending: WireRequest[] = [];
    const { socketPath, recorder } = serve(null, { limits: { outstandingRequests: 16 } });
    const client = await connect(socketPath);
    let pick = 0;
    recorder.onRequests = (requests) => {
      pending.push(...requests);
      setImmediate(() => {
        while (pending.length > 0) {
          const [request] = pending.splice(pick++ % pending.length, 1);
          if (request !== undefined) recorder.answer(request, request.payload);
        }
      });
    };
    const opcodes = fc.array(fc.constantFrom(0, STORE, RECV), { minLength: 1, maxLength: 200 });
    await fc.assert(
      fc.asyncProperty(opcodes, fc.nat(), async (sent, start) => {
        pick = start;
        client.write(
          Buffer.concat(
            sent.map((opcode, i) => encodeFrame({ opcode, payload: `${i}`.padStart(1 + (i % 7)) })),
          ),
        );
        for (const [i, opcode] of sent.entries()) {
          const answer = await client.next();
          expect([answer.opcode, Number(textOf(answer))]).toEqual([opcode, i]);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('that were sent before the peer left are still served, and its end is told after them', async () => {
    const { socketPath, recorder } = serve(echo);
    const client = await connect(socketPath);
    for (let i = 0; i < 2000; i += 1) client.send({ opcode: STORE, payload: `${i}` });
    client.socket.pause();
    await new Promise<void>((resolve) => client.socket.end(resolve));
    await client.close();
    await until(() => recorder.closed.length === 1);
    expect(recorder.requests.map(({ payload }) => Number(payload))).toEqual(
      Array.from({ length: 2000 }, (_, i) => i),
    );
    expect(recorder.log.at(0)).toBe('open 0');
    expect(recorder.log.at(-1)).toBe('close 0');
  });

  it('of a half-closed peer are answered before the connection ends', async () => {
    const { socketPath, recorder } = serve(null);
    const client = await connect(socketPath);
    client.send({ opcode: RECV, payload: '{}' });
    client.send({ opcode: 0, payload: 'last' });
    client.socket.end();
    await until(() => recorder.requests.length === 1);
    await sleep(20);
    expect(recorder.closed).toEqual([]);
    recorder.answer(recorder.requests[0] as WireRequest, 'late');
    expect(textOf(await client.next())).toBe('late');
    expect(textOf(await client.next())).toBe('last');
    await client.closed;
    await until(() => recorder.closed.length === 1);
  });

  it('answered twice or never made draw a warning and nothing else', async () => {
    const { socketPath, recorder } = serve(echo);
    const client = await connect(socketPath);
    await client.call({ opcode: STORE, payload: '1' });
    const warned = once(process, 'warning');
    recorder.answer(recorder.requests[0] as WireRequest, 'again');
    recorder.server?.respond(FIRST_CONNECTION, 99, STORE, 'never made');
    recorder.server?.respond(12345, 1, STORE, 'to nobody');
    const [warning] = await warned;
    expect(warning.code).toBe('CLOVE_WIRE_STRAY_ANSWER');
    expect(textOf(await client.call({ opcode: STORE, payload: '2' }))).toBe('2');
  });

  it('of every opcode with every kind of payload get exactly one answer and never end the connection', async () => {
    const { socketPath } = serve((request) => JSON.stringify({ refused: request.refused }));
    const client = await connect(socketPath);
    const payloads = ['', '{}', '[]', 'null', '0', '"x"', Buffer.alloc(2 ** 16, 'x'), Buffer.of(0xff, 0xfe)];
    for (const payload of payloads) {
      for (let opcode = 1; opcode < 256; opcode += 1) client.send({ opcode, payload });
      for (let opcode = 1; opcode < 256; opcode += 1) {
        const answer = await client.next();
        expect(answer.opcode).toBe(opcode);
        const { refused } = JSON.parse(textOf(answer));
        const isJson = typeof payload === 'string' || opcode === 0xff;
        if (isJson) expect(refused).toBeNull();
        else expect(refused).toMatch(payload.length === 2 ? /^invalid UTF-8/ : /^invalid JSON/);
      }
    }
  });
});

describe('who may connect', () => {
  it('only listed users', async () => {
    const { socketPath, server, recorder } = serve(echo, {}, { allowUids: [65_533, 65_532] });
    const client = await connect(socketPath);
    await expect(client.next()).rejects.toThrow('ended');
    expect(recorder.opened).toEqual([]);
    expect(server.counters()).toMatchObject({ connectionsRefused: 1, connectionsTotal: 0 });
    const uid = process.getuid?.() ?? 0;
    const second = serve(echo, {}, { allowUids: [65_533, uid] });
    expect(textOf(await (await connect(second.socketPath)).call({ opcode: 0, payload: 'in' }))).toBe('in');
  });

  it('only so many at a time, per listener', async () => {
    const { socketPath, server } = serve(echo, {}, { maxConnections: 2 });
    const otherPath = inFolder('other.sock');
    server.listen(otherPath, OPTIONS);
    const [first, second] = [await connect(socketPath), await connect(socketPath)];
    await second.call({ opcode: 0 });
    const third = await connect(socketPath);
    await expect(third.next()).rejects.toThrow('ended');
    expect(server.counters().connectionsRefused).toBe(1);
    expect((await (await connect(otherPath)).call({ opcode: 0 })).opcode).toBe(0);
    await first.close();
    await until(() => server.counters().connectionsOpen === 2);
    expect((await (await connect(socketPath)).call({ opcode: 0 })).opcode).toBe(0);
  });
});

describe('ending', () => {
  it('closeConnection sends what was answered and ends that connection alone', async () => {
    const { socketPath, recorder, server } = serve(null);
    const [client, other] = [await connect(socketPath), await connect(socketPath)];
    client.send({ opcode: STORE, payload: '1' });
    await until(() => recorder.requests.length === 1);
    recorder.answer(recorder.requests[0] as WireRequest, 'last words');
    server.closeConnection(FIRST_CONNECTION);
    expect(textOf(await client.next())).toBe('last words');
    await expect(client.next()).rejects.toThrow('ended');
    await until(() => recorder.closed.length === 1);
    server.closeConnection(FIRST_CONNECTION);
    expect((await other.call({ opcode: 0 })).opcode).toBe(0);
  });

  it('closeListener ends its connections and removes its file, others go on', async () => {
    const { socketPath, recorder, server, listener } = serve(echo);
    const otherPath = inFolder('other.sock');
    server.listen(otherPath, OPTIONS);
    const [client, other] = [await connect(socketPath), await connect(otherPath)];
    await Promise.all([client.call({ opcode: 0 }), other.call({ opcode: 0 })]);
    server.closeListener(listener);
    await expect(client.next()).rejects.toThrow('ended');
    await until(() => recorder.closed.length === 1);
    await expect(RawClient.connect(socketPath)).rejects.toMatchObject({ code: 'ENOENT' });
    expect((await other.call({ opcode: 0 })).opcode).toBe(0);
    server.closeListener(listener);
  });

  it('close sends what was answered, gives everything back and may be called again', async () => {
    const before = openFiles();
    const { socketPath, recorder, server } = serve(null);
    const client = await RawClient.connect(socketPath);
    client.send({ opcode: STORE, payload: '1' });
    await until(() => recorder.requests.length === 1);
    recorder.answer(recorder.requests[0] as WireRequest, 'bye');
    server.close();
    server.close();
    expect(textOf(await client.next())).toBe('bye');
    await expect(client.next()).rejects.toThrow('ended');
    await client.close();
    await noMoreOpenFilesThan(before);
    expect(readdirSync(inFolder())).toEqual([]);
    expect(() => server.listen(socketPath, OPTIONS)).toThrow(expect.objectContaining({ code: 'IO' }));
    server.respond(FIRST_CONNECTION, 1, STORE, 'too late');
    expect(server.counters()).toMatchObject({ connectionsOpen: 0, framesSent: 1 });
  });

  it('two servers in one process do not know of each other', async () => {
    const one = serve(() => 'one');
    const two = serve(() => 'two');
    const [a, b] = [await connect(one.socketPath), await connect(two.socketPath)];
    expect(textOf(await a.call({ opcode: STORE }))).toBe('one');
    one.server.close();
    expect(textOf(await b.call({ opcode: STORE }))).toBe('two');
  });
});
