import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import { RawClient, textOf } from '../kernel/wire/testing.ts';
import { cleanUpAfterEach, closing, echo, inFolder, OPTIONS, openFiles, serve } from './wire-testing.ts';

cleanUpAfterEach();

const connect = async (socketPath: string): Promise<RawClient> =>
  closing(await RawClient.connect(socketPath));

describe('the process', () => {
  const run = promisify(execFile);
  const source = (body: string): string[] => [
    '--input-type=module-typescript',
    '-e',
    `import { createWireServer } from ${JSON.stringify(path.join(import.meta.dirname, 'wire.ts'))};
     import net from 'node:net';
     const options = ${JSON.stringify(OPTIONS)};
     const socketPath = ${JSON.stringify(inFolder('child.sock'))};
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
    const worker = inFolder('worker.ts');
    writeFileSync(
      worker,
      `import { parentPort } from 'node:worker_threads';
       import { createWireServer } from ${JSON.stringify(path.join(import.meta.dirname, 'wire.ts'))};
       createWireServer({ ${quiet} }).listen(${JSON.stringify(inFolder('child.sock'))}, ${JSON.stringify(OPTIONS)});
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
    const socketPath = inFolder('child.sock');
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
