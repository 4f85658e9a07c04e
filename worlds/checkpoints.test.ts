import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type TestClient, TestKernel } from '../kernel/fixture.ts';
import { ensureNative } from '../native/index.ts';
import { killAll, said } from './agents-testing.ts';
import { worldHost } from './engine.ts';

/** Adds up what it is sent, answers with the sum, and comes back with it. */
const TYPESCRIPT = `
import { connect } from 'clove/sdk';
const client = await connect();
const restored = await client.restoredState<{ sum: number }>();
let sum = restored?.sum ?? 0;
await client.onCheckpoint(() => ({ sum }));
await client.send('boss', { ready: sum, token: process.env.API_TOKEN ?? null });
for await (const { message } of client.messages()) {
  sum += (message as { add: number }).add;
  await client.send('boss', { sum });
}
`;
const PYTHON = `
import os
from clove_sdk import CloveClient
with CloveClient() as client:
    state = {"sum": 0, **(client.restored_state() or {})}
    client.on_checkpoint(lambda: dict(state))
    client.send_message({"ready": state["sum"], "token": os.environ.get("API_TOKEN")}, to_name="boss")
    for message in client.messages():
        state["sum"] += message.message["add"]
        client.send_message({"sum": state["sum"]}, to_name="boss")
`;
const ASYNCIO = `
import asyncio
from clove_sdk import AsyncCloveClient
async def main():
    async with AsyncCloveClient() as client:
        state = {"sum": 0, **((await client.restored_state()) or {})}
        hook = await client.on_checkpoint(lambda: dict(state))
        await client.send_message({"ready": state["sum"], "token": None}, to_name="boss")
        async for message in client.messages():
            state["sum"] += message.message["add"]
            await client.send_message({"sum": state["sum"]}, to_name="boss")
asyncio.run(main())
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
  writeFileSync(path.join(folder, 'adder.ts'), TYPESCRIPT);
  writeFileSync(path.join(folder, 'adder.py'), PYTHON);
  writeFileSync(path.join(folder, 'adder_aio.py'), ASYNCIO);
}, 300_000);
afterAll(() => kernel.close());
afterEach(async () => {
  await killAll(client);
  // What they said last is nothing for the next test.
  await client.call('RECV', { max: 100 });
});

async function add(id: number, ...numbers: readonly number[]): Promise<void> {
  for (const each of numbers) {
    await client.call('SEND', { to: id, message: { add: each } });
    await said(client);
  }
}

async function create(more: Record<string, unknown> = {}): Promise<string> {
  const { world_id } = await client.call('WORLD_CREATE', { config: { open: true, clock: 'skip', ...more } });
  return world_id as string;
}

const script = (file: string) => ({
  script: path.join(folder, file),
  ...(file.endsWith('.py') ? { python: '/usr/bin/python3' } : {}),
});

describe.each(['virtual', 'mounted'])('an agent of a %s world', (form) => {
  it.for(['adder.ts', 'adder.py', 'adder_aio.py'])(
    'comes back with what its hook gave: %s',
    async (file, ctx) => {
      if (form === 'mounted' && process.geteuid?.() !== 0) ctx.skip('mounted worlds need root');
      if (file.endsWith('.py') && !existsSync('/usr/bin/python3'))
        ctx.skip('no python3 in the system folders');
      const world = await create({ form });
      const name = file.replace('.', '-');
      const { id } = await client.spawn({ world, name, ...script(file) });
      expect(await said(client)).toMatchObject({ ready: 0 });
      await add(id, 3, 4);
      const snapshot = await client.call('WORLD_SNAPSHOT', { world_id: world });
      expect(snapshot).toMatchObject({ success: true, agents: [{ name, reason: null }] });
      // What comes after the snapshot is not in it.
      await add(id, 100);
      await client.call('KILL', { id });
      await client.call('WAIT', { id });
      const restored = await client.call('WORLD_RESTORE', { snapshot: snapshot.snapshot, agents: true });
      expect(restored).toMatchObject({
        success: true,
        agents: [{ name, how: 'checkpoint', behind_ms: expect.any(Number), reason: null }],
      });
      expect(await said(client)).toMatchObject({ ready: 7 });
      const back = restored.agents[0].agent_id as number;
      await client.call('SEND', { to: back, message: { add: 5 } });
      expect(await said(client)).toEqual({ sum: 12 });
      const { state } = await client.call('WORLD_STATE', { world_id: restored.world_id });
      expect(state.members).toEqual([{ id: back, name }]);
    },
  );
});

describe('agents of a snapshot', () => {
  it('are not started unless asked for, and each that does not come back is named with the reason', async () => {
    const world = await create();
    await client.spawn({ world, name: 'silent', command: ['sleep', '600'] });
    await client.spawn({
      world,
      name: 'keeps',
      ...script('adder.ts'),
      env: { API_TOKEN: 'hush', PLAIN: 'x' },
    });
    expect(await said(client)).toMatchObject({ ready: 0, token: 'hush' });
    const { snapshot } = await client.call('WORLD_SNAPSHOT', { world_id: world });
    expect(JSON.stringify(snapshot)).not.toContain('hush');
    const left = await client.call('WORLD_RESTORE', { snapshot });
    expect(left.agents).toMatchObject([
      { name: 'silent', how: 'not', reason: 'it left no state and answers no checkpoint' },
      { name: 'keeps', how: 'not', reason: expect.stringContaining('nobody asked') },
    ]);
    const secret = await client.call('WORLD_RESTORE', { snapshot, agents: true });
    expect(secret.agents[1]).toMatchObject({ how: 'not', reason: expect.stringContaining('API_TOKEN') });
    const taken = await client.call('WORLD_RESTORE', {
      snapshot,
      agents: true,
      agents_env: { API_TOKEN: 'again' },
    });
    expect(taken.agents[1]).toMatchObject({ how: 'not', reason: expect.stringMatching(/keeps/) });
    await killAll(client);
    const back = await client.call('WORLD_RESTORE', {
      snapshot,
      agents: true,
      agents_env: { API_TOKEN: 'again', OTHER: 'ignored' },
    });
    expect(back.agents[1]).toMatchObject({ name: 'keeps', how: 'checkpoint' });
    expect(await said(client)).toEqual({ ready: 0, token: 'again' });
  });

  it('come back with what they left themselves, and how old that was', async () => {
    const world = await create();
    const source = `
import { connect } from 'clove/sdk';
const client = await connect();
const before = await client.restoredState<{ at: string }>();
if (before === null) {
  await client.checkpoint({ at: 'noon' });
  await client.waitInWorld({ ms: 3_600_000 });
}
await client.send('boss', { before });
await client.waitInWorld({ ms: 10 * 365 * 86_400_000 });
`;
    writeFileSync(path.join(folder, 'noon.ts'), source);
    const { id } = await client.spawn({ world, name: 'noon', ...script('noon.ts') });
    expect(await said(client)).toEqual({ before: null });
    const { snapshot } = await client.call('WORLD_SNAPSHOT', { world_id: world });
    await client.call('KILL', { id });
    await client.call('WAIT', { id });
    const { agents } = await client.call('WORLD_RESTORE', { snapshot, agents: true });
    expect(agents).toMatchObject([{ name: 'noon', how: 'kept' }]);
    expect(agents[0].behind_ms).toBeGreaterThanOrEqual(3_600_000);
    expect(await said(client)).toEqual({ before: { at: 'noon' } });
  });

  it('are nothing that another agent may take, or start', async () => {
    const refused = await client.call('WORLD_CHECKPOINT', { state: 1 });
    expect(refused).toMatchObject({ success: false, code: 'NOT_FOUND' });
    const world = await create();
    await client.call('WORLD_JOIN', { world_id: world });
    expect(await client.call('WORLD_CHECKPOINT', { state: 1 })).toMatchObject({
      success: false,
      code: 'FORBIDDEN',
    });
    await client.call('WORLD_LEAVE');
  });
});
