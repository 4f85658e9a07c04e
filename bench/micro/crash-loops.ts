/**
 * node bench/micro/crash-loops.ts [agents] [seconds] [restarts]: agents that end at once, started again with the usual backoff
 * until they are given up (default: 100 agents, 600 s, 25 restarts); what that costs in CPU time, what an agent beside them
 * notices, and how often each was given up. The kernel runs in a process of its own.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '../../sdk/typescript/index.ts';
import { withMeasuredKernel } from './kernel.ts';
import { latenciesOf, startSentinel } from './neighbour.ts';

/** USER_HZ of Linux. */
const TICKS_PER_SECOND = 100;

if (process.send !== undefined) {
  await withMeasuredKernel(async ({ socketPath }) => {
    process.send?.(socketPath);
    await once(process, 'disconnect');
  });
} else {
  await measure(
    Number(process.argv[2] ?? 100),
    Number(process.argv[3] ?? 600),
    Number(process.argv[4] ?? 25),
  );
}

async function measure(agents: number, seconds: number, restarts: number): Promise<void> {
  const child = fork(import.meta.filename, { stdio: 'inherit' });
  const [socketPath] = (await once(child, 'message')) as [string];
  const client = await connect({ socketPath, reconnect: false });
  const watcher = await connect({ socketPath, reconnect: false });
  await watcher.subscribe(['AGENT_ESCALATED', 'AGENT_SPAWNED', 'AGENT_EXITED']);
  await client.register('judge');
  const sentinel = await startSentinel(client);
  await sleep(2000);
  await latenciesOf(client);
  await sleep(10_000);
  const solo = await latenciesOf(client);
  const escalations = new Map<number, number>();
  let starts = 0;
  let agentsCpuUs = 0;
  const stop = new AbortController();
  const counting = (async () => {
    for await (const { type, data } of watcher.events({ signal: stop.signal })) {
      const { agent_id: id, usage } = data as {
        agent_id: number;
        usage?: { cpu_user_us: number; cpu_system_us: number };
      };
      if (id === sentinel) continue;
      if (type === 'AGENT_SPAWNED') starts += 1;
      if (type === 'AGENT_EXITED' && usage !== undefined)
        agentsCpuUs += usage.cpu_user_us + usage.cpu_system_us;
      if (type === 'AGENT_ESCALATED') escalations.set(id, (escalations.get(id) ?? 0) + 1);
    }
  })();
  const sentinelBefore = await cpuSecondsOf(client, sentinel);
  const kernelBefore = kernelCpuSeconds(child.pid ?? 0);
  const startedMs = performance.now();
  for (let n = 0; n < agents; n += 1) {
    await client.spawn({
      name: `crashing-${n}`,
      command: ['/bin/false'],
      restart_policy: 'on-failure',
      max_restarts: restarts,
      restart_window: 3600,
    });
  }
  await sleep(Math.max(0, seconds * 1000 - (performance.now() - startedMs)));
  const elapsed = (performance.now() - startedMs) / 1000;
  const kernelSeconds = kernelCpuSeconds(child.pid ?? 0) - kernelBefore;
  const during = await latenciesOf(client);
  const sentinelSeconds = (await cpuSecondsOf(client, sentinel)) - sentinelBefore;
  stop.abort();
  await counting.catch(() => {});
  const share = (cpuSeconds: number) => `${((cpuSeconds / elapsed) * 100).toFixed(2)} %`;
  console.log(
    `${agents} agents for ${elapsed.toFixed(0)} s: ${starts} starts, ${(starts / elapsed).toFixed(1)} per second`,
  );
  console.log(
    `CPU of one core: kernel ${share(kernelSeconds)} (it also serves the sentinel, which uses ${share(sentinelSeconds)}), crashing agents ${share(agentsCpuUs / 1e6)}`,
  );
  console.log(
    `sentinel: p50 ${during.p50Ms.toFixed(3)} ms, p99 ${during.p99Ms.toFixed(3)} ms (alone ${solo.p50Ms.toFixed(3)} and ${solo.p99Ms.toFixed(3)}), ${during.failures} of ${during.count} calls failed`,
  );
  const most = Math.max(0, ...escalations.values());
  console.log(`given up: ${escalations.size} of ${agents}, at most ${most} times each`);
  await client.close();
  await watcher.close();
  child.disconnect();
}

function kernelCpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

async function cpuSecondsOf(client: Awaited<ReturnType<typeof connect>>, id: number): Promise<number> {
  const pid = (await client.list()).find((agent) => agent.id === id)?.pid ?? 0;
  return pid === 0 ? 0 : kernelCpuSeconds(pid);
}
