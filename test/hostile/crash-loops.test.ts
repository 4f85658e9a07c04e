import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { latenciesOf, startSentinel } from '../../bench/micro/neighbour.ts';
import { TestKernel, until } from '../../kernel/fixture.ts';
import { type CloveClient, connect } from '../../sdk/typescript/index.ts';

/** bench/micro/crash-loops.ts measures a hundred for ten minutes. */
const AGENTS = 30;
const RESTARTS = 3;

let kernel: TestKernel;
let client: CloveClient;
beforeAll(async () => {
  kernel = await TestKernel.boot({ checkAnswers: false });
  client = await connect({ socketPath: kernel.running.socketPath, reconnect: false });
  await client.register('judge');
});
afterAll(async () => {
  await client.close();
  await kernel.close();
});

it('agents that crash at once are started again as often as allowed, given up once each, and disturb nobody', async () => {
  await startSentinel(client);
  const watcher = await connect({ socketPath: kernel.running.socketPath, reconnect: false });
  await watcher.subscribe(['AGENT_ESCALATED', 'AGENT_RESTARTING', 'AGENT_SPAWNED']);
  await latenciesOf(client);
  // Half of them exit with 0 in a fast loop: no better than a crash.
  const kinds = [
    { command: ['/bin/false'], restart_policy: 'on-failure' as const },
    { command: ['/bin/true'], restart_policy: 'always' as const },
  ];
  const ids = await Promise.all(
    Array.from({ length: AGENTS }, async (_, n) => {
      const { id } = await client.spawn({
        name: `crashing-${n}`,
        ...(kinds[n % 2] as (typeof kinds)[0]),
        max_restarts: RESTARTS,
        restart_backoff_ms: 20,
        restart_backoff_max_ms: 200,
      });
      return id;
    }),
  );
  const counts = new Map<string, number>();
  const escalated = new Map<number, number>();
  await until(async () => {
    // Looking on must not be what disturbs the others.
    await sleep(50);
    const { events, dropped } = await watcher.pollEvents({ max: 1000 });
    expect(dropped).toBe(0);
    for (const { type, data } of events) {
      const { agent_id: id } = data as { agent_id: number };
      counts.set(type, (counts.get(type) ?? 0) + 1);
      if (type === 'AGENT_ESCALATED') escalated.set(id, (escalated.get(id) ?? 0) + 1);
    }
    return escalated.size === AGENTS && (await client.list()).length === 1;
  });
  expect([...escalated.keys()].toSorted((a, b) => a - b)).toEqual(ids.toSorted((a, b) => a - b));
  expect(new Set(escalated.values())).toEqual(new Set([1]));
  expect(counts.get('AGENT_RESTARTING')).toBe(AGENTS * RESTARTS);
  expect(counts.get('AGENT_SPAWNED')).toBe(AGENTS * (RESTARTS + 1));
  const during = await latenciesOf(client);
  expect(during.failures).toBe(0);
  expect(during.count).toBeGreaterThan(0);
  console.log(
    `beside ${AGENTS} crash loops: p50 ${during.p50Ms.toFixed(2)} ms, p99 ${during.p99Ms.toFixed(2)} ms, ${during.count} calls`,
  );
  await watcher.close();
});
