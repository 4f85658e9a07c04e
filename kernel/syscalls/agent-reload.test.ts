import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Answer, type TestClient, TestKernel, until } from '../fixture.ts';

let kernel: TestKernel;
let client: TestClient;
let folder: string;
let round = 0;

beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
  await client.call('SUBSCRIBE', { event_types: ['AGENT_RELOADED'] });
});
beforeEach(() => {
  round += 1;
  folder = path.join(kernel.folder, `code-${round}`);
  mkdirSync(folder, { mode: 0o755 });
});
afterAll(() => kernel.close());

const file = (name: string) => path.join(folder, name);
/** A script that says what it is and then waits; on SIGTERM it says goodbye. */
function write(name: string, version: string, end = 'while :; do sleep 0.05; done'): string {
  writeFileSync(file(name), `trap 'echo bye ${version}; exit 0' TERM\necho ${version} $1\n${end}\n`, {
    mode: 0o755,
  });
  return file(name);
}
const output = async (id: number): Promise<string> => (await client.call('LOGS', { id })).stdout;
const says = (id: number, text: string) => until(async () => (await output(id)).includes(text));

async function reloadedEvent(): Promise<Answer> {
  const { events } = await client.call('POLL_EVENTS', { wait: true, timeout_ms: 10_000 });
  expect(events).toHaveLength(1);
  return events[0].data;
}

describe('RELOAD', () => {
  it('runs what lies at the path now, drained first, under the same id, name, mailbox and state', async () => {
    const script = write('one.sh', 'v1');
    const { id, pid } = await client.spawn({ script, name: 'one', args: ['x'] });
    const { running } = kernel;
    await says(id, 'v1');
    await client.call('SEND', { to: id, message: 'kept' });
    await running.kernel.state.store(id, { key: 'k', text: '1', scope: 'agent', ttlMs: null });
    write('one.sh', 'v2');
    const answer = await client.call('RELOAD', { name: 'one', ready_ms: 100 });
    expect(answer).toMatchObject({
      success: true,
      agent_id: id,
      name: 'one',
      reloaded: true,
      rolled_back: false,
    });
    expect(answer.pid).not.toBe(pid);
    await says(id, 'v2');
    expect((await output(id)).split('\n').slice(0, 3)).toEqual([
      expect.stringMatching(/^v1/),
      'bye v1',
      expect.stringMatching(/^v2/),
    ]);
    expect(running.kernel.mailboxes.pending(id)).toBe(1);
    expect(running.kernel.state.fetch(id, 'k', 'agent')).toMatchObject({ text: '1' });
    const [row] = (await client.call('LIST')).filter((each: Answer) => each.id === id);
    expect(row).toMatchObject({ name: 'one', state: 'running', restarts: 0 });
    expect(await reloadedEvent()).toMatchObject({ agent_id: id, name: 'one', rolled_back: false });
    await client.call('KILL', { id, grace_ms: 0 });
  });

  it('goes back to the code from before, though its file was edited in place', async () => {
    const script = write('back.sh', 'good');
    const { id } = await client.spawn({ script, restart_policy: 'always' });
    await says(id, 'good');
    await until(() => kernel.running.kernel.codeCopies.pinned(id, agentPlan(id)) !== agentPlan(id));
    write('back.sh', 'bad', 'exit 7');
    const answer = await client.call('RELOAD', { id, ready_ms: 5000 });
    expect(answer).toMatchObject({
      reloaded: false,
      rolled_back: true,
      reason: expect.stringContaining('status 7'),
    });
    expect(answer.log_tail).toContain('bad');
    await until(async () => (await output(id)).split('good').length >= 4);
    expect(await reloadedEvent()).toMatchObject({ agent_id: id, rolled_back: true });
    // Once more: what is to be gone back to has not been forgotten.
    expect(await client.call('RELOAD', { id, ready_ms: 5000 })).toMatchObject({ rolled_back: true });
    await reloadedEvent();
    write('back.sh', 'better');
    expect(await client.call('RELOAD', { id, ready_ms: 50 })).toMatchObject({ reloaded: true });
    await says(id, 'better');
    await reloadedEvent();
    await client.call('KILL', { id, grace_ms: 0 });
  });

  it('takes another script or command, and changes nothing where that cannot be found', async () => {
    const { id, pid } = await client.spawn({ script: write('a.sh', 'a') });
    await says(id, 'a');
    for (const request of [{ script: file('none.sh') }, { script: file('a.sh'), command: ['x'] }]) {
      expect(await client.call('RELOAD', { id, ...request })).toMatchObject({
        success: false,
        reloaded: false,
      });
    }
    const alive = (await client.call('LIST')).find((each: Answer) => each.id === id);
    expect(alive).toMatchObject({ pid, state: 'running' });
    const other = { id, script: write('b.sh', 'b'), args: ['arg'], env: { X: '1' }, ready_ms: 50 };
    expect(await client.call('RELOAD', other)).toMatchObject({ reloaded: true });
    await says(id, 'b');
    await reloadedEvent();
    const command = { id, command: ['/bin/sh', '-c', 'echo c; exec sleep 60'], ready_ms: 50 };
    expect(await client.call('RELOAD', command)).toMatchObject({ reloaded: true });
    await says(id, 'c');
    await reloadedEvent();
    const broken = { id, command: ['/no/such/program'], ready_ms: 50 };
    expect(await client.call('RELOAD', broken)).toMatchObject({ reloaded: false, rolled_back: true });
    await reloadedEvent();
    await client.call('KILL', { id, grace_ms: 0 });
    expect(await client.call('RELOAD', { id })).toMatchObject({ code: 'NOT_FOUND' });
  });

  it('kills what does not end, thaws nothing, and ends a wait for a restart', async () => {
    const stubborn = "trap '' TERM; while :; do sleep 0.05; done";
    const { id } = await client.spawn({ command: ['/bin/sh', '-c', stubborn] });
    const order = { id, drain_ms: 50, ready_ms: 20 };
    expect(await client.call('RELOAD', order)).toMatchObject({ reloaded: true });
    await client.call('PAUSE', { id });
    expect(await client.call('RELOAD', { ...order, drain_ms: 60_000 })).toMatchObject({ reloaded: true });
    await client.call('KILL', { id, grace_ms: 0 });
    const waiting = await client.spawn({
      command: ['/bin/sh', '-c', 'exit 1'],
      restart_policy: 'always',
      restart_backoff_ms: 2 ** 30,
    });
    await until(() => kernel.running.kernel.agents.get(waiting.id)?.restartAt !== null);
    const alive = { id: waiting.id, command: ['/bin/sleep', '60'], ready_ms: 20 };
    expect(await client.call('RELOAD', alive)).toMatchObject({ reloaded: true });
    await client.call('KILL', { id: waiting.id, grace_ms: 0 });
    await client.call('POLL_EVENTS', {});
  });

  it('gives way to KILL and to another reload', async () => {
    const stubborn = "trap '' TERM; while :; do sleep 0.05; done";
    const { id } = await client.spawn({ command: ['/bin/sh', '-c', stubborn], restart_policy: 'always' });
    const other = await kernel.connect();
    client.send('RELOAD', { id, drain_ms: 60_000 });
    await until(() => kernel.running.kernel.agents.get(id)?.state === 'stopping');
    expect(await other.call('RELOAD', { id })).toMatchObject({ code: 'CONFLICT' });
    expect(await other.call('KILL', { id, grace_ms: 0 })).toMatchObject({ killed: true });
    expect(await client.next()).toMatchObject({ success: false, code: 'CANCELLED' });
    expect(await other.call('WAIT', { id })).toMatchObject({ state: 'stopped' });
    expect((await other.call('LIST')).filter((each: Answer) => each.id === id)).toEqual([]);
  });

  it('is what the next kernel starts', async () => {
    const first = await TestKernel.boot();
    const operator = await first.connect();
    const { id } = await operator.spawn({ script: write('old.sh', 'old'), restart_policy: 'always' });
    const answer = await operator.call('RELOAD', { id, script: write('new.sh', 'new'), ready_ms: 20 });
    expect(answer).toMatchObject({ reloaded: true });
    rmSync(file('old.sh'));
    await first.running.close();
    const second = await TestKernel.boot({ dataDirectory: path.join(first.folder, 'data') });
    const again = await second.connect();
    await until(async () => (await again.call('LOGS', { id })).stdout.startsWith('new'));
    await second.close();
    await first.close();
  });
});

function agentPlan(id: number) {
  const agent = kernel.running.kernel.agents.get(id);
  if (agent === undefined) throw new Error('no agent');
  return agent.plan;
}
