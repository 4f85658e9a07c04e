import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { logFilesOf, verifyFiles } from './audit/offline.ts';
import { type Answer, TestClient, until } from './fixture.ts';
import { RawClient } from './wire/testing.ts';

const ROUNDS = Number(process.env.CLOVE_KILL_ROUNDS ?? 20);
const SEED = Number(process.env.CLOVE_KILL_SEED ?? Date.now() % 1e9);
const WRITERS = 32;
const AGENTS = 6;

let folder: string;
let child: ChildProcess | null = null;
afterEach(async () => {
  if (child !== null && child.exitCode === null && child.signalCode === null) {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  rmSync(folder, { recursive: true, force: true });
});

/** A kernel in a process of its own. */
async function startKernel(): Promise<ChildProcess> {
  const module = JSON.stringify(new URL('./daemon.ts', import.meta.url).href);
  const options = JSON.stringify({
    socketPath: path.join(folder, 'k.sock'),
    dataDirectory: path.join(folder, 'data'),
    runDirectory: path.join(folder, 'run'),
    logLevel: 'error',
    drainMs: 500,
  });
  const script = `const { runDaemon } = await import(${module}); process.exit(await runDaemon(${options}));`;
  const kernel = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child = kernel;
  for await (const line of createInterface({ input: kernel.stdout as NodeJS.ReadableStream })) {
    const readiness = JSON.parse(line);
    if (!readiness.ready) throw new Error(line);
    return kernel;
  }
  throw new Error('the kernel did not start');
}

/** Of this round: a connection whose other end is killed holds its descriptor until it is closed here, too. */
const clients: TestClient[] = [];

async function connect(): Promise<TestClient> {
  const client = new TestClient(await RawClient.connect(path.join(folder, 'k.sock')));
  clients.push(client);
  return client;
}

/** mulberry32: a round that fails must fail again. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Written {
  acknowledged: number;
  attempted: number;
}

/** What the outside knows. An agent is `wanted` or `gone` when that was acknowledged, and `unsure` in between. */
class Model {
  readonly written = Array.from({ length: WRITERS }, (): Written => ({ acknowledged: 0, attempted: 0 }));
  readonly counter: Written = { acknowledged: 0, attempted: 0 };
  /** Ids of tasks by what was acknowledged of them last. */
  readonly tasks = new Map<number, 'pending' | 'completed' | 'unsure'>();
  readonly agents = new Map<string, { id: number; state: 'wanted' | 'gone' | 'unsure' }>();
  readonly ids = new Set<number>();
  highestVersion = 0;
  acknowledgedInAll = 0;

  saw(version: number): void {
    expect(version).toBeGreaterThan(0);
    this.highestVersion = Math.max(this.highestVersion, version);
    this.acknowledgedInAll += 1;
  }
}

async function check(client: TestClient, model: Model): Promise<void> {
  const found = async (key: string): Promise<number> => (await client.call('FETCH', { key })).value ?? 0;
  for (const [lane, written] of model.written.entries()) {
    const value = await found(`lane/${lane}`);
    expect(value, `lane ${lane}`).toBeGreaterThanOrEqual(written.acknowledged);
    expect(value, `lane ${lane}`).toBeLessThanOrEqual(written.attempted);
    written.acknowledged = value;
    written.attempted = value;
  }
  const counted = await found('counter');
  expect(counted).toBeGreaterThanOrEqual(model.counter.acknowledged);
  expect(counted).toBeLessThanOrEqual(model.counter.attempted);
  model.counter.acknowledged = counted;
  model.counter.attempted = counted;
  const { version } = await client.call('STORE', { key: 'probe', value: 1 });
  expect(version).toBeGreaterThan(model.highestVersion);
  for (const [id, state] of model.tasks) {
    const { task } = await client.call('TASK_STATUS', { task_id: id });
    if (state === 'unsure') expect(['pending', 'completed']).toContain(task.state);
    else expect(task, `task ${id}`).toMatchObject({ state });
    model.tasks.delete(id);
  }
  const listed = new Map<string, Answer>(
    (await client.call('LIST')).map((row: Answer) => [row.name, row] as const),
  );
  for (const [name, agent] of model.agents) {
    const row = listed.get(name);
    if (agent.state === 'wanted') expect(row, name).toMatchObject({ id: agent.id });
    if (agent.state === 'gone') expect(row, name).toBeUndefined();
    if (agent.state === 'unsure') {
      if (row === undefined) agent.state = 'gone';
      else model.agents.set(name, { id: row.id, state: 'wanted' });
    }
  }
  for (const name of listed.keys()) expect(model.agents.has(name), name).toBe(true);
  for (const [name, { state }] of model.agents) if (state === 'gone') model.agents.delete(name);
}

/** Each of these ends when the kernel is killed: its connection breaks. */
async function write(model: Model, lane: number): Promise<never> {
  const client = await connect();
  const written = model.written[lane] as Written;
  for (;;) {
    written.attempted += 1;
    const value = written.attempted;
    const { version } = await client.call('STORE', { key: `lane/${lane}`, value });
    model.saw(version);
    written.acknowledged = value;
  }
}

async function count(model: Model): Promise<never> {
  const client = await connect();
  const { counter } = model;
  for (;;) {
    const expected = counter.acknowledged;
    counter.attempted = expected + 1;
    const swap = await client.call('CAS', {
      key: 'counter',
      value: expected + 1,
      ...(expected === 0 ? {} : { expected }),
    });
    expect(swap).toMatchObject({ swapped: true, value: expected + 1 });
    counter.acknowledged = expected + 1;
    model.saw(swap.version);
  }
}

async function work(model: Model): Promise<never> {
  const client = await connect();
  for (;;) {
    const { task_id: id } = await client.call('TASK_CREATE', { payload: 'x' });
    expect(model.tasks.has(id), `task ${id} was made twice`).toBe(false);
    model.tasks.set(id, 'pending');
    if (id % 2 === 0) continue;
    model.tasks.set(id, 'unsure');
    await client.call('TASK_COMPLETE', { task_id: id, result: id });
    model.tasks.set(id, 'completed');
  }
}

async function steer(model: Model, random: () => number, round: number): Promise<never> {
  const client = await connect();
  for (let at = 0; ; at += 1) {
    const wanted = [...model.agents].filter(([, { state }]) => state === 'wanted');
    if (wanted.length >= AGENTS || (wanted.length > 0 && random() < 0.4)) {
      const [name, agent] = wanted[Math.floor(random() * wanted.length)] as (typeof wanted)[number];
      agent.state = 'unsure';
      const answer = await client.call('KILL', { name, grace_ms: 0 });
      expect(answer).toMatchObject({ killed: true });
      agent.state = 'gone';
    } else {
      const name = `a-${round}-${at}`;
      model.agents.set(name, { id: 0, state: 'unsure' });
      const { id } = await client.spawn({
        name,
        command: ['/bin/sleep', '300'],
        restart_policy: 'on-failure',
      });
      expect(model.ids.has(id), `id ${id} was given twice`).toBe(false);
      model.ids.add(id);
      model.agents.set(name, { id, state: 'wanted' });
    }
  }
}

it(
  `${ROUNDS} times kill -9 under ${WRITERS} writers: nothing acknowledged is lost, nothing comes back that was ended`,
  async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'clove-crash-'));
    console.log(`seed ${SEED} (CLOVE_KILL_SEED), rounds ${ROUNDS} (CLOVE_KILL_ROUNDS)`);
    const random = randomOf(SEED);
    const model = new Model();
    for (let round = 0; round < ROUNDS; round += 1) {
      const kernel = await startKernel();
      const client = await connect();
      await check(client, model);
      const running = [
        ...model.written.map((_, lane) => write(model, lane)),
        count(model),
        work(model),
        steer(model, random, round),
      ].map((each) => each.catch((error: Error) => error.message));
      await sleep(random() * 150);
      kernel.kill('SIGKILL');
      expect(await once(kernel, 'exit')).toEqual([null, 'SIGKILL']);
      // A broken connection, and no assertion that failed.
      for (const reason of await Promise.all(running))
        expect(reason).toMatch(/connection|ended|ECONN|ENOENT/i);
      for (const each of clients.splice(0)) await each.close();
    }
    expect(model.acknowledgedInAll).toBeGreaterThan(ROUNDS);
    const kernel = await startKernel();
    const client = await connect();
    await check(client, model);
    await until(async () => (await client.call('LIST')).every(({ state }: Answer) => state === 'running'));
    kernel.kill('SIGTERM');
    expect(await once(kernel, 'exit')).toEqual([0, null]);
    expect(verifyFiles(logFilesOf(path.join(folder, 'data')))).toMatchObject({ ok: true });
    expect(readdirSync(path.join(folder, 'run')).filter((name) => name.startsWith('boot-'))).toEqual([]);
  },
  60_000 + ROUNDS * 5000,
);
