import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterEach, expect, it } from 'vitest';
import { MetricsListener } from './listener.ts';

const TOKEN = 'a-token-of-the-operator';
let listener: MetricsListener;
let pages = 0;

async function open(token: string | null = null, page = async () => `page ${++pages}\n`): Promise<void> {
  pages = 0;
  listener = await MetricsListener.open({ port: 0, token, page, onError: () => {} });
}
afterEach(() => listener.close());

/** Everything that comes back for these bytes, until the other side ends it. */
function exchange(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(listener.port, '127.0.0.1', () => socket.write(text));
    let answer = '';
    socket.on('data', (chunk) => {
      answer += String(chunk);
    });
    socket.on('close', () => resolve(answer));
    socket.on('error', reject);
  });
}

const request = (line: string, headers = '') =>
  exchange(`${line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${headers}\r\n`);
const statusOf = (answer: string) => Number(/^HTTP\/1.1 (\d+)/.exec(answer)?.[1]);

it('serves GET and HEAD of one path', async () => {
  await open();
  const answer = await request('GET /metrics?x=1');
  expect(answer).toMatch(/^HTTP\/1.1 200 /);
  expect(answer).toContain('content-type: text/plain; version=0.0.4; charset=utf-8\r\n');
  expect(answer).toMatch(/\r\n\r\npage 1\n$/);
  expect(await request('HEAD /metrics')).toMatch(/^HTTP\/1.1 200 [\s\S]*\r\n\r\n$/);
});

it.each([
  ['another path', 'GET /', '', 404],
  ['a path that climbs', 'GET /metrics/../x', '', 404],
  ['another method', 'POST /metrics', '', 405],
  ['a body', 'GET /metrics', 'Content-Length: 1000000000\r\n', 413],
  ['a body in chunks', 'POST /metrics', 'Transfer-Encoding: chunked\r\n', 413],
])('refuses %s', async (_what, line, headers, status) => {
  await open();
  expect(statusOf(await request(line, headers))).toBe(status);
  expect(pages).toBe(0);
});

it('refuses other names of this machine: a page in a browser must not read it', async () => {
  await open();
  const foreign = await exchange('GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n');
  expect(statusOf(foreign)).toBe(403);
  expect(statusOf(await exchange('GET /metrics HTTP/1.1\r\n\r\n'))).toBe(400);
});

it('hangs up on what is no HTTP, or too much of it', async () => {
  await open();
  expect(await exchange('\x16\x03\x01nonsense\r\n\r\n')).toBe('');
  expect(await request('GET /metrics', `X: ${'x'.repeat(20_000)}\r\n`)).toBe('');
  expect(
    await exchange(
      'POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    ),
  ).not.toContain('200');
});

it('asks for the token, where there is one', async () => {
  await open(TOKEN);
  expect(statusOf(await request('GET /metrics'))).toBe(401);
  expect(statusOf(await request('GET /metrics', `Authorization: Bearer ${TOKEN}x\r\n`))).toBe(401);
  expect(statusOf(await request('GET /nothing'))).toBe(401);
  expect(statusOf(await request('GET /metrics', `Authorization: bearer ${TOKEN}\r\n`))).toBe(200);
});

it('answers a fault with no words about it', async () => {
  await open(null, () => Promise.reject(new Error('a secret path')));
  const answer = await request('GET /metrics');
  expect(statusOf(answer)).toBe(500);
  expect(answer).not.toContain('secret');
});

it('listens on this machine’s own address only', async () => {
  await open();
  const outside = Object.values(networkInterfaces())
    .flat()
    .filter((each) => each !== undefined && !each.internal && each.family === 'IPv4');
  for (const { address } of outside as { address: string }[]) {
    const { promise, resolve } = Promise.withResolvers<string>();
    const socket = connect(listener.port, address, () => resolve('connected'));
    socket.on('error', () => resolve('refused'));
    expect(await promise).toBe('refused');
    socket.destroy();
  }
  await expect(
    MetricsListener.open({ port: listener.port, token: null, page: async () => '', onError: () => {} }),
  ).rejects.toMatchObject({ code: 'SETUP_FAILED' });
});
