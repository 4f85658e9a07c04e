import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { encodeFrame } from '../kernel/wire/codec.ts';
import { RawClient, textOf } from '../kernel/wire/testing.ts';
import type { WireRequest } from './types.ts';
import {
  cleanUpAfterEach,
  closing,
  echo,
  FIRST_CONNECTION,
  noMoreOpenFilesThan,
  openFiles,
  RECV,
  STORE,
  serve,
  until,
} from './wire-testing.ts';

cleanUpAfterEach();

const connect = async (socketPath: string): Promise<RawClient> =>
  closing(await RawClient.connect(socketPath));

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
