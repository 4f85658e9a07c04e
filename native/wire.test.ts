import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { encodeFrame } from '../kernel/wire/codec.ts';
import { RawClient, textOf } from '../kernel/wire/testing.ts';
import type { WireEvents, WireListenOptions, WirePeer, WireRequest, WireServer } from './types.ts';
import { createWireServer, type WireServerOptions } from './wire.ts';

const FIRST_CONNECTION = 2 ** 30;
const STORE = 0x30;
const RECV = 0x21;
const OPTIONS: WireListenOptions = {
  principal: 0,
  mode: 0o600,
  uid: null,
  gid: null,
  allowUids: null,
  maxConnections: 10_000,
};

let folder: string;
let servers: WireServer[];
let clients: RawClient[];

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-wire-'));
  servers = [];
  clients = [];
});

afterEach(async () => {
  await Promise.all(clients.map((client) => client.close()));
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true });
});

/** A server whose requests are kept, or answered at once by `answer`. */
class Recorder implements WireEvents {
  server: WireServer | null = null;
  readonly opened: { connection: number; principal: number; peer: WirePeer }[] = [];
  readonly requests: WireRequest[] = [];
  readonly closed: number[] = [];
  /** What happened, in order. */
  readonly log: string[] = [];
  readonly #answer: ((request: WireRequest) => string | Uint8Array) | null;

  constructor(answer: ((request: WireRequest) => string | Uint8Array) | null) {
    this.#answer = answer;
  }

  onOpen(connection: number, principal: number, peer: WirePeer): void {
    this.opened.push({ connection, principal, peer });
    this.log.push(`open ${connection - FIRST_CONNECTION}`);
  }

  onRequests(requests: readonly WireRequest[]): void {
    this.requests.push(...requests);
    for (const request of requests) {
      this.log.push(`request ${request.connection - FIRST_CONNECTION}`);
      if (this.#answer !== null) this.answer(request, this.#answer(request));
    }
  }

  onClose(connection: number): void {
    this.closed.push(connection);
    this.log.push(`close ${connection - FIRST_CONNECTION}`);
  }

  answer({ connection, sequence, opcode }: WireRequest, payload: string | Uint8Array): void {
    this.server?.respond(connection, sequence, opcode, payload);
  }
}

const echo = (request: WireRequest): string => request.refused ?? request.payload;

function serve(
  answer: ((request: WireRequest) => string | Uint8Array) | null,
  options: WireServerOptions = {},
  listen: Partial<WireListenOptions> = {},
): { recorder: Recorder; server: WireServer; socketPath: string; listener: number } {
  const recorder = new Recorder(answer);
  const server = createWireServer(recorder, options);
  servers.push(server);
  recorder.server = server;
  const socketPath = path.join(folder, `${servers.length}.sock`);
  const listener = server.listen(socketPath, { ...OPTIONS, ...listen });
  return { recorder, server, socketPath, listener };
}

async function connect(socketPath: string): Promise<RawClient> {
  const client = await RawClient.connect(socketPath);
  clients.push(client);
  return client;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(2);
}

const openFiles = (): number => readdirSync('/proc/self/fd').length;

/** Node gives descriptors of its own back a little later. */
const noMoreOpenFilesThan = (count: number): Promise<void> => until(() => openFiles() <= count);

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

describe('bytes that are not the protocol', () => {
  it.each([
    ['a wrong magic', Buffer.from(encodeFrame({ opcode: STORE })).fill(0, 0, 1), STORE],
    ['another protocol', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'T'.charCodeAt(0)],
    ['a single wrong byte', Buffer.from('x'), 0xff],
  ])('%s is answered with an error, then the connection ends', async (_, bytes, opcode) => {
    const { socketPath, server } = serve(echo);
    const client = await connect(socketPath);
    client.write(bytes);
    const answer = await client.next();
    expect(answer.opcode).toBe(opcode);
    expect(textOf(answer)).toBe('{"code":"PROTOCOL","error":"bad magic","success":false}');
    await expect(client.next()).rejects.toThrow('ended');
    await client.close();
    expect(server.counters().protocolErrors).toBe(1);
  });

  it.each([2n ** 20n + 1n, 2n ** 31n, 2n ** 40n, 2n ** 63n, 2n ** 64n - 1n])(
    'an announced length of %s is answered with an error, junk behind it is swallowed',
    async (length) => {
      const { socketPath, server } = serve(echo, { limits: { lingerMs: 10_000 } });
      const client = await connect(socketPath);
      const header = Buffer.from(encodeFrame({ opcode: STORE }));
      header.writeBigUInt64LE(length, 9);
      client.write(Buffer.concat([header, Buffer.alloc(8 * 2 ** 20)]));
      const answer = await client.next();
      expect(answer.opcode).toBe(STORE);
      expect(JSON.parse(textOf(answer))).toMatchObject({ success: false, code: 'PAYLOAD_TOO_LARGE' });
      await expect(client.next()).rejects.toThrow('ended');
      await client.close();
      await until(() => server.counters().connectionsOpen === 0);
    },
  );

  it('come after the answers that are owed, but do not wait for them for ever', async () => {
    const patient = serve(null, { limits: { failedMs: 60_000 } });
    const { recorder } = patient;
    const client = await connect(patient.socketPath);
    client.send({ opcode: STORE, payload: '1' });
    client.write(Buffer.from('junk'));
    await until(() => recorder.requests.length === 1);
    recorder.answer(recorder.requests[0] as WireRequest, 'owed');
    expect(textOf(await client.next())).toBe('owed');
    expect(textOf(await client.next())).toContain('bad magic');
    const other = await connect(serve(null, { limits: { failedMs: 50 } }).socketPath);
    other.send({ opcode: RECV, payload: '1' });
    other.write(Buffer.from('junk'));
    await expect(other.next()).rejects.toThrow('ended');
  });

  it('do not disturb other clients', async () => {
    const { socketPath } = serve(echo);
    const good = await connect(socketPath);
    for (let i = 0; i < 50; i += 1) {
      const bad = await connect(socketPath);
      bad.write(Buffer.from('junk'));
      expect(textOf(await good.call({ opcode: STORE, payload: `${i}` }))).toBe(`${i}`);
    }
  });
});

describe('unfinished frames', () => {
  it('end the connection when nothing more comes; idle connections stay', async () => {
    const { socketPath, server } = serve(echo, { limits: { frameSilenceMs: 100, lingerMs: 50 } });
    const idle = await connect(socketPath);
    const silent = await connect(socketPath);
    silent.write(encodeFrame({ opcode: STORE, payload: '12345' }).subarray(0, 19));
    const answer = await silent.next();
    expect(answer.opcode).toBe(STORE);
    expect(JSON.parse(textOf(answer))).toMatchObject({ success: false, code: 'PROTOCOL' });
    await expect(silent.next()).rejects.toThrow('ended');
    await until(() => server.counters().connectionsOpen === 1);
    expect(textOf(await idle.call({ opcode: 0, payload: 'still here' }))).toBe('still here');
  });

  it('may not be kept up by a byte now and then for ever', async () => {
    const { socketPath } = serve(echo, { limits: { frameSilenceMs: 150, frameTotalMs: 400 } });
    const client = await connect(socketPath);
    const bytes = encodeFrame({ opcode: STORE, payload: ' '.repeat(1000) });
    let ended = false;
    const answer = client.next().finally(() => {
      ended = true;
    });
    for (let i = 0; i < bytes.length && !ended; i += 1) {
      client.write(bytes.subarray(i, i + 1));
      await sleep(20);
    }
    expect(textOf(await answer)).toContain('not completed in time');
  });

  it('of a peer that closes are dropped', async () => {
    const { socketPath, recorder, server } = serve(echo);
    const client = await connect(socketPath);
    client.write(encodeFrame({ opcode: STORE, payload: '12345' }).subarray(0, 19));
    client.socket.end();
    await client.closed;
    await until(() => recorder.closed.length === 1);
    expect(recorder.requests).toEqual([]);
    expect(server.counters().protocolErrors).toBe(1);
  });
});

describe('bounds', () => {
  it('a peer with too many unanswered requests is not read until half are answered', async () => {
    const { socketPath, recorder } = serve(null, { limits: { outstandingRequests: 100 } });
    const client = await connect(socketPath);
    for (let i = 0; i < 1000; i += 1) client.send({ opcode: STORE, payload: `${i}` });
    await until(() => recorder.requests.length === 100);
    await sleep(30);
    expect(recorder.requests.length).toBe(100);
    for (let i = 0; i < 1000; i += 1) {
      await until(() => recorder.requests.length > i);
      recorder.answer(recorder.requests[i] as WireRequest, `${i}`);
    }
    for (let i = 0; i < 1000; i += 1) expect(textOf(await client.next())).toBe(`${i}`);
  });

  it('bytes of unanswered requests are bounded too', async () => {
    const { socketPath, recorder } = serve(null, { limits: { outstandingBytes: 100_000 } });
    const client = await connect(socketPath);
    for (let i = 0; i < 10; i += 1) client.send({ opcode: STORE, payload: `"${'x'.repeat(50_000)}"` });
    await until(() => recorder.requests.length === 2);
    await sleep(30);
    expect(recorder.requests.length).toBe(2);
    for (let i = 0; i < 10; i += 1) {
      await until(() => recorder.requests.length > i);
      recorder.answer(recorder.requests[i] as WireRequest, `${i}`);
      expect(textOf(await client.next())).toBe(`${i}`);
    }
  });

  it('a peer that does not read its answers is not read either, while others are served', async () => {
    const { socketPath, server } = serve(echo);
    const flood = await connect(socketPath);
    const other = await connect(socketPath);
    flood.socket.pause();
    const frames = 24_000;
    const frame = encodeFrame({ opcode: 0, payload: Buffer.alloc(1007) });
    const batch = Buffer.concat(Array.from({ length: frames }, () => frame));
    flood.write(batch);
    let before = -1;
    await until(() => {
      const now = server.counters().bytesReceived;
      const still = now === before;
      before = now;
      return still && now > 4 * 2 ** 20;
    });
    expect(before).toBeLessThan(6 * 2 ** 20);
    for (let i = 0; i < 100; i += 1) {
      expect(textOf(await other.call({ opcode: STORE, payload: `${i}` }))).toBe(`${i}`);
    }
    flood.socket.resume();
    for (let i = 0; i < frames; i += 1) expect((await flood.next()).payload.length).toBe(1007);
  });

  it('answers beyond the hard bound end the connection', async () => {
    const limits = { outputBytes: 100_000, outputBytesHard: 3_000_000 };
    const { socketPath, recorder } = serve(() => Buffer.alloc(1_000_000), { limits });
    const client = await connect(socketPath);
    client.socket.pause();
    for (let i = 0; i < 20; i += 1) client.send({ opcode: STORE, payload: '1' });
    await until(() => recorder.closed.length === 1);
  });

  it('what JavaScript has not taken yet is bounded over all connections', async () => {
    const { socketPath, recorder } = serve(echo, { limits: { handoffBytes: 100_000 } });
    const several = await Promise.all(Array.from({ length: 4 }, () => connect(socketPath)));
    let largest = 0;
    const { onRequests } = recorder;
    recorder.onRequests = (requests) => {
      largest = Math.max(
        largest,
        requests.reduce((sum, { payload }) => sum + payload.length, 0),
      );
      onRequests.call(recorder, requests);
      // The wire thread reads on meanwhile.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    };
    const payload = `"${'x'.repeat(9_998)}"`;
    for (const client of several) {
      for (let i = 0; i < 100; i += 1) client.send({ opcode: STORE, payload });
    }
    for (const client of several) {
      for (let i = 0; i < 100; i += 1) expect((await client.next()).payload.length).toBe(10_000);
    }
    expect(largest).toBeLessThanOrEqual(110_000);
  });

  it('a peer that floods has only so many requests in front of those of others', async () => {
    const { socketPath, recorder } = serve(echo, { limits: { handoffRequests: 20 } });
    const batches: number[] = [];
    const { onRequests } = recorder;
    recorder.onRequests = (requests) => {
      batches.push(requests.filter(({ connection }) => connection === FIRST_CONNECTION).length);
      onRequests.call(recorder, requests);
    };
    const flood = await connect(socketPath);
    const other = await connect(socketPath);
    const frame = encodeFrame({ opcode: STORE, payload: '1' });
    flood.write(Buffer.concat(Array.from({ length: 20_000 }, () => frame)));
    for (let i = 0; i < 20; i += 1) await other.call({ opcode: STORE, payload: '2' });
    for (let i = 0; i < 20_000; i += 1) await flood.next();
    // What is read while a batch is being taken may come with the next one.
    expect(Math.max(...batches)).toBeLessThanOrEqual(40);
  });

  it('ten thousand connections that come and go leave no descriptor behind', async () => {
    const { socketPath, recorder } = serve(echo);
    await (await connect(socketPath)).close();
    await until(() => recorder.closed.length === 1);
    const before = openFiles();
    for (let i = 0; i < 10_000; i += 50) {
      const some = await Promise.all(Array.from({ length: 50 }, () => RawClient.connect(socketPath)));
      some[0]?.send({ opcode: STORE, payload: '1' });
      await Promise.all(some.map((client) => client.close()));
      // Otherwise a busy machine could fill the backlog.
      await until(() => recorder.closed.length > i);
    }
    await until(() => recorder.closed.length === 10_001);
    await noMoreOpenFilesThan(before);
    expect(recorder.server?.counters()).toMatchObject({ connectionsOpen: 0, connectionsTotal: 10_001 });
    expect(recorder.opened.at(-1)?.connection).toBe(FIRST_CONNECTION + 10_000);
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
    const otherPath = path.join(folder, 'other.sock');
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
    const otherPath = path.join(folder, 'other.sock');
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
    expect(readdirSync(folder)).toEqual([]);
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

describe('the process', () => {
  const run = promisify(execFile);
  const source = (body: string): string[] => [
    '--input-type=module-typescript',
    '-e',
    `import { createWireServer } from ${JSON.stringify(path.join(import.meta.dirname, 'wire.ts'))};
     import net from 'node:net';
     const options = ${JSON.stringify(OPTIONS)};
     const socketPath = ${JSON.stringify(path.join(folder, 'child.sock'))};
     ${body}`,
  ];
  const quiet = 'onOpen() {}, onRequests() {}, onClose() {}';

  it('is kept alive by an open server and let go by close', async () => {
    const { stdout } = await run(
      process.execPath,
      source(`
        const server = createWireServer({ ${quiet} });
        server.listen(socketPath, options);
        setTimeout(() => { console.log('alive'); server.close(); }, 100).unref();
      `),
    );
    expect(stdout).toBe('alive\n');
  });

  it('may exit without close', async () => {
    const child = run(
      process.execPath,
      source(`
        const server = createWireServer({ ${quiet}, onRequests() { process.exit(7); } });
        server.listen(socketPath, options);
        const clients = Array.from({ length: 20 }, () => net.connect(socketPath));
        const frame = Buffer.from('544e4741' + '00000000' + '30' + '0000000000000000', 'hex');
        for (const client of clients) client.write(Buffer.concat(Array.from({ length: 5000 }, () => frame)));
      `),
    );
    await expect(child).rejects.toMatchObject({ code: 7, signal: null });
  });

  it('may end a worker thread that has an open server', async () => {
    const worker = path.join(folder, 'worker.ts');
    writeFileSync(
      worker,
      `import { parentPort } from 'node:worker_threads';
       import { createWireServer } from ${JSON.stringify(path.join(import.meta.dirname, 'wire.ts'))};
       createWireServer({ ${quiet} }).listen(${JSON.stringify(path.join(folder, 'child.sock'))}, ${JSON.stringify(OPTIONS)});
       parentPort?.postMessage('listening');`,
    );
    const { stdout } = await run(
      process.execPath,
      source(`
        import { once } from 'node:events';
        import { Worker } from 'node:worker_threads';
        for (let i = 0; i < 5; i += 1) {
          const worker = new Worker(${JSON.stringify(worker)}, { execArgv: [] });
          await once(worker, 'message');
          const client = net.connect(socketPath);
          await once(client, 'connect');
          client.on('error', () => {}); // reset instead of closed, when it was not accepted yet
          const ended = new Promise((resolve) => client.once('close', resolve));
          await worker.terminate();
          await ended;
        }
        console.log('done');
      `),
    );
    expect(stdout).toBe('done\n');
  });

  it('sees what a handler throws as an uncaught exception, and the other handlers are called', async () => {
    const { stdout } = await run(
      process.execPath,
      source(`
        const server = createWireServer({
          onOpen() { throw new Error('fault'); },
          onRequests(requests) { console.log('requests', requests.length); server.close(); },
          onClose() {},
        });
        server.listen(socketPath, options);
        process.on('uncaughtException', (error) => console.log(error.message));
        const client = net.connect(socketPath);
        client.on('error', () => {});
        client.write(Buffer.from('544e4741' + '00000000' + '30' + '0000000000000000', 'hex'));
      `),
    );
    expect(stdout.split('\n').sort()).toEqual(['', 'fault', 'requests 1']);
  });

  it('goes on serving when it runs out of descriptors', async () => {
    const script = source(`
      const server = createWireServer({ ${quiet} });
      server.listen(socketPath, options);
      console.log('ready');
      process.stdin.on('data', () => { console.log(JSON.stringify(server.counters())); });
      process.stdin.on('end', () => server.close());
    `);
    const child = execFile('sh', ['-c', 'ulimit -n 64; exec "$@"', 'sh', process.execPath, ...script]);
    const stdout = child.stdout as NodeJS.ReadableStream;
    await once(stdout, 'data');
    const socketPath = path.join(folder, 'child.sock');
    const first = await connect(socketPath);
    await first.call({ opcode: 0 });
    const many = await Promise.all(Array.from({ length: 80 }, () => connect(socketPath)));
    expect(textOf(await first.call({ opcode: 0, payload: 'still served' }))).toBe('still served');
    const outcomes = await Promise.allSettled(
      many.map(async (client) => textOf(await client.call({ opcode: 0, payload: 'me too' }))),
    );
    const servedCount = outcomes.filter(({ status }) => status === 'fulfilled').length;
    expect(servedCount).toBeGreaterThan(10);
    expect(servedCount).toBeLessThan(64);
    await Promise.all(many.map((client) => client.close()));
    // The ends of the many may be heard of after the next connection.
    const again = async (): Promise<string> =>
      textOf(await (await connect(socketPath)).call({ opcode: 0, payload: 'room again' }));
    await vi.waitFor(async () => expect(await again()).toBe('room again'));
    child.stdin?.write('x');
    const [counters] = await once(stdout, 'data');
    expect(JSON.parse(counters).connectionsRefused).toBeGreaterThanOrEqual(80 - servedCount);
    child.stdin?.end();
    const [code] = await once(child, 'exit');
    expect(code).toBe(0);
  });

  it('takes no descriptors that a peer sends along, and no urgent data', async (ctx) => {
    const { socketPath, recorder } = serve(echo);
    const before = openFiles();
    const script = `
import socket, struct, sys, os
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
frame = struct.pack('<IIBQ', 0x41474E54, 0, 0x30, 1) + b'1'
for _ in range(200): socket.send_fds(s, [frame], [0, 1, 2])
try: s.send(b'!', socket.MSG_OOB)
except OSError: pass
s.sendall(frame)
n = 0
while n < 201 * 18: n += len(s.recv(65536))
print(n)
sys.stdin.read()
`;
    const child = execFile('python3', ['-c', script, socketPath]);
    const failed = once(child, 'error').then(() => 'absent');
    const answered = once(child.stdout as NodeJS.ReadableStream, 'data').then(([text]) => String(text));
    const outcome = await Promise.race([failed, answered]);
    if (outcome === 'absent') ctx.skip('python3 is not installed');
    expect(outcome.trim()).toBe(`${201 * 18}`);
    expect(recorder.requests.length).toBe(201);
    // The connection, and the three pipes to the child.
    expect(openFiles() - before).toBeLessThanOrEqual(5);
    child.stdin?.end();
    await once(child, 'exit');
  });
});
