/**
 * node bench/micro/clock-strict.ts [runs]: eight agents in Python and Node in a strict world, one of them a board that the others write to; the
 * same seed again and again (default 100 times), and how many different logs of the board that gave. Needs root, a version 2 control group
 * hierarchy and python3.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClockFixture } from '../../worlds/clock/testing.ts';

const PROGRAMS = path.join(import.meta.dirname, '..', '..', 'worlds', 'clock', 'conformance');
const ROUNDS = '10';

async function run(socket: string): Promise<string> {
  const world = new ClockFixture({ mode: 'strict', start: '2030-01-01T00:00:00Z' }, { seed: 7 });
  try {
    const lease = world.world.clock.lease('all agents are started');
    const board = world.start(['python3', path.join(PROGRAMS, 'strict-board.py'), socket, '7']);
    const agents = Array.from({ length: 7 }, (_, i) =>
      world.start([
        ...(i % 2 === 0
          ? [process.execPath, path.join(PROGRAMS, 'strict-agent.mjs')]
          : ['python3', path.join(PROGRAMS, 'strict-agent.py')]),
        ...[socket, `agent-${i}`, ROUNDS],
      ]),
    );
    for (const { child } of [board, ...agents])
      while (['sh', 'env'].includes(readFileSync(`/proc/${child.pid}/comm`, 'utf8').trim())) await sleep(2);
    lease[Symbol.dispose]();
    await Promise.all(agents.map(({ finished }) => finished));
    const { stdout } = await board.finished;
    const lost = world.world.clock.status().degradations.map(({ name }) => name);
    if (lost.length > 0) throw new Error(`not strict: ${lost.join(', ')}`);
    return stdout;
  } finally {
    await world.close();
  }
}

const runs = Number(process.argv[2] ?? 100);
const folder = mkdtempSync(path.join(tmpdir(), 'clove-bench-strict-'));
const logs = new Map<string, number>();
const begun = performance.now();
try {
  for (let i = 0; i < runs; i++) {
    const hash = createHash('sha256')
      .update(await run(path.join(folder, `board-${i}`)))
      .digest('hex');
    logs.set(hash, (logs.get(hash) ?? 0) + 1);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.stdout.write(
  `${runs} runs of one seed, ${((performance.now() - begun) / 1000 / runs).toFixed(2)} s each, load ${loadavg()[0]?.toFixed(1)}: ${logs.size} different logs (${[...logs.values()].join(', ')} runs)\n`,
);
