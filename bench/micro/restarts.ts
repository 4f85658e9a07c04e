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
const SETTLE_MS = 3000;

await withMeasuredKernel(async ({ socketPath }) => {
  const client = await connect(socketPath);
  const watcher = await connect(socketPath);
  await watcher.subscribe(['AGENT_SPAWNED', 'AGENT_EXITED', 'AGENT_RESTARTING', 'AGENT_RESTARTED']);
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
  const backAfterMs: number[] = [];
  await Promise.all(
    victims.map(async (victim) => {
      const killedAtMs = performance.now();
      process.kill(victim.pid, 'SIGKILL');
      for (;;) {
        await sleep(2);
        const now = (await client.list()).find(({ id }) => id === victim.id);
        if (now?.running && now.pid !== victim.pid) break;
      }
      backAfterMs.push(performance.now() - killedAtMs);
    }),
  );
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
