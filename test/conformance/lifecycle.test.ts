import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Answer, type TestClient, TestKernel, until } from '../../kernel/fixture.ts';

/** What went wrong with agents of one name after one another, and with everybody else meanwhile. */
let kernel: TestKernel;
let operator: TestClient;

beforeAll(async () => {
  kernel = await TestKernel.boot();
  operator = await kernel.connect();
  await operator.call('SUBSCRIBE', { event_types: ['AGENT_ESCALATED', 'AGENT_RESTARTING', 'AGENT_EXITED'] });
});
afterAll(() => kernel.close());

const seen: Answer[] = [];
async function eventsOf(type: string, name: string): Promise<Answer[]> {
  seen.push(...(await operator.call('POLL_EVENTS', { max: 1000 })).events);
  return seen.filter((event) => event.type === type && (event.data.name ?? event.data.agent_name) === name);
}

const isListed = async (name: string): Promise<boolean> =>
  (await operator.call('LIST')).some((row: Answer) => row.name === name);

it('a KILL that takes its time holds up nobody, not even another KILL', async () => {
  const deaf = { command: ['/bin/sh', '-c', 'trap "" TERM; echo deaf; while :; do sleep 0.1; done'] };
  for (const name of ['deaf-1', 'deaf-2']) {
    await operator.spawn({ name, ...deaf });
    await until(async () => (await operator.call('LOGS', { name })).stdout.includes('deaf'));
  }
  const other = await kernel.connect();
  operator.send('KILL', { name: 'deaf-1', grace_ms: 600_000 });
  const third = await kernel.connect();
  third.send('KILL', { name: 'deaf-2', grace_ms: 600_000 });
  await until(async () =>
    (await other.call('LIST')).every(
      (row: Answer) => !row.name.startsWith('deaf') || row.state === 'stopping',
    ),
  );
  // Whoever will not wait says so.
  for (const name of ['deaf-1', 'deaf-2']) {
    expect(await other.call('KILL', { name, grace_ms: 0 })).toMatchObject({ killed: true });
  }
  expect(await operator.next()).toMatchObject({ killed: true });
  expect(await third.next()).toMatchObject({ killed: true });
});

it('an agent has the restart policy it was spawned with, not that of one of its name before', async () => {
  const always = { restart_policy: 'always', max_restarts: 100 };
  await operator.spawn({ name: 'heir', command: ['/bin/sleep', '600'], ...always });
  await operator.call('KILL', { name: 'heir' });
  const { id } = await operator.spawn({ name: 'heir', command: ['/bin/false'], restart_policy: 'never' });
  expect(await operator.call('WAIT', { id })).toMatchObject({ exit_code: 1, restart_count: 0 });
  expect(await isListed('heir')).toBe(false);
  expect(await eventsOf('AGENT_RESTARTING', 'heir')).toEqual([]);
});

it('a name whose agent was given up is spawned by hand and restarts again, in the same window', async () => {
  const crash = {
    name: 'again',
    command: ['/bin/false'],
    restart_policy: 'always',
    max_restarts: 1,
    restart_window: 300,
  };
  for (const round of [1, 2]) {
    const { id } = await operator.spawn(crash);
    const exit = await operator.call('WAIT', { id });
    expect(exit, `round ${round}`).toMatchObject({ restart_count: 1 });
    await until(async () => (await eventsOf('AGENT_ESCALATED', 'again')).length === round);
  }
});

it('a restart that cannot start is tried again, and given up in words', async () => {
  const folder = path.join(kernel.folder, 'bin');
  mkdirSync(folder);
  chmodSync(folder, 0o755);
  const program = path.join(folder, 'program');
  writeFileSync(program, '#!/bin/sh\nexec sleep 600\n', { mode: 0o755 });
  const { id } = await operator.spawn({
    name: 'gone',
    command: ['/opt/bin/program'],
    mounts: [{ source: folder, target: '/opt/bin' }],
    restart_policy: 'always',
    max_restarts: 2,
    restart_window: 300,
  });
  rmSync(program);
  const [row] = (await operator.call('LIST')).filter((each: Answer) => each.name === 'gone');
  process.kill(row.pid, 'SIGKILL');
  await until(async () => (await eventsOf('AGENT_ESCALATED', 'gone')).length === 1);
  expect(await operator.call('WAIT', { id })).toMatchObject({ success: true, agent_id: id });
  expect(await isListed('gone')).toBe(false);
});
