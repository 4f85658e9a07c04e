import { existsSync, readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { type Answer, type TestClient, TestKernel, until } from '../fixture.ts';

const SIZE = 3;

let kernel: TestKernel;
afterEach(() => kernel.close());

async function boot(sandboxPool: number): Promise<TestClient> {
  kernel = await TestKernel.boot({ sandboxPool });
  return kernel.connect();
}

const pool = () => kernel.running.kernel.sandboxPool.state();
const isMade = async (count: number) => (await pool()).waiting.length >= count;

describe('agents in sandboxes that were made ahead', () => {
  it('have identity, limits, files and permissions of their own, and a true report', async () => {
    const client = await boot(SIZE);
    for (let i = 0; i < SIZE; i++) await client.run({ command: ['/bin/true'] });
    await until(() => isMade(SIZE));
    const spawned: Answer[] = [];
    for (let i = 0; i < SIZE; i++) {
      spawned.push(
        await client.spawn({
          name: `one-${i}`,
          command: ['/bin/sh', '-c', 'hostname; id -u; ls -l $CLOVE_SOCKET; sleep 60'],
          limits: { memory_mb: 32 + i, max_pids: 10 + i },
        }),
      );
    }
    const { used, failed } = await pool();
    expect({ used: used >= SIZE, failed }).toEqual({ used: true, failed: 0 });
    const users = new Set<string>();
    for (const [i, { id, pid, setup_us, isolation }] of spawned.entries()) {
      expect(setup_us).toHaveProperty('prepared');
      const how = (layer: string) =>
        isolation.layers.find((each: { layer: string }) => each.layer === layer).how;
      expect(how('mem')).toContain(`=${(32 + i) * 2 ** 20} (read back)`);
      expect(how('pids')).toContain(`pids.max=${10 + i} (read back)`);
      expect(how('utsns')).toContain(`clove-${id}; seen from outside`);
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      users.add(/^Uid:\t(\d+)/m.exec(status)?.[1] ?? '');
      await until(async () => (await client.call('LOGS', { id })).stdout.split('\n').length === 4);
      const [hostname, uid, socket] = (await client.call('LOGS', { id })).stdout.split('\n');
      expect(hostname).toBe(`clove-${id}`);
      expect(socket).toMatch(/^srw------- 1 agent agent .* \/run\/clove\.sock$/);
      expect(users.has(uid)).toBe(true);
    }
    expect(users.size).toBe(SIZE);
    const { waiting } = await pool();
    await kernel.close();
    for (const pid of waiting) expect(existsSync(`/proc/${pid}`)).toBe(false);
  });

  it('talk to the kernel as who they are', async () => {
    const client = await boot(1);
    const script = `import socket, struct, json, os
s = socket.socket(socket.AF_UNIX); s.connect(os.environ['CLOVE_SOCKET'])
print(os.environ['CLOVE_AGENT_ID'])`;
    for (let i = 0; i < 3; i++) {
      await until(() => (i === 0 ? true : isMade(1)));
      const { id } = await client.spawn({ command: ['/usr/bin/python3', '-c', script] });
      await client.call('WAIT', { id });
      expect((await client.call('LOGS', { id })).stdout).toBe(`${id}\n`);
    }
    expect((await pool()).used).toBe(2);
  });

  it('are restarted into new ones', async () => {
    const client = await boot(1);
    const { id, pid } = await client.spawn({
      command: ['/bin/sleep', '60'],
      restart_policy: 'always',
      restart_backoff_ms: 1,
    });
    await until(() => isMade(1));
    process.kill(pid, 'SIGKILL');
    await until(async () => {
      const [row] = await client.call('LIST');
      return row?.id === id && row.state === 'running' && row.restarts === 1;
    });
    expect((await pool()).used).toBe(1);
  });

  it('do not exist where there is no pool', async () => {
    const client = await boot(0);
    for (let i = 0; i < 3; i++) {
      const { id, setup_us } = await client.spawn({ command: ['/bin/true'] });
      expect(setup_us).not.toHaveProperty('prepared');
      await client.call('WAIT', { id });
    }
    expect(await pool()).toMatchObject({ size: 0, made: 0, waiting: [] });
  });
});
