import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { callingAgent, type TestClient, TestKernel, until } from '../fixture.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import type { CallEntry, Entry } from '../recording/format.ts';
import { readRecording, verifyRecording } from '../recording/reader.ts';

let kernel: TestKernel;
let client: TestClient;

beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
});
afterAll(() => kernel.close());
afterEach(async () => {
  await kernel.running.kernel.stateReplay.done;
  await client.call('RECORD_STOP');
  // Settings stay from one recording to the next.
  await client.call('RECORD_START', {
    include_think: false,
    include_http: false,
    include_exec: false,
    max_entries: 50_000,
    max_bytes: 2 ** 30,
    filter_agents: [],
    filter_names: [],
    redact_names: [],
  });
  await client.call('RECORD_STOP');
});

async function entriesOf(file: string): Promise<Entry[]> {
  const found: Entry[] = [];
  for await (const entry of readRecording(file)) found.push(entry);
  return found;
}

async function callsOf(file: string): Promise<CallEntry[]> {
  return (await entriesOf(file)).filter((entry) => entry.type === 'call');
}

describe('RECORD_START, RECORD_STOP and RECORD_STATUS', () => {
  it('have every field that existing clients look for', async () => {
    const before = Date.now() / 1000;
    const started = await client.call('RECORD_START', {});
    expect(started).toMatchObject({
      success: true,
      recording: true,
      state: 'RECORDING',
      active: true,
      paused: false,
      entry_count: 0,
      recording_id: null,
    });
    expect(started.started_at).toBeGreaterThanOrEqual(before - 0.01);
    await client.call('STORE', { key: 'a', value: 1 });
    expect(await client.call('RECORD_STATUS')).toMatchObject({
      success: true,
      recording: true,
      state: 'RECORDING',
      active: true,
      paused: false,
      entry_count: 1,
      last_sequence_id: 1,
    });
    const stopped = await client.call('RECORD_STOP');
    expect(stopped).toMatchObject({
      success: true,
      recording: false,
      state: 'IDLE',
      active: false,
      // The STORE and the RECORD_STATUS.
      entries_recorded: 2,
      entry_count: 2,
      started_at: started.started_at,
    });
    expect(path.basename(stopped.file)).toBe(`${stopped.recording_id}.jsonl`);
    expect(await client.call('RECORD_STATUS')).toMatchObject({ recording: false, state: 'IDLE' });
  });

  it('answer success: false to a second start and to a stop without a start', async () => {
    expect(await client.call('RECORD_STOP')).toMatchObject({
      success: false,
      recording: false,
      state: 'IDLE',
    });
    await client.call('RECORD_START');
    expect(await client.call('RECORD_START')).toMatchObject({
      success: false,
      recording: true,
      state: 'RECORDING',
      code: 'CONFLICT',
    });
  });

  it('take JSON that is none for {}, and refuse members of the wrong type', async () => {
    expect(JSON.parse(await client.callText(OPCODES.RECORD_STATUS, 'no json'))).toMatchObject({
      success: true,
    });
    expect(JSON.parse(await client.callText(OPCODES.RECORD_START, 'no json'))).toMatchObject({
      success: true,
    });
    expect(JSON.parse(await client.callText(OPCODES.RECORD_STOP, ''))).toMatchObject({ success: true });
    for (const wrong of [[], 5, 'x', { max_entries: 'ten' }, { filter_agents: 3 }, { include_exec: 1 }]) {
      expect(await client.call('RECORD_START', wrong)).toMatchObject({ success: false, code: 'BAD_REQUEST' });
    }
    for (const wrong of [[], 5, { limit: 'x' }, { export: 1 }]) {
      expect(await client.call('RECORD_STATUS', wrong)).toMatchObject({
        success: false,
        code: 'BAD_REQUEST',
      });
    }
  });

  it('export the entries as JSON text, under both names, and select by get_entries, since_id and limit', async () => {
    await client.call('RECORD_START');
    for (let n = 0; n < 5; n += 1) await client.call('STORE', { key: `k${n}`, value: n });
    await client.call('FETCH', { key: 'none', scope: 'nowhere' });
    await client.call('RECORD_STOP');
    const status = await client.call('RECORD_STATUS', { export: true });
    expect(status.recording).toBe(status.recording_data);
    const entries = JSON.parse(status.recording);
    expect(entries).toHaveLength(6);
    expect(entries[0]).toEqual({
      sequence_id: 1,
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      agent_id: expect.any(Number),
      opcode: OPCODES.STORE,
      opcode_name: 'STORE',
      payload: '{"key":"k0","value":0}',
      response: expect.stringMatching(/^\{"key":"k0","scope":"global","success":true/),
      duration_us: expect.any(Number),
      success: true,
    });
    expect(entries[5]).toMatchObject({ opcode_name: 'FETCH', success: false });
    const part = await client.call('RECORD_STATUS', { get_entries: 1, since_id: 2, limit: 2 });
    expect(part.recording).toBe(false);
    expect(part.entries).toEqual(entries.slice(2, 4));
    expect(await client.call('RECORD_STATUS')).not.toHaveProperty('entries');
  });

  it('hide from existing clients what they never saw, and keep all of it in the file', async () => {
    const make = async () => {
      await client.call('EXEC', { argv: ['/bin/true'] });
      await client.call('LIST');
      await client.call('KEYS');
      await client.call('METRICS_SYSTEM');
      await client.call('POLL_EVENTS');
      await client.call('STORE', { key: 'a' });
    };
    await client.call('RECORD_START');
    await make();
    const { file } = await client.call('RECORD_STOP');
    const exported = JSON.parse((await client.call('RECORD_STATUS', { export: true })).recording);
    expect(exported.map((each: { opcode_name: string }) => each.opcode_name)).toEqual(['STORE']);
    expect((await callsOf(file)).map(({ syscall }) => syscall)).toEqual([
      'EXEC',
      'LIST',
      'KEYS',
      'METRICS_SYSTEM',
      'POLL_EVENTS',
      'STORE',
    ]);
    // The switch stays on until it is set again.
    for (const settings of [{ include_exec: true }, {}]) {
      await client.call('RECORD_START', settings);
      await make();
      await client.call('RECORD_STOP');
      expect(await client.call('RECORD_STATUS')).toMatchObject({ entry_count: 2, calls_recorded: 6 });
    }
  });

  it('pause at the limit, count what is lost, and the file says so', async () => {
    await client.call('RECORD_START', { max_entries: 2 });
    for (let n = 0; n < 5; n += 1) await client.call('STORE', { key: `k${n}` });
    expect(await client.call('RECORD_STATUS')).toMatchObject({
      state: 'PAUSED',
      active: false,
      paused: true,
      recording: false,
      pause_reason: 'max_entries',
      entry_count: 2,
      calls_lost: 4,
    });
    const stopped = await client.call('RECORD_STOP');
    expect(stopped.calls_lost).toBe(4);
    const entries = await entriesOf(stopped.file);
    expect(entries.filter(({ type }) => type === 'call')).toHaveLength(2);
    expect(entries.at(-2)).toMatchObject({ type: 'gap', reason: 'max_entries' });
    await client.call('RECORD_START', { max_entries: 50_000, max_bytes: 2000 });
    for (let n = 0; n < 20; n += 1) await client.call('STORE', { key: `k${n}` });
    expect(await client.call('RECORD_STATUS')).toMatchObject({ state: 'PAUSED', pause_reason: 'max_bytes' });
  });

  it('start anew each time: entries from 1, nothing of the one before', async () => {
    for (let round = 0; round < 2; round += 1) {
      await client.call('RECORD_START');
      await client.call('STORE', { key: `round${round}` });
      await client.call('RECORD_STOP');
      const [entry, ...rest] = JSON.parse((await client.call('RECORD_STATUS', { export: true })).recording);
      expect(rest).toEqual([]);
      expect(entry).toMatchObject({ sequence_id: 1, payload: `{"key":"round${round}"}` });
    }
  });

  it('do not put an export into the recording it exports', async () => {
    await client.call('RECORD_START');
    await client.call('STORE', { key: 'big', value: 'x'.repeat(50_000) });
    await client.call('RECORD_STATUS', { export: true });
    const { file } = await client.call('RECORD_STOP');
    const [, status] = await callsOf(file);
    expect(status).toMatchObject({ syscall: 'RECORD_STATUS', answer: null, success: true });
    expect(status?.answer_digest?.bytes).toBeGreaterThan(50_000);
  });

  it('refuse an export that no answer can hold, and give it in parts', async () => {
    await client.call('RECORD_START');
    const value = '\\'.repeat(500_000);
    for (let n = 0; n < 12; n += 1) await client.call('STORE', { key: `b${n}`, value });
    await client.call('RECORD_STOP');
    expect(await client.call('RECORD_STATUS', { export: true })).toMatchObject({
      success: false,
      code: 'OVERLOAD',
    });
    const { entries } = await client.call('RECORD_STATUS', { get_entries: true, since_id: 10 });
    expect(entries.map((each: { sequence_id: number }) => each.sequence_id)).toEqual([11, 12]);
  });

  it('record only the chosen callers, by id or by name', async () => {
    const other = await kernel.connect();
    const own = (await client.call('HELLO')).agent_id;
    await client.call('RECORD_START', { filter_agents: [own], filter_names: ['chosen'] });
    await client.call('STORE', { key: 'mine' });
    await other.call('STORE', { key: 'theirs' });
    await client.run({ name: 'chosen', ...callingAgent([['STORE', { key: 'chosen' }]]) });
    await client.run({ name: 'ignored', ...callingAgent([['STORE', { key: 'ignored' }]]) });
    const { file } = await client.call('RECORD_STOP');
    const text = readFileSync(file, 'utf8');
    expect(text).toContain('mine');
    expect(text).toContain('chosen');
    expect(text).not.toContain('theirs');
    // Its name is in the operator's own SPAWN; nothing else of it is there.
    const entries = await entriesOf(file);
    expect(entries.filter(({ type }) => type === 'process')).toHaveLength(1);
    expect(entries.filter((entry) => entry.type === 'call' && entry.caller === 'agent')).toHaveLength(1);
  });

  it('are the operator’s alone', async () => {
    const names = ['RECORD_START', 'RECORD_STOP', 'RECORD_STATUS', 'REPLAY_START', 'REPLAY_STATUS'] as const;
    const { stdout } = await client.run(callingAgent(names.map((name) => [name, { recording: '[]' }])));
    for (const { answer } of JSON.parse(stdout)) {
      expect(answer).toMatchObject({ success: false, code: 'FORBIDDEN' });
    }
    expect(await client.call('RECORD_STATUS')).toMatchObject({ state: 'IDLE' });
  });
});

describe('the file of a recording', () => {
  it('holds how an agent was started, all it asked and was answered, and how it ended', async () => {
    await client.call('RECORD_START');
    const run = await client.run({
      name: 'told',
      env: { CLOVE_SEED: '42', GREETING: 'hello' },
      ...callingAgent([
        ['STORE', { key: 'x', value: [1, 2] }],
        ['STORE', { value: [1, 2], key: 'x' }],
        ['FETCH', { key: 'x' }],
        ['SPAWN', { command: ['/bin/true'] }],
      ]),
    });
    const { file, recording_id: id } = await client.call('RECORD_STOP');
    expect(await verifyRecording(file)).toMatchObject({ id });
    const entries = await entriesOf(file);
    const facts = entries.find((entry) => entry.type === 'process');
    expect(facts).toMatchObject({
      agent: run.agent_id,
      incarnation: 0,
      name: 'told',
      from_start: true,
      seed: '42',
      script: null,
      cwd: '/work',
    });
    expect(facts?.type === 'process' && facts.env_names).toContain('GREETING');
    const calls = entries.filter((entry) => entry.type === 'call' && entry.agent === run.agent_id);
    expect(calls).toMatchObject([
      { syscall: 'STORE', occurrence: 0, success: true, caller: 'agent' },
      { syscall: 'STORE', occurrence: 1, request: '{"value":[1,2],"key":"x"}' },
      { syscall: 'FETCH', answer: expect.stringContaining('"value":[1,2]') },
      { syscall: 'SPAWN', success: false, answer: expect.stringContaining('FORBIDDEN') },
    ]);
    expect((calls[0] as CallEntry).key).toBe((calls[1] as CallEntry).key);
    const exit = entries.find((entry) => entry.type === 'exit');
    expect(exit).toMatchObject({ agent: run.agent_id, reason: 'exited', exit_code: 0, stdout: run.stdout });
  });

  it('says which calls had no answer, and which agents ran already', async () => {
    const { id } = await client.spawn({ name: 'early', command: ['/bin/sleep', '30'] });
    await client.call('RECORD_START');
    const waiting = await client.spawn(callingAgent([['RECV', { wait: true }]]));
    const { dispatcher } = kernel.running.kernel;
    const served = dispatcher.counters.served;
    await until(() => dispatcher.counters.served > served);
    await client.call('KILL', { id: waiting.id, grace_ms: 0 });
    await client.call('KILL', { id, grace_ms: 0 });
    const entries = await entriesOf((await client.call('RECORD_STOP')).file);
    expect(entries.find((entry) => entry.type === 'process' && entry.agent === id)).toMatchObject({
      from_start: false,
    });
    const unanswered = entries.find((entry) => entry.type === 'call' && entry.agent === waiting.id);
    expect(unanswered).toMatchObject({ syscall: 'RECV', delivered: false });
  });

  it('holds no planted secret, wherever it was said', async () => {
    const secrets = {
      variable: 'planted-variable-1f9c',
      member: 'planted-member-77aa',
      header: 'planted-header-93bd9',
      stored: 'planted-stored-5e5e',
      literal: 'planted-literal-0b0b',
      named: 'planted-named-c4c4',
    };
    await client.call('RECORD_START', { redact_names: ['internal-*'], secrets: [secrets.literal] });
    await client.call('RECORD_START', { secrets: [secrets.literal] });
    const agent = callingAgent([
      ['STORE', { key: 'config', value: { password: secrets.member, 'internal-id': secrets.named } }],
      ['STORE', { key: 'api_token', value: secrets.stored }],
      ['FETCH', { key: 'api_token' }],
      ['EXEC', { command: `echo "Authorization: Bearer ${secrets.header}" $MY_SECRET ${secrets.literal}` }],
    ]);
    const run = await client.run({ ...agent, env: { MY_SECRET: secrets.variable, PLAIN: 'kept' } });
    expect(run.stdout).toContain(secrets.variable);
    await client.call('EMIT', { event_type: 'x', data: { said: secrets.variable } });
    const { file } = await client.call('RECORD_STOP');
    const exported = (await client.call('RECORD_STATUS', { export: true })).recording;
    for (const text of [readFileSync(file, 'utf8'), exported]) {
      for (const [name, secret] of Object.entries(secrets)) expect(text.includes(secret), name).toBe(false);
    }
    expect(readFileSync(file, 'utf8')).toContain('kept');
    expect((await callsOf(file)).filter(({ redactions }) => redactions > 0).length).toBeGreaterThan(4);
    await verifyRecording(file);
  });
});

describe('a file that somebody took away', () => {
  it('is an error of the call that needs it, and nothing else', async () => {
    await client.call('RECORD_START');
    await client.call('STORE', { key: 'a' });
    const { file } = await client.call('RECORD_STOP');
    rmSync(file);
    expect(await client.call('RECORD_STATUS', { export: true })).toMatchObject({
      success: false,
      code: 'NOT_FOUND',
    });
    expect(await client.call('RECORD_STATUS')).toMatchObject({ success: true, entry_count: 1 });
  });

  it('or changed is not shown as if it were as recorded', async () => {
    await client.call('RECORD_START');
    await client.call('STORE', { key: 'true-to-life' });
    const { file } = await client.call('RECORD_STOP');
    writeFileSync(file, readFileSync(file, 'utf8').replace('true-to-life', 'true-to-lies'));
    expect(await client.call('RECORD_STATUS', { export: true })).toMatchObject({
      success: false,
      code: 'DATA_CORRUPT',
    });
  });

  it('while it is written is missed when it should get its name, and the next recording is whole', async () => {
    const { file } = await client.call('RECORD_START');
    rmSync(file);
    expect(await client.call('RECORD_STOP')).toMatchObject({ success: false, code: 'IO' });
    await client.call('RECORD_START');
    await client.call('STORE', { key: 'a' });
    expect(await verifyRecording((await client.call('RECORD_STOP')).file)).toMatchObject({
      footer: { calls: 1 },
    });
  });
});

describe('the audit log', () => {
  it('knows every recording by its id, and no secret that was named', async () => {
    await client.call('SET_AUDIT_CONFIG', { log_syscalls: true });
    await client.call('RECORD_START', { secrets: ['planted-for-audit-1234'] });
    const { recording_id: id } = await client.call('RECORD_STOP');
    await client.call('REPLAY_START', { recording: [{ opcode: OPCODES.STORE, payload: '{"key":"a"}' }] });
    const { entries } = await client.call('GET_AUDIT_LOG', { limit: 1000 });
    const text = JSON.stringify(entries);
    for (const type of ['RECORDING_STARTED', 'RECORDING_STOPPED', 'REPLAY_STARTED'])
      expect(text).toContain(type);
    expect(text).toContain(id);
    expect(text).not.toContain('planted-for-audit-1234');
  });
});

describe('a recording that was cut off', () => {
  it('is refused as it is, whatever of it is there', async () => {
    const { file } = await client.call('RECORD_START');
    for (let n = 0; n < 3; n += 1) await client.call('STORE', { key: `k${n}` });
    // Waits for the disk.
    await client.call('RECORD_STATUS', { export: true });
    const left = path.join(kernel.folder, 'left.part');
    copyFileSync(file, left);
    await expect(verifyRecording(left)).rejects.toMatchObject({
      code: 'DATA_CORRUPT',
      message: expect.stringContaining('its end is missing'),
    });
  });
});

describe('a kernel that stops', () => {
  it('closes the file of its recording', async () => {
    const own = await TestKernel.boot();
    const { file } = await (await own.connect()).call('RECORD_START');
    const folder = path.dirname(file);
    await own.running.close();
    const [name = ''] = readdirSync(folder);
    expect(await verifyRecording(path.join(folder, name))).toMatchObject({ footer: { calls: 0 } });
    await own.close();
  });

  it('never spends anything on calls while nobody records', () => {
    expect(kernel.running.kernel.dispatcher.tap).toBeNull();
  });
});

describe('REPLAY_START and REPLAY_STATUS', () => {
  const entry = (opcode: number, payload: unknown, more: object = {}) => ({
    opcode,
    payload: JSON.stringify(payload),
    ...more,
  });

  async function finished() {
    await kernel.running.kernel.stateReplay.done;
    return client.call('REPLAY_STATUS');
  }

  it('bring back what a recording did, text or array, and skip what would act outside', async () => {
    await client.call('RECORD_START', { include_exec: true });
    await client.call('STORE', { key: 'back', value: { n: 1 } });
    await client.call('EXEC', { argv: ['/bin/true'] });
    await client.call('STORE', { key: 'gone', value: 1 });
    await client.call('DELETE', { key: 'gone' });
    await client.call('FETCH', { key: 'back' });
    await client.call('RECORD_STOP');
    const { recording } = await client.call('RECORD_STATUS', { export: true });
    for (const request of [
      { recording },
      { recording_data: recording },
      { recording: JSON.parse(recording) },
    ]) {
      await client.call('DELETE', { key: 'back' });
      const started = await client.call('REPLAY_START', request);
      expect(started).toMatchObject({ success: true, total_entries: 5 });
      expect(await finished()).toEqual({
        success: true,
        state: 'completed',
        active: false,
        total_entries: 5,
        current_entry: 5,
        entries_replayed: 3,
        entries_skipped: 2,
        progress: 1,
        progress_percent: 100,
        errors: [],
      });
      expect((await client.call('FETCH', { key: 'back' })).value).toEqual({ n: 1 });
      expect(await client.call('FETCH', { key: 'gone' })).toMatchObject({ found: false });
    }
  });

  it('refuse in the words existing clients know', async () => {
    expect(JSON.parse(await client.callText(OPCODES.REPLAY_START, 'no json'))).toMatchObject({
      success: false,
      error: 'Invalid JSON payload',
    });
    for (const recording of ['no json', '{}', 5, [5], [{ opcode: 'x' }], [{ opcode: 1, payload: 5 }]]) {
      expect(await client.call('REPLAY_START', { recording })).toMatchObject({
        success: false,
        error: 'Failed to import recording data',
      });
    }
    for (const request of [{}, { recording: '[]' }, { recording: [] }, { recording: '' }]) {
      expect(await client.call('REPLAY_START', request)).toMatchObject({
        success: false,
        error: 'No recording loaded',
      });
    }
  });

  it('let one replay run at a time, and the next one when it has ended', async () => {
    const entries = Array.from({ length: 200 }, (_, n) => entry(OPCODES.STORE, { key: `r${n}` }));
    expect(await client.call('REPLAY_START', { recording: entries })).toMatchObject({ success: true });
    expect(await client.call('REPLAY_START', { recording: entries })).toMatchObject({
      success: false,
      error: 'Replay already in progress',
    });
    expect(await finished()).toMatchObject({ state: 'completed', entries_replayed: 200 });
    expect(await client.call('REPLAY_START', { recording: entries.slice(0, 1) })).toMatchObject({
      success: true,
    });
  });

  it('tell of entries that were refused, and skip those that had failed', async () => {
    await client.call('REPLAY_START', {
      recording: [
        entry(OPCODES.SEND, { to_name: 'nobody-of-this-name', message: 1 }),
        entry(OPCODES.STORE, { key: 'failed' }, { success: false }),
        entry(OPCODES.STORE, { key: 'after' }),
        { unknown: true },
      ],
    });
    const status = await finished();
    expect(status).toMatchObject({
      state: 'error',
      entries_replayed: 1,
      entries_skipped: 2,
      current_entry: 4,
      errors: [expect.stringMatching(/^entry 1: SEND: /)],
    });
    expect(status.error).toBe(status.last_error);
    expect(await client.call('FETCH', { key: 'after' })).toMatchObject({ found: true });
    expect(await client.call('FETCH', { key: 'failed' })).toMatchObject({ found: false });
  });

  it('pause while a mailbox is full, and go on', async () => {
    const receiver = await kernel.connect();
    await receiver.call('REGISTER', { name: 'slow-receiver' });
    const entries = Array.from({ length: 60 }, () =>
      entry(OPCODES.SEND, { to_name: 'slow-receiver', message: 'x'.repeat(10_000) }),
    );
    let sent = 0;
    for (; ; sent += 1) {
      const answer = await client.call('SEND', { to_name: 'slow-receiver', message: 'x'.repeat(900_000) });
      if (answer.code === 'OVERLOAD') break;
      expect(answer.success).toBe(true);
    }
    expect(sent).toBeGreaterThan(0);
    const nearlyFull = entries.map(() =>
      entry(OPCODES.SEND, { to_name: 'slow-receiver', message: 'x'.repeat(15_000) }),
    );
    await client.call('REPLAY_START', { recording: nearlyFull });
    await until(async () => (await client.call('REPLAY_STATUS')).state === 'paused');
    expect(await client.call('REPLAY_STATUS')).toMatchObject({ active: true });
    await receiver.call('RECV', { max: 10_000 });
    expect(await finished()).toMatchObject({ state: 'completed', entries_replayed: 60 });
  });

  it('end with the caller', async () => {
    const leaving = await kernel.connect();
    const entries = Array.from({ length: 5000 }, (_, n) => entry(OPCODES.STORE, { key: `l${n % 10}` }));
    await leaving.call('REPLAY_START', { recording: entries });
    await leaving.close();
    expect(await finished()).toMatchObject({ state: 'error', active: false });
  });
});
