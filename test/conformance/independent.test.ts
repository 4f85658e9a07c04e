import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { TestKernel } from '../../kernel/fixture.ts';

it('a client written against the description alone gets through every family', async () => {
  const server = createServer((_request, response) => {
    response.statusCode = 418;
    response.end('short and stout');
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const kernel = await TestKernel.boot();
  try {
    const { stdout } = await promisify(execFile)(
      'python3',
      [
        '-I',
        path.join(import.meta.dirname, 'independent_client.py'),
        kernel.running.socketPath,
        kernel.folder,
        `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
      ],
      { timeout: 120_000 },
    );
    expect(stdout.trim().split('\n').at(-1)).toBe('misuse');
    const log = await (await kernel.connect()).call('AUDIT_QUERY', { outcome: 'INTERNAL', limit: 100 });
    expect(log.entries).toEqual([]);
  } finally {
    await kernel.close();
    server.close();
  }
}, 150_000);
