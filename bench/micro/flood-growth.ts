/**
 * node bench/micro/flood-growth.ts [seconds] [quota]: what a kernel grows by while an agent floods it with calls, without a quota or with
 * one of so many calls a second, beside an agent that goes on calling; and which of V8's heaps it is.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '../../sdk/typescript/index.ts';
import { runsKernel, startKernelProcess } from './kernel-process.ts';
import { ATTACKS, latenciesOf, startSentinel } from './neighbour.ts';

if (!runsKernel) await measure(Number(process.argv[2] ?? 60), Number(process.argv[3] ?? 0));

async function measure(seconds: number, callsPerSecond: number): Promise<void> {
  const flood = ATTACKS.find(({ resource }) => resource === 'syscalls');
  if (flood === undefined) throw new Error('there is no flood of calls');
  const kernel = await startKernelProcess();
  const client = await connect({ socketPath: kernel.socketPath, reconnect: false });
  await client.register('judge');
  await startSentinel(client);
  await sleep(3000);
  const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
  const look = async (atSeconds: number): Promise<number> => {
    const { rss, heapTotal, heapUsed, external, arrayBuffers } = await kernel.memory();
    const v8 = `heap ${mib(heapUsed)} of ${mib(heapTotal)}, external ${mib(external)}, of it buffers ${mib(arrayBuffers)}`;
    console.log(`${String(atSeconds).padStart(3)} s: ${mib(rss)} MiB resident; ${v8}`);
    return rss;
  };
  await latenciesOf(client);
  const before = await look(0);
  const { id } = await client.spawn({ name: 'offender', ...flood.request });
  if (callsPerSecond > 0) await client.setQuota({ syscalls_per_second: callsPerSecond }, id);
  let after = before;
  for (let at = 0; at < seconds; ) {
    const step = Math.min(10, seconds - at);
    await sleep(step * 1000);
    at += step;
    after = await look(at);
  }
  const { failures, count } = await latenciesOf(client);
  const { kernel_stats: stats } = await client.agentMetrics(id);
  console.log(
    `the kernel grew by ${mib(after - before)} MiB in ${seconds} s; ${stats.syscall_count} calls of the flood; ${failures} of ${count} calls beside it failed`,
  );
  await client.close();
  kernel.end();
}
