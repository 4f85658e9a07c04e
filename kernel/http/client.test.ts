import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { createServer as createTlsServer } from 'node:https';
import path from 'node:path';
import type { TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { type HttpAnswer, HttpClient, type HttpClientOptions, type HttpRequest } from './client.ts';
import { hostPolicy, LoopbackServer, openPolicy, TEST_CALLER } from './fixture.ts';
import { selfSigned } from './fixture-certificate.ts';
import { Resolver } from './resolve.ts';

const servers: LoopbackServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

async function serve(...args: Parameters<typeof LoopbackServer.http>): Promise<LoopbackServer> {
  const server = await LoopbackServer.http(...args);
  servers.push(server);
  return server;
}

async function serveRaw(...args: Parameters<typeof LoopbackServer.raw>): Promise<LoopbackServer> {
  const server = await LoopbackServer.raw(...args);
  servers.push(server);
  return server;
}

const REQUEST: HttpRequest = {
  url: '',
  method: 'GET',
  headers: {},
  body: null,
  redirect: 'follow',
  timeoutMs: 20_000,
  maxBytes: 2 ** 20,
};
const never = new AbortController().signal;

async function ask(
  url: string,
  request: Partial<HttpRequest> = {},
  options: Partial<HttpClientOptions> = {},
  signal = never,
): Promise<HttpAnswer> {
  const client = new HttpClient({ policy: openPolicy(true), ...options });
  const whole = { ...REQUEST, ...request, url };
  return client.request(TEST_CALLER, whole, client.prepare(TEST_CALLER, whole), signal);
}

/** Names and what they resolve to, one list per question; the last one stays. */
function names(table: Readonly<Record<string, readonly (readonly string[])[]>>): {
  resolver: Resolver;
  asked: string[];
} {
  const asked: string[] = [];
  const lookup = async (host: string) => {
    const times = asked.filter((each) => each === host).length;
    asked.push(host);
    const answers = table[host];
    if (answers === undefined) throw Object.assign(new Error(host), { code: 'ENOTFOUND' });
    return answers[Math.min(times, answers.length - 1)] ?? [];
  };
  return { resolver: new Resolver(lookup, () => new Set()), asked };
}

describe('a request', () => {
  it('is answered with the real status, headers and body', async () => {
    const server = await serve((_request, response) => {
      response.writeHead(418, 'teapot', { 'X-One': '1', 'Set-Cookie': ['a=1', 'b=2'] });
      response.end('grüße');
    });
    const answer = await ask(server.url('/a?b=c#d'));
    expect(answer).toMatchObject({
      status: 418,
      body: 'grüße',
      encoding: undefined,
      url: server.url('/a?b=c'),
      redirects: 0,
      setCookies: ['a=1', 'b=2'],
    });
    expect(answer.headers['x-one']).toBe('1');
    expect(answer.durationMs).toBeGreaterThan(0);
    expect(server.requests).toMatchObject([
      { method: 'GET', url: '/a?b=c', headers: { host: `127.0.0.1:${server.port}` } },
    ]);
  });

  it('sends method, headers and body as they are; a body of GET and HEAD stays here', async () => {
    const server = await serve((_request, response) => response.end());
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'get', 'HEAD']) {
      await ask(server.url(), { method, body: Buffer.from('käse'), headers: { 'X-Y': 'z' } });
    }
    await ask(server.url(), { method: 'POST' });
    expect(
      server.requests.map(({ method, body, headers }) => [
        method,
        body,
        headers['content-length'],
        headers['x-y'],
      ]),
    ).toEqual([
      ['POST', 'käse', '5', 'z'],
      ['PUT', 'käse', '5', 'z'],
      ['PATCH', 'käse', '5', 'z'],
      ['DELETE', 'käse', '5', 'z'],
      ['GET', '', undefined, 'z'],
      ['HEAD', '', undefined, 'z'],
      ['POST', '', '0', undefined],
    ]);
    expect(server.requests.every(({ headers }) => headers.connection === 'close')).toBe(true);
  });

  it('gets bytes that are not text as base64', async () => {
    const server = await serve((_request, response) => response.end(Uint8Array.of(0, 255, 10)));
    expect(await ask(server.url())).toMatchObject({ body: 'AP8K', encoding: 'base64' });
  });

  it('asks no proxy of the environment, also where Node is told to', async () => {
    const proxy = await serve((_request, response) => response.end('by proxy'));
    const server = await serve((_request, response) => response.end('direct'));
    const program = `
      const [client, url] = process.argv.slice(1);
      const { HttpClient } = await import(client);
      const caller = { id: 1, kind: 'operator', connection: 1, peer: { pid: 1, uid: 1, gid: 1 } };
      const request = { url, method: 'GET', headers: {}, body: null, redirect: 'follow', timeoutMs: 9000, maxBytes: 100 };
      const http = new HttpClient({ policy: { check: () => ({ refusal: null, privateNetwork: true }) } });
      const answer = await http.request(caller, request, http.prepare(caller, request), new AbortController().signal);
      const fetched = await fetch(url);
      console.log(JSON.stringify([answer.body, await fetched.text()]));
    `;
    const proxied = Object.fromEntries(
      ['http_proxy', 'HTTP_PROXY', 'https_proxy', 'all_proxy'].map((name) => [name, proxy.url()]),
    );
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--input-type=module', '-e', program, path.join(import.meta.dirname, 'client.ts'), server.url()],
      { env: { ...process.env, ...proxied, NODE_USE_ENV_PROXY: '1', no_proxy: '', NO_PROXY: '' } },
    );
    // What Node itself does shows that the proxy was there to be asked.
    expect(JSON.parse(stdout)).toEqual(['direct', 'by proxy']);
    expect(proxy.requests).toHaveLength(1);
  });

  it('without a body to a method of its own, with an empty answer, is fine', async () => {
    const server = await serve((_request, response) => {
      response.writeHead(204, { 'content-encoding': 'gzip' });
      response.end();
    });
    expect(await ask(server.url(), { method: 'PROPFIND' })).toMatchObject({ status: 204, body: '' });
  });

  it('to nobody is an error that names no address', async () => {
    const server = await serve((_request, response) => response.end());
    const { port } = server;
    await server.close();
    servers.length = 0;
    await expect(ask(`http://127.0.0.1:${port}/`)).rejects.toMatchObject({
      code: 'IO',
      message: 'Failed to execute HTTP request: ECONNREFUSED',
    });
  });

  it('closes its connection whatever becomes of it', async () => {
    const server = await serve((request, response) => {
      if (request.url === '/redirect') response.writeHead(302, { location: '/end' });
      response.end('x'.repeat(1000));
    });
    await ask(server.url('/redirect'));
    await expect(ask(server.url('/'), { maxBytes: 10 })).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
    while (server.connections > 0) await new Promise((resolve) => setTimeout(resolve, 2));
  });
});

describe('addresses', () => {
  it('are resolved once per hop and connected to, whatever the name says later', async () => {
    const server = await serve((_request, response) => response.end('pinned'));
    const other = await serve((_request, response) => response.end('rebound'), undefined, '127.0.0.2');
    const { resolver, asked } = names({ 'rebind.test': [['127.0.0.1'], ['127.0.0.2']] });
    expect((await ask(server.url('/', 'rebind.test'), {}, { resolver })).body).toBe('pinned');
    expect(asked).toEqual(['rebind.test']);
    expect(server.requests[0]?.headers.host).toBe(`rebind.test:${server.port}`);
    expect(other.requests).toEqual([]);
  });

  it('that are private are refused, alone and among public ones, before any connection', async () => {
    const server = await serve((_request, response) => response.end());
    const { resolver } = names({
      'inside.test': [['127.0.0.1']],
      'both.test': [['1.1.1.1', '127.0.0.1']],
      'mapped.test': [['::ffff:127.0.0.1']],
    });
    for (const host of [
      'inside.test',
      'both.test',
      'mapped.test',
      '127.1',
      '0x7f.1',
      '2130706433',
      '[::1]',
      '0',
    ]) {
      await expect(
        ask(server.url('/', host), {}, { resolver, policy: openPolicy(false) }),
      ).rejects.toMatchObject({
        code: 'FORBIDDEN',
      });
    }
    expect(server.requests).toEqual([]);
  });

  it('are tried in turn while nobody accepts', async () => {
    const server = await serve((_request, response) => response.end('second'));
    const { resolver } = names({ 'two.test': [['127.0.0.3', '127.0.0.1']] });
    expect((await ask(server.url('/', 'two.test'), {}, { resolver })).body).toBe('second');
  });
});

describe('redirects', () => {
  it('are followed, five at most, each judged and resolved anew', async () => {
    const server = await serve((request, response) => {
      const left = Number(request.url?.slice(1));
      if (left > 0) response.writeHead(302, { location: `/${left - 1}` });
      response.end('done');
    });
    const { resolver, asked } = names({ 'a.test': [['127.0.0.1']] });
    const url = (left: number) => server.url(`/${left}`, 'a.test');
    expect(await ask(url(5), {}, { resolver })).toMatchObject({ status: 200, redirects: 5, url: url(0) });
    expect(asked).toHaveLength(6);
    await expect(ask(url(6), {}, { resolver })).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining('redirects'),
    });
    expect(await ask(url(3), { redirect: 'manual' }, { resolver })).toMatchObject({
      status: 302,
      redirects: 0,
      headers: { location: '/2' },
      body: 'done',
    });
  });

  it('to what is not granted are refused, and nobody there is asked', async () => {
    const inner = await serve((_request, response) => response.end('secret'));
    const outer = await serve((request, response) => {
      response.writeHead(302, { location: decodeURIComponent(request.url?.slice(1) ?? '') });
      response.end();
    });
    const { resolver } = names({ 'outer.test': [['127.0.0.1']], 'inner.test': [['127.0.0.1']] });
    const policy = hostPolicy([`outer.test:${outer.port}`]);
    for (const location of [
      inner.url(),
      inner.url('/', 'inner.test'),
      inner.url('/', 'outer.test'),
      'file:///etc/passwd',
      'gopher://outer.test/',
      'ftp://outer.test/',
      'data:text/html,x',
      `http://outer.test:${outer.port}@inner.test/`,
    ]) {
      await expect(
        ask(outer.url(`/${encodeURIComponent(location)}`, 'outer.test'), {}, { resolver, policy }),
      ).rejects.toMatchObject({ code: 'FORBIDDEN' });
    }
    expect(inner.requests).toEqual([]);
  });

  it('of a name that meanwhile points inside are refused', async () => {
    const inside = await serve((request, response) => {
      response.writeHead(302, { location: request.url });
      response.end();
    });
    // The first answer is fine and leads back to the same name, which is then another machine.
    const { resolver, asked } = names({ 'rebind.test': [['127.0.0.1'], ['1.1.1.1', '169.254.169.254']] });
    let hops = 0;
    const policy = { check: () => ({ refusal: null, privateNetwork: hops++ < 2 }) };
    await expect(ask(inside.url('/', 'rebind.test'), {}, { resolver, policy })).rejects.toMatchObject({
      code: 'FORBIDDEN',
    });
    expect(asked).toHaveLength(2);
    expect(inside.requests).toHaveLength(1);
  });

  it('carry no secrets to another origin, and turn POST into GET as browsers do', async () => {
    const end = await serve((_request, response) => response.end());
    const start = await serve((request, response) => {
      response.writeHead(Number(request.url?.slice(1)), { location: end.url('/end') });
      response.end();
    });
    const headers = { Authorization: 'secret', Cookie: 'c=1', 'X-Api-Key': 'k', 'Content-Type': 'text/x' };
    for (const status of [302, 307]) {
      await ask(start.url(`/${status}`), { method: 'POST', body: Buffer.from('b'), headers });
    }
    expect(start.requests[0]?.headers).toMatchObject({
      authorization: 'secret',
      cookie: 'c=1',
      'x-api-key': 'k',
    });
    expect(end.requests.map(({ method, body }) => [method, body])).toEqual([
      ['GET', ''],
      ['POST', 'b'],
    ]);
    for (const { headers: got } of end.requests) {
      expect(got).not.toHaveProperty('authorization');
      expect(got).not.toHaveProperty('cookie');
      expect(got).not.toHaveProperty('x-api-key');
    }
    expect(end.requests[1]?.headers['content-type']).toBe('text/x');
  });
});

describe('hostile servers', () => {
  const CODINGS: readonly (readonly [string, (data: Buffer) => Buffer])[] = [
    ['gzip', (data) => zlib.gzipSync(data)],
    ['x-gzip', (data) => zlib.gzipSync(data)],
    ['deflate', (data) => zlib.deflateSync(data)],
    ['Deflate', (data) => zlib.deflateRawSync(data)],
    ['br', (data) => zlib.brotliCompressSync(data)],
    ['zstd', (data) => zlib.zstdCompressSync(data)],
    ['identity', (data) => data],
    ['unknown', (data) => data],
    ['gzip, br', (data) => zlib.brotliCompressSync(zlib.gzipSync(data))],
  ];

  it.each(CODINGS)('%s is decoded', async (coding, encode) => {
    const text = 'hello '.repeat(10_000);
    const server = await serve((_request, response) => {
      response.writeHead(200, { 'content-encoding': coding });
      response.end(encode(Buffer.from(text)));
    });
    expect((await ask(server.url())).body).toBe(text);
  });

  it.each(CODINGS.slice(0, 6))('a bomb of %s goes off within bounds', async (coding, encode) => {
    const bomb = encode(Buffer.alloc(32 * 2 ** 20));
    const server = await serve((_request, response) => {
      response.writeHead(200, { 'content-encoding': coding });
      response.end(bomb);
    });
    await expect(ask(server.url())).rejects.toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
      message: expect.stringContaining('larger than 1048576 bytes'),
    });
  });

  it('what is not of its coding, or cut off, is an error', async () => {
    const packed = zlib.gzipSync(Buffer.from('x'.repeat(100_000)));
    for (const [coding, data] of [
      ['gzip', Buffer.from('plain text')],
      ['br', Buffer.from('plain text')],
      ['zstd', Buffer.from('plain text')],
      ['gzip', packed.subarray(0, 60)],
      ['gzip, gzip, gzip, gzip', packed],
    ] as const) {
      const server = await serve((_request, response) => {
        response.writeHead(200, { 'content-encoding': coding });
        response.end(data);
      });
      await expect(ask(server.url())).rejects.toMatchObject({ code: 'IO' });
    }
  });

  it('an endless body, announced or not, is cut off', async () => {
    const endless = await serve((_request, response) => {
      response.writeHead(200);
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536)));
        if (!response.destroyed) response.once('drain', more);
      };
      more();
    });
    await expect(ask(endless.url())).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
    const announced = await serveRaw((socket) =>
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n'),
    );
    await expect(ask(announced.url())).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
    const head = await serveRaw((socket) =>
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n'),
    );
    expect(await ask(head.url(), { method: 'HEAD' })).toMatchObject({ status: 200, body: '' });
  });

  it('a drip ends with the time limit', async () => {
    const drip = await serveRaw((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      const timer = setInterval(() => socket.write('x'), 10);
      socket.on('close', () => clearInterval(timer));
    });
    await expect(ask(drip.url(), { timeoutMs: 150 })).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: 'HTTP timeout after 0.15 s',
    });
    const headers = await serveRaw((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      const timer = setInterval(() => socket.write('x: y\r\n'), 10);
      socket.on('close', () => clearInterval(timer));
    });
    await expect(ask(headers.url(), { timeoutMs: 150 })).rejects.toMatchObject({ code: 'TIMEOUT' });
    const silent = await serveRaw(() => {});
    await expect(ask(silent.url(), { timeoutMs: 150 })).rejects.toMatchObject({ code: 'TIMEOUT' });
    const { resolver } = names({ 'hang.test': [] });
    const hanging = new Resolver(() => new Promise(() => {}));
    await expect(ask('http://hang.test/', { timeoutMs: 50 }, { resolver: hanging })).rejects.toMatchObject({
      code: 'TIMEOUT',
    });
    await expect(ask('http://hang.test/', {}, { resolver })).rejects.toMatchObject({ code: 'IO' });
  });

  it('a flood of headers is refused', async () => {
    const many = await serveRaw((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      socket.end(`${Array.from({ length: 100_000 }, (_, index) => `x${index}: y\r\n`).join('')}\r\n`);
    });
    await expect(ask(many.url())).rejects.toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
      message: expect.stringContaining('headers'),
    });
  });

  it('all headers that are accepted are there', async () => {
    const server = await serveRaw((socket) => {
      const lines = Array.from({ length: 2500 }, (_, index) => `x${index}: y\r\n`).join('');
      socket.end(`HTTP/1.1 200 OK\r\n${lines}content-length: 0\r\n\r\n`);
    });
    expect(Object.keys((await ask(server.url())).headers)).toHaveLength(2501);
  });

  it('endless interim responses are refused, a few are not', async () => {
    const endless = await serveRaw((socket) => {
      const timer = setInterval(() => socket.write('HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n'), 1);
      socket.on('close', () => clearInterval(timer));
    });
    await expect(ask(endless.url())).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
    const few = await serveRaw((socket) => {
      socket.write('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n');
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    });
    expect(await ask(few.url())).toMatchObject({ status: 200, body: 'ok' });
  });

  it.each([
    ['another protocol', 'SSH-2.0-OpenSSH_9\r\n'],
    [
      'an upgrade nobody asked for',
      'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n',
    ],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx'],
    [
      'length and chunks',
      'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['less than announced', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort'],
    ['chunks cut off', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nshort'],
    ['nothing', ''],
  ])('%s is an error', async (_what, text) => {
    const server = await serveRaw((socket) => socket.end(text));
    await expect(ask(server.url())).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining('Failed to execute HTTP request'),
    });
  });
});

it('whatever bytes a server sends, a response or a typed error comes of it', async () => {
  const pieces = fc.oneof(
    fc.constantFrom(
      ...[
        'HTTP/1.1 200 OK\r\n',
        'HTTP/1.0 200 OK\r\n',
        'HTTP/1.1 302 F\r\n',
        'HTTP/1.1 100 C\r\n\r\n',
        'HTTP/1.1 999 \r\n',
        '\r\n',
        '\n',
      ],
      ...[
        'Content-Length: 5\r\n',
        'Content-Length: -1\r\n',
        'Transfer-Encoding: chunked\r\n',
        'Content-Encoding: gzip\r\n',
      ],
      ...[
        'Content-Encoding: deflate\r\n',
        'Content-Encoding: zstd, br\r\n',
        'Location: http://[\r\n',
        'Location: file:///x\r\n',
      ],
      ...[
        'Set-Cookie: a\r\n',
        'X: \xff\r\n',
        ' folded\r\n',
        '5\r\nhello\r\n',
        '0\r\n\r\n',
        'fffffffff\r\n',
        'hello',
        '\0',
      ],
    ),
    fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  );
  let text = '';
  const server = await serveRaw((socket) => socket.end(Buffer.from(text, 'latin1')));
  await fc.assert(
    fc.asyncProperty(fc.boolean(), fc.array(pieces, { maxLength: 8 }), async (proper, parts) => {
      text = `${proper ? 'HTTP/1.1 200 OK\r\n' : ''}${parts.join('')}`;
      const outcome = await ask(server.url()).catch((error: { code: string }) => error.code);
      if (typeof outcome !== 'string') expect(outcome.status).toBeGreaterThanOrEqual(100);
      else expect(['IO', 'PAYLOAD_TOO_LARGE', 'FORBIDDEN']).toContain(outcome);
    }),
    { numRuns: 200 },
  );
});

describe('a caller that is gone', () => {
  it.each(['before', 'while waiting for the head', 'while reading the body'])(
    '%s takes its request along',
    async (when) => {
      const gone = new AbortController();
      const reached = Promise.withResolvers<void>();
      const server = await serveRaw((socket) => {
        if (when === 'while reading the body') socket.write('HTTP/1.1 200 OK\r\n\r\nx');
        reached.resolve();
      });
      if (when === 'before') gone.abort();
      const asked = ask(server.url(), {}, {}, gone.signal);
      if (when !== 'before') {
        await reached.promise;
        await new Promise((resolve) => setTimeout(resolve, 20));
        gone.abort();
      }
      await expect(asked).rejects.toMatchObject({ code: 'CANCELLED' });
      while (server.connections > 0) await new Promise((resolve) => setTimeout(resolve, 2));
    },
  );
});

describe('bodies that are read', () => {
  it('have so much room per caller and in all, and give it back', async () => {
    const gate = Promise.withResolvers<void>();
    const server = await serve((_request, response) => {
      response.write('x'.repeat(600));
      void gate.promise.then(() => response.end());
    });
    const client = new HttpClient({
      policy: openPolicy(true),
      room: { perCallerBytes: 1000, totalBytes: 1500 },
    });
    const ask = (id: number) => {
      const caller = { ...TEST_CALLER, id };
      const request = { ...REQUEST, url: server.url() };
      return client.request(caller, request, client.prepare(caller, request), never);
    };
    const first = ask(1);
    while (client.bodyBytes < 600) await new Promise((resolve) => setTimeout(resolve, 2));
    await expect(ask(1)).rejects.toMatchObject({ code: 'OVERLOAD' });
    const second = ask(2);
    while (client.bodyBytes < 1200) await new Promise((resolve) => setTimeout(resolve, 2));
    await expect(ask(3)).rejects.toMatchObject({ code: 'OVERLOAD' });
    gate.resolve();
    expect([(await first).body.length, (await second).body.length]).toEqual([600, 600]);
    expect(client.bodyBytes).toBe(0);
  });

  it('whatever servers do and whenever callers leave, nothing stays behind', async () => {
    const bodies = [
      zlib.gzipSync(Buffer.alloc(2 ** 21)),
      Buffer.from('not gzip'),
      Buffer.alloc(300_000, 'x'),
    ];
    const server = await serve((request, response) => {
      const kind = Number(request.url?.slice(1));
      if (kind === 0) return;
      if (kind === 1) return void response.destroy();
      if (kind === 2) response.writeHead(302, { location: '/3' });
      if (kind === 3) response.writeHead(200, { 'content-encoding': 'gzip' });
      response.write(bodies[kind % 3]);
      if (kind !== 4) response.end();
    });
    const client = new HttpClient({ policy: openPolicy(true) });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 120 }, async (_, index) => {
        const kind = index % 6;
        // Short where the server never ends, so that the other outcomes do not depend on how busy the machine is.
        const timeoutMs = kind === 0 || kind === 4 ? 20 + (index % 7) * 40 : 60_000;
        const request = { ...REQUEST, url: server.url(`/${kind}`), timeoutMs };
        const signal = index % 3 === 0 ? AbortSignal.timeout(index % 50) : never;
        await client.request(TEST_CALLER, request, client.prepare(TEST_CALLER, request), signal);
      }),
    );
    const codes = new Set(outcomes.map((each) => (each.status === 'fulfilled' ? 'OK' : each.reason.code)));
    expect(
      [...codes].filter((code) => !['OK', 'IO', 'TIMEOUT', 'CANCELLED', 'PAYLOAD_TOO_LARGE'].includes(code)),
    ).toEqual([]);
    expect(codes.size).toBeGreaterThan(3);
    while (server.connections > 0) await new Promise((resolve) => setTimeout(resolve, 2));
    expect(client.bodyBytes).toBe(0);
  });
});

describe('HTTPS', () => {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { cert, key } = selfSigned(keys, ['secure.test'], ['127.0.0.1']);

  async function serveTls(): Promise<{ server: LoopbackServer; seen: unknown[] }> {
    const seen: unknown[] = [];
    const server = await serve(
      (request, response) => {
        seen.push((request.socket as TLSSocket).servername);
        response.end('secure');
      },
      (onRequest) => createTlsServer({ cert, key }, onRequest),
    );
    return { server, seen };
  }

  const { resolver } = names({
    'secure.test': [['127.0.0.1']],
    'secure.test.': [['127.0.0.1']],
    'other.test': [['127.0.0.1']],
  });

  it('says the name of the URL in SNI and Host, and goes to the vetted address', async () => {
    const { server, seen } = await serveTls();
    const tls = { ca: cert };
    for (const host of ['secure.test', 'secure.test.', '127.0.0.1']) {
      expect((await ask(server.url('/', host, 'https'), {}, { resolver, tls })).body).toBe('secure');
    }
    expect(seen).toEqual(['secure.test', 'secure.test', false]);
  });

  it('trusts no other name and no unknown authority', async () => {
    const { server } = await serveTls();
    await expect(
      ask(server.url('/', 'other.test', 'https'), {}, { resolver, tls: { ca: cert } }),
    ).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining('other.test'),
    });
    await expect(ask(server.url('/', 'secure.test', 'https'), {}, { resolver })).rejects.toMatchObject({
      code: 'IO',
    });
    expect(server.requests).toEqual([]);
  });
});
