import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { type Answer, type TestClient, TestKernel, until } from '../fixture.ts';
import type { UserKernelOptions } from '../options.ts';
import { startDelays } from './fleet.ts';

const kernels: TestKernel[] = [];

/** A kernel, and others after it on the same data directory. */
async function boot(after?: TestKernel, options: UserKernelOptions = {}): Promise<[TestKernel, TestClient]> {
  await after?.running.close();
  const dataDirectory = path.join((kernels[0] ?? after)?.folder ?? '', 'data');
  const kernel = await TestKernel.boot(after === undefined ? options : { ...options, dataDirectory });
  kernels.push(kernel);
  return [kernel, await kernel.connect()];
}
afterEach(async () => {
  for (const kernel of kernels.splice(0).reverse()) await kernel.close();
});

const sleeper = { command: ['/bin/sleep', '300'] };

describe('agents that outlive the kernel', () => {
  it('are started again under their id and name, with names, grants and quotas; others are not', async () => {
    const [first, client] = await boot();
    const kept = await client.spawn({ ...sleeper, name: 'kept', restart_policy: 'on-failure' });
    const persisted = await client.spawn({ ...sleeper, name: 'persisted', persist: true });
    await client.spawn({ ...sleeper, name: 'gone' });
    await client.spawn({ ...sleeper, name: 'waived', restart_policy: 'always', persist: false });
    const killed = await client.spawn({ ...sleeper, name: 'killed', restart_policy: 'always' });
    await client.call('KILL', { id: killed.id, grace_ms: 0 });
    await client.call('SET_PERMS', { agent_id: kept.id, level: 'readonly' });
    await client.call('SET_QUOTA', { agent_id: kept.id, quotas: { messages: 7 } });
    first.running.kernel.mailboxes.register(kept.id, 'alias');
    await first.running.kernel.fleet.saveNames(kept.id);
    const perms = await client.call('GET_PERMS', { agent_id: kept.id });

    const [second, again] = await boot(first);
    // Taken from the first moment on.
    expect(await again.call('REGISTER', { name: 'kept' })).toMatchObject({ code: 'CONFLICT' });
    expect(await again.call('REGISTER', { name: 'alias' })).toMatchObject({ code: 'CONFLICT' });
    await until(() => second.running.kernel.agents.list().every(({ state }) => state === 'running'));
    const rows: Answer[] = await again.call('LIST');
    expect(rows.map(({ id, name, state, restarts }) => [id, name, state, restarts])).toEqual([
      [kept.id, 'kept', 'running', 0],
      [persisted.id, 'persisted', 'running', 0],
    ]);
    expect(await again.call('GET_PERMS', { agent_id: kept.id })).toEqual(perms);
    expect(await again.call('GET_QUOTA', { agent_id: kept.id })).toMatchObject({ quotas: { messages: 7 } });
    const next = await again.spawn(sleeper);
    expect(next.id).toBe(killed.id + 1);
    const { entries } = await again.call('GET_AUDIT_LOG', { agent_id: kept.id, limit: 100 });
    const types = entries.map(({ event_type }: Answer) => event_type);
    expect(types).toEqual(expect.arrayContaining(['AGENT_RESTARTING', 'AGENT_SPAWNED', 'AGENT_EXITED']));
  });

  it('keep what they stored for themselves, and lose it when they are killed', async () => {
    const [first, client] = await boot();
    const { id } = await client.spawn({ ...sleeper, name: 'own', restart_policy: 'always' });
    const { state } = first.running.kernel;
    await state.store(id, { key: 'mine', text: '1', scope: 'agent', ttlMs: null });
    await state.store(id, { key: 'passing', text: '2', scope: 'session', ttlMs: null });
    const [second, again] = await boot(first);
    expect(second.running.kernel.state.fetch(id, 'mine', null)).toMatchObject({ text: '1' });
    expect(second.running.kernel.state.fetch(id, 'passing', null)).toBeNull();
    await again.call('KILL', { id, grace_ms: 0 });
    const [third] = await boot(second);
    expect(third.running.kernel.agents.size).toBe(0);
    expect(third.running.kernel.state.fetch(id, 'mine', null)).toBeNull();
  });

  it('remember their restarts and their backoff', async () => {
    const [first, client] = await boot();
    const { id } = await client.spawn({
      command: ['/bin/sh', '-c', 'exit 3'],
      name: 'crashing',
      restart_policy: 'on-failure',
      max_restarts: 2,
      restart_backoff_ms: 1,
    });
    await client.call('WAIT', { id });
    const slow = await client.spawn({
      command: ['/bin/sh', '-c', 'exit 3'],
      name: 'waiting',
      restart_policy: 'on-failure',
      max_restarts: 1,
      restart_backoff_ms: 2 ** 30,
    });
    await until(async () => (await client.call('LIST'))[0].restart_in_ms !== null);
    const [, again] = await boot(first);
    const rows = await again.call('LIST');
    // The one that was given up stays so.
    expect(rows).toMatchObject([{ id: slow.id, name: 'waiting', state: 'starting', restarts: 1 }]);
    expect(rows[0].restart_in_ms).toBeGreaterThan(1000);
    expect(await again.call('KILL', { id: slow.id })).toMatchObject({ killed: true });
    expect(await again.call('LIST')).toEqual([]);
  });

  it('are forgotten when that is asked for, and their ids are not given to others', async () => {
    const [first, client] = await boot();
    const { id } = await client.spawn({ ...sleeper, restart_policy: 'always' });
    const [second, again] = await boot(first, { onRestart: 'forget' });
    expect(await again.call('LIST')).toEqual([]);
    const { entries } = await again.call('GET_AUDIT_LOG', { limit: 100 });
    expect(
      entries.find(({ event_type }: Answer) => event_type === 'AGENTS_FORGOTTEN')?.details,
    ).toMatchObject({ agents: [id] });
    expect((await again.spawn(sleeper)).id).toBeGreaterThan(id);
    const [, last] = await boot(second);
    expect(await last.call('LIST')).toEqual([]);
  });

  it('are known to have done their job, where an operator gave them labels', async () => {
    const [first, client] = await boot();
    const job = { command: ['/bin/sh', '-c', 'echo done'], labels: { fleet: 'f', spec: '1' } };
    const { agent_id: id } = await client.run({ ...job, name: 'job' });
    await client.run({ ...job, name: 'unlabelled', labels: {} });
    await client.run({ ...job, name: 'failing', command: ['/bin/false'] });
    const { id: stopped } = await client.spawn({ ...sleeper, name: 'stopped', labels: job.labels });
    await client.call('KILL', { id: stopped });
    const [second, again] = await boot(first);
    const ended = { reason: 'exited', exit_code: 0 };
    expect(await again.call('LIST', { all: true })).toMatchObject([
      { id, name: 'job', state: 'stopped', labels: job.labels, running: false, ended },
    ]);
    expect(await again.call('WAIT', { id })).toMatchObject({ exit_code: 0, state: 'stopped' });
    const needing = { ...sleeper, restart_policy: 'never', depends_on: ['job'] };
    expect(await again.call('SPAWN', needing)).toMatchObject({ success: true });
    // Its name is free, and the next of that name takes its place.
    const { agent_id: next } = await again.run({ ...job, name: 'job', labels: { fleet: 'f', spec: '2' } });
    expect(next).toBeGreaterThan(id);
    const [third, last] = await boot(second);
    expect(await last.call('LIST', { all: true })).toMatchObject([{ id: next, labels: { spec: '2' } }]);
    const [, forgetful] = await boot(third, { onRestart: 'forget' });
    expect(await forgetful.call('LIST', { all: true })).toEqual([]);
  });

  it('are given up when their program is gone', async () => {
    const [first, client] = await boot();
    const script = path.join(first.folder, 'loop.sh');
    writeFileSync(script, 'sleep 300\n', { mode: 0o755 });
    const { id } = await client.spawn({
      script,
      restart_policy: 'always',
      max_restarts: 1,
      restart_backoff_ms: 1,
    });
    rmSync(script);
    const [, again] = await boot(first);
    const exit = await again.call('WAIT', { id });
    expect(exit).toMatchObject({ state: 'failed', reason: 'setup', restart_count: 1 });
    const { stderr } = await again.call('LOGS', { id });
    expect(stderr).toContain('script not found');
  });

  it('do not start in a herd', () => {
    const none = { count: 0, consecutive: 0, recentWallMs: [] };
    const running = { restart: { ...none, pending: null } };
    const waiting = (dueWallMs: number, delayMs = 1e6) => ({
      restart: { ...none, pending: { dueWallMs, delayMs } },
    });
    const delays = startDelays(
      Array.from({ length: 1000 }, () => running),
      0,
      50,
    );
    for (let second = 0; second < 20; second += 1) {
      const started = delays.filter((delay) => delay >= second * 1000 && delay < (second + 1) * 1000);
      expect(started).toHaveLength(50);
    }
    expect(startDelays([waiting(5000), running, waiting(10), waiting(5000), waiting(-5)], 0, 50)).toEqual([
      5000, 0, 40, 5020, 20,
    ]);
    // The clock was set back by a day.
    expect(startDelays([waiting(86_400_000, 300)], 0, 50)).toEqual([300]);
  });
});
