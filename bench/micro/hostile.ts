/**
 * node bench/micro/hostile.ts [seconds] [attack,attack…] [seconds alone]: latency of an agent's calls alone and next to each hostile neighbour, with the
 * time until the neighbour's limit was told and the growth of the kernel. The kernel runs in a process of its own.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { KERNEL_NODE_OPTIONS } from '../../kernel/node-options.ts';
import { connect } from '../../sdk/typescript/index.ts';
import { withMeasuredKernel } from './kernel.ts';
import { ATTACKS, latenciesOf, startSentinel } from './neighbour.ts';

if (process.send !== undefined) {
  await withMeasuredKernel(async ({ socketPath }) => {
    process.send?.(socketPath);
    await once(process, 'disconnect');
  });
} else {
  const seconds = Number(process.argv[2] ?? 10);
  await measure(seconds, process.argv[3] ?? '', Number(process.argv[4] ?? seconds));
}

async function measure(seconds: number, only: string, secondsAlone: number): Promise<void> {
  const execArgv = [...process.execArgv, ...KERNEL_NODE_OPTIONS];
  const child = fork(import.meta.filename, { stdio: 'inherit', execArgv });
  const [socketPath] = (await once(child, 'message')) as [string];
  const client = await connect({ socketPath, reconnect: false });
  const watcher = await connect({ socketPath, reconnect: false });
  await watcher.subscribe(['RESOURCE_WARNING']);
  await client.register('judge');
  await startSentinel(client);
  await sleep(2000);
  await latenciesOf(client);
  await sleep(secondsAlone * 1000);
  const solo = await latenciesOf(client);
  console.log(`alone: p50 ${solo.p50Ms.toFixed(3)} ms, p99 ${solo.p99Ms.toFixed(3)} ms, ${solo.count} calls`);
  // Nobody has to set a quota: without one the flood is held off by turns alone.
  const unlimited = ATTACKS.filter(({ resource }) => resource === 'syscalls').map((attack) => ({
    ...attack,
    name: `${attack.name}, no quota`,
    resource: null,
  }));
  const all = [...ATTACKS, ...unlimited];
  const isExact = all.some(({ name }) => name === only);
  for (const attack of all.filter(({ name }) =>
    isExact ? name === only : only.split(',').some((part) => name.includes(part)),
  )) {
    const startedMs = performance.now();
    const { id } = await client.spawn({ name: 'offender', ...attack.request });
    if (attack.resource === 'syscalls') await client.setQuota({ syscalls_per_second: 500 }, id);
    let told = '';
    for (;;) {
      if (attack.resource === null) break;
      const { events } = await watcher.pollEvents({ wait: true, timeoutMs: 20_000 });
      if (events.length === 0) told = ', never told';
      const found = events.some(({ data }) => (data as { agent_id: number }).agent_id === id);
      if (found) told = `, told after ${(performance.now() - startedMs).toFixed(0)} ms`;
      if (told !== '') break;
    }
    await latenciesOf(client);
    const residentBefore = residentBytes(child.pid ?? 0);
    await sleep(seconds * 1000);
    const grownMiB = (residentBytes(child.pid ?? 0) - residentBefore) / 2 ** 20;
    const { p50Ms, p99Ms, count, failures } = await latenciesOf(client);
    await client.kill(id, { graceMs: 0 });
    console.log(
      `${attack.name.padEnd(22)} p50 ${p50Ms.toFixed(3)} ms, p99 ${p99Ms.toFixed(3)} ms (×${(p99Ms / solo.p99Ms).toFixed(2)}), ${failures} of ${count} calls failed${told}; the kernel grew by ${grownMiB.toFixed(1)} MiB`,
    );
  }
  await client.close();
  await watcher.close();
  child.disconnect();
}

function residentBytes(pid: number): number {
  const pages = Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]);
  return pages * 4096;
}
