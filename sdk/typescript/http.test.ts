import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { TestKernel } from '../../kernel/fixture.ts';
import { LoopbackServer } from '../../kernel/http/fixture.ts';
import { type CloveClient, connect } from './index.ts';

let kernel: TestKernel;
let server: LoopbackServer;
const clients: CloveClient[] = [];

beforeAll(async () => {
  kernel = await TestKernel.boot();
  chmodSync(kernel.folder, 0o755);
  server = await LoopbackServer.http((request, response, body) => {
    if (request.url === '/missing') response.writeHead(404);
    response.end(`${request.method} ${body}`);
  });
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
});
afterAll(async () => {
  await kernel.close();
  await server.close();
});

async function client(): Promise<CloveClient> {
  const connected = await connect(kernel.running.socketPath);
  clients.push(connected);
  return connected;
}

const code = (expected: string): object => expect.objectContaining({ code: expected }) as object;

describe('HTTP by the kernel', () => {
  it('answers, also 404; what went wrong on the way is an error', async () => {
    const clove = await client();
    expect(await clove.http(server.url(), { method: 'POST', body: 'b' })).toMatchObject({
      status_code: 200,
      body: 'POST b',
    });
    expect((await clove.http(server.url('/missing'))).status_code).toBe(404);
    await expect(clove.http('file:///etc/passwd')).rejects.toEqual(code('FORBIDDEN'));
    const silent = await LoopbackServer.raw(() => {});
    try {
      await expect(clove.http(silent.url(), { timeout: 0.05 })).rejects.toEqual(code('TIMEOUT'));
      // Meanwhile the client goes on: such calls have connections of their own.
      const slow = clove.http(silent.url(), {}, { signal: AbortSignal.timeout(200) });
      expect(await clove.echo('alive')).toBe('alive');
      await expect(slow).rejects.toEqual(code('CANCELLED'));
    } finally {
      await silent.close();
    }
  });

  it('downloads', async () => {
    const clove = await client();
    const file = path.join(kernel.folder, 'downloaded');
    expect(await clove.download(server.url(), file)).toMatchObject({ success: true, bytes: 4 });
    expect(readFileSync(file, 'utf8')).toBe('GET ');
    await expect(clove.download(server.url('/missing'), file)).rejects.toEqual(code('IO'));
    await expect(clove.download(server.url(), file, { sha256: '0'.repeat(64) })).rejects.toEqual(
      code('DATA_CORRUPT'),
    );
  });
});

describe('calls that are answered later', () => {
  it('are submitted and polled, each by its id or as they end, while the client goes on', async () => {
    const clove = await client();
    const first = await clove.submit('EXEC', { command: 'cat', timeout: 20 });
    const second = await clove.submit('HTTP', { url: server.url(), request_id: 9 });
    expect(second).toBe(9);
    const [http] = await clove.pollAsync({ requestId: 9, wait: true, timeoutMs: 20_000 });
    expect(http).toMatchObject({ request_id: 9, success: true, result: { status_code: 200 } });
    const polled = clove.pollAsync({ wait: true, timeoutMs: 20_000 });
    expect(await clove.echo('alive')).toBe('alive');
    expect(await polled).toMatchObject([{ request_id: first, opcode_name: 'EXEC', success: true }]);
    expect(await clove.pollAsync()).toEqual([]);
    expect(await clove.pollAsync({ wait: true, timeoutMs: 30 })).toEqual([]);
    await expect(clove.pollAsync({ requestId: 9 })).rejects.toEqual(code('NOT_FOUND'));
    await expect(clove.submit('HTTP', { url: '' })).rejects.toEqual(code('BAD_REQUEST'));
  });

  it('of an agent are the same on all its connections', async () => {
    const clove = await client();
    const file = path.join(kernel.folder, 'later.mjs');
    const source = `
      import { connect } from 'clove/sdk';
      const clove = await connect();
      const id = await clove.submit('EXEC', { command: 'echo done' });
      const waiting = clove.pollAsync({ wait: true });
      const echo = await clove.echo('alive');
      const [{ request_id, result }] = await waiting;
      const refused = await clove.http(${JSON.stringify(server.url())}).catch(({ code }) => code);
      console.log(JSON.stringify([request_id === id, echo, result.stdout, refused]));
    `;
    writeFileSync(file, source, { mode: 0o644 });
    const { id } = await clove.spawn({ name: 'later', script: file });
    await clove.wait(id, { timeoutMs: 30_000 });
    const { stdout, stderr } = await clove.logs(id);
    expect([stdout, stderr]).toEqual(['[true,"alive","done\\n","FORBIDDEN"]\n', '']);
  });
});
