import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  ATTACKS,
  type Latencies,
  latenciesOf,
  leftovers,
  startSentinel,
} from '../../bench/micro/neighbour.ts';
import { TestKernel, until } from '../../kernel/fixture.ts';
import { type CloveClient, connect } from '../../sdk/typescript/index.ts';

/** How long each attack goes on after the offender was told of it. */
const ATTACK_MS = 700;
/** What the kernel may hold more after all of it: caches and buffers that stay warm, not what floods pile up. */
const GROWTH_BYTES = 160 * 2 ** 20;

let kernel: TestKernel;
let client: CloveClient;
let watcher: CloveClient;
let solo: Latencies;
let rssBefore: number;
const measured: string[] = [];

beforeAll(async () => {
  kernel = await TestKernel.boot({ checkAnswers: false });
  client = await connect({ socketPath: kernel.running.socketPath, reconnect: false });
  watcher = await connect({ socketPath: kernel.running.socketPath, reconnect: false });
  await watcher.subscribe(['RESOURCE_WARNING']);
  await client.register('judge');
  await startSentinel(client);
  await sleep(500);
  await latenciesOf(client);
  await sleep(1000);
  solo = await latenciesOf(client);
  rssBefore = process.memoryUsage.rss();
});
afterAll(async () => {
  await client.close();
  await watcher.close();
  const { bootId } = kernel.running;
  await kernel.close();
  console.log(measured.join('\n'));
  expect(leftovers(bootId)).toEqual([]);
});

afterEach(async () => {
  for (const { id, name } of await client.list())
    if (name !== 'sentinel') await client.kill(id, { graceMs: 0 });
});

describe('next to a neighbour with a', () => {
  it.each(ATTACKS)(
    '$name, an agent is served as before, and the offender is told of its limit',
    async (attack) => {
      const startedMs = performance.now();
      const { id } = await client.spawn({ name: 'offender', ...attack.request });
      if (attack.resource === 'syscalls') await client.setQuota({ syscalls_per_second: 500 }, id);
      let toldAfterMs: number | null = null;
      if (attack.resource !== null) {
        const warning = await firstWarning(id);
        toldAfterMs = performance.now() - startedMs;
        expect(warning).toMatchObject({ agent_id: id, name: 'offender', resource: attack.resource });
        expect(warning.count).toBeGreaterThan(0);
        if (attack.resource !== 'memory') expect(warning.limit).toBeGreaterThan(0);
      }
      await latenciesOf(client);
      await sleep(ATTACK_MS);
      const during = await latenciesOf(client);
      expect(during.failures).toBe(0);
      expect(during.count).toBeGreaterThan(0);
      const offender = (await client.list()).find((agent) => agent.id === id);
      expect(offender, 'still there, within its limits').toBeDefined();
      await client.kill(id, { graceMs: 0 });
      // Nothing of it stays: the sentinel and nobody else.
      await until(() => leftovers(kernel.running.bootId).every((group) => !group.includes(`-${id}-`)));
      expect((await client.list()).map(({ name }) => name)).toEqual(['sentinel']);
      measured.push(
        `${attack.name.padEnd(22)} p50 ${during.p50Ms.toFixed(2)} ms (solo ${solo.p50Ms.toFixed(2)}), p99 ${during.p99Ms.toFixed(2)} ms (solo ${solo.p99Ms.toFixed(2)}, ×${(during.p99Ms / solo.p99Ms).toFixed(1)}), ${during.count} calls${toldAfterMs === null ? '' : `, told ${toldAfterMs.toFixed(0)} ms after the spawn`}`,
      );
    },
  );
});

it('all of which leaves the kernel no larger than it has to be, and the sentinel untouched', async () => {
  const { events, mailboxes, agents, dispatcher } = kernel.running.kernel;
  expect(process.memoryUsage.rss() - rssBefore).toBeLessThan(GROWTH_BYTES);
  expect(mailboxes.usage().bytes).toBeLessThan(2 ** 20);
  expect(events.usage().bytes).toBeLessThan(2 ** 20);
  expect(dispatcher.counters.served).toBeGreaterThan(0);
  const [sentinel] = agents.list();
  expect(sentinel).toMatchObject({ name: 'sentinel', state: 'running', lastExit: null });
  expect(sentinel?.restart.count).toBe(0);
  expect(agents.size).toBe(1);
});

interface Warning {
  readonly agent_id: number;
  readonly name: string;
  readonly resource: string;
  readonly count: number;
  readonly limit: number | null;
}

async function firstWarning(agentId: number): Promise<Warning> {
  for (;;) {
    for (const { data } of (await watcher.pollEvents({ wait: true, timeoutMs: 50_000 })).events) {
      const warning = data as Warning;
      if (warning.agent_id === agentId) return warning;
    }
  }
}
