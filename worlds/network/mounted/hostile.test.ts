import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureNative } from '../../../native/index.ts';
import { cleanUp } from '../../../native/sandbox-testing.ts';
import { networkSchema } from '../schema.ts';
import { ALICE, testNetwork } from '../testing.ts';
import { createNameTable } from './addresses.ts';
import { answerQuery } from './dns.ts';
import { type TestWorld, testWorld } from './testing.ts';

describe('names', () => {
  it('have addresses that lead back to them, whatever is asked', async () => {
    const { network } = await testNetwork({ default_response: 'x' });
    const names = createNameTable(network.config, network.declaredHosts);
    const label = fc.stringMatching(/^[a-z0-9]{1,20}$/);
    fc.assert(
      fc.property(fc.array(label, { minLength: 1, maxLength: 4 }), (labels) => {
        const name = labels.join('.');
        const found = names.resolve(`${name}.`);
        for (const address of [...(found?.v4 ?? []), ...(found?.v6 ?? [])])
          expect(names.nameOf(address)).toBe(name);
        expect(names.resolve(name.toUpperCase())).toEqual(found);
      }),
    );
  });

  it('are the same in every run, and agents get theirs back', () => {
    const config = networkSchema.parse({ routes: [{ host: ['b.test', '*.c.test'] }, { host: 'a.test' }] });
    const table = () => createNameTable(config, ['b.test', '*.c.test', 'a.test']);
    expect(table().resolve('a.test')).toEqual(table().resolve('a.test'));
    const names = table();
    expect(names.resolve('x.c.test')).not.toBeNull();
    expect(names.resolve('c.test')).toBeNull();
    const [one, two] = [names.addAgent(5, 'one'), names.addAgent(6, 'two')];
    expect(one.v4).not.toBe(two.v4);
    names.removeAgent(5);
    expect(names.resolve('one')).toBeNull();
    expect(names.addAgent(9, 'three').v4).toBe(one.v4);
  });

  it('are answered or refused for any packet, never with an error', async () => {
    const { network } = await testNetwork({ dns: { records: { 'a.test': '192.0.2.1' } } });
    const names = createNameTable(network.config, network.declaredHosts);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 600 }), fc.boolean(), async (bytes, overUdp) => {
        const reply = await answerQuery(Buffer.from(bytes), overUdp, network, names, ALICE);
        if (reply !== null) expect(reply.length).toBeLessThanOrEqual(65_535);
      }),
      { numRuns: 2000 },
    );
  });
});

const isRoot = process.geteuid?.() === 0;

describe.runIf(isRoot)('a hostile agent', () => {
  let world: TestWorld;
  beforeAll(async () => {
    await ensureNative();
    world = await testWorld({
      routes: [{ host: 'api.test', body: 'ok' }],
      limits: { connections_per_agent: 40, request_bytes: 100_000 },
    });
  }, 300_000);
  afterAll(async () => {
    await world[Symbol.asyncDispose]();
    await cleanUp();
  });

  it('gets no more connections than its share, and others are served meanwhile', async () => {
    await world.agent('other');
    const attack = world.run('mallory', [
      'python3',
      '-u',
      '-c',
      `
import socket, time
held = []
for i in range(120):
    s = socket.create_connection(('198.18.0.1', 80)); s.settimeout(0.01); held.append(s)
time.sleep(0.5)
gone = 0
for s in held:
    try:
        if s.recv(1) == b'': gone += 1
    except socket.timeout: pass
    except ConnectionError: gone += 1
print('dropped', gone)
`,
    ]);
    const { stdout } = await world.shell('other', 'curl -sS http://api.test/');
    expect(stdout).toBe('ok');
    expect((await attack).stdout).toBe('dropped 80\n');
    expect(world.network.log.entries({ agent: 'mallory', outcome: 'refused' }).at(-1)?.reason).toContain(
      'more than 40',
    );
  });

  it('sends what is no HTTP, too much of it, or for somebody else: it hears no or nothing, and the next is served', async () => {
    const { stdout, stderr } = await world.run('mallory', [
      'python3',
      '-u',
      '-c',
      `
import socket, ssl
def say(data, port=80, host='api.test'):
    s = socket.create_connection((host, port)); s.settimeout(20)
    try:
        s.sendall(data); s.shutdown(socket.SHUT_WR)
        got = b''
        while True:
            part = s.recv(65536)
            if not part: break
            got += part
        return 'alert' if got[:1] == b'\\x15' else got.split(b'\\r\\n')[0].decode()[:40] or 'closed'
    except OSError as e: return type(e).__name__
    finally: s.close()
host = b'Host: api.test\\r\\n'
print(say(b'GET / HTTP/1.1\\r\\n' + host + b'Connection: close\\r\\n\\r\\n'))
print(say(b'GET / HTTP/1.1\\r\\n' + host + b'X: ' + b'a' * 200000 + b'\\r\\n\\r\\n'))
print(say(b'POST / HTTP/1.1\\r\\n' + host + b'Content-Length: 200000\\r\\n\\r\\n' + b'a' * 200000))
print(say(b'POST / HTTP/1.1\\r\\n' + host + b'Content-Length: 5\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n'))
print(say(b'CONNECT host:22 HTTP/1.1\\r\\n' + host + b'\\r\\n'))
print(say(b'GET http://user:secret@api.test/ HTTP/1.1\\r\\n' + host + b'Connection: close\\r\\n\\r\\n'))
print(say(b'GET / HTTP/1.1\\r\\nHost: a b\\r\\nConnection: close\\r\\n\\r\\n'))
print(say(b'\\x16\\x03\\x01\\x00\\x05junk!', 443))
print(say(b'SSH-2.0-x\\r\\n', 22), say(b'\\x00' * 100, 9))
print(say(b'\\x00\\x05junk!' * 3, 53, '1.1.1.1'))
c = ssl.create_default_context(); c.check_hostname = False
s = c.wrap_socket(socket.create_connection(('api.test', 443)), server_hostname='x' * 60 + '.' + 'y' * 60)
print('name', len(s.getpeercert()['subjectAltName'][0][1]))
`,
    ]);
    expect(stderr).toBe('');
    const lines = stdout.trim().split('\n');
    const closed = expect.stringMatching(/^(closed|alert|\w*Error|HTTP\/1\.1 4\d\d .*)$/);
    expect(lines.slice(0, 8)).toEqual([
      'HTTP/1.1 200 OK',
      closed,
      expect.stringMatching(/413|Error/),
      closed,
      closed,
      'HTTP/1.1 400 Bad Request',
      'HTTP/1.1 400 Bad Request',
      closed,
    ]);
    expect(lines[8]).toMatch(/^(closed|\w*Error) (closed|\w*Error)$/);
    expect(lines[10]).toBe('name 121');
    const { stdout: fine } = await world.shell('mallory', 'curl -sS https://api.test/');
    expect(fine).toBe('ok');
  });
});
