import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { TestKernel, until } from '../../kernel/fixture.ts';
import { createKernel } from '../../kernel/index.ts';
import { type CloveClient, connect } from './index.ts';

let kernel: TestKernel;
const clients: CloveClient[] = [];

beforeAll(async () => {
  kernel = await TestKernel.boot();
  chmodSync(kernel.folder, 0o755);
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
});
afterAll(() => kernel.close());

async function client(): Promise<CloveClient> {
  const connected = await connect(kernel.running.socketPath);
  clients.push(connected);
  return connected;
}

/** Runs a script as a sandboxed agent; returns its id. */
async function agent(clove: CloveClient, name: string, script: string): Promise<number> {
  const file = path.join(kernel.folder, `${name}.mjs`);
  writeFileSync(file, script, { mode: 0o644 });
  return (await clove.spawn({ name, script: file })).id;
}

const code = (expected: string): object => expect.objectContaining({ code: expected }) as object;

describe('CloveClient with a real kernel', () => {
  it('says hello, echoes, says goodbye', async () => {
    const clove = await client();
    expect(await clove.hello()).toMatchObject({ success: true, agent_id: clove.agentId });
    for (const text of ['', 'hëllo', '\ufeffmarked', '{"not": json'])
      expect(await clove.echo(text)).toBe(text);
    expect(await clove.exit()).toBe('goodbye');
    expect(clove.connected).toBe(true);
  });

  it('spawns, lists, pauses, resumes, waits, reads logs, kills', async () => {
    const clove = await client();
    const { id } = await clove.spawn({
      name: 'sh',
      command: ['/bin/sh', '-c', 'echo out; echo err >&2; sleep 600'],
    });
    expect(await clove.list()).toMatchObject([{ id, name: 'sh', state: 'running' }]);
    await clove.pause(id);
    expect((await clove.list())[0]?.state).toBe('paused');
    await clove.resume('sh');
    await until(async () => (await clove.logs('sh')).stderr !== '');
    expect(await clove.logs('sh', { maxBytes: 3 })).toMatchObject({ stdout: 'ut\n', stderr: 'rr\n' });
    await expect(clove.wait(id, { timeoutMs: 10 })).rejects.toEqual(code('TIMEOUT'));
    const ended = clove.wait(id);
    // What waits for more holds up none of the other calls.
    const more = clove.logs(id, { from: { stdout: 4, stderr: 4 }, waitMs: 60_000 });
    await clove.kill('sh', { graceMs: 0 });
    expect(await ended).toMatchObject({ agent_id: id, reason: 'killed' });
    expect(await more).toMatchObject({ stdout: '', stderr: '', stdout_to: 4, stderr_to: 4, ended: true });
    expect(await clove.list()).toEqual([]);
    expect(await clove.list({ all: true })).toMatchObject([{ name: 'sh' }]);
    await expect(clove.kill('sh')).rejects.toEqual(code('NOT_FOUND'));
  });

  it('runs commands, and reads and writes text and bytes', async () => {
    const clove = await client();
    expect(await clove.exec('echo out; exit 3')).toMatchObject({
      success: false,
      exit_code: 3,
      stdout: 'out\n',
    });
    expect(await clove.exec('sleep 60', { timeout: 0.05 })).toMatchObject({
      success: false,
      timed_out: true,
    });
    const file = path.join(kernel.folder, 'file');
    expect(await clove.writeFile(file, 'ü')).toBe(2);
    expect(await clove.writeFile(file, '!', { mode: 'append' })).toBe(1);
    expect(await clove.readFile(file)).toBe('ü!');
    const bytes = Uint8Array.of(0, 255, 254, 10);
    await clove.writeFile(file, bytes);
    expect(new Uint8Array(await clove.readBytes(file))).toEqual(bytes);
    await expect(clove.readFile(file)).rejects.toEqual(code('DATA_CORRUPT'));
    await expect(clove.readFile(path.join(kernel.folder, 'none'))).rejects.toEqual(code('NOT_FOUND'));
  });

  it('stores, fetches, lists and deletes state', async () => {
    const clove = await client();
    await clove.store('sdk/a', { n: 1 });
    await clove.store('sdk/b', 2, { scope: 'session' });
    await clove.store('sdk/c', 3, { ttlSeconds: 0 });
    expect(await clove.fetch('sdk/a')).toEqual({ n: 1 });
    expect(await clove.fetch<number>('sdk/b', { scope: 'session' })).toBe(2);
    expect(await clove.fetch('sdk/b', { scope: 'global' })).toBeUndefined();
    expect(await clove.fetch('sdk/c')).toBeUndefined();
    expect(await clove.keys('sdk/')).toEqual(['sdk/a', 'sdk/b']);
    expect(await clove.keys('sdk/', { scope: 'global' })).toEqual(['sdk/a']);
    expect(await clove.delete('sdk/a')).toBe(true);
    expect(await clove.delete('sdk/a')).toBe(false);
    await expect(clove.store('', 1)).rejects.toThrow('key is required');
  });

  it('follows the pages of a long list of keys', async () => {
    const clove = await client();
    const names = Array.from({ length: 10_050 }, (_, at) => `many/${String(at).padStart(5, '0')}`);
    await Promise.all(names.map((name) => clove.store(name, 1)));
    expect(await clove.keys('many/')).toEqual(names);
    await Promise.all(names.map((name) => clove.delete(name)));
  });

  it('registers, sends, broadcasts, receives at once, later, or not at all', async () => {
    const [one, two] = [await client(), await client()];
    await one.register('one');
    await two.register('two');
    expect(await one.send('two', 'hello')).toBe(two.agentId);
    expect(await two.send(one.agentId, 'back')).toBe(one.agentId);
    expect(await two.receive()).toMatchObject([{ from: one.agentId, from_name: 'one', message: 'hello' }]);
    expect(await one.receive()).toMatchObject([{ message: 'back' }]);
    expect(await one.receive()).toEqual([]);
    expect(await one.receive({ wait: true, timeoutMs: 30 })).toEqual([]);
    const later = two.receive({ wait: true, timeoutMs: 10_000 });
    await sleep(30);
    expect(await one.broadcast('all')).toMatchObject({ delivered_count: 1, refused: [] });
    expect(await later).toMatchObject([{ message: 'all' }]);
    await expect(one.send('nobody', 1)).rejects.toThrow('target agent not found: nobody');
    await expect(two.register('one')).rejects.toEqual(code('CONFLICT'));
    expect(one.clone().socketPath).toBe(one.socketPath);
  });

  it('waits for a message while it works, on one connection', async () => {
    const clove = await client();
    const received = clove.receive({ wait: true });
    for (let at = 0; at < 20; at += 1) await clove.store('busy', at);
    await clove.send('self', 'there');
    expect(await received).toMatchObject([{ message: 'there' }]);
    expect(kernel.running.kernel.wire.counters().connectionsOpen).toBe(1);
  });

  it('subscribes, polls, iterates over events, and emits', async () => {
    const clove = await client();
    expect(await clove.subscribe(['AGENT_EXITED', 'mine'])).toEqual(['AGENT_EXITED', 'mine']);
    expect(await clove.emit('mine', { n: 1 })).toBe(1);
    expect(await clove.emit('theirs')).toBe(0);
    expect(await clove.pollEvents()).toMatchObject({
      events: [{ custom_type: 'mine', data: { n: 1 } }],
      dropped: 0,
    });
    setTimeout(() => void clove.spawn({ name: 'brief', command: ['/bin/true'] }), 10);
    for await (const event of clove.events()) {
      expect(event).toMatchObject({ type: 'AGENT_EXITED', data: { name: 'brief' } });
      break;
    }
    expect(await clove.unsubscribe(['mine'])).toEqual(['AGENT_EXITED']);
    expect(await clove.unsubscribe('all')).toEqual([]);
    await expect(clove.emit('AGENT_EXITED')).rejects.toEqual(code('FORBIDDEN'));
  });

  it('measures the machine, agents and cgroups', async () => {
    const clove = await client();
    const { id } = await clove.spawn({ name: 'measured', command: ['/bin/sleep', '600'] });
    expect((await clove.systemMetrics()).cpu.count).toBeGreaterThan(0);
    expect(await clove.agentMetrics(id)).toMatchObject({ agent_id: id, name: 'measured' });
    expect(await clove.allAgentMetrics()).toMatchObject([{ agent_id: id, state: 'running' }]);
    const { cgroup_path: cgroupPath } = await clove.cgroupMetrics(id);
    expect(await clove.cgroupMetrics(cgroupPath)).toMatchObject({ cgroup_path: cgroupPath });
    await expect(clove.agentMetrics()).rejects.toEqual(code('NOT_FOUND'));
    await clove.kill(id, { graceMs: 0 });
  });

  it('takes any syscall by its name, with the fields of the reference', async () => {
    const clove = await client();
    expect(await clove.call('STORE', { key: 'k', value: 1, scope: 'session' })).toEqual({
      success: true,
      key: 'k',
      scope: 'session',
      version: expect.any(Number),
    });
    expect(await clove.call('LIST')).toEqual([]);
    // @ts-expect-error a request that the table does not know
    await expect(clove.call('SEND', { to: 'seven' })).rejects.toEqual(code('BAD_REQUEST'));
  });

  it('serves 64 clients that all talk to each other at once', async () => {
    const all = await Promise.all(Array.from({ length: 64 }, () => client()));
    await Promise.all(all.map((each, at) => each.register(`peer-${at}`)));
    const received = all.map(async (each) => {
      const from = new Map<string, number[]>();
      let count = 0;
      for await (const { from_name: name, message } of each.messages()) {
        from.set(name, [...(from.get(name) ?? []), message as number]);
        count += 1;
        if (count === 5 * 20) return from;
      }
      throw new Error('ended early');
    });
    const sent = all.map(async (each, at) => {
      const calls: Promise<unknown>[] = [];
      for (let message = 0; message < 20; message += 1) {
        for (let step = 1; step <= 5; step += 1) calls.push(each.send(`peer-${(at + step) % 64}`, message));
        calls.push(
          each.echo(`echo ${at} ${message}`).then((echo) => expect(echo).toBe(`echo ${at} ${message}`)),
        );
      }
      await Promise.all(calls);
    });
    await Promise.all(sent);
    const inOrder = Array.from({ length: 20 }, (_, message) => message);
    for (const from of await Promise.all(received)) {
      expect(from.size).toBe(5);
      for (const messages of from.values()) expect(messages).toEqual(inOrder);
    }
  });
});

describe('a kernel that is started again', () => {
  it('gets its client back, with its name and its events, and still has its state', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'clove-again-'));
    const options = {
      socketPath: path.join(folder, 's.sock'),
      dataDirectory: path.join(folder, 'data'),
      runDirectory: path.join(folder, 'run'),
      logLevel: 'silent',
    } as const;
    let running = await createKernel(options);
    try {
      const clove = await connect(options.socketPath);
      clients.push(clove);
      await clove.register('phoenix');
      await clove.subscribe(['mine']);
      await clove.store('kept', { n: 1 });
      await clove.store('private', 1, { scope: 'agent' });
      const seen: unknown[] = [];
      const iterated = (async () => {
        for await (const { message } of clove.messages()) {
          seen.push(message);
          if (message === 'last') return;
        }
      })();
      await clove.send('phoenix', 'first');
      await expect.poll(() => seen).toEqual(['first']);
      await running.close();
      running = await createKernel(options);
      expect(await clove.send('phoenix', 'last')).toBe(clove.agentId);
      await iterated;
      expect(seen).toEqual(['first', 'last']);
      expect(await clove.emit('mine')).toBe(1);
      expect(await clove.fetch('kept')).toEqual({ n: 1 });
      expect(await clove.fetch('private')).toBeUndefined();
    } finally {
      await running.close();
      rmSync(folder, { recursive: true });
    }
  });
});

describe('an agent in its sandbox', () => {
  it('needs three lines to greet whoever spawned it, and ends by itself', async () => {
    const clove = await client();
    const readme = readFileSync(new URL('./README.md', import.meta.url), 'utf8');
    const [, lines = ''] = /```ts\n(.*?)```/s.exec(readme) ?? [];
    expect(lines.trim().split('\n')).toHaveLength(3);
    const id = await agent(clove, 'greeter', lines);
    expect(await clove.receive({ wait: true, timeoutMs: 20_000 })).toMatchObject([
      { from: id, from_name: 'greeter', message: { hello: 'world' } },
    ]);
    expect(await clove.wait(id)).toMatchObject({ reason: 'exited', exit_code: 0 });
  });

  it('does other things while it waits for messages and events, as one and the same caller', async () => {
    const clove = await client();
    const id = await agent(
      clove,
      'worker',
      `import { connect } from 'clove/sdk';
       const clove = await connect();
       await clove.subscribe(['job']);
       const event = clove.pollEvents({ wait: true });
       const message = clove.receive({ wait: true });
       await clove.store('ready', clove.agentId);
       const [{ message: job }] = await message;
       const { events } = await event;
       const { stdout } = await clove.exec('echo from the shell');
       const own = await clove.agentMetrics();
       await clove.send('parent', { job, event: events[0].data, stdout, me: own.name, id: clove.agentId });`,
    );
    await until(async () => (await clove.fetch('ready')) === id);
    await clove.send('worker', 'job 1');
    await clove.emit('job', { n: 2 });
    const [answer] = await clove.receive({ wait: true, timeoutMs: 20_000 });
    expect(answer).toMatchObject({
      from: id,
      message: { job: 'job 1', event: { n: 2 }, stdout: 'from the shell\n', me: 'worker', id },
    });
    expect(await clove.wait(id)).toMatchObject({ exit_code: 0 });
  });

  it('is refused what agents may not do, by name', async () => {
    const clove = await client();
    const id = await agent(
      clove,
      'curious',
      `import { connect } from 'clove/sdk';
       const clove = await connect();
       const codes = await Promise.all([
         clove.spawn({ command: ['/bin/true'] }), clove.kill(1), clove.list(), clove.systemMetrics(),
         clove.emit('AGENT_EXITED'), clove.register('parent'), clove.send(4242, 1),
       ].map((call) => call.then(() => 'allowed', (error) => error.code)));
       await clove.send('parent', codes);`,
    );
    const [answer] = await clove.receive({ wait: true, timeoutMs: 20_000 });
    expect(answer?.message).toEqual([
      'FORBIDDEN',
      'FORBIDDEN',
      'FORBIDDEN',
      'FORBIDDEN',
      'FORBIDDEN',
      'CONFLICT',
      'NOT_FOUND',
    ]);
    await clove.wait(id);
  });
});
