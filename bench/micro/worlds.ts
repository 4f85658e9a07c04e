/**
 * What it costs to make, keep and multiply worlds, through a kernel and its socket: create, snapshot of a world with eight agents that
 * answer checkpoints, restore without and with them, branches, a world made anew in place of another, and a thousand virtual worlds.
 * Usage: node bench/micro/worlds.ts [rounds=20] [alive=1000]. Mounted worlds need root.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { quantile } from 'simple-statistics';
import { createKernel } from '../../kernel/index.ts';
import { ensureNative } from '../../native/index.ts';
import { connect } from '../../sdk/typescript/index.ts';
import { worldHost } from '../../worlds/engine.ts';

const [rounds = 20, alive = 1000] = process.argv.slice(2).map(Number);
const AGENTS = 8;
const folder = mkdtempSync(path.join(tmpdir(), 'clove-bench-worlds-'));
const script = path.join(folder, 'agent.ts');
writeFileSync(
  script,
  `import { connect } from 'clove/sdk';
const client = await connect();
const before = await client.restoredState();
if (before !== null) await client.send('bench', 'back');
await client.onCheckpoint(() => ({ step: 1, before: before !== null }));
await client.waitInWorld({ ms: 9 * 365 * 86_400_000 });
`,
);

/** Fifty files, four routes and a service with memory: what a scenario has. */
const definition = (form: string) => ({
  form,
  open: true,
  clock: { mode: 'skip', horizon: '1s' },
  files: {
    initial: Object.fromEntries(
      Array.from({ length: 50 }, (_, index) => [`/app/f${index}`, `${index}`.repeat(400)]),
    ),
  },
  network: {
    routes: ['a', 'b', 'c', 'd'].map((name) => ({ host: `${name}.test`, path: '/', body: name })),
  },
  services: { db: { host: 'db.test', collections: { users: [{ id: 1, name: 'Ada' }] } } },
});

const large = () => ({
  files: {
    initial: Object.fromEntries(
      Array.from({ length: 2000 }, (_, index) => [
        `/data/${index % 50}/f${index}`,
        `line ${index}\n`.repeat(20),
      ]),
    ),
  },
});

async function times(count: number, work: (round: number) => Promise<void>): Promise<number[]> {
  const taken: number[] = [];
  for (let round = 0; round < count; round += 1) {
    const started = performance.now();
    await work(round);
    taken.push(performance.now() - started);
  }
  return sorted(taken);
}

function sorted(taken: readonly number[]): number[] {
  return taken.toSorted((a, b) => a - b);
}

function tell(what: string, taken: readonly number[]): void {
  const ms = (p: number) => `${quantile([...taken], p / 100).toFixed(1)} ms`;
  console.log(`${what.padEnd(46)} least ${ms(0)}, p50 ${ms(50)}, p95 ${ms(95)}`);
}

await ensureNative();
const running = await createKernel(
  {
    socketPath: path.join(folder, 'k.sock'),
    dataDirectory: path.join(folder, 'data'),
    logLevel: 'silent',
    drainMs: 0,
  },
  { worlds: worldHost() },
);
const client = await connect({ socketPath: running.socketPath });
await client.register('bench');
/** Some end by themselves when their world does. */
async function endAll(): Promise<void> {
  for (const { id } of await client.list()) {
    await client.kill(id).catch(() => {});
    await client.wait(id).catch(() => {});
  }
}

try {
  const forms = process.geteuid?.() === 0 ? ['virtual', 'mounted'] : ['virtual'];
  for (const form of forms) {
    const create = async () =>
      (await client.createWorld({ name: 'bench', config: definition(form) })).world_id;
    await client.destroyWorld(await create());
    const made: string[] = [];
    tell(
      `${form}: create`,
      await times(rounds, async () => {
        made.push(await create());
      }),
    );
    tell(
      `${form}: destroyed and made again (reset)`,
      await times(rounds, async (round) => {
        await client.destroyWorld(made[round] as string);
        made[round] = await create();
      }),
    );
    for (const id of made) await client.destroyWorld(id);
    const world = await create();
    for (let index = 0; index < AGENTS; index += 1) await client.spawn({ name: `a${index}`, script, world });
    // Each has a hook when it waits.
    const hooked = async () =>
      (await client.snapshotWorld(world)).agents.filter(({ reason }) => reason === null).length;
    while ((await hooked()) < AGENTS) await new Promise((done) => setTimeout(done, 100));
    const file = path.join(folder, `${form}.world`);
    tell(
      `${form}: snapshot with ${AGENTS} agents, to a file`,
      await times(rounds, async () => {
        await client.snapshotWorld(world, { path: file });
      }),
    );
    const restored: string[] = [];
    tell(
      `${form}: restore from the file`,
      await times(rounds, async () => {
        restored.push((await client.restoreWorld({ path: file })).world_id);
      }),
    );
    for (const id of restored) await client.destroyWorld(id);
    tell(
      `${form}: ${AGENTS} branches`,
      await times(Math.min(rounds, 5), async () => {
        for (const id of await client.branchWorld(world, AGENTS)) restored.push(id);
      }),
    );
    for (const id of restored.splice(rounds)) await client.destroyWorld(id);
    await client.destroyWorld(world, { force: true });
    await endAll();
    const started: number[] = [];
    const answered: number[] = [];
    for (let round = 0; round < Math.min(rounds, 10); round += 1) {
      const begun = performance.now();
      const { world_id, agents } = await client.restoreWorld({ path: file }, { agents: true });
      started.push(performance.now() - begun);
      const back = agents.filter(({ how }) => how !== 'not').length;
      if (back !== AGENTS) throw new Error(`${back} of ${AGENTS} came back: ${JSON.stringify(agents)}`);
      let told = 0;
      while (told < AGENTS)
        told += (await client.receive({ wait: true, timeoutMs: 60_000, max: AGENTS })).length;
      answered.push(performance.now() - begun);
      await endAll();
      await client.destroyWorld(world_id, { force: true });
    }
    tell(`${form}: restore, with its ${AGENTS} agents started`, sorted(started));
    tell(`${form}: the same, until each had its state`, sorted(answered));
  }
  tell(
    'virtual: create, 2,000 files',
    await times(Math.min(rounds, 10), async () => {
      const { world_id } = await client.createWorld({ name: 'large', config: large() });
      await client.destroyWorld(world_id);
    }),
  );
  const before = process.memoryUsage().rss;
  for (let index = 0; index < alive; index += 1)
    await client.createWorld({ name: 'many', config: definition('virtual') });
  const mib = (process.memoryUsage().rss - before) / 2 ** 20;
  console.log(`${alive} virtual worlds alive: ${mib.toFixed(0)} MiB more, kernel and client in one process`);
} finally {
  await client.close();
  await running.close();
  rmSync(folder, { recursive: true, force: true });
}
