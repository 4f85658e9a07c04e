import { existsSync, readlinkSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, callingAgent, type TestClient, TestKernel } from '../fixture.ts';
import type { SyscallName } from '../protocol/opcodes.ts';

let kernel: TestKernel;
let client: TestClient;
beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
});
afterAll(() => kernel.close());

async function asAgent(...calls: (readonly [SyscallName, unknown])[]): Promise<Answer[]> {
  const exit = await client.run(callingAgent(calls));
  if (exit.stdout === '') throw new Error(exit.stderr);
  return JSON.parse(exit.stdout).map(({ answer }: { answer: Answer }) => answer);
}

describe('EXEC of an operator', () => {
  it('answers with output and exit code as existing clients read them', async () => {
    const answer = await client.call('EXEC', { command: 'echo out; echo err >&2; echo out2', async: false });
    expect(answer).toMatchObject({ success: true, stdout: 'out\nerr\nout2\n', stderr: '', exit_code: 0 });
    expect(answer.duration_ms).toBeGreaterThan(0);
    expect(await client.call('EXEC', { command: 'exit 3' })).toMatchObject({ success: false, exit_code: 3 });
    expect(await client.call('EXEC', { command: 'kill -9 $$' })).toMatchObject({
      success: false,
      exit_code: -1,
    });
    expect(await client.call('EXEC', { command: 'echo a; echo b >&2', separate: true })).toMatchObject({
      stdout: 'a\n',
      stderr: 'b\n',
    });
  });

  it('runs in a sandbox of its own, never as the kernel', async () => {
    const { stdout } = await client.call('EXEC', {
      command: 'readlink /proc/self/ns/pid /proc/self/ns/net; id -u; cat /etc/shadow 2>&1; ls /root 2>&1',
    });
    const [pidNamespace, netNamespace, uid] = stdout.split('\n');
    expect(pidNamespace).not.toBe(readlinkSync('/proc/self/ns/pid'));
    expect(netNamespace).not.toBe(readlinkSync('/proc/self/ns/net'));
    expect(Number(uid)).toBeGreaterThanOrEqual(200_000);
    expect(stdout).not.toContain('root:');
    expect(await client.call('LIST')).toEqual([]);
  });

  it('takes cwd and argv as data', async () => {
    expect(await client.call('EXEC', { command: 'pwd', cwd: '/tmp' })).toMatchObject({ stdout: '/tmp\n' });
    const marker = '/tmp/clove-exec-marker';
    const injected = await client.call('EXEC', { command: 'pwd', cwd: `/; touch ${marker}; cd /` });
    expect(injected).toMatchObject({ success: false, exit_code: -1, stdout: '' });
    expect(existsSync(marker)).toBe(false);
    const odd = ['/bin/echo', '$(id)', '`id`', ';id', '"', "'", '-n'];
    expect((await client.call('EXEC', { argv: odd })).stdout).toBe(`${odd.slice(1).join(' ')}\n`);
  });

  it('is ended by its time limit, with all it started', async () => {
    const started = performance.now();
    const answer = await client.call('EXEC', { command: 'echo begun; sleep 60 & sleep 60', timeout: 0.2 });
    expect(answer).toMatchObject({
      success: false,
      exit_code: -1,
      timed_out: true,
      code: 'TIMEOUT',
      stdout: 'begun\n',
    });
    expect(answer.error).toContain('timeout');
    // Not a measurement: far below the 60 s the command wanted.
    expect(performance.now() - started).toBeLessThan(30_000);
  });

  it('keeps the first MiB of a flood and says so', async () => {
    const answer = await client.call('EXEC', { command: 'head -c 5000000 /dev/zero | tr "\\0" x' });
    expect(answer).toMatchObject({ success: true, truncated: true });
    expect(answer.stdout).toHaveLength(2 ** 20);
  });

  it('with output that is not text answers all the same', async () => {
    expect(await client.call('EXEC', { command: "printf '\\377ok'" })).toMatchObject({ stdout: '\uFFFDok' });
  });

  it('refuses what it cannot do instead of doing something else', async () => {
    expect(await client.call('EXEC', { command: 'true', async: 'yes' })).toMatchObject({
      success: false,
      code: 'BAD_REQUEST',
      error: expect.stringContaining('async'),
      exit_code: -1,
      stdout: '',
    });
    expect(await client.call('EXEC', {})).toMatchObject({ error: 'command required' });
    expect(await client.call('EXEC', { async: true })).toMatchObject({ error: 'command required' });
    expect(await client.call('EXEC', { command: '' })).toMatchObject({ error: 'command required' });
    expect(await client.call('EXEC', { command: 'true', timeout: -1 })).toMatchObject({
      code: 'BAD_REQUEST',
    });
    expect(await client.call('EXEC', { argv: ['/none/at/all'], separate: true })).toMatchObject({
      success: false,
      exit_code: -1,
    });
  });

  it('does not hold up anybody else', async () => {
    const other = await kernel.connect();
    client.send('EXEC', { command: 'sleep 0.5; echo late' });
    let calls = 0;
    let late: Answer = null;
    const answered = client.next().then((answer) => {
      late = answer;
    });
    while (late === null) {
      await other.call('HELLO');
      calls += 1;
    }
    await answered;
    expect(late.stdout).toBe('late\n');
    expect(calls).toBeGreaterThan(50);
  });
});

describe('EXEC of an agent', () => {
  it('takes no working directory outside of its root, and no more commands than its share', async () => {
    const cwds = ['/proc/self/fd/7', '/proc/1/root/root', '/root', '/none'];
    const answers = await asAgent(...cwds.map((cwd) => ['EXEC', { command: 'pwd', cwd }] as const));
    for (const answer of answers) expect(answer).toMatchObject({ success: false, stdout: '', exit_code: -1 });
    const source = `
      const net = require('node:net');
      const body = Buffer.from(JSON.stringify({ command: 'sleep 0.3; echo done' }));
      const frame = Buffer.alloc(17); frame.writeUInt32LE(0x41474e54, 0); frame[8] = 2; frame.writeUInt32LE(body.length, 9);
      let answered = 0;
      for (let n = 0; n < 12; n += 1) {
        const socket = net.connect(process.env.CLOVE_SOCKET);
        socket.write(Buffer.concat([frame, body]));
        socket.on('data', (data) => {
          console.log(JSON.parse(data.subarray(17)).code ?? 'ran');
          if (++answered === 12) process.exit(0);
        });
      }`;
    const exit = await client.run({ command: ['node', '-e', source] });
    const lines = exit.stdout.trim().split('\n');
    expect(lines.filter((line: string) => line === 'ran')).toHaveLength(8);
    expect(lines.filter((line: string) => line === 'OVERLOAD')).toHaveLength(4);
  });

  it('runs in the agent’s own namespaces, with its user and files', async () => {
    const [self, write, read] = await asAgent(
      [
        'EXEC',
        {
          command:
            'readlink /proc/self/ns/pid /proc/$PPID/ns/pid; id -u; grep -E "CapEff|NoNewPrivs|Seccomp:" /proc/self/status',
        },
      ],
      ['EXEC', { command: 'echo kept > /work/kept' }],
      ['READ', { path: '/work/kept' }],
    );
    expect(self.stdout).not.toContain(readlinkSync('/proc/self/ns/pid'));
    expect(self.stdout).toMatch(/^\d{6}$/m);
    expect(self.stdout).toMatch(/CapEff:\t0+\n/);
    expect(self.stdout).toMatch(/NoNewPrivs:\t1/);
    expect(self.stdout).toMatch(/Seccomp:\t2/);
    expect(write).toMatchObject({ success: true });
    expect(read).toMatchObject({ content: 'kept\n' });
  });

  it('is ended by its time limit and leaves the agent alive', async () => {
    const [slow, after] = await asAgent(['EXEC', { command: 'sleep 60', timeout: 0.1 }], ['NOOP', 'alive']);
    expect(slow).toMatchObject({ success: false, timed_out: true, exit_code: -1 });
    expect(after).toBe('alive');
  });
});
