import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { tamper } from '../audit/testing.ts';
import { type Answer, callingAgent, type TestClient, TestKernel } from '../fixture.ts';
import { OPCODES } from '../protocol/opcodes.ts';

let kernel: TestKernel;
let client: TestClient;
beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
});
afterAll(() => kernel.close());

const DEFAULTS = {
  max_entries: 10_000,
  log_security: true,
  log_lifecycle: true,
  log_resource: true,
  log_syscalls: false,
  log_ipc: false,
  log_state: false,
  log_network: false,
  log_world: false,
};
beforeEach(async () => {
  expect(await client.call('SET_AUDIT_CONFIG', DEFAULTS)).toEqual({ success: true, config: DEFAULTS });
});

const last = async (request: Record<string, unknown> = {}): Promise<number> =>
  (await client.call('GET_AUDIT_LOG', { limit: 1, ...request })).entries.at(-1)?.id ?? 0;
const since = async (id: number, request: Record<string, unknown> = {}): Promise<Answer[]> =>
  (await client.call('GET_AUDIT_LOG', { since_id: id, limit: 10_000, ...request })).entries;

describe('GET_AUDIT_LOG', () => {
  it('has the first look at an output, and of what goes on with it only if all calls are recorded', async () => {
    const { id } = await client.spawn({ command: ['/bin/sh', '-c', 'echo one; exec sleep 60'] });
    const first = await last();
    const calls = async () =>
      (await since(first))
        .filter(({ details }) => details.syscall === 'LOGS')
        .map(({ category, details }) => [category, details.outcome]);
    await client.call('LOGS', { id, stdout_from: 0, stderr_from: 0, timeout_ms: 60_000 });
    await client.call('LOGS', { id, stdout_from: 4, stderr_from: 0 });
    expect(await calls()).toEqual([['AGENT_LIFECYCLE', 'OK']]);
    await client.call('SET_AUDIT_CONFIG', { log_syscalls: true });
    await client.call('LOGS', { id, stdout_from: 4, stderr_from: 0 });
    expect(await calls()).toEqual([
      ['AGENT_LIFECYCLE', 'OK'],
      ['SYSCALL', 'OK'],
    ]);
    await client.call('KILL', { id, grace_ms: 0 });
  });

  it('gives the newest so many behind an id, oldest first, with the fields existing clients read', async () => {
    for (let at = 0; at < 5; at += 1) await client.call('KILL', { name: `nobody-${at}` });
    const { success, count, entries } = await client.call('GET_AUDIT_LOG', { limit: 3 });
    expect({ success, count }).toEqual({ success: true, count: 3 });
    expect(entries.map(({ details }: Answer) => details.object)).toEqual([
      'nobody-2',
      'nobody-3',
      'nobody-4',
    ]);
    for (const entry of entries) {
      expect(entry).toMatchObject({
        category: 'AGENT_LIFECYCLE',
        event_type: 'SYSCALL',
        action: 'SYSCALL',
        success: false,
        details: { syscall: 'KILL', decision: 'allow', rule: 'operator', outcome: 'NOT_FOUND' },
      });
      expect(entry.timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    }
    const ids = entries.map(({ id }: Answer) => id);
    expect(ids).toEqual([ids[0], ids[0] + 1, ids[0] + 2]);
    expect(await since(ids[2])).toEqual([]);
    expect((await since(ids[0])).map(({ id }) => id)).toEqual([ids[1], ids[2]]);
    expect((await client.call('GET_AUDIT_LOG', { since_id: ids[0], limit: 1 })).entries[0].id).toBe(ids[2]);
    expect((await client.call('GET_AUDIT_LOG', { limit: 0 })).count).toBe(0);
  });

  it('takes a category, of which an unknown one means SYSCALL, and an agent, of which 0 means any', async () => {
    const before = await last();
    await client.call('SET_AUDIT_CONFIG', { log_syscalls: true });
    const { id } = await client.spawn({ command: ['/bin/true'], name: 'short' });
    await client.call('WAIT', { id });
    await client.call('HELLO');
    const lifecycle = await since(before, { category: 'AGENT_LIFECYCLE', agent_id: id });
    expect(lifecycle.map(({ event_type: type }) => type)).toEqual(['AGENT_SPAWNED', 'AGENT_EXITED']);
    expect(lifecycle[0]).toMatchObject({ agent_id: id, agent_name: 'short', success: true });
    expect(lifecycle[1].details).toMatchObject({ reason: 'exited', exit_code: 0 });
    const syscalls = await since(before, { category: 'SYSCALL', agent_id: 0 });
    expect(syscalls.map(({ details }) => details.syscall)).toContain('HELLO');
    expect((await since(before, { category: 'no such thing' })).slice(0, syscalls.length)).toEqual(syscalls);
  });

  it('is the operator’s alone, and so are the other three', async () => {
    const before = await last();
    const calls = ['GET_AUDIT_LOG', 'SET_AUDIT_CONFIG', 'AUDIT_QUERY', 'AUDIT_VERIFY'] as const;
    for (const permissions of [{}, { permissions: { level: 'unrestricted' } }]) {
      const exit = await client.run({
        ...permissions,
        ...callingAgent(calls.map((name) => [name, { log_security: false }] as const)),
      });
      const answers = JSON.parse(exit.stdout);
      for (const { answer } of answers) expect(answer).toMatchObject({ success: false, code: 'FORBIDDEN' });
    }
    const { config } = await client.call('SET_AUDIT_CONFIG', {});
    expect(config.log_security).toBe(true);
    const denied = (await since(before, { category: 'SECURITY' })).filter(
      ({ event_type: type }) => type === 'PERMISSION_DENIED',
    );
    expect(denied.map(({ details }) => details.syscall)).toEqual([...calls, ...calls]);
  });
});

describe('one record per decision', () => {
  it('allow and deny, with subject, object, rule and policy, and each thing that happens', async () => {
    const before = await last();
    await client.call('SET_AUDIT_CONFIG', { log_state: true, log_ipc: true, log_syscalls: true });
    const exit = await client.run({
      name: 'limited',
      permissions: { level: 'standard' },
      ...callingAgent([
        ['STORE', { key: 'colour', value: { password: 'hunter2' } }],
        ['FETCH', { key: 'colour' }],
        ['SEND', { to_name: 'nobody', message: 'hunter2' }],
        ['KILL', { name: 'limited' }],
        ['READ', { path: '/etc/shadow' }],
        ['STORE', { key: 5 }],
      ]),
    });
    const { entries } = await client.call('AUDIT_QUERY', {
      since_seq: before,
      agent_id: exit.agent_id,
      limit: 1000,
      end: 'oldest',
    });
    expect(JSON.stringify(entries)).not.toContain('hunter2');
    const decisions = entries.filter(({ body }: Answer) => body.decision !== undefined);
    expect(
      decisions.map(({ category, body }: Answer) => [
        category,
        body.syscall,
        body.decision,
        body.object,
        body.outcome,
      ]),
    ).toEqual([
      ['STATE_STORE', 'STORE', 'allow', 'colour', 'OK'],
      ['STATE_STORE', 'FETCH', 'allow', 'colour', 'OK'],
      ['IPC', 'SEND', 'allow', 'nobody', 'NOT_FOUND'],
      ['SECURITY', 'KILL', 'deny', expect.any(String), 'FORBIDDEN'],
      ['SECURITY', 'READ', 'deny', '/etc/shadow', 'FORBIDDEN'],
      ['STATE_STORE', 'STORE', 'allow', '', 'BAD_REQUEST'],
    ]);
    for (const { body } of decisions) {
      expect(body.policy).toMatch(/./);
      expect(body.rule).toMatch(/./);
      expect(body.subject).toMatchObject({ id: exit.agent_id, kind: 'agent', name: 'limited' });
      expect(body.world_time).toBeNull();
    }
    const others = entries.filter(({ body }: Answer) => body.decision === undefined);
    expect(others.map(({ body }: Answer) => body.event_type)).toEqual(['AGENT_SPAWNED', 'AGENT_EXITED']);
    const seqs = (await client.call('AUDIT_QUERY', { since_seq: before, limit: 1000 })).entries.map(
      ({ seq }: Answer) => seq,
    );
    expect(seqs).toEqual(Array.from(seqs, (_, at) => before + 1 + at));
  });

  it('a start ahead of its effect, and what came of it', async () => {
    const before = await last();
    const ok = await client.call('SPAWN', { command: ['/bin/true'], name: 'starts' });
    await client.call('WAIT', { id: ok.id });
    const failed = await client.call('SPAWN', { command: ['/etc/hostname'], name: 'fails' });
    const unplanned = await client.call('SPAWN', { script: '/none/such.py', name: 'none' });
    expect([ok.success, failed.code, unplanned.code]).toEqual([true, 'EXEC_FAILED', 'NOT_FOUND']);
    const { entries } = await client.call('AUDIT_QUERY', { since_seq: before, limit: 1000, end: 'oldest' });
    const starts = entries.filter(({ body }: Answer) => /^(SYSCALL|AGENT_SPAWNED)/.test(body.event_type));
    const told = starts.map(({ body: { event_type, syscall, outcome, success, agent_name } }: Answer) => [
      event_type === 'SYSCALL' ? syscall : `${event_type} ${agent_name ?? ''}`.trim(),
      outcome,
      success,
    ]);
    expect(told).toEqual(
      expect.arrayContaining([
        ['SPAWN', 'BEGUN', true],
        ['AGENT_SPAWNED starts', 'OK', true],
        ['SPAWN', 'NOT_FOUND', false],
      ]),
    );
    expect(told.filter(([what]: string[]) => what === 'SPAWN')).toHaveLength(3);
    const corrections = starts.filter(({ body }: Answer) => body.event_type === 'SYSCALL_FAILED_AFTER_WRITE');
    expect(corrections.map(({ body }: Answer) => body)).toMatchObject([
      {
        outcome: 'EXEC_FAILED',
        success: false,
        details: { call: { syscall: 'SPAWN', details: { name: 'fails' } }, outcome: 'EXEC_FAILED' },
      },
    ]);
  });

  it('a start that a write takes along before there is anything, in a kernel’s first', async () => {
    const fresh = await TestKernel.boot();
    try {
      const first = await fresh.connect();
      const refused = await first.call('SPAWN', { script: '/none/such.py', name: 'none' });
      expect(refused.code).toBe('NOT_FOUND');
      const { entries } = await first.call('AUDIT_QUERY', { limit: 100, end: 'oldest' });
      const told = entries.map(({ body }: Answer) => [body.event_type, body.outcome]);
      expect(told).toContainEqual(['SYSCALL', 'BEGUN']);
      expect(told).toContainEqual(['SYSCALL_FAILED_AFTER_WRITE', 'NOT_FOUND']);
    } finally {
      await fresh.close();
    }
  });

  it('restarts, kills, changes of permissions, unknown opcodes', async () => {
    await client.call('SET_AUDIT_CONFIG', { log_syscalls: true });
    const before = await last();
    const { id } = await client.spawn({
      command: ['/bin/false'],
      restart_policy: 'on-failure',
      max_restarts: 1,
    });
    await client.call('WAIT', { id });
    const sleeper = await client.spawn({ command: ['/bin/sleep', '60'] });
    await client.call('PAUSE', { id: sleeper.id });
    await client.call('RESUME', { id: sleeper.id });
    expect(await client.call('SET_PERMS', { agent_id: sleeper.id, level: 'minimal' })).toMatchObject({
      success: true,
    });
    await client.call('KILL', { id: sleeper.id, grace_ms: 0 });
    await client.callText(0x13, '{}');
    const types = async (agent_id: number) =>
      (await since(before, { agent_id }))
        .filter(({ event_type: type }) => type !== 'SYSCALL')
        .map(({ event_type: type }) => type);
    expect(await types(id)).toEqual([
      'AGENT_SPAWNED',
      'AGENT_EXITED',
      'AGENT_RESTARTING',
      'AGENT_SPAWNED',
      'AGENT_EXITED',
      'AGENT_ESCALATED',
    ]);
    expect(await types(sleeper.id)).toEqual([
      'AGENT_SPAWNED',
      'AGENT_PAUSED',
      'AGENT_RESUMED',
      'PERMISSIONS_CHANGED',
      'AGENT_EXITED',
      'AGENT_KILLED',
    ]);
    const unknown = (await since(before, { category: 'SYSCALL' })).find(
      ({ details }) => details.syscall === null,
    );
    expect(unknown).toMatchObject({
      success: false,
      details: { outcome: 'UNKNOWN_SYSCALL', decision: 'deny' },
    });
  });

  it('names of a hostile form stay one line of plain text in the database', async () => {
    const before = await last();
    const name = `\n{"seq":1}\u001b]52;c;x\u0007\u202e\u009b${'n'.repeat(5000)}`;
    await client.call('KILL', { name });
    const [entry] = await since(before, { category: 'AGENT_LIFECYCLE' });
    expect(entry.details.object.startsWith('\n{"seq":1}')).toBe(true);
    expect(entry.details.object.length).toBeLessThan(1100);
    tamper(path.join(kernel.folder, 'data'), (database) => {
      const row = database.prepare('SELECT body FROM audit_records WHERE seq = ?').get(entry.id);
      expect(String(row?.body)).toMatch(/^[\x20-\x7e]+$/);
    });
  });
});

describe('SET_AUDIT_CONFIG', () => {
  it('is on record before it takes effect, also the one that switches security off', async () => {
    const before = await last();
    expect((await client.call('SET_AUDIT_CONFIG', { log_security: false, max_entries: 777 })).config).toEqual(
      {
        ...DEFAULTS,
        log_security: false,
        max_entries: 777,
      },
    );
    await client.run(callingAgent([['AUDIT_VERIFY', {}]]));
    await client.call('SET_AUDIT_CONFIG', { log_security: true });
    const security = await since(before, { category: 'SECURITY' });
    expect(security.map(({ event_type: type }) => type)).toEqual([
      'AUDIT_CONFIG_CHANGED',
      'SYSCALL',
      'AUDIT_CONFIG_CHANGED',
    ]);
    expect(security[0].details).toMatchObject({
      old_config: { log_security: true },
      new_config: { log_security: false, max_entries: 777 },
    });
  });

  it('refuses what is no configuration, and changes nothing', async () => {
    for (const request of [{ max_entries: 0 }, { max_entries: 'many' }, { log_ipc: 1 }]) {
      expect(await client.call('SET_AUDIT_CONFIG', request)).toMatchObject({ code: 'BAD_REQUEST' });
    }
    expect((await client.call('SET_AUDIT_CONFIG', {})).config).toEqual(DEFAULTS);
    expect(JSON.parse(await client.callText(OPCODES.SET_AUDIT_CONFIG, 'no json'))).toMatchObject({
      success: false,
      code: 'BAD_REQUEST',
    });
  });

  it('lets no flood of an agent push out what operators and the kernel did', async () => {
    await client.call('SET_AUDIT_CONFIG', { max_entries: 50 });
    const important = await last({ category: 'SECURITY' });
    const flood = Array.from({ length: 400 }, () => ['SPAWN', { command: ['/bin/true'] }] as const);
    await client.run(callingAgent(flood));
    const ids = (await since(0, { category: 'SECURITY' })).map(({ id }) => id);
    expect(ids).toContain(1);
    expect(ids).toContain(important);
    const { chains, ok } = await client.call('AUDIT_VERIFY', {});
    expect(ok).toBe(true);
    const agents = chains.find(({ chain }: Answer) => chain === 'SECURITY.agents');
    expect(agents.dropped).toBeGreaterThan(200);
    expect(agents.records).toBeLessThanOrEqual(50 + 64);
  });
});

describe('AUDIT_QUERY and AUDIT_VERIFY', () => {
  it('find by decision, outcome, type and time, and read on', async () => {
    const before = await last();
    const from = new Date().toISOString();
    for (let at = 0; at < 7; at += 1) await client.call('KILL', { name: `n${at}` });
    await client.run(callingAgent([['LIST', {}]]));
    const query = async (request: Record<string, unknown>) =>
      (await client.call('AUDIT_QUERY', { since_seq: before, ...request })).entries;
    expect(await query({ decision: 'deny' })).toHaveLength(1);
    expect(await query({ outcome: 'NOT_FOUND', from })).toHaveLength(7);
    expect(await query({ to: from, outcome: 'NOT_FOUND' })).toHaveLength(0);
    expect(await query({ event_types: ['AGENT_EXITED'] })).toHaveLength(1);
    expect(await query({ syscall: 'KILL', categories: ['AGENT_LIFECYCLE'] })).toHaveLength(7);
    expect(await query({ categories: [] })).toEqual([]);
    const pages: number[] = [];
    for (let after = before; ; after = pages.at(-1) as number) {
      const page = await client.call('AUDIT_QUERY', {
        since_seq: after,
        limit: 3,
        end: 'oldest',
        syscall: 'KILL',
      });
      pages.push(...page.entries.map(({ seq }: Answer) => seq));
      if (!page.more) break;
    }
    expect(pages).toHaveLength(7);
    expect(await client.call('AUDIT_QUERY', { categorie: 'SECURITY' })).toMatchObject({
      code: 'BAD_REQUEST',
    });
  });

  it('say that the log is whole, and after an edit which record is not', async () => {
    const own = await TestKernel.boot();
    try {
      const operator = await own.connect();
      for (let at = 0; at < 10; at += 1) await operator.call('KILL', { name: `n${at}` });
      const whole = await operator.call('AUDIT_VERIFY', {});
      expect(whole).toMatchObject({ success: true, ok: true, first_bad_seq: null, problems: [] });
      expect(whole.records).toBe(whole.head_seq);
      tamper(path.join(own.folder, 'data'), (database) =>
        database.exec("UPDATE audit_records SET body = replace(body, 'NOT_FOUND', 'OK') WHERE seq = 5"),
      );
      expect(await operator.call('AUDIT_VERIFY', {})).toMatchObject({
        success: true,
        ok: false,
        first_bad_seq: 5,
        problems: [{ seq: 5, kind: 'changed' }],
      });
    } finally {
      await own.close();
    }
  });
});
