import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureNative } from '../../../native/index.ts';
import { cleanUp, openDescriptors } from '../../../native/sandbox-testing.ts';
import type { NetworkInput } from '../schema.ts';
import { createAuthority } from './authority.ts';
import { type TestWorld, testWorld } from './testing.ts';

const isRoot = process.geteuid?.() === 0;
const nodeFolder = path.dirname(process.execPath);
const withNode = { mounts: [{ source: nodeFolder, target: '/opt/node', readonly: true }] };
const has = (program: string) => {
  try {
    return (
      execFileSync('/bin/sh', ['-c', `PATH=/usr/local/bin:/usr/bin:/bin command -v ${program}`]).length > 0
    );
  } catch {
    return false;
  }
};

const imports = (modules: string) => {
  try {
    execFileSync('/usr/bin/python3', ['-c', `import ${modules}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};
/** Debian's python3-venv brings pip as a wheel, which Python runs as it is. */
const pipOfMachine = (): string | null => {
  if (imports('pip')) return '-m pip';
  const wheels = '/usr/share/python-wheels';
  const wheel = existsSync(wheels) ? readdirSync(wheels).find((name) => name.startsWith('pip-')) : undefined;
  return wheel === undefined ? null : `${wheels}/${wheel}/pip`;
};

const definition: NetworkInput = {
  routes: [
    {
      host: 'api.shop.test',
      path: '/v1/*',
      json: { agent: '{{agent}}', method: '{{method}}', body: '{{body}}', host: '{{host}}' },
    },
    { host: 'files.test', path: '/big', body: 'x'.repeat(100_000) },
    {
      host: 'files.test',
      path: '/moved',
      status: 302,
      headers: { location: 'https://api.shop.test/v1/after' },
    },
    { host: 'files.test', path: '/reset', reset: true },
    { host: 'events.test', events: [{ data: { n: 1 } }, { data: { n: 2 }, delay_ms: 20 }] },
    {
      host: 'git.test',
      path: '/repo.git/info/refs',
      headers: { 'content-type': 'application/x-git-upload-pack-advertisement' },
      body: `001e# service=git-upload-pack\n0000003d${'1'.repeat(40)} refs/heads/main\n0000`,
    },
    {
      host: 'pypi.test',
      path: '/simple/nothing/',
      headers: { 'content-type': 'text/html' },
      body: '<a href="nothing-1.0.tar.gz">nothing-1.0.tar.gz</a>',
    },
    {
      host: 'npm.test',
      path: '/left-pad',
      json: {
        name: 'left-pad',
        'dist-tags': { latest: '9.9.9' },
        versions: {
          '9.9.9': { name: 'left-pad', version: '9.9.9', dist: { tarball: 'https://npm.test/x.tgz' } },
        },
      },
    },
  ],
  tcp: [
    { kind: 'echo', host: 'echo.test', port: 7 },
    { kind: 'banner', host: 'ftp.test', port: 21, banner: '220 ready\r\n' },
    {
      kind: 'script',
      host: 'mail.test',
      port: 25,
      steps: [{ send: '220 mail.test\r\n' }, { expect: 'HELO *' }, { send: '250 hello\r\n' }],
      replies: [
        { match: 'NOOP*', send: '250 ok\r\n' },
        { match: 'QUIT', send: '221 bye\r\n', close: true },
      ],
    },
  ],
  websockets: [
    {
      host: 'ws.test',
      path: '/chat',
      greet: ['hello', { json: { n: 1 } }],
      replies: [{ match: 'bye*', close: true }],
      echo: true,
    },
  ],
  dns: { records: { 'fixed.test': ['203.0.113.7', '2001:db8::7'] }, missing: ['gone.test'] },
};

let world: TestWorld;

beforeAll(async () => {
  await ensureNative();
  if (isRoot) world = await testWorld(definition);
}, 180_000);
afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
  await cleanUp();
});

const answer = { agent: 'alice', method: 'GET', body: null, host: 'api.shop.test' };

describe.runIf(isRoot)('real clients in a mounted world, TLS verified', () => {
  it('curl: HTTP, HTTPS, bodies, redirects, any port, server-sent events, no environment', async () => {
    const { stdout, stderr } = await world.shell(
      'alice',
      `curl -sS https://api.shop.test/v1/x; echo
       curl -sS http://api.shop.test:8080/v1/x; echo
       curl -sS https://api.shop.test:8443/v1/x -d '{"a":1}' -H 'content-type: application/json'; echo
       curl -sSL https://files.test/moved; echo
       env -i /usr/bin/curl -sS https://api.shop.test/v1/x; echo
       curl -sSN https://events.test/stream; curl -sS https://files.test/big | wc -c
       curl -sS -o /dev/null -w '%{http_code}\\n' https://api.shop.test/elsewhere
       curl -sSI https://api.shop.test/v1/x | tr -d '\\r' | grep -i '^content-type'`,
    );
    expect(stderr).toBe('');
    const lines = stdout.split('\n');
    expect(lines.slice(0, 5).map((line) => JSON.parse(line))).toEqual([
      answer,
      { ...answer, host: 'api.shop.test:8080' },
      { ...answer, method: 'POST', body: { a: 1 }, host: 'api.shop.test:8443' },
      answer,
      answer,
    ]);
    expect(lines.slice(5)).toEqual([
      'data: {"n":1}',
      '',
      'data: {"n":2}',
      '',
      '100000',
      '502',
      'content-type: application/json',
      '',
    ]);
    const urls = world.network.log.entries({ agent: 'alice', kind: 'http' }).map(({ url }) => url);
    expect(urls).toContain('https://files.test/moved');
  });

  it('do not trust what is not the world’s, nor an expired certificate', async () => {
    const foreign = await createAuthority('another', () => Date.now());
    const { stdout } = await world.shell(
      'alice',
      'printf %s "$FOREIGN_AUTHORITY" > /tmp/foreign.pem; curl -s --cacert /tmp/foreign.pem --capath /var/empty https://api.shop.test/v1/x; echo $?; curl -s https://fixed.test/ ; echo $?; curl -s --resolve wrong.test:443:198.18.0.1 https://wrong.test/ -o /dev/null; echo $?',
      { env: { FOREIGN_AUTHORITY: foreign.pem } },
    );
    // 60: of another authority, once the folder of trusted ones is named too. 0: any name has a certificate of its own, so also these two are verified.
    expect(stdout.split('\n').filter((line) => /^\d+$/.test(line))).toEqual(['60', '0', '0']);
    const handle = world.network.faults.set({ kind: 'tls_expiry', hosts: ['api.shop.test'] });
    const expired = await world.shell(
      'alice',
      'curl -s https://api.shop.test/v1/x; echo $?; curl -s https://files.test/big | wc -c',
    );
    world.network.faults.clear(handle);
    expect(expired.stdout.trim().split('\n')).toEqual(['60', '100000']);
  });

  it('Python: urllib, http.client, ssl with its own defaults, sockets', async () => {
    const { stdout, stderr } = await world.run('alice', [
      'python3',
      '-c',
      `
import json, socket, ssl, urllib.request, http.client, os
print(urllib.request.urlopen('https://api.shop.test/v1/x').status)
for name in [n for n in os.environ if 'CERT' in n or 'CA' in n]: del os.environ[name]
print(json.load(urllib.request.urlopen('https://api.shop.test/v1/x'))['agent'])
c = http.client.HTTPSConnection('api.shop.test'); 
for i in range(3):
    c.request('PUT', '/v1/x', body=b'%d' % i, headers={'content-type': 'application/json'}); r = c.getresponse(); print(r.status, json.loads(r.read())['body'])
s = ssl.create_default_context().wrap_socket(socket.create_connection(('203.0.113.9', 443)), server_hostname='api.shop.test')
print(s.version(), s.getpeercert()['subjectAltName'])
print(sorted({a[4][0] for a in socket.getaddrinfo('fixed.test', 80)}))
for name in ('gone.test', 'unheard-of.example'):
    try: socket.getaddrinfo(name, 80)
    except socket.gaierror as e: print(e.errno)
`,
    ]);
    expect(stderr).toBe('');
    expect(stdout.trim().split('\n')).toEqual([
      '200',
      'alice',
      '200 0',
      '200 1',
      '200 2',
      "TLSv1.3 (('DNS', 'api.shop.test'),)",
      "['2001:db8::7', '203.0.113.7']",
      '-2',
      '-2',
    ]);
  });

  it('Node: fetch, https, a WebSocket client', async () => {
    const { stdout, stderr } = await world.run(
      'alice',
      [
        '/opt/node/node',
        '-e',
        `
(async () => {
  console.log((await (await fetch('https://api.shop.test/v1/x')).json()).agent);
  const post = await fetch('https://api.shop.test/v1/x', { method: 'POST', body: JSON.stringify({ b: [1, 2] }), headers: { 'content-type': 'application/json' } });
  console.log(JSON.stringify((await post.json()).body), post.headers.get('date') !== null);
  const socket = new WebSocket('wss://ws.test/chat');
  socket.onmessage = ({ data }) => { console.log(data); if (data === '{"n":1}') socket.send('echo me'); if (data === 'echo me') socket.send('bye now'); };
  await new Promise((done) => { socket.onclose = ({ code }) => { console.log(code); done(); }; });
  const refused = new WebSocket('ws://ws.test/elsewhere');
  await new Promise((done) => { refused.onerror = () => { console.log('no socket'); done(); }; });
  for await (const chunk of (await fetch('https://events.test/')).body) process.stdout.write(chunk);
})();`,
      ],
      { ...withNode, limits: { memoryBytes: 1024 * 2 ** 20 } },
    );
    expect(stderr).toBe('');
    expect(stdout.trim().split('\n').filter(Boolean)).toEqual([
      'alice',
      '{"b":[1,2]} true',
      'hello',
      '{"n":1}',
      'echo me',
      '1000',
      'no socket',
      'data: {"n":1}',
      'data: {"n":2}',
    ]);
    expect(
      world.network.log.entries({ kind: 'websocket' }).map(({ outcome, url }) => [outcome, url]),
    ).toEqual([
      ['answered', 'wss://ws.test/chat'],
      ['refused', 'ws://ws.test/elsewhere'],
    ]);
  });

  it('Python: requests, httpx, aiohttp', async (ctx) => {
    if (!imports('requests, httpx, aiohttp')) ctx.skip('requests, httpx or aiohttp is not installed here');
    const foreign = await createAuthority('another', () => Date.now());
    const { stdout, stderr } = await world.run(
      'alice',
      [
        '/usr/bin/python3',
        '-c',
        `
import asyncio, aiohttp, httpx, os, requests, ssl
url = 'https://api.shop.test/v1/x'
with requests.Session() as session:
    print('requests', session.get(url).json()['agent'], session.post(url, json={'a': [1]}).json()['body'])
    print('requests', session.get('https://files.test/moved').url)
with httpx.Client() as client:
    print('httpx', client.get(url).json()['agent'], client.put(url, json={'b': 2}).json()['body'])
async def both():
    async with httpx.AsyncClient() as client:
        print('httpx', (await client.get(url)).json()['agent'])
    async with aiohttp.ClientSession() as session:
        async with session.post(url, json={'c': None}) as answer:
            print('aiohttp', answer.status, (await answer.json())['body'])
        async with session.ws_connect('wss://ws.test/chat') as socket:
            print('aiohttp', (await socket.receive()).data)
asyncio.run(both())
file = '/tmp/foreign.pem'
with open(file, 'w') as text: text.write(os.environ['FOREIGN_AUTHORITY'])
context = ssl.create_default_context(cafile=file)
for name, get in (
    ('requests', lambda: requests.get(url, verify=file)),
    ('httpx', lambda: httpx.get(url, verify=context)),
):
    try: print(name, 'trusts anybody', get().status_code)
    except (requests.exceptions.SSLError, httpx.ConnectError) as error:
        print(name, type(error).__name__, 'CERTIFICATE_VERIFY_FAILED' in str(error))
`,
      ],
      { env: { FOREIGN_AUTHORITY: foreign.pem } },
    );
    expect(stderr).toBe('');
    expect(stdout.trim().split('\n')).toEqual([
      "requests alice {'a': [1]}",
      'requests https://api.shop.test/v1/after',
      "httpx alice {'b': 2}",
      'httpx alice',
      "aiohttp 200 {'c': None}",
      'aiohttp hello',
      'requests SSLError True',
      'httpx ConnectError True',
    ]);
  });

  it('git', async () => {
    const { stdout, stderr } = await world.shell('alice', 'git ls-remote https://git.test/repo.git');
    expect([stdout, stderr]).toEqual([`${'1'.repeat(40)}\trefs/heads/main\n`, '']);
  });

  it('wget', async (ctx) => {
    if (!has('wget')) ctx.skip('wget is not installed here');
    const { stdout } = await world.shell('alice', 'wget -qO- https://api.shop.test/v1/x');
    expect(JSON.parse(stdout)).toEqual(answer);
  });

  it('pip', async (ctx) => {
    const pip = pipOfMachine();
    if (pip === null) ctx.skip('neither pip nor the wheel of python3-venv is installed here');
    const index = '--index-url https://pypi.test/simple --disable-pip-version-check';
    const { stdout } = await world.shell(
      'alice',
      `/usr/bin/python3 ${pip} index versions nothing ${index} 2>/dev/null | head -1
       cd /work && /usr/bin/python3 ${pip} download nothing --no-deps --no-build-isolation -q ${index} 2>&1 | tail -1 | cut -c1-40`,
      { limits: { maxPids: 128 } },
    );
    expect(stdout.split('\n')[0]).toBe('nothing (1.0)');
    expect(world.network.log.entries({ agent: 'alice' }).map(({ url }) => url)).toContain(
      'https://pypi.test/simple/nothing/nothing-1.0.tar.gz',
    );
  });

  it('npm', async (ctx) => {
    if (!has('npm')) ctx.skip('npm is not installed for everybody here');
    const { stdout } = await world.shell(
      'alice',
      'npm view left-pad version --registry https://npm.test/ --update-notifier=false',
      { limits: { memoryBytes: 1024 * 2 ** 20, maxPids: 128 } },
    );
    expect(stdout.trim()).toBe('9.9.9');
  });
});

describe.runIf(isRoot)('plain TCP and DNS', () => {
  it('echo, banner and script are spoken', async () => {
    const { stdout, stderr } = await world.run('alice', [
      'python3',
      '-c',
      `
import socket
s = socket.create_connection(('echo.test', 7)); s.sendall(b'abc'); print(s.recv(9)); s.shutdown(socket.SHUT_WR); print(s.recv(9)); s.close()
s = socket.create_connection(('ftp.test', 21)); print(s.recv(99)); s.close()
s = socket.create_connection(('mail.test', 25)); f = s.makefile('rw', newline='')
print(f.readline().strip()); f.write('HELO me\\r\\n'); f.flush(); print(f.readline().strip())
for line in ('NOOP', 'unknown', 'QUIT'): f.write(line + '\\r\\n'); f.flush()
print([l.strip() for l in f])
s = socket.create_connection(('echo.test', 9999)); s.sendall(b'\\x00\\x01')
try: print(s.recv(9))
except ConnectionResetError: print('reset')
`,
    ]);
    expect(stderr).toBe('');
    expect(stdout.trim().split('\n')).toEqual([
      "b'abc'",
      "b''",
      "b'220 ready\\r\\n'",
      '220 mail.test',
      '250 hello',
      "['250 ok', '221 bye']",
      'reset',
    ]);
    expect(world.network.log.entries({ kind: 'tcp', outcome: 'refused' }).at(-1)).toMatchObject({
      url: 'tcp://echo.test:9999',
    });
  });

  it('DNS speaks UDP and TCP, forwards and backwards, at every IPv4 address', async () => {
    const { stdout, stderr } = await world.run('alice', [
      'python3',
      '-c',
      `
import socket, struct
def name(n): return b''.join(bytes([len(p)]) + p.encode() for p in n.split('.')) + b'\\0'
def query(n, t): return struct.pack('>HHHHHH', 7, 0x100, 1, 0, 0, 0) + name(n) + struct.pack('>HH', t, 1)
def udp(server, n, t):
    s = socket.socket(socket.AF_INET6 if ':' in server else socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(20); s.connect((server, 53)); s.send(query(n, t)); d = s.recv(4096)
    return d[3] & 15, struct.unpack('>H', d[6:8])[0], d[-4:]
print(udp('127.0.0.1', 'fixed.test', 1)); print(udp('8.8.8.8', 'fixed.test', 1))
print(udp('127.0.0.1', 'fixed.test', 16)[:2]); print(udp('127.0.0.1', 'gone.test', 1)[:2])
s = socket.create_connection(('1.1.1.1', 53)); q = query('fixed.test', 28); s.sendall(struct.pack('>H', len(q)) + q); d = s.recv(4096); print(d[5] & 15, d[-2:])
print(socket.gethostbyaddr('203.0.113.7')[0]); print(socket.gethostbyaddr(socket.gethostbyname('api.shop.test'))[0])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('127.0.0.1', 53)); s.send(b'junk'); s.send(b''); print(udp('127.0.0.1', 'fixed.test', 1)[0])
`,
    ]);
    expect(stderr).toBe('');
    const address = String.raw`b'\xcb\x00q\x07'`;
    expect(stdout.trim().split('\n')).toEqual([
      `(0, 1, ${address})`,
      `(0, 1, ${address})`,
      '(0, 0)',
      '(3, 0)',
      String.raw`0 b'\x00\x07'`,
      'fixed.test',
      'api.shop.test',
      '0',
    ]);
  });
});

describe.runIf(isRoot)('faults on real connections', () => {
  const timed = async (script: string) =>
    (
      await world.shell(
        'carol',
        `t() { python3 -c 'import time; print(time.monotonic())'; }; a=$(t); ${script}; b=$(t); python3 -c "print('took', $b - $a)"`,
      )
    ).stdout;
  const seconds = (stdout: string) => Number(/took ([\d.]+)/.exec(stdout)?.[1]);

  it('latency and bandwidth make clients wait, resets and losses end connections, errors are answered', async () => {
    const { faults } = world.network;
    const under = async (spec: Parameters<typeof faults.set>[0], script: string) => {
      const handle = faults.set(spec);
      const stdout = await timed(script);
      faults.clear(handle);
      return stdout;
    };
    const get = "curl -sS -o /dev/null -w '%{http_code}\\n' https://files.test/big 2>/dev/null; echo $?";
    expect(seconds(await under({ kind: 'latency', ms: 700, hosts: ['files.test'] }, get))).toBeGreaterThan(
      0.7,
    );
    expect(seconds(await under({ kind: 'bandwidth', bytesPerSecond: 100_000 }, get))).toBeGreaterThan(0.9);
    expect(await under({ kind: 'reset', hosts: ['files.test'], agents: ['carol'] }, get)).toMatch(
      /000\n(7|16|35|52|55|56|92)\n/,
    );
    expect(await under({ kind: 'loss', probability: 1 }, get)).toMatch(/000\n(7|16|35|52|55|56|92)\n/);
    expect(await under({ kind: 'error_rate', status: 503 }, get)).toContain('503\n0\n');
    expect(await under({ kind: 'partition' }, get)).toMatch(/000\n(7|16|35|52|55|56|92)\n/);
    expect(await under({ kind: 'dns_failure', rcode: 'NXDOMAIN' }, get)).toContain('000\n6\n');
    expect(await under({ kind: 'reset', agents: ['alice'] }, get)).toContain('200\n0\n');
    expect(await timed('curl -sS https://files.test/reset 2>/dev/null; echo $?')).toMatch(
      /(7|35|52|55|56)\n/,
    );
  });
});

describe.runIf(isRoot)('agents of one world', () => {
  it('reach each other by name through the gateway, until they are parted', async () => {
    await world.agent('bob');
    const serving = world.run('bob', [
      'python3',
      '-u',
      '-c',
      `
import http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.send_response(200); self.end_headers(); self.wfile.write(b'bob at ' + self.path.encode())
    def log_message(self, *a): pass
s = http.server.HTTPServer(('127.0.0.1', 5000), H); s.handle_request(); s.handle_request()`,
    ]);
    const get = (url: string) =>
      world.shell(
        'alice',
        `for i in $(seq 200); do curl -sS --max-time 60 ${url} 2>/dev/null && break; done`,
      );
    expect((await get('http://bob:5000/x')).stdout).toBe('bob at /x');
    const handle = world.network.faults.set({ kind: 'partition', hosts: ['bob'], agents: ['alice'] });
    const parted = await world.shell('alice', 'curl -s http://bob:5000/y; echo $?');
    expect(parted.stdout).toMatch(/^(7|35|52|55|56)\n$/);
    world.network.faults.clear(handle);
    expect((await get('http://bob.agents.internal:5000/z')).stdout).toBe('bob at /z');
    expect((await serving).exitCode).toBe(0);
    const nobody = await world.shell('alice', 'curl -s http://bob:5001/; echo $?');
    expect(nobody.stdout).toMatch(/^(7|35|52|55|56)\n$/);
    expect(world.network.log.entries({ agent: 'alice', kind: 'tcp' }).at(-1)).toMatchObject({
      url: 'tcp://bob:5001',
      outcome: 'failed',
    });
  });
});

describe.runIf(isRoot)('nothing reaches the host', () => {
  it('neither its loopback, nor its addresses, nor another namespace', async () => {
    const seen: string[] = [];
    const listener = createServer((socket) => {
      seen.push('host');
      socket.destroy();
    });
    listener.listen(0, '::');
    await once(listener, 'listening');
    const { port } = listener.address() as { port: number };
    const hosts = ['127.0.0.1', '[::1]', ...addressesOfHost()];
    const { stdout } = await world.shell(
      'alice',
      `for host in ${hosts.join(' ')}; do for scheme in http https; do curl -s -o /dev/null --max-time 60 "$scheme://$host:${port}/" ; echo $?; done; done
       ls /sys/class/net 2>/dev/null | wc -l; tail -n +2 /proc/net/route | wc -l; tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '`,
    );
    expect(seen).toEqual([]);
    const lines = stdout.trim().split('\n');
    expect(lines.slice(-3)).toEqual(['0', '0', 'lo']);
    listener.close();
  });

  it('also not when everything about it fails: no descriptor and no namespace stays', async () => {
    const before = openDescriptors();
    const other = await testWorld({ default_response: 'ok' });
    expect((await other.shell('dora', 'curl -sS https://anything.example/')).stdout).toBe('ok');
    await other[Symbol.asyncDispose]();
    await expect.poll(() => openDescriptors(), { timeout: 20_000 }).toBeLessThanOrEqual(before);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain('clove-world');
  });
});

function addressesOfHost(): string[] {
  return execFileSync('hostname', ['-I'], { encoding: 'utf8' })
    .trim()
    .split(/\s+/)
    .filter(Boolean)
    .map((address) => (address.includes(':') ? `[${address}]` : address));
}
