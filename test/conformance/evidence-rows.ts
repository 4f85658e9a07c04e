import { expect } from 'vitest';
import type { Answer } from '../../kernel/fixture.ts';
import { failure, type Row, row } from './row.ts';

const NUMBER = expect.any(Number);
const TEXT = expect.any(String);

const policy = {
  can_exec: expect.any(Boolean),
  can_read: expect.any(Boolean),
  can_write: expect.any(Boolean),
  can_think: expect.any(Boolean),
  can_spawn: expect.any(Boolean),
  can_http: expect.any(Boolean),
  filesystem: { read: expect.any(Array), write: expect.any(Array), blocked: expect.any(Array) },
  exec: expect.any(Array),
  blocked_commands: expect.any(Array),
  network: expect.any(Array),
  http_methods: expect.any(Array),
  llm: { max_tokens: NUMBER, max_calls: NUMBER, tokens_used: NUMBER, calls_made: NUMBER },
  max_exec_time_ms: NUMBER,
  level: TEXT,
};
const permissions = {
  success: true,
  permissions: expect.objectContaining(policy),
  level: TEXT,
  paths: expect.any(Array),
  commands: expect.any(Array),
  domains: expect.any(Array),
};

const config = {
  max_entries: 10_000,
  log_syscalls: false,
  log_security: true,
  log_lifecycle: true,
  log_ipc: false,
  log_state: false,
  log_resource: true,
  log_network: false,
  log_world: false,
};

/** Permissions, quotas, recording, audit, tunnel. */
export const evidenceRows: readonly Row[] = [
  row(0x40, 'GET_PERMS', {}, permissions),
  row(0x40, 'GET_PERMS without payload', '', permissions),
  row(0x40, 'GET_PERMS by an agent', {}, { ...permissions, level: 'standard' }, { as: 'agent' }),
  row(0x41, 'SET_PERMS of nothing is a success', {}, { success: true, agent_id: NUMBER }),
  row(
    0x41,
    'SET_PERMS by level, as every test suite begins',
    { level: 'unrestricted' },
    { success: true, agent_id: NUMBER, level: 'unrestricted' },
  ),
  row(
    0x41,
    'SET_PERMS of another',
    ({ agentId }) => ({
      agent_id: agentId,
      permissions: { can_read: true, network: ['example.org'], http_methods: ['GET'] },
    }),
    (answer, { agentId }) => {
      expect(answer).toMatchObject({
        success: true,
        agent_id: agentId,
        level: 'custom',
        domains: ['example.org'],
      });
    },
  ),
  row(
    0x41,
    'SET_PERMS of oneself to more',
    { level: 'unrestricted' },
    { success: false, code: 'FORBIDDEN' },
    { as: 'agent' },
  ),
  row(
    0x41,
    'SET_PERMS of another by one who may not',
    ({ operatorId }) => ({ agent_id: operatorId, level: 'minimal' }),
    failure("Permission denied: cannot modify other agent's permissions"),
    { as: 'agent' },
  ),
  row(0x41, 'SET_PERMS, malformed', 'x', failure('invalid request')),
  row(0x41, 'SET_PERMS with a list where text is expected', { level: [] }, failure('invalid request')),
  row(0x41, 'SET_PERMS back', ({ agentId }) => ({ agent_id: agentId, level: 'standard' }), {
    success: true,
    level: 'standard',
  }),
  row(0x92, 'SET_QUOTA', ({ agentId }) => ({ agent_id: agentId, quotas: { messages: 1000 } }), {
    success: true,
    quotas: expect.objectContaining({ messages: 1000 }),
  }),
  row(0x92, 'SET_QUOTA of an operator', { quotas: { messages: 1 } }, failure('invalid request')),
  row(0x93, 'GET_QUOTA', ({ agentId }) => ({ agent_id: agentId }), {
    success: true,
    used: expect.objectContaining({ messages: 0 }),
  }),

  row(
    0x72,
    'RECORD_STATUS before any',
    {},
    {
      success: true,
      state: 'IDLE',
      active: false,
      recording: false,
      paused: false,
      entry_count: 0,
      last_sequence_id: 0,
    },
  ),
  row(0x71, 'RECORD_STOP of none', {}, { success: false, recording: false }),
  row(0x73, 'REPLAY_START of nothing', {}, failure('No recording loaded')),
  row(0x73, 'REPLAY_START of an empty recording', { recording: '[]' }, (answer) => {
    expect(answer).toMatchObject({ success: false });
    expect(answer.error).toMatch(/empty|no recording/i);
  }),
  row(
    0x73,
    'REPLAY_START of nonsense',
    { recording_data: 'nonsense' },
    failure('Failed to import recording data'),
  ),
  row(0x73, 'REPLAY_START, malformed', 'x', failure('Invalid JSON payload')),
  row(
    0x70,
    'RECORD_START',
    { include_exec: true, include_http: false, max_entries: 500 },
    {
      success: true,
      recording: true,
      state: 'RECORDING',
      active: true,
      entry_count: NUMBER,
      started_at: NUMBER,
    },
  ),
  row(0x70, 'RECORD_START twice', {}, { success: false, recording: true }),
  row(0x30, 'something to record', { key: 'recorded', value: 1 }, { success: true }),
  row(
    0x72,
    'RECORD_STATUS while it runs',
    {},
    {
      success: true,
      state: 'RECORDING',
      active: true,
      recording: true,
      paused: false,
      entry_count: NUMBER,
      last_sequence_id: NUMBER,
    },
  ),
  row(0x72, 'RECORD_STATUS with entries', { get_entries: true, limit: 100, since_id: 0 }, (answer) => {
    const entry = answer.entries.find(({ opcode_name }: Answer) => opcode_name === 'STORE');
    expect(entry).toMatchObject({
      sequence_id: NUMBER,
      timestamp: TEXT,
      agent_id: NUMBER,
      opcode: 0x30,
      payload: TEXT,
      response: TEXT,
      duration_us: NUMBER,
      success: true,
    });
  }),
  row(
    0x72,
    'RECORD_STATUS, exported: as text, under both names',
    { export: true },
    (answer) => {
      expect(answer.recording).toBe(answer.recording_data);
      expect(JSON.parse(answer.recording).map(({ opcode_name }: Answer) => opcode_name)).toContain('STORE');
    },
    { save: 'exported' },
  ),
  row(
    0x71,
    'RECORD_STOP',
    {},
    { success: true, recording: false, entries_recorded: NUMBER, entry_count: NUMBER, state: 'IDLE' },
  ),
  row(0x70, 'RECORD_START: bad JSON is {}', 'nonsense', { success: true, recording: true }),
  row(0x71, 'RECORD_STOP again', 'ignored', { success: true }),
  row(
    0x73,
    'REPLAY_START, newer clients: recording',
    ({ saved }) => ({ recording: saved.get('exported')?.recording }),
    { success: true, total_entries: NUMBER },
  ),
  row(0x74, 'REPLAY_STATUS', {}, (answer) => {
    expect(answer).toMatchObject({
      success: true,
      active: expect.any(Boolean),
      progress: NUMBER,
      progress_percent: NUMBER,
      total_entries: NUMBER,
      current_entry: NUMBER,
      entries_replayed: NUMBER,
      entries_skipped: NUMBER,
      errors: expect.any(Array),
    });
    expect(answer.state).toMatch(/^(idle|running|paused|completed|error)$/);
    expect(answer.progress).toBeLessThanOrEqual(1);
  }),

  row(
    0x76,
    'GET_AUDIT_LOG',
    { limit: 5 },
    (answer) => {
      expect(answer).toMatchObject({ success: true, count: 5 });
      for (const entry of answer.entries) {
        expect(entry).toMatchObject({
          id: NUMBER,
          category: TEXT,
          event_type: TEXT,
          action: entry.event_type,
          success: expect.any(Boolean),
          details: expect.any(Object),
        });
        expect(entry.timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      }
      const ids = answer.entries.map(({ id }: Answer) => id);
      expect(ids).toEqual(ids.toSorted((a: number, b: number) => a - b));
    },
    { save: 'audit' },
  ),
  row(
    0x76,
    'GET_AUDIT_LOG: only what is behind an id',
    ({ saved }) => ({ since_id: saved.get('audit')?.entries.at(-1).id }),
    (answer, { saved }) => {
      for (const { id } of answer.entries) expect(id).toBeGreaterThan(saved.get('audit')?.entries.at(-1).id);
    },
  ),
  row(
    0x76,
    'GET_AUDIT_LOG of one category and agent',
    ({ agentId }) => ({ category: 'SECURITY', agent_id: agentId }),
    (answer, { agentId }) => {
      expect(answer.count).toBeGreaterThan(0);
      for (const entry of answer.entries)
        expect(entry).toMatchObject({ category: 'SECURITY', agent_id: agentId });
    },
  ),
  row(0x76, 'GET_AUDIT_LOG: a category nobody knows means SYSCALL', { category: 'WHATEVER' }, (answer) => {
    for (const { category } of answer.entries) expect(category).toBe('SYSCALL');
  }),
  row(0x76, 'GET_AUDIT_LOG, malformed', '[]', failure('invalid request', { entries: [], count: 0 })),
  row(0x77, 'SET_AUDIT_CONFIG of nothing tells', {}, { success: true, config }),
  row(0x77, 'SET_AUDIT_CONFIG', { log_ipc: true }, { success: true, config: { ...config, log_ipc: true } }),
  row(0x77, 'SET_AUDIT_CONFIG back', { log_ipc: false }, { success: true, config }),
  row(0x77, 'SET_AUDIT_CONFIG, malformed', 'x', failure('Invalid JSON payload')),
  row(0x77, 'SET_AUDIT_CONFIG with text for a switch', { log_ipc: 'yes' }, failure('invalid request')),
  row(0x76, 'GET_AUDIT_LOG: the change is recorded', { category: 'SECURITY', limit: 1000 }, (answer) => {
    const change = answer.entries.find(({ event_type }: Answer) => event_type === 'AUDIT_CONFIG_CHANGED');
    expect(change.details).toMatchObject({ changed_by: NUMBER, new_config: expect.any(Object) });
  }),
  row(0x78, 'AUDIT_QUERY', { limit: 1 }, { success: true, count: 1 }),
  row(0x78, 'AUDIT_QUERY, a member nobody knows', { limits: 1 }, failure('invalid request')),
  row(0x79, 'AUDIT_VERIFY', {}, { success: true, ok: true }),

  row(0xb2, 'TUNNEL_STATUS before any', '', {
    success: true,
    connected: false,
    relay_url: '',
    machine_id: '',
    remote_agent_count: 0,
    latency_ms: null,
    connected_since: null,
  }),
  row(0xb3, 'TUNNEL_LIST_REMOTES before any', {}, { success: true, agents: [], remotes: [], count: 0 }),
  row(0xb0, 'TUNNEL_CONNECT without a relay', {}, failure('relay_url required')),
  row(
    0xb0,
    'TUNNEL_CONNECT where nobody is',
    { relay_url: 'ws://127.0.0.1:1', machine_id: 'm', token: 't' },
    failure('Failed to connect to relay server'),
  ),
  row(
    0xb0,
    'TUNNEL_CONNECT where the token is refused',
    ({ relayUrl }) => ({ relay_url: relayUrl, machine_id: 'm', token: 'wrong' }),
    failure('Failed to connect to relay server'),
  ),
  row(0xb0, 'TUNNEL_CONNECT, malformed', 'x', failure('invalid request', { connected: false })),
  row(0xb4, 'TUNNEL_CONFIG, malformed', '{', failure('invalid request')),
  row(
    0xb4,
    'TUNNEL_CONFIG',
    ({ relayUrl }) => ({ relay_url: relayUrl, machine_id: 'm', token: 'right', reconnect_interval: 5 }),
    { success: true },
  ),
  row(0xb0, 'TUNNEL_CONNECT by what was configured', {}, ({ ...answer }, { relayUrl }) => {
    expect(answer).toMatchObject({
      success: true,
      connected: true,
      relay_url: relayUrl,
      machine_id: 'm',
      tunnel_id: 'm',
    });
  }),
  row(
    0xb2,
    'TUNNEL_STATUS',
    {},
    { success: true, connected: true, remote_agent_count: 0, connected_since: NUMBER },
  ),
  row(0xb2, 'TUNNEL_STATUS by an agent', {}, { success: false, code: 'FORBIDDEN' }, { as: 'agent' }),
  row(0xb1, 'TUNNEL_DISCONNECT', '', { success: true }),
  row(0xb1, 'TUNNEL_DISCONNECT of none', {}, { success: true }),
];
