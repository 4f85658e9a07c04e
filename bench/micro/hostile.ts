/**
 * node bench/micro/hostile.ts [seconds] [attack,attack…] [pairs]: latency of an agent's calls alone and next to each hostile neighbour, in
 * turns (pairs of phases of so many seconds, pooled), with the time from when the neighbour met its limit until that was told.
 * The kernel runs in a process of its own. What a flood makes it grow by: bench/micro/flood-growth.ts.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type CloveClient, connect } from '../../sdk/typescript/index.ts';
import { runsKernel, startKernelProcess } from './kernel-process.ts';
import { ATTACKS, type Attack, pooled, type Sample, sampleOf, startSentinel } from './neighbour.ts';
import { MemoryLimitWatch, metMs } from './told.ts';

if (!runsKernel) {
  await measure(Number(process.argv[2] ?? 2), process.argv[3] ?? '', Number(process.argv[4] ?? 3));
}

interface Neighbours {
  readonly client: CloveClient;
  readonly watcher: CloveClient;
}

async function measure(seconds: number, only: string, pairs: number): Promise<void> {
  const kernel = await startKernelProcess();
  const client = await connect({ socketPath: kernel.socketPath, reconnect: false });
  const watcher = await connect({ socketPath: kernel.socketPath, reconnect: false });
  await watcher.subscribe(['RESOURCE_WARNING']);
  await client.register('judge');
  await startSentinel(client);
  await sleep(2000);
  // Nobody has to set a quota: without one the flood is held off by turns alone.
  const unlimited = ATTACKS.filter(({ resource }) => resource === 'syscalls').map((attack) => ({
    ...attack,
    name: `${attack.name}, no quota`,
    resource: null,
  }));
  const all = [...ATTACKS, ...unlimited];
  const isExact = all.some(({ name }) => name === only);
  const chosen = all.filter(({ name }) =>
    isExact ? name === only : only.split(',').some((part) => name.includes(part)),
  );
  const neighbours = { client, watcher };
  for (const attack of chosen) {
    const alone: Sample[] = [];
    const beside: Sample[] = [];
    const toldMs: (number | null)[] = [];
    for (let pair = 0; pair < pairs; pair += 1) {
      await sampleOf(client);
      await sleep(seconds * 1000);
      alone.push(await sampleOf(client));
      const { sample, toldAfterMs } = await besideOffender(neighbours, attack, seconds);
      beside.push(sample);
      toldMs.push(toldAfterMs);
    }
    console.log(lineOf(attack, pooled(alone), pooled(beside), toldMs));
  }
  await client.close();
  await watcher.close();
  kernel.end();
}

interface Beside {
  readonly sample: Sample;
  /** From when the limit was met; null = nothing is exceeded, or it was not told. */
  readonly toldAfterMs: number | null;
}

async function besideOffender(
  { client, watcher }: Neighbours,
  attack: Attack,
  seconds: number,
): Promise<Beside> {
  const { id, pid } = await client.spawn({ name: 'offender', ...attack.request });
  const memory = attack.resource === 'memory' ? new MemoryLimitWatch(pid) : null;
  if (attack.resource === 'syscalls') await client.setQuota({ syscalls_per_second: 500 }, id);
  let toldAtMs: number | null = null;
  while (attack.resource !== null && toldAtMs === null) {
    const { events } = await watcher.pollEvents({ wait: true, timeoutMs: 20_000 });
    const found = events.some(({ data }) => (data as { agent_id: number }).agent_id === id);
    if (found) toldAtMs = performance.now();
    if (events.length === 0) break;
  }
  const metAtMs = memory === null ? await metMs(client, id) : memory.end();
  // Interpreters start alike, whether there is something to tell or not.
  if (attack.resource === null) await sleep(500);
  await sampleOf(client);
  await sleep(seconds * 1000);
  const sample = await sampleOf(client);
  await client.kill(id, { graceMs: 0 });
  await sleep(200);
  await watcher.pollEvents({ wait: false });
  const toldAfterMs = toldAtMs === null || metAtMs === null ? null : toldAtMs - metAtMs;
  return { sample, toldAfterMs };
}

function lineOf(attack: Attack, alone: Sample, beside: Sample, toldMs: readonly (number | null)[]): string {
  const told = toldMs.map((ms) => (ms === null ? 'never' : ms.toFixed(0))).join(', ');
  return [
    `${attack.name.padEnd(24)} alone p50 ${alone.p50Ms.toFixed(3)}, p99 ${alone.p99Ms.toFixed(3)} ms`,
    `beside it ${beside.p50Ms.toFixed(3)}, ${beside.p99Ms.toFixed(3)} (×${(beside.p99Ms / alone.p99Ms).toFixed(2)}), longest ${beside.maxMs.toFixed(1)}`,
    `${beside.failures} of ${beside.count} calls failed`,
    attack.resource === null ? 'nothing is exceeded' : `told after ${told} ms`,
  ].join('; ');
}
