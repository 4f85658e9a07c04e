import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callingAgent, type TestClient, TestKernel } from '../kernel/fixture.ts';
import { worldHost } from './engine.ts';

let kernel: TestKernel;
let client: TestClient;

beforeAll(async () => {
  kernel = await TestKernel.boot({}, { worlds: worldHost() });
  client = await kernel.connect();
});
afterAll(async () => {
  await kernel.close();
});

const LEGACY = {
  description: 'as existing clients write it',
  virtual_filesystem: {
    initial_files: { '/data/a.txt': 'hello', '/data/ro.txt': { content: 'fixed', mode: 'r' } },
    writable_patterns: ['/data/**', '/tmp/*'],
  },
  network: {
    mode: 'mock',
    mock_responses: {
      'https://api.example.com/users': { status: 200, body: '{"users":[]}', headers: { 'x-a': 'b' } },
      'https://api.example.com/*': 'fallback',
    },
  },
};

describe('an existing client', () => {
  it('creates, joins, uses, leaves and destroys a world', async () => {
    const created = await client.call('WORLD_CREATE', { name: 'My World!', config: LEGACY });
    expect(created).toMatchObject({ success: true, name: 'My World!', warnings: [] });
    const id = created.world_id as string;
    expect(id).toMatch(/^my-world-\d{4}$/);
    expect(await client.call('WORLD_JOIN', { world_id: id, agent_id: 5 })).toMatchObject({
      success: true,
      world_id: id,
    });
    expect(await client.call('READ', { path: '/data/a.txt' })).toMatchObject({
      success: true,
      content: 'hello',
      size: 5,
      world: id,
      virtual: true,
    });
    expect(await client.call('READ', { path: '/nothing' })).toMatchObject({
      success: false,
      error: 'File not found in virtual filesystem',
      world: id,
      content: '',
    });
    expect(await client.call('WRITE', { path: '/data/b.txt', content: 'b' })).toMatchObject({
      success: true,
      bytes_written: 1,
      world: id,
    });
    for (const path of ['/data/ro.txt', '/elsewhere/c.txt']) {
      expect(await client.call('WRITE', { path, content: 'x' })).toMatchObject({
        success: false,
        error: 'Virtual filesystem write denied',
        bytes_written: 0,
        world: id,
      });
    }
    expect(await client.call('HTTP', { url: 'https://api.example.com/users' })).toMatchObject({
      success: true,
      status_code: 200,
      body: '{"users":[]}',
      headers: { 'x-a': 'b' },
      world: id,
      mocked: true,
    });
    expect(await client.call('HTTP', { url: 'https://other.example.com/' })).toMatchObject({
      success: false,
      status_code: 0,
      error: 'No mock response configured for URL',
      body: '',
      world: id,
    });
    expect(
      await client.call('EXEC', { command: 'cat /data/a.txt /data/b.txt; echo oops >&2' }),
    ).toMatchObject({
      success: true,
      stdout: 'hellob' + 'oops\n',
      exit_code: 0,
      world: id,
    });
    const { state, agents, name } = await client.call('WORLD_STATE', { world_id: id });
    expect(name).toBe('My World!');
    expect(agents).toHaveLength(1);
    expect(state).toMatchObject({
      world_id: id,
      agent_count: 1,
      vfs_metrics: { file_count: 3 },
      network_metrics: { mode: 'mock', mock_count: 2 },
      chaos_metrics: { active_event_count: 0 },
    });
    expect(await client.call('WORLD_DESTROY', { world_id: id })).toMatchObject({
      success: false,
      error: 'Failed to destroy world (not found or has active agents)',
    });
    expect(await client.call('WORLD_LEAVE')).toMatchObject({ success: true });
    expect(await client.call('WORLD_LEAVE')).toMatchObject({ success: false, error: 'Not in any world' });
    expect(await client.call('WORLD_DESTROY', { world_id: id })).toMatchObject({
      success: true,
      world_id: id,
    });
    expect(await client.call('WORLD_STATE', { world_id: id })).toMatchObject({
      success: false,
      error: 'World not found',
    });
  });

  it('injects events, which act and can be ended', async () => {
    const { world_id } = await client.call('WORLD_CREATE', { name: 'chaos', config: LEGACY });
    await client.call('WORLD_JOIN', { world_id });
    const event = await client.call('WORLD_EVENT', { world_id, event_type: 'disk_fail', params: {} });
    expect(event).toMatchObject({ success: true, world_id, event_type: 'disk_fail', until_ms: null });
    expect(await client.call('READ', { path: '/data/a.txt' })).toMatchObject({
      success: false,
      error: 'Simulated read failure (chaos)',
      world: world_id,
    });
    expect(await client.call('WRITE', { path: '/data/a.txt', content: '' })).toMatchObject({
      success: false,
      error: 'Simulated write failure (chaos)',
    });
    await client.call('WORLD_EVENT', { world_id, event_type: 'clear', params: { event_id: event.event_id } });
    expect(await client.call('READ', { path: '/data/a.txt' })).toMatchObject({ success: true });
    await client.call('WORLD_EVENT', { world_id, event_type: 'network_partition' });
    expect(await client.call('HTTP', { url: 'https://api.example.com/users' })).toMatchObject({
      success: false,
      status_code: 503,
      error: 'Simulated network failure (chaos)',
      body: '',
      world: world_id,
    });
    expect(await client.call('WORLD_STATE', { world_id })).toMatchObject({
      chaos_events_injected: 2,
      state: { chaos_metrics: { active_events: ['network_partition'], failures_injected: 3 } },
    });
    expect(await client.call('WORLD_EVENT', { world_id, event_type: 'no_such_thing' })).toMatchObject({
      success: false,
      error: expect.stringContaining('Failed to inject event'),
      hint: expect.stringContaining('disk_full'),
    });
    expect(await client.call('WORLD_EVENT', { world_id, event_type: 'memory_pressure' })).toMatchObject({
      success: false,
      error: expect.stringContaining('cannot act in this virtual world'),
    });
    await client.call('WORLD_LEAVE');
    await client.call('WORLD_DESTROY', { world_id });
  });

  it('snapshots and restores, also with the whole answer', async () => {
    const { world_id } = await client.call('WORLD_CREATE', { name: 'snap', config: LEGACY });
    await client.call('WORLD_JOIN', { world_id });
    await client.call('WRITE', { path: '/data/new.txt', content: 'kept' });
    await client.call('STORE', { key: 'k', value: { n: 1 } });
    await client.call('WORLD_LEAVE');
    const answer = await client.call('WORLD_SNAPSHOT', { world_id });
    expect(answer).toMatchObject({ success: true, snapshot_id: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(answer.snapshot.vfs.files['/data/new.txt']).toMatchObject({ content: 'kept', mode: 'rw' });
    for (const [snapshot, new_world_id] of [
      [answer.snapshot, 'restored-world'],
      [answer, ''],
    ]) {
      const restored = await client.call('WORLD_RESTORE', { snapshot, new_world_id });
      expect(restored).toMatchObject({ success: true });
      if (new_world_id !== '') expect(restored.world_id).toBe('restored-world');
      expect((await client.call('WORLD_STATE', { world_id: restored.world_id })).agents).toEqual([]);
      await client.call('WORLD_JOIN', { world_id: restored.world_id });
      expect(await client.call('READ', { path: '/data/new.txt' })).toMatchObject({ content: 'kept' });
      expect(await client.call('READ', { path: '/data/ro.txt' })).toMatchObject({ content: 'fixed' });
      expect(await client.call('WRITE', { path: '/data/ro.txt', content: '' })).toMatchObject({
        success: false,
      });
      expect(await client.call('FETCH', { key: 'k' })).toMatchObject({ value: { n: 1 }, scope: 'global' });
      await client.call('WORLD_LEAVE');
      expect(await client.call('WORLD_DIFF', { world_id: restored.world_id })).toMatchObject({
        changes: [{ path: '/data/new.txt', change: 'added' }],
      });
    }
    expect(
      await client.call('WORLD_RESTORE', { snapshot: answer.snapshot, new_world_id: 'restored-world' }),
    ).toMatchObject({
      success: false,
      error: expect.stringContaining('Failed to restore world'),
    });
    expect(await client.call('WORLD_RESTORE', {})).toMatchObject({
      success: false,
      error: 'snapshot required',
    });
  });

  it('restores a snapshot of its old kernel', async () => {
    const snapshot = {
      id: 'old-0007',
      name: 'old',
      description: '',
      vfs: {
        files: { '/a': { content: 'A', mode: 'rw', created_at: 5, modified_at: 6 } },
        readonly_patterns: [],
        writable_patterns: [],
        intercept_patterns: ['/**'],
      },
      network: {
        mode: 'mock',
        fail_unmatched: false,
        mock_responses: { 'http://x.test/': { status: 201, body: 'x', latency_ms: 0, headers: {} } },
        default_response: { status: 418, body: 'teapot' },
        allowed_domains: [],
        recorded: [],
      },
      chaos: {
        enabled: true,
        failure_rate: 0,
        latency: { min_ms: 0, max_ms: 0 },
        rules: [],
        active_events: ['disk_full'],
        event_params: {},
      },
      agents: [3, 4],
      snapshot_time: 7,
    };
    const { world_id } = await client.call('WORLD_RESTORE', { snapshot, new_world_id: '' });
    expect(world_id).toMatch(/^old-\d{4}$/);
    await client.call('WORLD_JOIN', { world_id });
    expect(await client.call('READ', { path: '/a' })).toMatchObject({ content: 'A' });
    expect(await client.call('WRITE', { path: '/a', content: 'B' })).toMatchObject({
      error: 'Simulated write failure (chaos)',
    });
    expect(await client.call('HTTP', { url: 'http://x.test/' })).toMatchObject({ status_code: 201 });
    expect(await client.call('HTTP', { url: 'http://y.test/' })).toMatchObject({
      status_code: 418,
      success: false,
    });
    await client.call('WORLD_LEAVE');
  });
});

describe('a member', () => {
  it('has at most what its role in the world has', async () => {
    const { world_id } = await client.call('WORLD_CREATE', {
      config: {
        name: 'roles',
        roles: { reader: { permissions: 'readonly' } },
        agents: { watcher: { role: 'reader' } },
        permissions: 'standard',
      },
    });
    const answersOf = async (name: string) => {
      const { stdout } = await client.run({
        name,
        world: world_id,
        ...callingAgent([
          ['WRITE', { path: '/work/x', content: 'x' }],
          ['EXEC', { command: 'true' }],
        ]),
      });
      return JSON.parse(stdout).map(({ answer }: { answer: { success: boolean } }) => answer.success);
    };
    expect(await answersOf('watcher-2')).toEqual([false, false]);
    expect(await answersOf('other')).toEqual([true, false]);
    await expect.poll(async () => (await client.call('WORLD_STATE', { world_id })).agents).toEqual([]);
  });

  it('does not reach those on the other side of a partition', async () => {
    const { world_id } = await client.call('WORLD_CREATE', { config: { name: 'split', clock: 'step' } });
    const [one, two] = [await kernel.connect(), await kernel.connect()];
    await one.call('REGISTER', { name: 'one' });
    await two.call('REGISTER', { name: 'two' });
    for (const each of [one, two]) await each.call('WORLD_JOIN', { world_id });
    await client.call('WORLD_EVENT', {
      world_id,
      event_type: 'network_partition',
      params: { between: [['one'], ['two']], duration: '1m' },
    });
    expect(await one.call('SEND', { to_name: 'two', message: 1 })).toMatchObject({ code: 'NETWORK_FAULT' });
    expect(await one.call('BROADCAST', { message: 2 })).toMatchObject({ code: 'NETWORK_FAULT' });
    await client.call('WORLD_ADVANCE', { world_id, ms: 60_000 });
    expect(await one.call('SEND', { to_name: 'two', message: 3 })).toMatchObject({ success: true });
    expect((await two.call('RECV', {})).messages).toMatchObject([{ message: 3 }]);
    for (const each of [one, two]) await each.close();
  });

  it('takes the time of its own requests and commands where it moves the clock by hand', async () => {
    const { world_id } = await client.call('WORLD_CREATE', {
      config: {
        name: 'by-hand',
        clock: 'step',
        network: { routes: [{ host: 'slow.test', delay_ms: 1500, json: { ok: true } }] },
      },
    });
    const member = await kernel.connect();
    await member.call('WORLD_JOIN', { world_id });
    expect(await member.call('HTTP', { url: 'http://slow.test/' })).toMatchObject({ status_code: 200 });
    const atMs = async () => (await client.call('WORLD_ADVANCE', { world_id, ms: 0 })).monotonic_ms;
    expect(await atMs()).toBe(1500);
    expect(await member.call('EXEC', { command: 'sleep 3' })).toMatchObject({ success: true });
    expect(await atMs()).toBe(4500);
    await member.close();
  });

  it('finds its messages again in a restored world, by its name', async () => {
    const { world_id } = await client.call('WORLD_CREATE', { config: { name: 'mail', clock: 'step' } });
    const one = await kernel.connect();
    await one.call('REGISTER', { name: 'postbox' });
    await one.call('WORLD_JOIN', { world_id });
    await client.call('SEND', { to_name: 'postbox', message: { letter: 1 } });
    const { snapshot } = await client.call('WORLD_SNAPSHOT', { world_id });
    await one.close();
    const restored = await client.call('WORLD_RESTORE', { snapshot });
    const two = await kernel.connect();
    await expect.poll(async () => (await two.call('REGISTER', { name: 'postbox' })).success).toBe(true);
    await two.call('WORLD_JOIN', { world_id: restored.world_id });
    expect((await two.call('RECV', {})).messages).toMatchObject([{ message: { letter: 1 } }]);
    await two.close();
  });

  it('leaves a trace: an audit record of each decision, and events for operators', async () => {
    await client.call('SET_AUDIT_CONFIG', { log_world: true });
    await client.call('SUBSCRIBE', { event_types: ['WORLD_CHANGED'] });
    const { world_id } = await client.call('WORLD_CREATE', { config: { name: 'seen', clock: 'step' } });
    await client.call('WORLD_EVENT', { world_id, event_type: 'disk_full' });
    await client.call('WORLD_DESTROY', { world_id });
    const { entries } = await client.call('GET_AUDIT_LOG', { category: 'WORLD', limit: 100 });
    const calls = entries.map(({ details }: { details: { syscall?: string } }) => details.syscall);
    expect(calls).toEqual(expect.arrayContaining(['WORLD_CREATE', 'WORLD_EVENT', 'WORLD_DESTROY']));
    const { events } = await client.call('POLL_EVENTS', { max: 100 });
    expect(events.map(({ data }: { data: unknown }) => data)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ world_id, change: 'event', event_type: 'disk_full' }),
      ]),
    );
    await client.call('UNSUBSCRIBE', { all: true });
    await client.call('SET_AUDIT_CONFIG', { log_world: false });
  });

  it('has its time beside the real one in the audit record of each decision about a member', async () => {
    await client.call('SET_AUDIT_CONFIG', { log_state: true });
    const start = '1999-12-31T23:00:00.000Z';
    const { world_id } = await client.call('WORLD_CREATE', {
      config: { name: 'then', clock: { mode: 'step', start } },
    });
    const member = await kernel.connect();
    await member.call('WORLD_JOIN', { world_id });
    await client.call('WORLD_ADVANCE', { world_id, ms: 60_000 });
    await member.call('STORE', { key: 'inside', value: 1 });
    await client.call('STORE', { key: 'outside', value: 1 });
    const { entries } = await client.call('AUDIT_QUERY', { syscall: 'STORE', limit: 100 });
    const timeOf = (object: string) =>
      entries.findLast(({ body }: { body: { object: string } }) => body.object === object)?.body.world_time;
    expect(timeOf('inside')).toBe('1999-12-31T23:01:00.000Z');
    expect(timeOf('outside')).toBeNull();
    await member.close();
    await client.call('WORLD_DESTROY', { world_id });
    await client.call('SET_AUDIT_CONFIG', { log_state: false });
  });

  it('takes the agents it starts along, which cannot leave', async () => {
    const { world_id } = await client.call('WORLD_CREATE', {
      name: 'family',
      config: { files: { initial: { '/work/secret': 'of the world' } }, clock: 'skip' },
    });
    const other = await kernel.connect();
    await other.call('WORLD_JOIN', { world_id });
    const { stdout } = await other.run(
      callingAgent([
        ['READ', { path: 'secret' }],
        ['EXEC', { command: 'date +%Y; sleep 3600; hostname', timeout: 7200 }],
        ['STORE', { key: 'from-agent', value: 1 }],
        ['HTTP', { url: 'http://nothing.test/' }],
        ['WORLD_LEAVE', {}],
        ['WORLD_CREATE', { name: 'own' }],
        ['WORLD_LIST', {}],
      ]),
    );
    const answers = JSON.parse(stdout).map(({ answer }: { answer: unknown }) => answer);
    expect(answers[0]).toMatchObject({ content: 'of the world', world: world_id });
    expect(answers[1]).toMatchObject({ success: true, stdout: expect.stringContaining('family') });
    expect(answers[1].duration_ms).toBeGreaterThanOrEqual(3_600_000);
    expect(answers[2]).toMatchObject({ success: true, scope: 'global' });
    expect(answers[3]).toMatchObject({ code: 'NETWORK_REFUSED', world: world_id });
    expect(answers[4]).toMatchObject({ success: false, code: 'FORBIDDEN' });
    expect(answers[5]).toMatchObject({ success: false, code: 'FORBIDDEN' });
    expect(answers[6].worlds.map(({ id }: { id: string }) => id)).toContain(world_id);
    // Its world's shared state is not the kernel's.
    expect(await other.call('FETCH', { key: 'from-agent', scope: 'world' })).toMatchObject({ value: 1 });
    expect(await client.call('FETCH', { key: 'from-agent' })).toMatchObject({ found: false });
    await other.close();
    // With the connection its membership is gone.
    await expect.poll(async () => (await client.call('WORLD_DESTROY', { world_id })).success).toBe(true);
  });
});
