import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { TestKernel, until } from '../kernel/fixture.ts';
import { type CloveClient, connect } from '../sdk/typescript/index.ts';
import { actualOf, converge, nameOf, takeDown } from './converge.ts';
import { type FleetDefinition, loadFleet } from './definition.ts';
import { planFleet } from './plan.ts';
import { watchFiles } from './watch.ts';

let kernel: TestKernel;
let client: CloveClient;
let folder: string;
beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await connect({ socketPath: kernel.running.socketPath, reconnect: false });
  folder = mkdtempSync(path.join(tmpdir(), 'clove-fleet-'));
});
afterEach(async () => {
  await Promise.all((await client.list()).map(({ id }) => client.kill(id, { graceMs: 0 }).catch(() => {})));
  for (const { name, parent } of await client.groups()) if (parent === null) await client.removeGroup(name);
});
afterAll(async () => {
  await client.close();
  await kernel.close();
  rmSync(folder, { recursive: true, force: true });
});

const silent = { done: () => {}, failed: () => {} };
function fleet(agents: string, groups = ''): FleetDefinition {
  const file = path.join(folder, 'clove.yaml');
  writeFileSync(
    file,
    `fleet: test\ndefaults: { restart: { policy: always, backoff: 1ms }, stop_grace: 100ms }\n${groups}\nagents:\n${agents}`,
  );
  return loadFleet(file, {});
}
const up = (definition: FleetDefinition) =>
  converge(client, definition, { readyMs: 60_000, waitForReady: true }, silent);
const planned = async (definition: FleetDefinition) =>
  planFleet(definition, await actualOf(client)).actions.map((action) => `${action.kind} ${nameOf(action)}`);
const running = async () => new Map((await client.list()).map((agent) => [agent.name, agent]));

const sleeper = 'command: [/bin/sleep, "600"]';

describe('a fleet', () => {
  it('is brought to what its file says, step by step, and touches nothing that is as declared', async () => {
    await client.spawn({ name: 'foreign', command: ['/bin/sleep', '600'] });
    const first = fleet(
      `  db: { ${sleeper} }\n  web: { ${sleeper}, depends_on: [db], env: { V: 1 } }\n  extra: { ${sleeper} }\n`,
    );
    expect(await planned(first)).toEqual(['create db', 'create web', 'create extra']);
    expect(await up(first)).toEqual({ done: 3, failed: [] });
    expect(await planned(first)).toEqual([]);
    const before = await running();

    const second = fleet(
      `  db: { ${sleeper} }\n  web: { ${sleeper}, depends_on: [db], env: { V: 2 } }\n  cache: { ${sleeper}, limits: { pids: 9 } }\n`,
    );
    expect(await planned(second)).toEqual(['remove extra', 'reload web', 'create cache']);
    expect(await up(second)).toEqual({ done: 3, failed: [] });
    const after = await running();
    expect([...after.keys()].sort()).toEqual(['cache', 'db', 'foreign', 'web']);
    expect(after.get('db')).toMatchObject({ id: before.get('db')?.id, pid: before.get('db')?.pid });
    expect(after.get('web')?.id).toBe(before.get('web')?.id);
    expect(after.get('web')?.pid).not.toBe(before.get('web')?.pid);

    const third = fleet(
      `  db: { ${sleeper}, limits: { pids: 12 } }\n  web: { ${sleeper}, depends_on: [db], env: { V: 2 } }\n  cache: { ${sleeper}, limits: { pids: 9 } }\n`,
    );
    expect(await planned(third)).toEqual(['replace db']);
    expect(await up(third)).toEqual({ done: 1, failed: [] });
    expect(await planned(third)).toEqual([]);

    const ended: string[] = [];
    const order = third.agents.map(({ name }) => name);
    const down = await takeDown(
      client,
      'test',
      order,
      [],
      { ...silent, done: (action) => ended.push(nameOf(action)) },
      0,
    );
    expect(down).toEqual({ done: 3, failed: [] });
    expect(ended).toEqual(['cache', 'web', 'db']);
    expect([...(await running()).keys()]).toEqual(['foreign']);
  });

  it('reloads an agent whose script was changed', async () => {
    const script = path.join(folder, 'agent.sh');
    writeFileSync(script, 'sleep 600\n', { mode: 0o755 });
    const declare = () => fleet(`  a: { script: agent.sh }\n`);
    await up(declare());
    expect(await planned(declare())).toEqual([]);
    writeFileSync(script, 'sleep 601\n', { mode: 0o755 });
    expect(await planned(declare())).toEqual(['reload a']);
    await up(declare());
    expect(await planned(declare())).toEqual([]);
  });

  it('has groups made before their members, changed in place, and removed with the last of them', async () => {
    const members = `  db: { ${sleeper}, group: top }\n  w: { ${sleeper}, group: pool, replicas: 2 }\n`;
    const declared = (rest: string) => fleet(members, `groups:\n  pool: { parent: top }\n  top: { ${rest} }`);
    expect(await planned(declared('strategy: rest_for_one'))).toEqual([
      'set_group top',
      'set_group pool',
      'create db',
      'create w-1',
      'create w-2',
    ]);
    await up(declared('strategy: rest_for_one'));
    expect(await planned(declared('strategy: one_for_all, max_restarts: 9'))).toEqual(['set_group top']);
    await up(declared('strategy: one_for_all, max_restarts: 9'));
    expect(await client.groups()).toMatchObject([
      { name: 'top', strategy: 'one_for_all', max_restarts: 9 },
      { name: 'pool' },
    ]);
    const definition = declared('strategy: one_for_all, max_restarts: 9');
    await takeDown(
      client,
      'test',
      definition.agents.map(({ name }) => name),
      ['top', 'pool'],
      silent,
      0,
    );
    expect(await client.groups()).toEqual([]);
  });

  it('does a job once', async () => {
    const declare = (text: string) =>
      fleet(
        `  job: { command: [/bin/sh, -c, "${text}"], restart: never }\n  web: { ${sleeper}, depends_on: [job] }\n`,
      );
    expect(await up(declare('exit 0'))).toEqual({ done: 2, failed: [] });
    expect(await planned(declare('exit 0'))).toEqual([]);
    expect(await planned(declare('exit 0; true'))).toEqual(['create job']);
  });

  it('tells what failed, and does not start what needs it', async () => {
    const definition = fleet(
      `  broken: { command: [/none], restart: never }\n  needs: { ${sleeper}, depends_on: [broken] }\n  well: { ${sleeper} }\n`,
    );
    const { done, failed } = await up(definition);
    expect(done).toBe(1);
    expect(failed.map(({ name }) => name)).toEqual(['broken', 'needs']);
    expect(failed[1]?.error).toBe('broken, which it depends on, has failed');
    expect([...(await running()).keys()]).toEqual(['well']);
    const { conflicts } = planFleet(fleet(`  well: { ${sleeper} }\n`), await actualOf(client));
    expect(conflicts).toEqual([]);
  });

  it('leaves alone an agent of somebody else that has a name of its own', async () => {
    const { id } = await client.spawn({ name: 'db', command: ['/bin/sleep', '600'] });
    const plan = planFleet(fleet(`  db: { ${sleeper} }\n`), await actualOf(client));
    expect(plan.actions).toEqual([]);
    expect(plan.conflicts).toEqual([
      { name: 'db', reason: `agent ${id}, which is not of this fleet, has this name` },
    ]);
  });

  it('is not joined by what its agents start themselves', async () => {
    const definition = fleet(`  db: { ${sleeper}, permissions: { can_spawn: true, can_exec: true } }\n`);
    await up(definition);
    const { labels = {} } = (await running()).get('db') ?? {};
    const [parent] = await client.list();
    const agent = kernel.running.kernel.launcher.socketPathOf(parent?.id ?? 0);
    const inside = await connect({ socketPath: agent, reconnect: false });
    await inside.spawn({ name: 'intruder', command: ['/bin/sleep', '600'], labels });
    inside.close();
    expect(await planned(definition)).toEqual([]);
  });
});

it('the example runs as its comments say', async (context) => {
  if (!existsSync('/usr/bin/python3')) context.skip('its workers are in Python: no /usr/bin/python3');
  const definition = loadFleet(path.join(import.meta.dirname, '../examples/fleet/clove.yaml'), {});
  expect(await up(definition)).toMatchObject({ failed: [] });
  const store = async () => (await running()).get('store');
  await until(async () => /^[1-9]\d* results$/.test((await store())?.status ?? ''));
  await until(async () => (await running()).get('worker-1')?.health === 'healthy');
  // The store takes all that work with it along, and they come back after it.
  process.kill((await store())?.pid ?? 0, 'SIGKILL');
  await until(async () => {
    const agents = await running();
    return ['store', 'worker-1', 'worker-2', 'dispatcher'].every(
      (name) => agents.get(name)?.restarts === 1 && agents.get(name)?.ready,
    );
  });
  await takeDown(
    client,
    'pipeline',
    definition.agents.map(({ name }) => name),
    definition.groups.map(({ name }) => name),
    silent,
    0,
  );
  expect(await client.groups()).toEqual([]);
});

it('files are watched through replacement, and only those', async () => {
  const one = path.join(folder, 'one.txt');
  const other = path.join(folder, 'other.txt');
  writeFileSync(one, '1');
  const seen: string[] = [];
  const watch = watchFiles([one], (files) => seen.push(...files));
  writeFileSync(other, '1');
  rmSync(one);
  writeFileSync(one, '2');
  await until(() => seen.length > 0);
  expect(new Set(seen)).toEqual(new Set([one]));
  watch.close();
});
