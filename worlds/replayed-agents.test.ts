import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, type TestClient, TestKernel } from '../kernel/fixture.ts';
import { ensureNative } from '../native/index.ts';
import { killAll, said } from './agents-testing.ts';
import { worldHost } from './engine.ts';

const PYTHON = '/usr/bin/python3';
/** Knows nothing of checkpoints: what it is, is what it was told. */
const ADDER = `
import { connect } from 'clove/sdk';
const client = await connect();
await client.register('adder-service');
await client.store('mine', { luck: process.env.CLOVE_SEED }, { scope: 'agent' });
let sum = 0;
await client.send('boss', { ready: true });
for await (const { message } of client.messages()) {
  sum += (message as { add: number }).add;
  await client.exec(\`echo \${sum} >> /work/sums\`);
  const { luck } = (await client.fetch('mine', { scope: 'agent' })) as { luck: string };
  await client.send('boss', { sum, isItself: luck === process.env.CLOVE_SEED });
}
`;
const PYTHON_ADDER = `
import os
from clove_sdk import CloveClient
with CloveClient() as client:
    client.register_name("adder-service")
    client.store("mine", {"luck": os.environ["CLOVE_SEED"]}, scope="agent")
    total = 0
    client.send_message({"ready": True}, to_name="boss")
    for message in client.messages():
        total += message.message["add"]
        client.exec(f"echo {total} >> /work/sums")
        luck = client.fetch("mine", scope="agent").value["luck"]
        client.send_message({"sum": total, "isItself": luck == os.environ["CLOVE_SEED"]}, to_name="boss")
`;
const SLEEPER = `
import { connect } from 'clove/sdk';
const client = await connect();
await client.send('boss', { begins: true });
await client.waitInWorld({ ms: 3_600_000 });
await client.send('boss', { slept: true });
await client.waitInWorld({ ms: 10 * 365 * 86_400_000 });
`;
const ITS_OWN = `
import { connect } from 'clove/sdk';
const client = await connect();
await client.send('boss', { dice: crypto.randomUUID() });
await client.receive({ wait: true, timeoutMs: null });
`;
const PARENT = `
import { connect } from 'clove/sdk';
const client = await connect();
await client.spawn({ command: ['sleep', '600'] }).catch((error) => client.send('boss', { error: String(error) }));
await client.send('boss', { ready: true });
await client.receive({ wait: true, timeoutMs: null });
`;
let kernel: TestKernel;
let client: TestClient;
let folder: string;

beforeAll(async () => {
  await ensureNative();
  kernel = await TestKernel.boot({}, { worlds: worldHost() });
  client = await kernel.connect();
  await client.call('REGISTER', { name: 'boss' });
  folder = path.join(kernel.folder, 'agents');
  mkdirSync(folder);
  for (const [name, source] of Object.entries({
    adder: ADDER,
    sleeper: SLEEPER,
    own: ITS_OWN,
    parent: PARENT,
  }))
    writeFileSync(path.join(folder, `${name}.ts`), source);
  writeFileSync(path.join(folder, 'adder.py'), PYTHON_ADDER);
}, 300_000);
afterAll(() => kernel.close());
afterEach(async () => {
  await client.call('RECORD_STOP');
  await killAll(client);
  await client.call('RECV', { max: 100 });
});

async function create(more: Record<string, unknown> = {}): Promise<string> {
  const { world_id } = await client.call('WORLD_CREATE', {
    config: { open: true, clock: 'step', files: { initial: { '/work/sums': '' } }, ...more },
  });
  return world_id as string;
}

const spawn = (world: string, name: string, file = `${name}.ts`) =>
  client.spawn({
    world,
    name,
    script: path.join(folder, file),
    ...(file.endsWith('.py') ? { python: PYTHON } : {}),
    permissions: 'unrestricted',
  });

async function add(id: number, ...numbers: readonly number[]): Promise<Answer> {
  let last: Answer = {};
  for (const each of numbers) {
    await client.call('SEND', { to: id, message: { add: each } });
    last = await said(client);
  }
  return last;
}

async function read(world: string, file: string): Promise<string> {
  await client.call('WORLD_JOIN', { world_id: world });
  const { content } = await client.call('READ', { path: file });
  await client.call('WORLD_LEAVE');
  return content;
}

describe('an agent that was recorded and knows no checkpoints', { timeout: 120_000 }, () => {
  it.for(['adder.ts', 'adder.py'])(
    'lives again through what it did, changes nothing by it, and goes on: %s',
    async (file, ctx) => {
      if (file.endsWith('.py') && !existsSync(PYTHON)) ctx.skip('no python3 in the system folders');
      await client.call('RECORD_START');
      const world = await create();
      const { id } = await spawn(world, 'adder', file);
      expect(await said(client)).toEqual({ ready: true });
      expect(await add(id, 3, 4)).toEqual({ sum: 7, isItself: true });
      const taken = await client.call('WORLD_SNAPSHOT', { world_id: world });
      expect(taken).toMatchObject({ success: true, agents: [{ name: 'adder', reason: null }] });
      // What comes after the snapshot is not in it.
      await add(id, 100);
      await killAll(client);
      const restored = await client.call('WORLD_RESTORE', { snapshot: taken.snapshot, agents: true });
      expect(restored.agents).toMatchObject([{ name: 'adder', how: 'replay', behind_ms: 0, reason: null }]);
      const back = restored.agents[0].agent_id as number;
      // What it said before it says to nobody again, and what it wrote stands there once.
      expect(await client.call('RECV', { max: 10 })).toMatchObject({ messages: [] });
      expect(await read(restored.world_id, '/work/sums')).toBe('3\n7\n');
      expect(await add(back, 5)).toEqual({ sum: 12, isItself: true });
      expect(await read(restored.world_id, '/work/sums')).toBe('3\n7\n12\n');
      // The kernel knows it by its name, which it had asked for.
      await client.call('SEND', { to_name: 'adder-service', message: { add: 1 } });
      expect(await said(client)).toMatchObject({ sum: 13 });
      // It was recorded again, with what it lived through, and comes back from there, too.
      const again = await client.call('WORLD_SNAPSHOT', { world_id: restored.world_id });
      expect(again.agents).toEqual([{ name: 'adder', reason: null }]);
      await killAll(client);
      const second = await client.call('WORLD_RESTORE', { snapshot: again.snapshot, agents: true });
      expect(second.agents).toMatchObject([{ name: 'adder', how: 'replay' }]);
      expect(await add(second.agents[0].agent_id, 1)).toMatchObject({ sum: 14 });
    },
  );

  it('waits for as long as it still had to', async () => {
    await client.call('RECORD_START');
    const world = await create();
    await spawn(world, 'sleeper');
    expect(await said(client)).toEqual({ begins: true });
    await waiting(world);
    await client.call('WORLD_ADVANCE', { world_id: world, ms: 1_800_000 });
    const { snapshot } = await client.call('WORLD_SNAPSHOT', { world_id: world });
    await killAll(client);
    const { agents, world_id } = await client.call('WORLD_RESTORE', { snapshot, agents: true });
    expect(agents).toMatchObject([{ how: 'replay' }]);
    await waiting(world_id);
    await client.call('WORLD_ADVANCE', { world_id, ms: 1_799_000 });
    expect(await client.call('RECV', { max: 10 })).toMatchObject({ messages: [] });
    await client.call('WORLD_ADVANCE', { world_id, ms: 1001 });
    expect(await said(client)).toEqual({ slept: true });
  });

  it('is not restored, by name and with the reason, where it does otherwise', async () => {
    await client.call('RECORD_START');
    const world = await create();
    await spawn(world, 'own');
    expect(await said(client)).toMatchObject({ dice: expect.any(String) });
    const { snapshot } = await client.call('WORLD_SNAPSHOT', { world_id: world });
    await killAll(client);
    const { agents, success } = await client.call('WORLD_RESTORE', { snapshot, agents: true });
    expect(success).toBe(true);
    expect(agents).toMatchObject([
      {
        name: 'own',
        how: 'not',
        agent_id: null,
        reason: expect.stringMatching(/replay .* SEND .* not in the recording/),
      },
    ]);
    expect(await client.call('RECV', { max: 10 })).toMatchObject({ messages: [] });
    expect(((await client.call('LIST')) as { name: string }[]).map(({ name }) => name)).not.toContain('own');
  });

  it('is not lived again in a mounted world, where it acts without calls', async (ctx) => {
    if (process.geteuid?.() !== 0) ctx.skip('mounted worlds need root');
    await client.call('RECORD_START');
    const world = await create({ form: 'mounted', clock: 'skip' });
    await spawn(world, 'adder');
    expect(await said(client)).toEqual({ ready: true });
    const { agents } = await client.call('WORLD_SNAPSHOT', { world_id: world });
    expect(agents).toEqual([
      { name: 'adder', reason: expect.stringMatching(/no checkpoint.*acts without calls/) },
    ]);
  });

  it.for([
    ['has no sandbox', { sandboxed: false }],
    ['has the network of the host by a layer left out', { isolation: { disable: ['netns'] } }],
  ] as const)('is not lived again where it reaches the host: it %s', async ([, more]) => {
    await client.call('RECORD_START');
    const world = await create();
    await client.spawn({ world, name: 'loose', command: ['/bin/sleep', '600'], ...more });
    const { agents } = await client.call('WORLD_SNAPSHOT', { world_id: world });
    expect(agents).toEqual([
      { name: 'loose', reason: expect.stringMatching(/it reaches the host: its sandbox has no /) },
    ]);
  });

  it('is not lived again where it was put into the world later', async () => {
    await client.call('RECORD_START');
    const world = await create();
    const { id } = await client.spawn({ name: 'late', command: ['/bin/sleep', '600'] });
    await client.call('WORLD_JOIN', { world_id: world, agent_id: id });
    const { agents } = await client.call('WORLD_SNAPSHOT', { world_id: world });
    expect(agents).toEqual([{ name: 'late', reason: expect.stringMatching(/started outside of the world/) }]);
  });

  it('has its past though the recording is stopped meanwhile, and a reason where that cannot be read', async () => {
    const { recorder, agents } = kernel.running.kernel;
    const world = await create();
    for (const isLost of [false, true]) {
      await client.call('RECORD_START');
      const { id } = await client.spawn({ world, name: `still-${isLost}`, command: ['/bin/sleep', '600'] });
      const agent = agents.get(id);
      if (agent === undefined) throw new Error('it is not there');
      const read = recorder.pastsOf([agent]);
      const { file } = await client.call('RECORD_STOP');
      if (isLost) rmSync(file);
      const pasts = await read?.();
      if (isLost) expect(pasts?.get(id)).toMatch(/its recording cannot be read/);
      else expect(pasts?.get(id)).toMatchObject({ calls: [] });
    }
  });

  it('is not taken for one that can come back, where nothing was recorded or more than the world was changed', async () => {
    const world = await create();
    const before = await spawn(world, 'adder');
    await said(client);
    const unrecorded = await client.call('WORLD_SNAPSHOT', { world_id: world });
    expect(unrecorded.agents).toEqual([
      { name: 'adder', reason: 'it left no state and answers no checkpoint' },
    ]);
    await client.call('RECORD_START');
    await client.spawn({
      world,
      name: 'father',
      script: path.join(folder, 'parent.ts'),
      permissions: 'unrestricted',
    });
    expect(await said(client)).toEqual({ ready: true });
    const { agents } = await client.call('WORLD_SNAPSHOT', { world_id: world });
    expect(agents).toEqual(
      expect.arrayContaining([
        { name: 'adder', reason: expect.stringContaining('not recorded from its start') },
        { name: 'father', reason: expect.stringContaining('it made a SPAWN') },
      ]),
    );
    expect(before.id).toBeGreaterThan(0);
  });
});

/** Until its member waits on the clock. */
async function waiting(world: string): Promise<void> {
  for (;;) {
    const { state } = await client.call('WORLD_STATE', { world_id: world });
    if (state.clock.timers > 0) return;
    await new Promise((done) => setTimeout(done, 20));
  }
}
