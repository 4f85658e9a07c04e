import { renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { kill, list } from '../syscalls/agents.ts';
import { hello } from '../syscalls/core.ts';
import { store } from '../syscalls/state.ts';
import { slackOf } from './chain-writer.ts';
import { AGENT, entriesOf, OPERATOR, TestLog, type TestLogOptions, tamper } from './testing.ts';

const logs: TestLog[] = [];
afterEach(async () => {
  for (const log of logs.splice(0)) {
    await log.close();
    log.remove();
  }
});

function open(options: TestLogOptions = {}): TestLog {
  const log = TestLog.open(options);
  logs.push(log);
  return log;
}

const ALLOW = { allowed: true, ruleId: 'operator', policyDigest: 'digest', object: '' };
const DENY = { allowed: false, ruleId: 'syscall.not-granted:KILL', policyDigest: 'digest', object: '' };
const operator = { caller: OPERATOR, name: 'ops' };
const agent = { caller: AGENT, name: 'worker\u001b[31m\n{"x":1}' };

describe('a decision', () => {
  it('is one record with who, what, which rule and what came of it', async () => {
    const { log, ...rest } = open();
    const record = log.begin(operator, kill, ALLOW, { id: 7, token: 'hunter2' });
    expect(record).not.toBeNull();
    await log.end(record as NonNullable<typeof record>, kill, 'NOT_FOUND');
    log.denied(agent, kill, DENY, undefined);
    await rest.store.settled();
    const entries = entriesOf(rest.folder);
    expect(entries.map(({ seq, chain, chain_seq }) => [seq, chain, chain_seq])).toEqual([
      [1, 'SECURITY.events', 1],
      [2, 'AGENT_LIFECYCLE.operators', 1],
      [3, 'SECURITY.agents', 1],
    ]);
    expect(entries[1]).toMatchObject({
      agent_id: OPERATOR.id,
      body: {
        event_type: 'SYSCALL',
        syscall: 'KILL',
        opcode: 0x11,
        decision: 'allow',
        rule: 'operator',
        policy: 'digest',
        object: '7',
        outcome: 'NOT_FOUND',
        success: false,
        boot: 'testboot',
        world_time: null,
        subject: { id: OPERATOR.id, kind: 'operator', name: 'ops', pid: 1, uid: 0 },
        details: { id: 7, token: '[redacted]' },
      },
    });
    expect(Date.parse(entries[1]?.body.time ?? '')).toBeGreaterThan(Date.now() - 60_000);
    expect(entries[2]).toMatchObject({
      agent_id: 7,
      body: {
        event_type: 'PERMISSION_DENIED',
        decision: 'deny',
        rule: 'syscall.not-granted:KILL',
        outcome: 'FORBIDDEN',
        success: false,
        subject: { kind: 'agent', name: agent.name },
      },
    });
    tamper(rest.folder, (database) => {
      const { body } = database.prepare('SELECT body FROM audit_records WHERE seq = 3').get() as {
        body: string;
      };
      expect(body).toMatch(/^[\x20-\x7e]+$/);
    });
  });

  it('tells world time besides real time, where its subject lives in a world', async () => {
    const worldTimeOf = (id: number) => (id === AGENT.id ? '1999-12-31T23:59:59.000Z' : null);
    const { log, store: disk, folder } = open({ worldTimeOf });
    log.denied(agent, kill, DENY, undefined);
    log.denied(operator, kill, DENY, undefined);
    void log.event({ category: 'RESOURCE', type: 'TEST', agentId: AGENT.id });
    await disk.settled();
    expect(entriesOf(folder).map(({ body }) => body.world_time)).toEqual([
      null,
      '1999-12-31T23:59:59.000Z',
      null,
      '1999-12-31T23:59:59.000Z',
    ]);
  });

  it('costs nothing and leaves nothing where its category is off', () => {
    const { log } = open();
    expect(log.begin(operator, hello, ALLOW, {})).toBeNull();
    expect(log.begin(operator, store, ALLOW, { key: 'a' })).toBeNull();
  });

  it('holds up the answer until it is on disk only where something lasting was done', async () => {
    const { log, store: disk } = open({ config: { log_syscalls: true } });
    const begin = (definition: typeof list | typeof kill) => {
      const record = log.begin(operator, definition, ALLOW, {});
      if (record === null) throw new Error('off');
      return record;
    };
    expect(log.end(begin(list), list, 'OK')).toBeNull();
    expect(log.end(begin(kill), kill, 'NOT_FOUND')).toBeNull();
    const record = begin(kill);
    const wait = log.end(record, kill, 'OK');
    expect(wait).toBeInstanceOf(Promise);
    expect(record.isDurable).toBe(false);
    await wait;
    expect(record.isDurable).toBe(true);
    await disk.settled();
  });

  it('is in the transaction of the write that it is about, or both are not', async () => {
    const { log, store: disk, folder } = open({ config: { log_state: true } });
    const call = (key: string) => {
      const record = log.begin(agent, store, ALLOW, { key, value: 1 });
      if (record === null) throw new Error('off');
      const write = log.during(record, () => disk.write([['audit.setting', key, '1']]));
      return { record, write };
    };
    const first = call('a');
    await first.write;
    expect(first.record.isDurable).toBe(true);
    expect(log.end(first.record, store, 'OK')).toBeNull();
    tamper(folder, (database) =>
      database.exec(
        "CREATE TRIGGER no BEFORE INSERT ON audit_settings WHEN NEW.key = 'poison' BEGIN SELECT RAISE(ABORT, 'disk full'); END",
      ),
    );
    const second = call('poison');
    await expect(second.write).rejects.toMatchObject({ code: 'IO' });
    expect(log.end(second.record, store, 'IO')).toBeNull();
    await disk.settled();
    const outcomes = entriesOf(folder).filter(({ category }) => category === 'STATE_STORE');
    expect(outcomes.map(({ body }) => [body.object, body.outcome, body.success])).toEqual([
      ['a', 'OK', true],
      ['poison', 'IO', false],
    ]);
    tamper(folder, (database) =>
      expect(database.prepare("SELECT key FROM audit_settings WHERE key IN ('a', 'poison')").all()).toEqual([
        { key: 'a' },
      ]),
    );
  });

  it('is corrected by another where the call failed after its write', async () => {
    const { log, store: disk, folder } = open({ config: { log_state: true } });
    const record = log.begin(agent, store, ALLOW, { key: 'a' });
    if (record === null) throw new Error('off');
    await log.during(record, () => disk.write([['audit.setting', 'a', '1']]));
    void log.end(record, store, 'INTERNAL');
    await disk.settled();
    const [call, correction] = entriesOf(folder).slice(1);
    expect(call?.body).toMatchObject({ syscall: 'STORE', outcome: 'OK' });
    expect(correction).toMatchObject({
      chain: 'STATE_STORE.agents',
      body: {
        event_type: 'SYSCALL_FAILED_AFTER_WRITE',
        success: false,
        details: { outcome: 'INTERNAL', call: { object: 'a' } },
      },
    });
  });

  it('is corrected with its own request, whatever was called after it was recorded as begun', async () => {
    const { log, store: disk, folder } = open({ config: { log_state: true } });
    const record = log.begin(agent, store, ALLOW, { key: 'own' });
    if (record === null) throw new Error('off');
    const begun = log.during(record, () => log.whenBegun());
    begun();
    const next = log.begin(operator, kill, ALLOW, { id: 7, name: 'of somebody else' });
    if (next === null) throw new Error('off');
    void log.end(record, store, 'IO');
    void log.end(next, kill, 'OK');
    await disk.settled();
    const bodies = entriesOf(folder).map(({ body }) => body);
    const call = bodies.find(({ syscall }) => syscall === 'STORE');
    expect(call).toMatchObject({ object: 'own', outcome: 'BEGUN', success: true, details: { key: 'own' } });
    const correction = bodies.find(({ event_type }) => event_type === 'SYSCALL_FAILED_AFTER_WRITE');
    // Its time is in no doubt either.
    expect(correction).toMatchObject({ success: false, details: { call, outcome: 'IO' } });
    expect(bodies.find(({ syscall }) => syscall === 'KILL')?.details).toEqual({
      id: 7,
      name: 'of somebody else',
    });
  });
});

describe('switches', () => {
  it('are turned when that is on record, also that of the record itself, and stay so', async () => {
    const first = open();
    await first.log.configure({ log_security: false, max_entries: 50 }, operator);
    first.log.denied(agent, kill, DENY, undefined);
    await first.log.configure({ log_ipc: true }, operator);
    await first.close();
    const types = first.entries().map(({ body }) => body.event_type);
    expect(types).toEqual(['AUDIT_GENESIS', 'AUDIT_CONFIG_CHANGED', 'AUDIT_CONFIG_CHANGED']);
    expect(first.entries()[1]?.body.details).toMatchObject({
      changed_by: OPERATOR.id,
      old_config: { log_security: true },
      new_config: { log_security: false, max_entries: 50 },
    });
    const second = open({ folder: first.folder });
    expect(second.log.config).toMatchObject({ log_security: false, log_ipc: true, max_entries: 50 });
  });

  it('stay as they are when it cannot be recorded', async () => {
    const { log, folder, store: disk } = open();
    tamper(folder, (database) =>
      database.exec(
        "CREATE TRIGGER no BEFORE INSERT ON audit_records BEGIN SELECT RAISE(ABORT, 'disk full'); END",
      ),
    );
    await expect(log.configure({ log_security: false }, operator)).rejects.toMatchObject({ code: 'IO' });
    expect(log.config.log_security).toBe(true);
    await disk.settled();
    expect(disk.failure).toMatch(/disk full/);
    tamper(folder, (database) => database.exec('DROP TRIGGER no'));
    while (disk.failure !== null) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(entriesOf(folder).at(-1)?.body).toMatchObject({
      event_type: 'AUDIT_CONFIG_CHANGED',
      success: false,
    });
  });
});

describe('retention', () => {
  it('drops the oldest of a chain only, says so in it, and what is left verifies', async () => {
    const log = open({ config: { max_entries: 20 } });
    const total = 20 + slackOf(20) + 30;
    void log.log.event({ category: 'SECURITY', type: 'IMPORTANT' });
    for (let at = 0; at < total; at += 1) {
      log.log.denied(agent, kill, DENY, undefined);
      if (at % 10 === 0) void log.log.event({ category: 'RESOURCE', type: 'BETWEEN' });
      if (at % 7 === 0) await log.store.settled();
    }
    await log.store.settled();
    const entries = log.entries();
    const flood = entries.filter(({ chain }) => chain === 'SECURITY.agents');
    expect(flood.length).toBeGreaterThanOrEqual(20);
    expect(flood.length).toBeLessThanOrEqual(20 + slackOf(20));
    const checkpoints = flood.filter(({ body }) => body.event_type === 'AUDIT_CHECKPOINT');
    expect(checkpoints.map(({ body }) => body.details)).toEqual([
      expect.objectContaining({
        kept: 20,
        dropped: expect.any(Number),
        by_agent: [[AGENT.id, expect.any(Number)]],
      }),
    ]);
    expect(entries.slice(0, 2).map(({ body }) => body.event_type)).toEqual(['AUDIT_GENESIS', 'IMPORTANT']);
    const report = log.verify();
    expect(report).toMatchObject({ ok: true });
    const chain = report.chains.find((each) => each.chain === 'SECURITY.agents');
    expect((chain?.dropped ?? 0) + (chain?.records ?? 0)).toBe(total + 1);

    // Nobody else can drop more.
    const first = flood[0]?.seq as number;
    tamper(log.folder, (database) => database.exec(`DELETE FROM audit_records WHERE seq = ${first}`));
    expect(log.verify()).toMatchObject({ ok: false, firstBadSeq: first });
  });

  it('goes on across restarts, drop after drop', async () => {
    let folder: string | undefined;
    for (let round = 0; round < 5; round += 1) {
      const log = open({ config: { max_entries: 10 }, ...(folder === undefined ? {} : { folder }) });
      folder = log.folder;
      for (let at = 0; at < 60; at += 1)
        void log.log.event({ category: 'RESOURCE', type: `R${round}`, details: { at } });
      await log.close();
      expect(log.verify()).toMatchObject({ ok: true });
    }
    const resources = entriesOf(folder as string).filter(({ category }) => category === 'RESOURCE');
    expect(resources.length).toBeLessThanOrEqual(10 + slackOf(10));
  });
});

describe('a log that cannot be written', () => {
  const failing =
    "CREATE TRIGGER no BEFORE INSERT ON audit_records BEGIN SELECT RAISE(ABORT, 'disk full'); END";
  const back = async (log: TestLog) => {
    tamper(log.folder, (database) => database.exec('DROP TRIGGER no'));
    while (log.store.failure !== null) await new Promise((resolve) => setTimeout(resolve, 20));
  };

  it('stops what would go unrecorded, and nothing else; and loses no record', async () => {
    const log = open({ onFailure: 'stop' });
    tamper(log.folder, (database) => database.exec(failing));
    const record = log.log.begin(operator, kill, ALLOW, { id: 1 });
    if (record === null) throw new Error('off');
    // Done already, but not acknowledged as recorded.
    await expect(log.log.end(record, kill, 'OK')).rejects.toMatchObject({ code: 'AUDIT_FAILED' });
    expect(() => log.log.begin(operator, kill, ALLOW, { id: 2 })).toThrow(/AGENT_LIFECYCLE must be recorded/);
    expect(log.log.begin(operator, store, ALLOW, { key: 'a' })).toBeNull();
    await log.store.write([['audit.setting', 'a', '1']]);
    log.log.denied(agent, kill, DENY, undefined);
    await back(log);
    expect(log.log.begin(operator, kill, ALLOW, { id: 3 })).not.toBeNull();
    expect(log.entries().map(({ body }) => body.event_type)).toEqual([
      'AUDIT_GENESIS',
      'SYSCALL',
      'PERMISSION_DENIED',
    ]);
    expect(log.verify()).toMatchObject({ ok: true });
  });

  it('lets everything go on where it was told to, and then tells how many records are missing', async () => {
    const log = open({ onFailure: 'continue', recordCapacity: 10 });
    tamper(log.folder, (database) => database.exec(failing));
    for (let at = 0; at < 25; at += 1) {
      const record = log.log.begin(operator, kill, ALLOW, { id: at });
      if (record === null) throw new Error('off');
      await log.log.end(record, kill, 'OK');
    }
    await back(log);
    const entries = log.entries().slice(1);
    expect(entries.map(({ body }) => body.event_type)).toEqual([...Array(10).fill('SYSCALL'), 'AUDIT_GAP']);
    expect(entries.at(-1)?.body).toMatchObject({
      success: false,
      details: { chain: 'AGENT_LIFECYCLE.operators', missing: 15 },
    });
    expect(log.verify()).toMatchObject({ ok: true });
  });

  it('notices that its file was taken away, and writes nothing into what is not its own', async () => {
    const log = open();
    await log.log.event({ category: 'SECURITY', type: 'BEFORE' });
    const aside = `${log.databasePath}.aside`;
    renameSync(log.databasePath, aside);
    await expect(log.store.write([['audit.setting', 'lost', '1']])).rejects.toMatchObject({
      code: 'IO',
      message: 'state could not be written',
      details: { reason: expect.stringMatching(/moved, deleted or replaced/) },
    });
    writeFileSync(log.databasePath, '');
    await expect(log.store.write([['audit.setting', 'lost', '1']])).rejects.toMatchObject({
      code: 'IO',
      message: 'state could not be written',
      details: { reason: expect.stringMatching(/moved, deleted or replaced/) },
    });
    expect(statSync(log.databasePath).size).toBe(0);
    rmSync(log.databasePath);
    renameSync(aside, log.databasePath);
    await log.store.write([['audit.setting', 'found', '1']]);
  });
});
