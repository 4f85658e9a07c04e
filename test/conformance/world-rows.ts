import path from 'node:path';
import { expect } from 'vitest';
import type { Answer } from '../../kernel/fixture.ts';
import { failure, type Row, row, type Scene } from './row.ts';

const NUMBER = expect.any(Number);
const TEXT = expect.any(String);

/** The configuration of existing clients, with every member that has an effect. */
const config = {
  name: 'Ware House',
  description: 'shelves',
  virtual_filesystem: {
    initial_files: {
      '/etc/motd': 'hello',
      '/data/fixed.txt': { content: 'fixed', mode: 'r' },
      '/data/./sub//../open.txt': { content: 'open' },
    },
    readonly_patterns: ['/etc/**'],
    writable_patterns: ['/tmp/**', '/data/**'],
    intercept_patterns: ['/**'],
  },
  network: {
    mode: 'mock',
    mock_responses: {
      'https://api.example.com/*': { status: 201, body: '{"a":1}', latency_ms: 0, headers: { 'x-a': 'b' } },
      'http://plain/': 'text',
    },
    default_response: { status: 404, body: 'Not Found', latency_ms: 0 },
    allowed_domains: [],
    fail_unmatched: false,
  },
  chaos: {
    enabled: true,
    failure_rate: 0,
    latency: { min_ms: 0, max_ms: 0 },
    rules: [
      { type: 'file_read_fail', path_pattern: '/cursed/**', probability: 1 },
      { type: 'network_fail', url_pattern: '*cursed*', probability: 1 },
    ],
  },
};

const worldOf = ({ saved }: Scene): string => saved.get('world')?.world_id ?? '';
const inWorld =
  (more: Readonly<Record<string, unknown>> = {}) =>
  (scene: Scene) => ({ world_id: worldOf(scene), ...more });

const listed = {
  id: TEXT,
  name: TEXT,
  description: TEXT,
  agent_count: NUMBER,
  syscall_count: NUMBER,
  vfs_enabled: expect.any(Boolean),
  network_mock_enabled: expect.any(Boolean),
  chaos_enabled: expect.any(Boolean),
  created_at: NUMBER,
};

const vfsMetrics = {
  file_count: NUMBER,
  read_count: NUMBER,
  write_count: NUMBER,
  bytes_read: NUMBER,
  bytes_written: NUMBER,
  total_size_bytes: NUMBER,
};
const networkMetrics = {
  mode: 'mock',
  mock_count: 2,
  requests_intercepted: NUMBER,
  requests_passed_through: NUMBER,
  requests_failed: NUMBER,
  recorded_count: NUMBER,
};
const chaosMetrics = {
  enabled: true,
  failure_rate: NUMBER,
  rule_count: 2,
  active_event_count: NUMBER,
  active_events: expect.any(Array),
  failures_injected: NUMBER,
  latency_injected: NUMBER,
};

/** A world and what its member meets there, then the same as data. */
export const worldRows: readonly Row[] = [
  row(
    0xa0,
    'WORLD_CREATE with the configuration of existing clients: the id from the name asked for, the name from the configuration',
    { name: 'My Ware_House! №7', config },
    (answer) => {
      expect(answer).toMatchObject({ success: true, name: 'My Ware_House! №7' });
      expect(answer.world_id).toMatch(/^my-ware_house-7-\d{4}$/);
      expect(answer.world).toMatchObject({ ...listed, name: 'Ware House', description: 'shelves' });
      expect(answer.warnings).toEqual([]);
    },
    { save: 'world' },
  ),
  row(0xa0, 'WORLD_CREATE of nothing', {}, (answer) => {
    expect(answer).toMatchObject({ success: true, name: 'unnamed' });
    expect(answer.world_id).toMatch(/^unnamed-\d{4}$/);
  }),
  row(0xa0, 'WORLD_CREATE: a name without a letter', { name: '!!!' }, (answer) => {
    expect(answer.world_id).toMatch(/^world-\d{4}$/);
  }),
  row(0xa0, 'WORLD_CREATE: a long name', { name: 'n'.repeat(200), config: {} }, (answer) => {
    expect(answer.world_id).toMatch(/^n{32}-\d{4}$/);
  }),
  row(0xa0, 'WORLD_CREATE, malformed', 'x', failure('invalid request')),
  row(0xa0, 'WORLD_CREATE: a configuration that is none', { config: 5 }, failure('invalid request')),
  row(
    0xa0,
    'WORLD_CREATE: a mode that there is not',
    { config: { network: { mode: 'psychic' } } },
    failure('Failed to create world'),
  ),

  row(0xa2, 'WORLD_LIST, whatever the payload', 'ignored', (answer, scene) => {
    expect(answer).toMatchObject({ success: true, count: answer.worlds.length });
    const mine = answer.worlds.find(({ id }: Answer) => id === worldOf(scene));
    expect(mine).toMatchObject({
      ...listed,
      name: 'Ware House',
      agent_count: 0,
      vfs_enabled: true,
      network_mock_enabled: true,
      chaos_enabled: true,
    });
  }),

  row(0xa4, 'WORLD_LEAVE of none', {}, failure('Not in any world')),
  row(0xa3, 'WORLD_JOIN without one', {}, failure('world_id required')),
  row(
    0xa3,
    'WORLD_JOIN of none',
    { world_id: 'nowhere' },
    failure('Failed to join world (not found or already in a world)'),
  ),
  row(0xa3, 'WORLD_JOIN, malformed', '[', failure('invalid request')),
  row(
    0xa3,
    'WORLD_JOIN: agent_id means nothing',
    inWorld({ agent_id: 'whoever' }),
    (answer, scene) => {
      expect(answer).toMatchObject({ success: true, world_id: worldOf(scene) });
    },
    { as: 'agent' },
  ),
  row(
    0xa3,
    'WORLD_JOIN twice',
    inWorld(),
    failure('Failed to join world (not found or already in a world)'),
    { as: 'agent' },
  ),

  row(
    0x03,
    'READ there',
    { path: '/etc/motd' },
    (answer, scene) => {
      expect(answer).toMatchObject({ success: true, content: 'hello', size: 5, virtual: true });
      expect(answer.world).toBe(worldOf(scene));
    },
    { as: 'agent' },
  ),
  row(
    0x03,
    'READ there of a path that was not written as it is',
    { path: '/data/open.txt' },
    { success: true, content: 'open', virtual: true },
    { as: 'agent' },
  ),
  row(
    0x03,
    'READ there of what there is not',
    { path: '/nothing' },
    failure('File not found in virtual filesystem', { content: '', size: 0, world: TEXT }),
    { as: 'agent' },
  ),
  row(
    0x03,
    'READ there where a rule lets it fail',
    { path: '/cursed/book' },
    failure('Simulated read failure (chaos)', { content: '', size: 0, world: TEXT }),
    { as: 'agent' },
  ),
  row(
    0x04,
    'WRITE there',
    { path: '/tmp/new.txt', content: 'four', mode: 'write' },
    { success: true, bytes_written: 4, virtual: true, world: TEXT },
    { as: 'agent' },
  ),
  row(
    0x04,
    'WRITE there, appended',
    { path: '/tmp/new.txt', content: '+5', mode: 'append' },
    { success: true, bytes_written: 2, virtual: true },
    { as: 'agent' },
  ),
  row(
    0x03,
    'READ there of what was written',
    { path: '/tmp/new.txt' },
    { content: 'four+5' },
    { as: 'agent' },
  ),
  ...['/etc/motd', '/data/fixed.txt', '/elsewhere.txt'].map((file) =>
    row(
      0x04,
      `WRITE there to ${file}: not to be written`,
      { path: file, content: 'x' },
      failure('Virtual filesystem write denied', { bytes_written: 0, world: TEXT }),
      { as: 'agent' },
    ),
  ),
  row(
    0x50,
    'HTTP there: mocked by a pattern',
    { url: 'https://api.example.com/v1?x=1', method: 'GET', async: false },
    {
      success: true,
      status_code: 201,
      body: '{"a":1}',
      headers: expect.objectContaining({ 'x-a': 'b' }),
      mocked: true,
      world: TEXT,
    },
    { as: 'agent' },
  ),
  row(
    0x50,
    'HTTP there: mocked by its address, with text',
    { url: 'http://plain/', async: false },
    { success: true, status_code: 200, body: 'text', mocked: true },
    { as: 'agent' },
  ),
  row(
    0x50,
    'HTTP there: what nothing answers has the default',
    { url: 'http://unknown/', async: false },
    { success: false, status_code: 404, body: 'Not Found', mocked: true },
    { as: 'agent' },
  ),
  row(
    0x50,
    'HTTP there where a rule lets it fail',
    { url: 'http://cursed/', async: false },
    failure('Simulated network failure (chaos)', { status_code: 503, body: '', world: TEXT }),
    { as: 'agent' },
  ),

  row(0xa5, 'WORLD_EVENT without a world', { event_type: 'disk_fail' }, failure('world_id required')),
  row(0xa5, 'WORLD_EVENT without a type', inWorld(), failure('event_type required')),
  row(
    0xa5,
    'WORLD_EVENT in none',
    { world_id: 'nowhere', event_type: 'disk_fail' },
    failure('Failed to inject event (world not found)'),
  ),
  row(
    0xa5,
    'WORLD_EVENT, the kernel’s name for its details: params',
    inWorld({ event_type: 'disk_full', params: {} }),
    (answer, scene) => {
      expect(answer).toMatchObject({ success: true, event_type: 'disk_full', world_id: worldOf(scene) });
    },
  ),
  row(
    0x04,
    'WRITE there on a full disk',
    { path: '/tmp/more.txt', content: 'x' },
    failure('Simulated write failure (chaos)', { bytes_written: 0 }),
    { as: 'agent' },
  ),
  row(
    0xa5,
    'WORLD_EVENT, the documents’ name for its details: config',
    inWorld({ event_type: 'network_partition', config: { duration_ms: 600_000 } }),
    { success: true, event_type: 'network_partition' },
  ),
  row(
    0x50,
    'HTTP there in a partition',
    { url: 'http://plain/', async: false },
    failure('Simulated network failure (chaos)', { status_code: 503 }),
    { as: 'agent' },
  ),

  row(0xa6, 'WORLD_STATE without one', {}, failure('world_id required')),
  row(0xa6, 'WORLD_STATE of none', { world_id: 'nowhere' }, failure('World not found')),
  row(0xa6, 'WORLD_STATE: nested and flat', inWorld(), (answer, scene) => {
    expect(answer.success).toBe(true);
    expect(answer.state).toMatchObject({
      world_id: worldOf(scene),
      name: 'Ware House',
      agent_count: 1,
      syscall_count: NUMBER,
      agents: [scene.agentId],
      vfs_metrics: vfsMetrics,
      network_metrics: networkMetrics,
      chaos_metrics: {
        ...chaosMetrics,
        active_events: expect.arrayContaining(['disk_full', 'network_partition']),
      },
    });
    expect(answer.state.syscall_count).toBeGreaterThan(10);
    expect(answer.state.chaos_metrics.failures_injected).toBeGreaterThanOrEqual(4);
    expect(answer).toMatchObject({
      id: worldOf(scene),
      name: 'Ware House',
      agents: [scene.agentId],
      metrics: expect.any(Object),
      chaos_events_injected: NUMBER,
    });
  }),

  row(0xa7, 'WORLD_SNAPSHOT without one', {}, failure('world_id required')),
  row(0xa7, 'WORLD_SNAPSHOT of none', { world_id: 'nowhere' }, failure('World not found')),
  row(
    0xa7,
    'WORLD_SNAPSHOT: as the kernel and as the newer clients name it',
    inWorld(),
    (answer, scene) => {
      expect(answer).toMatchObject({ success: true, snapshot_id: TEXT });
      expect(answer.snapshot_data).toEqual(answer.snapshot);
      expect(answer.snapshot).toMatchObject({
        id: worldOf(scene),
        name: 'Ware House',
        description: 'shelves',
        config: expect.any(Object),
        agents: [scene.agentId],
        snapshot_time: NUMBER,
      });
      const { vfs, network, chaos } = answer.snapshot;
      expect(vfs).toMatchObject({
        readonly_patterns: ['/etc/**'],
        writable_patterns: ['/tmp/**', '/data/**'],
        intercept_patterns: ['/**'],
      });
      expect(vfs.files['/tmp/new.txt']).toMatchObject({ content: 'four+5', mode: 'rw' });
      expect(vfs.files['/data/fixed.txt']).toEqual({
        content: 'fixed',
        mode: 'r',
        created_at: NUMBER,
        modified_at: NUMBER,
      });
      expect(network).toMatchObject({
        mode: 'mock',
        fail_unmatched: false,
        default_response: { status: 404, body: 'Not Found' },
        allowed_domains: [],
        recorded: [],
      });
      expect(network.mock_responses['https://api.example.com/*']).toMatchObject({
        status: 201,
        body: '{"a":1}',
        headers: { 'x-a': 'b' },
      });
      expect(network.mock_responses['http://plain/']).toMatchObject({ status: 200, body: 'text' });
      expect(chaos).toMatchObject({
        enabled: true,
        failure_rate: 0,
        latency: { min_ms: 0, max_ms: 0 },
        rules: [
          { type: 'file_read_fail', pattern: '/cursed/**', probability: 1 },
          { type: 'network_fail', pattern: '*cursed*', probability: 1 },
        ],
        active_events: expect.arrayContaining(['disk_full', 'network_partition']),
      });
      expect(chaos.event_params).toMatchObject({ disk_full: {}, network_partition: {} });
    },
    { save: 'snapshot' },
  ),
  row(
    0xa7,
    'WORLD_SNAPSHOT into a file',
    (scene) => ({ world_id: worldOf(scene), path: path.join(scene.folder, 'world.snapshot') }),
    (answer, scene) => {
      expect(answer).toMatchObject({
        success: true,
        snapshot_path: path.join(scene.folder, 'world.snapshot'),
      });
    },
  ),

  row(0xa8, 'WORLD_RESTORE of nothing', {}, failure('snapshot required')),
  row(0xa8, 'WORLD_RESTORE of nonsense', { snapshot: { a: 1 } }, failure('Failed to restore world')),
  row(0xa8, 'WORLD_RESTORE, malformed', 'x', failure('invalid request')),
  row(
    0xa8,
    'WORLD_RESTORE under an id of one’s own, taken as it is',
    ({ saved }) => ({ snapshot: saved.get('snapshot')?.snapshot, new_world_id: 'Copy-1' }),
    { success: true, world_id: 'Copy-1' },
  ),
  row(
    0xa8,
    'WORLD_RESTORE under an id that there is',
    ({ saved }) => ({ snapshot: saved.get('snapshot')?.snapshot, new_world_id: 'Copy-1' }),
    failure('Failed to restore world'),
  ),
  row(
    0xa8,
    'WORLD_RESTORE of the whole answer of WORLD_SNAPSHOT',
    ({ saved }) => ({ snapshot: saved.get('snapshot') }),
    { success: true, world_id: TEXT },
  ),
  row(
    0xa8,
    'WORLD_RESTORE of a file',
    ({ folder }) => ({ snapshot_path: path.join(folder, 'world.snapshot') }),
    { success: true, world_id: TEXT },
  ),
  row(
    0xa8,
    'WORLD_RESTORE of a snapshot that an existing kernel took',
    {
      snapshot: {
        id: 'old-0001',
        name: 'old',
        description: '',
        config: {},
        vfs: {
          files: { '/a.txt': { content: 'a', mode: 'rw', created_at: 1, modified_at: 2 } },
          readonly_patterns: [],
          writable_patterns: [],
          intercept_patterns: ['/**'],
        },
        network: {
          mode: 'mock',
          fail_unmatched: true,
          mock_responses: { 'http://x/': { status: 200, body: 'x', latency_ms: 0, headers: {} } },
          allowed_domains: [],
          recorded: [],
        },
        chaos: {
          enabled: true,
          failure_rate: 0,
          latency: { min_ms: 0, max_ms: 0 },
          rules: [{ type: 'file_write_fail', pattern: '/ro/**', probability: 1 }],
          active_events: ['disk_fail'],
          event_params: { disk_fail: {} },
        },
        agents: [1, 2],
        snapshot_time: 12_345,
      },
      new_world_id: '',
    },
    { success: true, world_id: expect.stringMatching(/^old-\d{4}$/) },
    { save: 'old' },
  ),
  row(
    0xa6,
    'WORLD_STATE of what was restored: its event goes on, nobody is in it',
    ({ saved }) => ({ world_id: saved.get('old')?.world_id }),
    (answer) => {
      expect(answer.state).toMatchObject({ agent_count: 0, agents: [] });
      expect(answer.state.chaos_metrics.active_events).toContain('disk_fail');
      expect(answer.state.vfs_metrics.file_count).toBe(1);
    },
  ),

  row(0xa9, 'WORLD_DIFF', inWorld(), (answer) => {
    expect(answer).toMatchObject({ success: true, count: answer.changes.length });
    const added = answer.changes.find(({ path: file }: Answer) => file === '/tmp/new.txt');
    expect(added).toMatchObject({ change: 'added', kind: 'file', bytes_after: 6, patch: TEXT });
  }),
  row(
    0xa9,
    'WORLD_DIFF of none',
    { world_id: 'nowhere' },
    failure('World not found', { changes: [], count: 0 }),
  ),
  row(0xaa, 'WORLD_BRANCH', inWorld({ count: 2 }), {
    success: true,
    count: 2,
    world_ids: [TEXT, TEXT],
    worlds: [expect.objectContaining(listed), expect.objectContaining(listed)],
  }),
  row(0xaa, 'WORLD_BRANCH into none', inWorld({ count: 0 }), failure('invalid request')),
  row(
    0xa0,
    'WORLD_CREATE with a clock that is moved by hand',
    { name: 'timed', config: { clock: { mode: 'step' } } },
    { success: true },
    { save: 'timed' },
  ),
  row(
    0xab,
    'WORLD_ADVANCE',
    ({ saved }) => ({ world_id: saved.get('timed')?.world_id, ms: 60_000 }),
    (answer) => {
      expect(answer).toMatchObject({ success: true, world_id: TEXT });
      expect(answer.monotonic_ms).toBeGreaterThanOrEqual(60_000);
    },
  ),
  row(
    0xab,
    'WORLD_ADVANCE of a clock that goes by itself',
    inWorld({ ms: 1000 }),
    failure('a clock of mode real cannot be moved'),
  ),
  row(0xac, 'WORLD_WAIT in none', { ms: 1 }, failure('Not in any world')),
  row(
    0xac,
    'WORLD_WAIT',
    { ms: 1 },
    { success: true, world_id: TEXT, monotonic_ms: NUMBER, world_time_ms: NUMBER },
    { as: 'agent' },
  ),

  row(
    0xad,
    'WORLD_CHECKPOINT: a state to come back with',
    { state: { at: 'noon' } },
    { success: true, world_id: TEXT, checkpoint_id: null, restored: null },
    { as: 'agent' },
  ),
  row(0xad, 'WORLD_CHECKPOINT in none', { state: 1 }, failure('Not in any world')),
  row(0xad, 'WORLD_CHECKPOINT that gives and waits', { state: 1, wait: true }, failure('invalid request')),

  row(
    0xa1,
    'WORLD_DESTROY with somebody in it',
    inWorld(),
    failure('Failed to destroy world (not found or has active agents)'),
  ),
  row(0xa4, 'WORLD_LEAVE, whatever the payload', 'ignored', { success: true }, { as: 'agent' }),
  row(0xa1, 'WORLD_DESTROY', inWorld(), (answer, scene) => {
    expect(answer).toMatchObject({ success: true, world_id: worldOf(scene) });
  }),
  row(
    0xa1,
    'WORLD_DESTROY of what is gone',
    inWorld({ force: true }),
    failure('Failed to destroy world (not found or has active agents)'),
  ),
  row(0xa1, 'WORLD_DESTROY without one', {}, failure('world_id required')),
];
