import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { afterAll, expect, it } from 'vitest';
import { leftovers } from '../../bench/micro/neighbour.ts';
import { TestKernel } from '../../kernel/fixture.ts';
import { connect } from '../../sdk/typescript/index.ts';

const AGENTS = 24;
const ROUNDS = 3;
const folder = mkdtempSync(path.join(tmpdir(), 'clove-killed-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const hosts: Record<string, string> = {
  socketPath: path.join(folder, 'clove.sock'),
  dataDirectory: path.join(folder, 'data'),
  runDirectory: path.join(folder, 'run'),
};

/** A kernel in a process that can be killed; says its boot id when it serves. */
async function startKernel(): Promise<{ readonly kill: () => Promise<void>; readonly bootId: string }> {
  const child = fork(path.join(import.meta.dirname, 'killable-kernel.ts'), [JSON.stringify(hosts)], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  const [bootId] = (await once(child, 'message')) as [string];
  return {
    bootId,
    async kill() {
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

/** Live processes of sandboxes that have this in their cgroup's name; the dead among them are for PID 1 of the machine to bury. */
function processesOf(bootId: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const isDead = /\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
        return !isDead && readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(bootId);
      } catch {
        return false;
      }
    });
}

it(`kill -9 of a kernel in the middle of starting and ending agents, ${ROUNDS} times: the next one leaves nothing of it`, async (context) => {
  if (process.geteuid?.() !== 0) context.skip('needs root');
  const clearedMs: number[] = [];
  await fc.assert(
    fc.asyncProperty(fc.nat(150), async (delayMs) => {
      const kernel = await startKernel();
      const client = await connect({ socketPath: hosts.socketPath as string, reconnect: false });
      const quietly = (work: Promise<unknown>) => void work.catch(() => {});
      const ids: number[] = [];
      for (let n = 0; n < AGENTS; n += 1) {
        ids.push((await client.spawn({ command: ['/bin/sleep', '600'], restart_policy: 'always' })).id);
      }
      // In flight when the kernel dies: every step of setting up and of clearing up.
      for (let n = 0; n < 40; n += 1) {
        quietly(
          client.spawn({
            command: n % 2 === 0 ? ['/bin/true'] : ['/bin/sleep', '600'],
            limits: { memory_mb: 16 },
          }),
        );
        if (n < 8) quietly(client.kill(ids[n] as number, { graceMs: 0 }));
      }
      await sleep(delayMs);
      await kernel.kill();
      await client.close();
      const startedMs = performance.now();
      const next = await TestKernel.boot({ ...hosts, onRestart: 'forget' });
      clearedMs.push(performance.now() - startedMs);
      try {
        // Once it serves, nothing of the one before is left.
        expect(processesOf(kernel.bootId)).toEqual([]);
        expect(leftovers(kernel.bootId)).toEqual([]);
        expect(
          readdirSync(hosts.runDirectory as string).filter((name) => name.includes(kernel.bootId)),
        ).toEqual([]);
        expect(next.running.kernel.agents.size).toBe(0);
      } finally {
        await next.close();
      }
      expect(existsSync(hosts.socketPath as string)).toBe(false);
    }),
    { numRuns: ROUNDS },
  );
  console.log(`ready, with everything cleared, after ${clearedMs.map((ms) => ms.toFixed(0)).join(', ')} ms`);
});
