import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, callingAgent, type TestClient, TestKernel, until } from '../fixture.ts';
import { LoopbackServer } from '../http/fixture.ts';
import type { SyscallName } from '../protocol/opcodes.ts';
import { AgentConnection } from './agent-connection.ts';

let kernel: TestKernel;
let operator: TestClient;
beforeAll(async () => {
  kernel = await TestKernel.boot();
  operator = await kernel.connect();
});
afterAll(() => kernel.close());

const servers: LoopbackServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

async function serve(...args: Parameters<typeof LoopbackServer.http>): Promise<LoopbackServer> {
  const server = await LoopbackServer.http(...args);
  servers.push(server);
  return server;
}

const hello = () => serve((_request, response) => response.end('hello'));

/** What an agent with these permissions is answered, from inside its sandbox. */
async function asAgent(
  permissions: Record<string, unknown> | null,
  ...calls: (readonly [SyscallName, unknown])[]
): Promise<Answer[]> {
  const exit = await operator.run({
    ...callingAgent(calls),
    ...(permissions === null ? {} : { permissions }),
  });
  if (exit.stdout === '') throw new Error(exit.stderr);
  return JSON.parse(exit.stdout).map(({ answer }: { answer: Answer }) => answer);
}

describe('HTTP of an operator', () => {
  it('answers what existing clients read, with the real status', async () => {
    const server = await serve((request, response, body) => {
      response.writeHead(request.url === '/missing' ? 404 : 201, { 'x-method': request.method });
      response.end(`got ${body}`);
    });
    const request = {
      url: server.url('/x'),
      method: 'POST',
      headers: { A: 'b' },
      body: 'käse',
      timeout: 30,
      async: false,
    };
    const answer = await operator.call('HTTP', request);
    expect(answer).toMatchObject({ success: true, status_code: 201, body: 'got käse', redirects: 0 });
    expect(answer.headers['x-method']).toBe('POST');
    expect(answer.duration_ms).toBeGreaterThan(0);
    expect(answer).not.toHaveProperty('error');
    expect(
      await operator.call('HTTP', { url: server.url('/missing'), method: null, headers: null, body: null }),
    ).toMatchObject({
      success: true,
      status_code: 404,
    });
    expect(server.requests[0]).toMatchObject({ method: 'POST', body: 'käse', headers: { a: 'b' } });
  });

  it('with bytes that are not text, both ways, is no trouble', async () => {
    const server = await serve((_request, response, body) =>
      response.end(Buffer.from(body === '' ? [0, 255] : body)),
    );
    expect(await operator.call('HTTP', { url: server.url() })).toMatchObject({
      body: 'AP8=',
      encoding: 'base64',
    });
    await operator.call('HTTP', { url: server.url(), method: 'PUT', body: 'eA==', body_encoding: 'base64' });
    expect(server.requests[1]?.body).toBe('x');
    expect(
      await operator.call('HTTP', { url: server.url(), method: 'PUT', body: '!', body_encoding: 'base64' }),
    ).toMatchObject({
      success: false,
      code: 'BAD_REQUEST',
    });
  });

  it('never goes through a shell or a config: what looks like a command line is data', async () => {
    const marker = '/tmp/clove-http-marker';
    const server = await hello();
    const odd = `'; touch ${marker}; echo '`;
    await operator.call('HTTP', { url: server.url(`/${odd}`), headers: { 'x-odd': odd } });
    await operator.call('HTTP', { url: server.url(), method: odd });
    await operator.call('HTTP', { url: server.url(), method: 'POST', body: odd });
    expect(existsSync(marker)).toBe(false);
    expect(server.requests.map(({ headers, body }) => headers['x-odd'] ?? body)).toEqual([odd, odd]);
  });

  it('tells what failed in the words existing clients know', async () => {
    const silent = await LoopbackServer.raw(() => {});
    servers.push(silent);
    const failure = { success: false, body: '', status_code: 0, headers: {} };
    expect(await operator.call('HTTP', {})).toMatchObject({ ...failure, error: 'URL required' });
    expect(await operator.call('HTTP', { url: '' })).toMatchObject({ ...failure, error: 'URL required' });
    const late = await operator.call('HTTP', { url: silent.url(), timeout: 0.1 });
    expect(late).toMatchObject({ ...failure, code: 'TIMEOUT', error: 'HTTP timeout after 0.1 s' });
    expect(await operator.call('HTTP', { url: 'http://[' })).toMatchObject({
      ...failure,
      code: 'BAD_REQUEST',
    });
    expect(await operator.call('HTTP', { url: 'file:///etc/passwd' })).toMatchObject({
      ...failure,
      code: 'FORBIDDEN',
    });
    expect((await operator.call('HTTP', { url: 'http://127.0.0.1:1/' })).error).toBeTypeOf('string');
    for (const payload of [
      '[]',
      '"x"',
      '5',
      '{"url":5}',
      '{"url":"http://x","headers":[]}',
      '{"url":"http://x","timeout":"1"}',
    ]) {
      expect(JSON.parse(await operator.callText(0x50, payload))).toMatchObject({
        ...failure,
        code: 'BAD_REQUEST',
      });
    }
  });

  it('is bounded by max_bytes, before and after decoding', async () => {
    const bomb = gzipSync(Buffer.alloc(20 * 2 ** 20));
    const server = await serve((_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' });
      response.end(bomb);
    });
    expect(await operator.call('HTTP', { url: server.url() })).toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
    const large = await serve((_request, response) => response.end('x'.repeat(2 ** 20)));
    expect((await operator.call('HTTP', { url: large.url() })).body).toHaveLength(2 ** 20);
    expect(await operator.call('HTTP', { url: large.url(), max_bytes: 1000 })).toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
    });
  });

  it('holds up nobody else, not even its own connection’s other answers in the kernel', async () => {
    const silent = await LoopbackServer.raw(() => {});
    servers.push(silent);
    const busy = await kernel.connect();
    for (let index = 0; index < 9; index += 1) busy.send('HTTP', { url: silent.url(), timeout: 60 });
    await until(() => silent.connections === 8);
    // One more than a caller may have at a time; answers come in order, so it is seen by the others being there.
    expect(kernel.running.kernel.http.slots.total).toBe(8);
    const other = await kernel.connect();
    expect(await other.callText(0, 'alive')).toBe('alive');
    await busy.close();
    await until(() => silent.connections === 0 && kernel.running.kernel.http.slots.total === 0);
  });

  it('of too many at a time is refused as such', async () => {
    const gate = Promise.withResolvers<void>();
    const server = await serve((_request, response) => void gate.promise.then(() => response.end()));
    const client = await kernel.connect();
    for (let index = 0; index < 9; index += 1) client.send('HTTP', { url: server.url() });
    await until(() => server.requests.length === 8);
    gate.resolve();
    const codes: unknown[] = [];
    for (let index = 0; index < 9; index += 1) codes.push((await client.next()).code);
    expect(codes).toEqual([...Array(8).fill(undefined), 'OVERLOAD']);
  });
});

describe('HTTP of an agent', () => {
  it('is refused unless it is granted, and nobody is asked', async () => {
    const server = await hello();
    const watcher = await kernel.connect();
    await watcher.call('SUBSCRIBE', { event_types: ['SYSCALL_BLOCKED'] });
    const [answer, later, file] = await asAgent(
      null,
      ['HTTP', { url: server.url() }],
      ['HTTP', { url: server.url(), async: true }],
      ['DOWNLOAD', { url: server.url(), path: '/work/x' }],
    );
    for (const each of [answer, later, file])
      expect(each).toMatchObject({ success: false, code: 'FORBIDDEN' });
    expect(answer).toMatchObject({ error: 'Permission denied: HTTP not allowed', body: '', status_code: 0 });
    expect(server.requests).toEqual([]);
    const { events } = await watcher.call('POLL_EVENTS', { timeout_ms: 5000 });
    expect(events[0].data).toMatchObject({ syscall: 'HTTP', rule: 'syscall.not-granted:HTTP' });
  });

  it('goes where its grants say, with the methods they name, and nowhere else', async () => {
    const server = await hello();
    const other = await hello();
    const network = [`127.0.0.1:${server.port}`];
    const granted = { network, http_methods: ['GET'], private_network: true };
    const [ok, post, port, name, rebound, scheme] = await asAgent(
      granted,
      ['HTTP', { url: server.url('/a') }],
      ['HTTP', { url: server.url(), method: 'POST', body: 'x' }],
      ['HTTP', { url: other.url() }],
      ['HTTP', { url: server.url('/', 'localhost') }],
      ['HTTP', { url: `http://127.0.0.1:${server.port}@127.0.0.1:${other.port}/` }],
      ['HTTP', { url: 'file:///etc/passwd' }],
    );
    expect(ok).toMatchObject({ success: true, status_code: 200, body: 'hello' });
    expect(post).toMatchObject({ code: 'FORBIDDEN', error: 'Permission denied: HTTP method not allowed' });
    expect(port.error).toBe(`Permission denied: domain not in whitelist: 127.0.0.1:${other.port}`);
    for (const each of [port, name, rebound, scheme])
      expect(each).toMatchObject({ success: false, code: 'FORBIDDEN' });
    expect([server.requests.length, other.requests.length]).toEqual([1, 0]);
  });

  it('does not reach this machine or its networks by a grant for every host', async () => {
    const server = await hello();
    const watcher = await kernel.connect();
    await watcher.call('SUBSCRIBE', { event_types: ['SYSCALL_BLOCKED'] });
    const hosts = [
      '127.0.0.1',
      '127.1',
      '0x7f.1',
      '2130706433',
      '0177.0.0.1',
      '0',
      '[::1]',
      '[::ffff:127.0.0.1]',
      'localhost',
      'localhost.',
    ];
    const answers = await asAgent(
      { network: ['*'], http_methods: ['*'] },
      ...hosts.map((host) => ['HTTP', { url: server.url('/', host) }] as const),
      ['HTTP', { url: 'http://169.254.169.254/latest/meta-data/' }],
      ['HTTP', { url: 'http://metadata.google.internal/' }],
    );
    for (const answer of answers) {
      expect(answer).toMatchObject({ success: false, code: 'FORBIDDEN', status_code: 0 });
      expect(answer.error).toContain('not a public address');
    }
    expect(server.requests).toEqual([]);
    const { events } = await watcher.call('POLL_EVENTS', { timeout_ms: 5000 });
    expect(events).toHaveLength(answers.length);
    expect(events[0].data).toMatchObject({ syscall: 'HTTP', rule: 'http.private-address' });
  });

  it('is not led elsewhere by a redirect', async () => {
    const inner = await hello();
    const outer = await serve((_request, response) => {
      response.writeHead(302, { location: inner.url() });
      response.end();
    });
    const granted = { network: [`127.0.0.1:${outer.port}`], http_methods: ['*'], private_network: true };
    const [answer, manual] = await asAgent(
      granted,
      ['HTTP', { url: outer.url() }],
      ['HTTP', { url: outer.url(), redirect: 'manual' }],
    );
    expect(answer).toMatchObject({ success: false, code: 'FORBIDDEN' });
    expect(manual).toMatchObject({ success: true, status_code: 302, headers: { location: inner.url() } });
    expect(inner.requests).toEqual([]);
  });
});

it('what was asked and what was refused is in the audit log', async () => {
  const server = await hello();
  await operator.call('SET_AUDIT_CONFIG', { log_network: true });
  const before = (await operator.call('GET_AUDIT_LOG', { limit: 1000 })).entries.at(-1).id;
  try {
    await operator.call('HTTP', { url: server.url('/audited') });
    const granted = { network: ['*'], http_methods: ['*'] };
    await asAgent(
      granted,
      ['HTTP', { url: server.url('/refused') }],
      ['HTTP', { url: server.url('/later'), async: true }],
      ['ASYNC_POLL', { wait: true }],
    );
    const { entries } = await operator.call('GET_AUDIT_LOG', { limit: 1000, since_id: before });
    const about = entries.filter(({ details }: Answer) => JSON.stringify(details).includes('HTTP'));
    const texts = about.map((entry: Answer) => JSON.stringify(entry));
    expect(texts.some((text: string) => text.includes('/audited') && text.includes('"success":true'))).toBe(
      true,
    );
    const refusals = texts.filter((text: string) => text.includes('http.private-address'));
    expect(refusals.length).toBe(2);
  } finally {
    await operator.call('SET_AUDIT_CONFIG', { log_network: false });
  }
});

describe('DOWNLOAD', () => {
  const content = Buffer.from('some content\n'.repeat(10_000));
  const sha256 = createHash('sha256').update(content).digest('hex');
  const contentServer = () =>
    serve((request, response) => {
      if (request.url === '/missing') response.writeHead(404);
      if (request.url === '/half') response.writeHead(200, { 'content-length': content.length + 1 });
      response.write(content.subarray(0, 50_000));
      if (request.url === '/half') setTimeout(() => response.destroy(), 20);
      else response.end(content.subarray(50_000));
    });

  it('puts a file where an operator wants it, and checks it', async () => {
    const server = await contentServer();
    const file = path.join(kernel.folder, 'download');
    const answer = await operator.call('DOWNLOAD', {
      url: server.url('/x'),
      path: file,
      sha256: sha256.toUpperCase(),
    });
    expect(answer).toMatchObject({
      success: true,
      bytes: content.length,
      sha256,
      status_code: 200,
      path: file,
    });
    expect(readFileSync(file)).toEqual(content);
    expect(await operator.call('DOWNLOAD', { url: server.url() })).toMatchObject({ error: 'path required' });
    expect(await operator.call('DOWNLOAD', { path: file })).toMatchObject({ error: 'URL required' });
    expect(await operator.call('DOWNLOAD', { url: server.url(), path: file, sha256: 'x' })).toMatchObject({
      code: 'BAD_REQUEST',
    });
  });

  it('leaves no part of a file, and touches nothing when there is nothing to write', async () => {
    const server = await contentServer();
    const file = path.join(kernel.folder, 'kept');
    const failing = [
      [{ url: server.url('/half') }, 'IO'],
      [{ url: server.url(), sha256: '0'.repeat(64) }, 'DATA_CORRUPT'],
      [{ url: server.url(), max_bytes: 60_000 }, 'PAYLOAD_TOO_LARGE'],
    ] as const;
    for (const [request, code] of failing) {
      writeFileSync(file, 'before');
      expect(await operator.call('DOWNLOAD', { ...request, path: file })).toMatchObject({
        success: false,
        code,
        bytes: 0,
      });
      expect(statSync(file).size).toBe(
        code === 'PAYLOAD_TOO_LARGE' && existsSync(file) ? statSync(file).size : 0,
      );
    }
    writeFileSync(file, 'before');
    const missing = await operator.call('DOWNLOAD', { url: server.url('/missing'), path: file });
    expect(missing).toMatchObject({
      success: false,
      code: 'IO',
      status_code: 404,
      error: 'the server answered 404',
    });
    const nowhere = path.join(kernel.folder, 'nowhere');
    await operator.call('DOWNLOAD', { url: server.url('/missing'), path: nowhere });
    expect(readFileSync(file, 'utf8')).toBe('before');
    expect(existsSync(nowhere)).toBe(false);
    const refused = await operator.call('DOWNLOAD', { url: server.url(), path: kernel.folder });
    expect(refused).toMatchObject({ success: false, code: 'PATH_REFUSED' });
  });

  it('of an agent ends up inside its sandbox, in order with its other files', async () => {
    const server = await contentServer();
    const granted = { network: [`127.0.0.1:${server.port}`], private_network: true, http_methods: ['GET'] };
    const request = { url: server.url(), path: 'got', sha256 };
    const [saved, read, outside] = await asAgent(
      { ...granted, can_write: true, exec: ['*'] },
      ['DOWNLOAD', request],
      ['EXEC', { command: 'sha256sum < /work/got' }],
      ['DOWNLOAD', { ...request, path: '/etc/got' }],
    );
    expect(saved).toMatchObject({ success: true, bytes: content.length, sha256 });
    expect(read.stdout).toBe(`${sha256}  -\n`);
    expect(outside).toMatchObject({ success: false });
    const [refused] = await asAgent({ ...granted, can_write: false }, ['DOWNLOAD', request]);
    expect(refused).toMatchObject({ success: false, code: 'FORBIDDEN' });
    const [bounded] = await asAgent({ ...granted, filesystem: { write: ['/tmp/**'] } }, [
      'DOWNLOAD',
      request,
    ]);
    expect(bounded).toMatchObject({ success: false, code: 'FORBIDDEN' });
  });
});

it('an agent that ends takes its requests along', async () => {
  const silent = await LoopbackServer.raw(() => {});
  servers.push(silent);
  const agent = await AgentConnection.spawn(kernel, operator, 'requester');
  await operator.call('SET_PERMS', {
    agent_id: agent.id,
    permissions: { network: ['*'], http_methods: ['*'], private_network: true },
  });
  agent.send('HTTP', { url: silent.url(), timeout: 60 });
  expect(
    (
      await agent
        .again()
        .then((second) => second.call('HTTP', { url: silent.url(), timeout: 60, async: true }))
    ).success,
  ).toBe(true);
  await until(() => silent.connections === 2);
  await operator.call('KILL', { id: agent.id });
  await until(() => silent.connections === 0);
  await agent.close();
});

it('a kernel that stops ends what is under way at once', async () => {
  const own = await TestKernel.boot();
  const silent = await LoopbackServer.raw(() => {});
  servers.push(silent);
  const client = await own.connect();
  client.send('HTTP', { url: silent.url(), timeout: 60 });
  await until(() => silent.connections === 1);
  expect(
    (await own.connect().then((other) => other.call('HTTP', { url: silent.url(), timeout: 60, async: true })))
      .success,
  ).toBe(true);
  await until(() => silent.connections === 2);
  await own.close();
  await until(() => silent.connections === 0);
});
