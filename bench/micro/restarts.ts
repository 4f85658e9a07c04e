/**
 * node bench/micro/restarts.ts [agents] [kills] [seed]: starts agents with restart policy `always`, kills some of them from outside as
 * the operating system would, and tells how the others fared and how soon the killed ones ran again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '../../sdk/typescript/index.ts';
import { Luck } from '../../worlds/luck/streams.ts';
import { withMeasuredKernel } from './kernel.ts';

const agents = Number(process.argv[2] ?? 100);
const kills = Number(process.argv[3] ?? 20);
const seed = Number(process.argv[4] ?? 42);
const SETTLE_MS = 1000;
const GIVE_UP_MS = 30_000;

await withMeasuredKernel(async ({ socketPath }) => {
  const client = await connect(socketPath);
  const watcher = await connect(socketPath);
  await watcher.subscribe(['AGENT_SPAWNED']);
  const startedAtMs = performance.now();
  for (let index = 0; index < agents; index++) {
    await client.spawn({
      name: `worker-${index}`,
      command: ['/bin/sleep', '600'],
      restart_policy: 'always',
      limits: { memory_mb: 32 },
    });
  }
  console.log(`${agents} agents up in ${(performance.now() - startedAtMs).toFixed(0)} ms`);
  const before = new Map((await client.list()).map((agent) => [agent.name, agent]));
  const victims = new Luck(seed)
    .stream('victims')
    .shuffle([...before.values()])
    .slice(0, kills);
  const killedAtMs = new Map<number, number>();
  const backAfterMs: number[] = [];
  const allBack = (async () => {
    for await (const { data } of watcher.events()) {
      const { agent_id: id, restart_count: count } = data as { agent_id: number; restart_count: number };
      const killed = killedAtMs.get(id);
      if (killed === undefined || count !== 1) continue;
      backAfterMs.push(performance.now() - killed);
      if (backAfterMs.length === kills) return;
    }
  })();
  for (const { id, pid } of victims) {
    killedAtMs.set(id, performance.now());
    process.kill(pid, 'SIGKILL');
  }
  await Promise.race([allBack, sleep(GIVE_UP_MS)]);
  await sleep(SETTLE_MS);
  const after = await client.list();
  const unaffected = after.filter(
    (agent) => agent.running && agent.pid === before.get(agent.name)?.pid,
  ).length;
  const restarted = after.filter(
    (agent) => agent.running && agent.pid !== before.get(agent.name)?.pid,
  ).length;
  backAfterMs.sort((a, b) => a - b);
  console.log(
    `${kills} killed: ${unaffected} unaffected, ${restarted} running again; back after p50 ${backAfterMs[Math.floor(kills / 2)]?.toFixed(0)} ms, max ${backAfterMs.at(-1)?.toFixed(0)} ms`,
  );
  watcher.close();
  client.close();
});
