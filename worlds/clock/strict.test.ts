// Strict worlds: what happens, in which order and when, follows from the seed.
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ClockFixture, type Finished, type Started, unifiedMount } from './testing.ts';

const PROGRAMS = path.join(import.meta.dirname, 'conformance');
const hasGroups = unifiedMount() !== null && process.geteuid?.() === 0;
const folders: string[] = [];
let fixture: ClockFixture | null = null;

beforeEach((context) => {
  if (!hasGroups) context.skip('needs root and a version 2 control group hierarchy');
});

afterEach(async () => {
  await fixture?.close();
  fixture = null;
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function strictWorld(seed: number): ClockFixture {
  fixture = new ClockFixture({ mode: 'strict', start: '2030-01-01T00:00:00Z' }, { seed });
  return fixture;
}

/** Until the shell that put it into its control group has become the program. */
async function hasBegun({ child }: Started): Promise<void> {
  for (;;) {
    const name = child.exitCode === null ? readFileSync(`/proc/${child.pid}/comm`, 'utf8').trim() : '';
    if (child.exitCode !== null || !['sh', 'env'].includes(name)) return;
    await delay(2);
  }
}

/** Starts all programs before any of them does anything, and waits for their ends. */
async function together(
  world: ClockFixture,
  programs: readonly (readonly string[])[],
): Promise<readonly Finished[]> {
  const lease = world.world.clock.lease('all agents are started');
  const started = programs.map((argv) => world.start(argv));
  await Promise.all(started.map(hasBegun));
  lease[Symbol.dispose]();
  return Promise.all(started.map(({ finished }) => finished));
}

/** Eight agents in two languages that write to a board, which is one of them; what was written there. */
async function board(seed: number, rounds: number): Promise<string> {
  const world = strictWorld(seed);
  const folder = mkdtempSync(path.join(tmpdir(), 'clove-strict-'));
  folders.push(folder);
  const socket = path.join(folder, 'board');
  const agents = Array.from({ length: 7 }, (_, i) => [
    ...(i % 2 === 0
      ? [process.execPath, path.join(PROGRAMS, 'strict-agent.mjs')]
      : ['python3', path.join(PROGRAMS, 'strict-agent.py')]),
    ...[socket, `agent-${i}`, String(rounds)],
  ]);
  const finished = await together(world, [
    ['python3', path.join(PROGRAMS, 'strict-board.py'), socket, '7'],
    ...agents,
  ]);
  for (const { code, stderr } of finished) expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(world.world.clock.status().degradations).toEqual([]);
  await world.close();
  return finished[0]?.stdout ?? '';
}

describe('a strict world', () => {
  it('gives byte-identical logs for the same seed, with eight agents in two languages', {
    timeout: 240_000,
  }, async () => {
    const first = await board(7, 6);
    expect(first.split('\n').length).toBe(7 * 6 + 2);
    const hashOf = (log: string) => createHash('sha256').update(log).digest('hex');
    for (let run = 1; run < 5; run++) {
      const again = await board(7, 6);
      // The texts first: they show where the difference is.
      expect(again).toBe(first);
      expect(hashOf(again)).toBe(hashOf(first));
    }
    expect(await board(8, 6)).not.toBe(first);
  });

  it('stands still while somebody works, and moves for whoever watches the clock', async () => {
    const world = strictWorld(1);
    const program = `
import time
begin, cpu = time.time(), time.process_time()
while time.process_time() - cpu < 0.05: pass
print(time.time() - begin)
end = begin + 0.01
reads = 0
while time.time() < end: reads += 1
print(reads)
time.sleep(3600)
print(time.time())`;
    const [finished] = await together(world, [['python3', '-c', program]]);
    const [worked, reads, end] = (finished?.stdout ?? '').trim().split('\n').map(Number);
    expect(finished?.stderr).toBe('');
    expect(worked).toBe(0);
    // A thousand for nothing, then a microsecond each.
    expect(reads).toBeGreaterThan(9000);
    expect(reads).toBeLessThan(12_000);
    expect(end).toBeCloseTo(Date.UTC(2030, 0, 1, 1) / 1000 + 0.01, 3);
  });

  it('takes what is random in Python and Node from the seed', async () => {
    const draw = async (seed: number): Promise<string> => {
      const world = strictWorld(seed);
      const finished = await together(world, [
        [
          'python3',
          '-c',
          'import os, random, uuid; print(random.random(), os.urandom(8), uuid.uuid4(), hash("a"))',
        ],
        [
          process.execPath,
          '-e',
          'const c = require("crypto"); console.log(Math.random(), c.randomBytes(4), c.randomUUID(), c.randomInt(1e9), crypto.getRandomValues(new Uint8Array(4)))',
        ],
      ]);
      await world.close();
      return finished.map(({ stdout, stderr }) => stdout + stderr).join('');
    };
    const first = await draw(1);
    expect(await draw(1)).toBe(first);
    const other = await draw(2);
    first.split(/\s+/).forEach((word, i) => {
      if (/\d{4}/.test(word)) expect(other.split(/\s+/)[i]).not.toBe(word);
    });
  });

  it('names a program that it cannot order, and goes on without the order', { timeout: 60_000 }, async () => {
    const world = strictWorld(1);
    const uncovered = world.start(['sh', '-c', 'echo up; sleep 600'], { preload: false });
    await uncovered.wrote('up');
    const { stdout } = await world.run(['python3', '-c', 'import time; time.sleep(0.2); print("slept")']);
    expect(stdout).toBe('slept\n');
    const names = world.world.clock.status().degradations.map(({ name }) => name);
    expect(names).toContain('not-registered');
    expect(names).toContain('order-lost');
    // What no strict world repeats is said without anybody looking for it.
    expect(world.world.clock.status().notRepeated.join()).toMatch(/addresses.*urandom.*OpenSSL/);
  });
});
