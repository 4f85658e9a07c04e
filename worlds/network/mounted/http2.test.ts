import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureNative } from '../../../native/index.ts';
import { cleanUp } from '../../../native/sandbox-testing.ts';
import { type TestWorld, testWorld } from './testing.ts';

const isRoot = process.geteuid?.() === 0;
const nodeFolder = path.dirname(process.execPath);
const withNode = { mounts: [{ source: nodeFolder, target: '/opt/node', readonly: true }] };
let world: TestWorld;

beforeAll(async () => {
  await ensureNative();
  if (!isRoot) return;
  world = await testWorld({
    routes: [
      { host: 'api.test', path: '/v1/*', json: { method: '{{method}}', body: '{{body}}', host: '{{host}}' } },
      { host: 'api.test', path: '/big', body: 'x'.repeat(300_000) },
      { host: 'api.test', path: '/cookies', headers: { 'x-a': 'b' }, status: 201, body: 'made' },
      { host: 'api.test', path: '/empty', status: 204 },
      { host: 'api.test', path: '/slow', delay_ms: 300, body: 'late' },
      { host: 'api.test', path: '/reset', reset: true },
      { host: 'api.test', path: '/events', events: [{ data: { n: 1 } }, { data: { n: 2 }, delay_ms: 20 }] },
    ],
  });
}, 300_000);
afterAll(async () => {
  if (isRoot) await world[Symbol.asyncDispose]();
  await cleanUp();
});

const MODE = ['--http1.1', '--http2'];
const curl = async (script: string) => (await world.shell('client', script)).stdout;

describe.runIf(isRoot)('HTTP/2 in a world', () => {
  it('is chosen by clients that can, and left by those that cannot; answers are the same', async () => {
    const [one, two] = await Promise.all(
      MODE.map((mode) =>
        curl(
          `curl -sS ${mode} -w ' %{http_version} %{http_code}' -H 'content-type: application/json' -d '{"a":1}' https://api.test/v1/x; curl -sS ${mode} https://api.test/big | wc -c
           curl -sS ${mode} -D - https://api.test/cookies | grep -i -e '^HTTP' -e '^x-a' -e made; curl -sS ${mode} -I -w '%{http_code}' https://api.test/empty | tail -1
           curl -sS ${mode} https://api.test/events`,
        ),
      ),
    );
    expect(two).toContain('"body":{"a":1}');
    expect(two).toContain(' 2 200');
    expect(two).toContain('300000');
    expect(two).toMatch(/HTTP\/2 201.*\nx-a: b\r?\nmade/s);
    const plain = (text = '') =>
      text
        .replace(/ (1\.1|2) 200/, '')
        .replace(/HTTP\/\S+ 201.*/, '')
        .replaceAll('\r', '');
    expect(plain(two)).toBe(plain(one));
    expect(one).toContain(' 1.1 200');
  });

  it('is refused and reset where HTTP/1.1 is', async () => {
    const told = await curl(
      `curl -sS --http2 -w ' %{http_version} %{http_code}' https://api.test/none; echo; curl -s --http2 https://api.test/reset; echo $?
       curl -s --http2 -X TRACE -w '%{http_code}' -o /dev/null https://api.test/v1/x`,
    );
    const [refused, reset] = told.split('\n');
    expect(refused).toMatch(/^nothing in this world answers/);
    expect(told).toContain(' 2 502');
    expect([reset, told.split('\n')[2]].join()).toMatch(/\b(16|35|52|55|56|92)\b/);
    expect(told).toMatch(/405$/);
  });

  it('serves many streams of one connection, and names the host in the log', async () => {
    const script = `
const http2 = require('node:http2');
const session = http2.connect('https://api.test');
session.on('error', (error) => { console.log('failed', error.message); process.exit(1); });
const one = (n) => new Promise((done) => {
  const stream = session.request({ ':path': '/v1/' + n, ':method': 'POST', 'content-type': 'application/json' });
  let text = '';
  stream.setEncoding('utf8').on('data', (chunk) => { text += chunk; }).on('end', () => done(JSON.parse(text).body));
  stream.end(JSON.stringify({ n }));
});
Promise.all(Array.from({ length: 50 }, (_, n) => one(n))).then((all) => {
  console.log(all.every((body, n) => body.n === n), session.alpnProtocol);
  session.close();
});`;
    const { stdout } = await world.run('node', ['/opt/node/node', '-e', script], withNode);
    expect(stdout).toBe('true h2\n');
    const entries = world.network.log.entries({ agent: 'node' }).filter(({ kind }) => kind === 'http');
    expect(entries).toHaveLength(50);
    expect(new Set(entries.map(({ url }) => new URL(url).origin))).toEqual(new Set(['https://api.test']));
  });

  it('lets a client give up one request without the others of its connection', async () => {
    const script = `
const http2 = require('node:http2');
const session = http2.connect('https://api.test');
session.on('error', (error) => { console.log('failed', error.message); process.exit(1); });
const ask = () => session.request({ ':path': '/slow' });
const text = (stream) => new Promise((done, fail) => {
  let all = '';
  stream.setEncoding('utf8').on('data', (chunk) => { all += chunk; }).on('end', () => done(all)).on('error', fail);
});
const given = ask();
given.on('error', () => {});
const kept = text(ask());
setTimeout(() => given.close(http2.constants.NGHTTP2_CANCEL), 100);
given.once('close', async () => {
  console.log(await kept, await text(ask()));
  session.close();
});`;
    const { stdout } = await world.run('quitter', ['/opt/node/node', '-e', script], withNode);
    expect(stdout).toBe('late late\n');
  });
});
