import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, type TestClient, TestKernel, until } from '../fixture.ts';

let kernel: TestKernel;
let client: TestClient;
beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
});
afterEach(async () => {
  for (const { id } of await client.call('LIST')) client.send('KILL', { id, grace_ms: 0 });
  await until(() => kernel.running.kernel.agents.size === 0);
  await client.close();
  client = await kernel.connect();
});
afterAll(() => kernel.close());

const shell = (script: string, fields: Record<string, unknown> = {}) => ({
  command: ['/bin/sh', '-c', script],
  ...fields,
});

const isOver = (pid: number) => {
  try {
    return /^State:\t[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return true;
  }
};

async function eventsUntil(count: number): Promise<Answer[]> {
  const events: Answer[] = [];
  while (events.length < count) {
    const polled = await client.call('POLL_EVENTS', { wait: true, timeout_ms: 20_000 });
    events.push(...polled.events);
  }
  return events;
}

describe('supervision', () => {
  it('starts an agent again after kill -9 from outside, under its id, name and mailbox', async () => {
    const { id, pid } = await client.spawn({
      command: ['/bin/sleep', '60'],
      name: 'kept',
      restart_policy: 'on-failure',
    });
    await client.call('SEND', { to_name: 'kept', message: 'waiting' });
    await client.call('SUBSCRIBE', { events: ['AGENT_SPAWNED', 'AGENT_EXITED', 'AGENT_RESTARTING'] });
    process.kill(pid, 'SIGKILL');
    const events = await eventsUntil(3);
    expect(events.map(({ type }) => type)).toEqual(['AGENT_EXITED', 'AGENT_RESTARTING', 'AGENT_SPAWNED']);
    expect(events[0].data).toMatchObject({ agent_id: id, reason: 'signal', signal: 'SIGKILL' });
    expect(events[1].data).toMatchObject({ agent_id: id, agent_name: 'kept', restart_count: 1 });
    expect(events[1].data.delay_ms).toBeLessThan(100);
    expect(events[2].data).toMatchObject({ agent_id: id, restart_count: 1 });
    const [row] = await client.call('LIST');
    expect(row).toMatchObject({ id, name: 'kept', state: 'running', restarts: 1 });
    expect(row.pid).not.toBe(pid);
    expect(kernel.running.kernel.mailboxes.pending(id)).toBe(1);
  });

  it('lets a clean exit be the end under on-failure, but not under always', async () => {
    const clean = await client.run(shell('exit 0', { restart_policy: 'on-failure' }));
    expect(clean).toMatchObject({ restart_count: 0, state: 'stopped' });
    const always = await client.run(
      shell('exit 0', { restart_policy: 'always', max_restarts: 2, restart_backoff_ms: 1 }),
    );
    expect(always).toMatchObject({ restart_count: 2 });
  });

  it('gives up once when the window is full, and says so once', async () => {
    await client.call('SUBSCRIBE', { event_types: ['AGENT_RESTARTING', 'AGENT_ESCALATED'] });
    const exit = await client.run(
      shell('echo try; exit 5', {
        name: 'broken',
        restart_policy: 'on-failure',
        max_restarts: 3,
        restart_backoff_ms: 1,
      }),
    );
    expect(exit).toMatchObject({
      state: 'failed',
      exit_code: 5,
      restart_count: 3,
      stdout: 'try\ntry\ntry\ntry\n',
    });
    const { events } = await client.call('POLL_EVENTS', {});
    expect(events.map(({ type }: Answer) => type)).toEqual([
      'AGENT_RESTARTING',
      'AGENT_RESTARTING',
      'AGENT_RESTARTING',
      'AGENT_ESCALATED',
    ]);
    expect(events[3].data).toMatchObject({ agent_name: 'broken', restart_count: 3, exit_code: 5 });
    // The same name by hand: a new agent with a window of its own.
    const again = await client.run(
      shell('exit 5', {
        name: 'broken',
        restart_policy: 'on-failure',
        max_restarts: 1,
        restart_backoff_ms: 1,
      }),
    );
    expect(again).toMatchObject({ restart_count: 1 });
  });

  it('ends all of an agent whose PID 1 is killed, and starts it again once', async () => {
    const { id, pid } = await client.spawn(
      shell("(setsid sleep 600 &); trap '' TERM; sleep 600", {
        name: 'orphaned',
        restart_policy: 'on-failure',
      }),
    );
    const { sandbox } = kernel.running.kernel.agents.get(id) ?? {};
    await until(() => sandbox?.stats().processIds.length === 4);
    const pids = sandbox?.stats().processIds ?? [];
    expect(pids).toContain(pid);
    await client.call('SUBSCRIBE', { events: ['AGENT_EXITED', 'AGENT_RESTARTING', 'AGENT_SPAWNED'] });
    process.kill(sandbox?.initPid ?? 0, 'SIGKILL');
    expect((await eventsUntil(3)).map(({ type }) => type)).toEqual([
      'AGENT_EXITED',
      'AGENT_RESTARTING',
      'AGENT_SPAWNED',
    ]);
    for (const each of pids) expect(isOver(each), String(each)).toBe(true);
    expect(await client.call('LIST')).toMatchObject([
      { id, name: 'orphaned', state: 'running', restarts: 1 },
    ]);
  });

  it('counts clean ends that come too soon, before and after ready, and gives up once', async () => {
    const soon = { restart_min_uptime_ms: 600_000, max_restarts: 2, restart_backoff_ms: 1 };
    await client.call('SUBSCRIBE', { event_types: ['AGENT_ESCALATED'] });
    const ended = await client.run(shell('exit 0', { ...soon, restart_policy: 'on-failure' }));
    expect(ended).toMatchObject({ restart_count: 2, exit_code: 0, state: 'failed' });
    const source = `import { connect } from 'clove/sdk'; const clove = await connect(); await clove.notify({ ready: true }); process.exit(0);`;
    const ready = await client.run({
      command: ['node', '--input-type=module', '-e', source],
      ready: { on: 'notify' },
      restart_policy: 'always',
      ...soon,
    });
    expect(ready).toMatchObject({ restart_count: 2, exit_code: 0, state: 'failed' });
    const { events } = await client.call('POLL_EVENTS', {});
    expect(events.map(({ data }: Answer) => data.restart_count)).toEqual([2, 2]);
  });

  it('treats a time limit as a failure', async () => {
    const exit = await client.run({
      command: ['/bin/sleep', '60'],
      timeout_ms: 20,
      restart_policy: 'on-failure',
      max_restarts: 1,
      restart_backoff_ms: 1,
    });
    expect(exit).toMatchObject({ reason: 'timeout', restart_count: 1, state: 'failed' });
  });

  it('kills an agent that is only being started', async () => {
    client.send('SPAWN', { command: ['/bin/sleep', '60'], name: 'early' });
    client.send('KILL', { name: 'early', grace_ms: 0 });
    const [spawned, killed] = [await client.next(), await client.next()];
    if (killed.killed) await client.call('WAIT', { name: 'early' });
    else await client.call('KILL', { id: spawned.id, grace_ms: 0 });
    expect(await client.call('LIST')).toEqual([]);
  });

  it('keeps 80 of 100 agents untouched and restarts the 20 that are killed', async () => {
    const spawned: Answer[] = [];
    for (let n = 0; n < 100; n += 1) {
      client.send('SPAWN', { command: ['/bin/sleep', '300'], name: `fleet-${n}`, restart_policy: 'always' });
    }
    for (let n = 0; n < 100; n += 1) spawned.push(await client.next());
    for (const answer of spawned) expect(answer).toMatchObject({ success: true });
    // Seeded choice: a test that fails must fail again.
    const victims = new Set(Array.from({ length: 20 }, (_, n) => spawned[(n * 37 + 11) % 100]));
    expect(victims.size).toBe(20);
    for (const { pid } of victims) process.kill(pid, 'SIGKILL');
    const isBack = (row: Answer) => row.state === 'running' && row.restarts === 1;
    const victimIds = new Set([...victims].map(({ id }) => id));
    await until(async () => {
      const rows = await client.call('LIST');
      return rows.filter((row: Answer) => victimIds.has(row.id) && isBack(row)).length === 20;
    });
    const rows: Answer[] = await client.call('LIST');
    expect(rows).toHaveLength(100);
    const pids = new Map(spawned.map(({ id, pid }) => [id, pid]));
    const untouched = rows.filter((row) => row.pid === pids.get(row.id) && row.restarts === 0 && row.running);
    expect(untouched).toHaveLength(80);
  });
});

describe('many agents', () => {
  it('are remembered after their end, but not what they were given', async () => {
    const big = 'x'.repeat(500_000);
    const { agent_id: id } = await client.run({
      command: ['/bin/true'],
      stdin: big,
      env: { BIG: 'y'.repeat(100_000) },
    });
    expect(JSON.stringify(kernel.running.kernel.agents.find(id)?.plan).length).toBeLessThan(5000);
  });

  it('leave no user, socket, descriptor or folder behind', async () => {
    const { readdirSync } = await import('node:fs');
    const { bootId, kernel: running } = kernel.running;
    const boot = `${kernel.folder}/run/boot-${bootId}`;
    const comeAndGo = async () => {
      for (let n = 0; n < 40; n += 1) {
        await client.run({ command: [n % 3 === 0 ? '/bin/false' : '/bin/true'] });
      }
      for (let n = 0; n < 10; n += 1) await client.call('SPAWN', { command: ['/none'] });
    };
    // Sandboxes made ahead hold descriptors, too: there are as many of them before as after.
    const full = async () => {
      const { size, waiting } = await running.sandboxPool.state();
      return waiting.length === size;
    };
    const descriptors = () => readdirSync('/proc/self/fd').length;
    await comeAndGo();
    await until(full);
    const before = { descriptors: descriptors(), entries: readdirSync(boot).length };
    await comeAndGo();
    await comeAndGo();
    await until(full);
    await until(() => readdirSync(boot).length === before.entries);
    // One that is finished for the agent expected next may be there or not.
    await until(() => descriptors() <= before.descriptors + 12);
    expect(kernel.running.kernel.mailboxes.usage().mailboxes).toBe(1);
  });
});
