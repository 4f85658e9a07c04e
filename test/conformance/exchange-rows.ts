import { expect } from 'vitest';
import { failure, type Row, row } from './row.ts';

const NUMBER = expect.any(Number);
const me = ({ operatorId }: { operatorId: number }) => operatorId;

/** Messages, state, events, tasks. */
export const exchangeRows: readonly Row[] = [
  row(0x23, 'REGISTER', { name: 'me' }, (answer, scene) => {
    expect(answer).toMatchObject({ success: true, agent_id: me(scene), name: 'me' });
  }),
  row(0x23, 'REGISTER of one’s own name again', { name: 'me' }, { success: true }),
  row(0x23, 'REGISTER of another’s name', { name: 'me' }, failure('name already registered'), {
    as: 'agent',
  }),
  row(0x23, 'REGISTER without a name', {}, failure('name required')),
  row(0x23, 'REGISTER, malformed', '{', failure('invalid request')),
  row(0x20, 'SEND, older client: to_name', { to_name: 'me', message: { n: 1 } }, (answer, scene) => {
    expect(answer).toMatchObject({ success: true, delivered_to: me(scene), delivered: true });
  }),
  row(0x20, 'SEND by id', (scene) => ({ to: me(scene), message: 2 }), { success: true, delivered: true }),
  row(
    0x20,
    'SEND, TypeScript client: target_name',
    { target_name: 'me', message: 'three' },
    { success: true, delivered: true },
  ),
  row(0x20, 'SEND, TypeScript client: target_id', (scene) => ({ target_id: me(scene), message: null }), {
    success: true,
  }),
  row(
    0x20,
    'SEND to a spawned agent’s id',
    ({ agentId }) => ({ to: agentId, message: 'you' }),
    (answer, { agentId }) => {
      expect(answer).toMatchObject({ success: true, delivered_to: agentId });
    },
  ),
  row(0x20, 'SEND: to wins over to_name', (scene) => ({ to: me(scene), to_name: 'nobody' }), {
    success: true,
  }),
  row(
    0x20,
    'SEND to a name nobody has',
    { to_name: 'nobody', message: 1 },
    failure('target agent not found: nobody'),
  ),
  row(0x20, 'SEND to nobody', { message: 1 }, failure('target agent required (to or to_name)')),
  row(0x20, 'SEND to an id nobody has', { to: 424_242 }, failure('target agent not found: 424242')),
  row(0x20, 'SEND, malformed', '[', failure('invalid request')),
  row(0x21, 'RECV: in every client’s names', { max: 10 }, (answer, scene) => {
    const from = me(scene);
    expect(answer).toMatchObject({ success: true, count: 5 });
    expect(answer.messages.map(({ message }: { message: unknown }) => message)).toEqual([
      { n: 1 },
      2,
      'three',
      null,
      {},
    ]);
    expect(answer.messages[0]).toMatchObject({
      from,
      from_id: from,
      from_agent: from,
      from_name: 'me',
      age_ms: NUMBER,
      timestamp: NUMBER,
    });
  }),
  row(
    0x21,
    'RECV, wait is bounded',
    { max: 10, wait: true, timeout_ms: 20 },
    { success: true, messages: [], count: 0 },
  ),
  row(0x21, 'RECV of none', { max: 0 }, { success: true, messages: [], count: 0 }),
  row(0x21, 'RECV without payload', '', failure('invalid request', { messages: [], count: 0 })),
  row(0x22, 'BROADCAST', { message: 'all', include_self: true }, { success: true, delivered_count: 2 }),
  row(0x22, 'BROADCAST to others', { message: 'all' }, { success: true, delivered_count: 1 }),
  row(0x22, 'BROADCAST, malformed', '7', failure('invalid request', { delivered_count: 0 })),
  row(
    0x21,
    'RECV by the agent',
    {},
    (answer) => {
      expect(answer.messages.map(({ message }: { message: unknown }) => message)).toEqual([
        'you',
        'all',
        'all',
      ]);
    },
    { as: 'agent' },
  ),

  row(
    0x60,
    'SUBSCRIBE: event_types',
    { event_types: ['STATE_CHANGED', 'CUSTOM'] },
    { success: true, subscribed: ['STATE_CHANGED', 'CUSTOM'] },
  ),
  row(
    0x60,
    'SUBSCRIBE: events',
    { events: ['AGENT_SPAWNED'] },
    { success: true, subscribed: ['AGENT_SPAWNED'] },
  ),
  row(0x60, 'SUBSCRIBE: event', { event: 'AGENT_EXITED' }, { success: true, subscribed: ['AGENT_EXITED'] }),
  row(0x60, 'SUBSCRIBE to nothing', {}, failure('No events specified')),
  row(0x60, 'SUBSCRIBE, malformed', 'x', failure('invalid request')),

  row(0x30, 'STORE', { key: 'k', value: { deep: [1] } }, { success: true, key: 'k' }),
  row(0x30, 'STORE for so many seconds', { key: 't', value: 1, ttl: 60 }, { success: true }),
  row(0x30, 'STORE for no time', { key: 'gone', value: 1, ttl: 0 }, { success: true }),
  row(
    0x30,
    'STORE with a ttl that is cut to whole seconds',
    { key: 't2', value: 1, ttl: 60.9 },
    { success: true },
  ),
  // Stricter than the protocol on purpose: what was meant to expire must not stay for ever.
  row(
    0x30,
    'STORE with a ttl that is no number',
    { key: 't3', value: 1, ttl: 'soon' },
    failure('invalid request'),
  ),
  row(0x30, 'STORE of one’s own', { key: 'k', value: 'mine', scope: 'agent' }, { success: true, key: 'k' }),
  row(0x30, 'STORE for the session', { key: 's', value: 1, scope: 'session' }, { success: true }),
  row(0x30, 'STORE without a key', { value: 1 }, failure('key is required')),
  row(0x30, 'STORE, malformed', '{', failure('invalid request')),
  row(0x31, 'FETCH', { key: 't' }, { success: true, exists: true, found: true, value: 1, scope: 'global' }),
  row(0x31, 'FETCH with a scope', { key: 'k', scope: 'global' }, { value: { deep: [1] } }),
  row(0x31, 'FETCH: one’s own with its scope', { key: 'k', scope: 'agent' }, { found: true, value: 'mine' }),
  row(
    0x31,
    'FETCH: what has expired is not there',
    { key: 'gone' },
    { success: true, exists: false, found: false, value: null },
  ),
  row(
    0x31,
    'FETCH of nothing',
    { key: 'nothing' },
    { success: true, exists: false, found: false, value: null },
  ),
  row(
    0x31,
    'FETCH: another’s own is not there',
    { key: 'k', scope: 'agent' },
    { exists: false },
    { as: 'agent' },
  ),
  row(0x31, 'FETCH without a key', {}, failure('key is required')),
  row(0x33, 'KEYS {}', {}, (answer) => {
    expect(answer).toMatchObject({ success: true, count: answer.keys.length });
    expect(answer.keys).toEqual(expect.arrayContaining(['k', 't']));
  }),
  row(0x33, 'KEYS with a prefix', { prefix: 't' }, (answer) => {
    expect(answer.keys).toEqual(expect.arrayContaining(['t', 't2']));
    expect(answer.keys).not.toContain('k');
  }),
  row(0x33, 'KEYS of one’s own, with a prefix', { prefix: 'k', scope: 'agent' }, { keys: ['k'], count: 1 }),
  row(0x33, 'KEYS without payload', '', failure('invalid request')),
  row(0x34, 'CAS where nothing is', { key: 'c', value: 1 }, { success: true, swapped: true }),
  row(
    0x34,
    'CAS of what is not expected',
    { key: 'c', value: 3, expected: 2 },
    { success: true, swapped: false, value: 1 },
  ),
  row(0x34, 'CAS of what is', { key: 'c', value: 2, expected: 1 }, { swapped: true, value: 2 }),
  row(0x34, 'CAS without a key', {}, failure('key is required')),
  row(0x35, 'WATCH: it has changed since', { keys: ['c'], since_version: 0, timeout_ms: 1000 }, (answer) => {
    expect(answer.changes.at(-1)).toMatchObject({ key: 'c', value: 2, deleted: false });
  }),
  row(0x35, 'WATCH, malformed', 'x', failure('invalid request')),
  row(0x32, 'DELETE', { key: 'k' }, { success: true, deleted: true }),
  row(0x32, 'DELETE of nothing', { key: 'nothing' }, { success: true, deleted: false }),
  row(0x32, 'DELETE without a key', {}, failure('key is required')),

  row(
    0x63,
    'EMIT, every client: event_type',
    { event_type: 'ready', data: { a: 1 } },
    {
      success: true,
      event: 'ready',
      event_type: 'ready',
      delivered_to: 1,
    },
  ),
  row(
    0x63,
    'EMIT, the old kernel’s name: event',
    { event: 'CUSTOM', data: null },
    { success: true, event: 'CUSTOM', event_type: 'CUSTOM', delivered_to: 1 },
  ),
  row(0x63, 'EMIT of data that is no object', { event_type: 'n', data: 5 }, { success: true }),
  row(0x63, 'EMIT, malformed', '[]', failure('invalid request')),
  row(0x62, 'POLL_EVENTS: in every client’s names', { max: 100 }, (answer, scene) => {
    const source = me(scene);
    expect(answer).toMatchObject({ success: true, count: answer.events.length });
    const custom = answer.events.filter(({ type }: { type: string }) => type === 'CUSTOM');
    expect(custom[0]).toMatchObject({
      type: 'CUSTOM',
      event_type: 'CUSTOM',
      data: { a: 1, custom_type: 'ready' },
      source_agent_id: source,
      source_agent: source,
      timestamp: NUMBER,
      age_ms: NUMBER,
    });
    // On the wall clock, ms.
    expect(Math.abs(Date.now() - custom[0].timestamp)).toBeLessThan(600_000);
    const stored = answer.events.filter(({ type }: { type: string }) => type === 'STATE_CHANGED');
    expect(stored[0]).toMatchObject({
      data: { key: 'k', action: 'store', agent_id: source },
      source_agent_id: source,
    });
  }),
  row(0x62, 'POLL_EVENTS without payload', '', failure('invalid request', { events: [], count: 0 })),
  row(
    0x61,
    'UNSUBSCRIBE: what went, and what remains',
    { event_types: ['CUSTOM'] },
    {
      success: true,
      unsubscribed: ['CUSTOM'],
      subscribed: ['STATE_CHANGED', 'AGENT_SPAWNED', 'AGENT_EXITED'],
    },
  ),
  row(0x61, 'UNSUBSCRIBE: all', { all: true }, { success: true, subscribed: [] }),
  row(0x61, 'UNSUBSCRIBE, malformed', 'x', failure('invalid request')),

  row(
    0x94,
    'TASK_CREATE',
    { kind: 'build', payload: { n: 1 } },
    { success: true, task_id: NUMBER, task: expect.objectContaining({ state: 'pending' }) },
    { save: 'task' },
  ),
  row(0x94, 'TASK_CREATE, malformed', 'x', failure('invalid request')),
  row(0x98, 'TASK_LIST', {}, { success: true, count: 1, more: false }),
  row(0x98, 'TASK_LIST, malformed', '[', failure('invalid request', { tasks: [], count: 0 })),
  row(0x96, 'TASK_STATUS', ({ saved }) => ({ task_id: saved.get('task')?.task_id }), {
    success: true,
    task: expect.objectContaining({ kind: 'build', payload: { n: 1 } }),
  }),
  row(0x96, 'TASK_STATUS of none', { task_id: 424_242 }, failure('task not found')),
  row(
    0x95,
    'TASK_ASSIGN takes the next',
    { kinds: ['build'] },
    { success: true, assigned: true, task: expect.objectContaining({ state: 'assigned' }) },
  ),
  row(0x95, 'TASK_ASSIGN: there is none', {}, { success: true, assigned: false, task: null }),
  row(0x97, 'TASK_COMPLETE', ({ saved }) => ({ task_id: saved.get('task')?.task_id, result: 'done' }), {
    success: true,
    completed: true,
    already: false,
  }),
  row(
    0x97,
    'TASK_COMPLETE once more',
    ({ saved }) => ({ task_id: saved.get('task')?.task_id, result: 'done' }),
    { success: true, already: true },
  ),
  row(0x97, 'TASK_COMPLETE, malformed', 'x', failure('invalid request', { completed: false })),
];
