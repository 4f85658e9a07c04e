import { expect } from 'vitest';
import { failure, type Row, row } from './row.ts';

const NUMBER = expect.any(Number);
const TEXT = expect.any(String);

const isolation = {
  fully_isolated: expect.any(Boolean),
  namespaces: expect.objectContaining({ pid: true, net: true, mnt: true, uts: true }),
  cgroups: expect.objectContaining({
    available: expect.any(Boolean),
    memory_limit: expect.any(Boolean),
    cpu_quota: expect.any(Boolean),
    pids_limit: expect.any(Boolean),
  }),
};
const spawned = {
  success: true,
  id: NUMBER,
  agent_id: NUMBER,
  name: TEXT,
  pid: NUMBER,
  status: 'running',
  isolation,
};
const idOf =
  (name: string) =>
  ({ saved }: { saved: Map<string, { id: number }> }) =>
    saved.get(name)?.id ?? 0;

export const agentRows: readonly Row[] = [
  row(
    0x10,
    'SPAWN with limits in bytes and microseconds',
    ({ folder }) => ({
      name: 'older',
      script: `${folder}/agent.py`,
      python: 'python3',
      sandboxed: true,
      network: false,
      limits: { memory: 134_217_728, max_pids: 32, cpu_quota: 50_000, cpu_period: 100_000, cpu_shares: 512 },
      restart_policy: 'never',
      max_restarts: 5,
      restart_window: 300,
    }),
    { ...spawned, name: 'older', restart_policy: 'never' },
    { save: 'older' },
  ),
  row(
    0x10,
    'SPAWN with limits in MB and percent, and the other spelling of on-failure',
    ({ folder }) => ({
      name: 'newer',
      script: `${folder}/agent.py`,
      limits: { memory_mb: 64, cpu_percent: 50, max_pids: 16 },
      restart_policy: 'on_failure',
    }),
    { ...spawned, name: 'newer', restart_policy: 'on-failure' },
    { save: 'newer' },
  ),
  row(
    0x10,
    'SPAWN of 3 GiB is not misread',
    { name: 'big', command: ['/bin/sleep', '60'], limits: { memory: 3_221_225_472 } },
    spawned,
    { save: 'big' },
  ),
  row(
    0x10,
    'SPAWN without a name gets one',
    { command: ['/bin/sleep', '60'] },
    { ...spawned, name: expect.stringMatching(/^agent_\d+$/) },
    { save: 'unnamed' },
  ),
  row(
    0x10,
    'SPAWN of a name that is alive',
    { name: 'older', command: ['/bin/true'] },
    failure('failed to spawn agent'),
  ),
  row(0x10, 'SPAWN without a script', { name: 'x' }, failure('script path required')),
  row(
    0x10,
    'SPAWN of a script that is not there',
    { name: 'x', script: '/nonexistent.py' },
    failure('failed to spawn agent'),
  ),
  row(
    0x10,
    'SPAWN of a program that cannot be executed is no success',
    { name: 'x', command: ['/nonexistent'] },
    failure('failed to spawn agent'),
  ),
  row(0x10, 'SPAWN, malformed', 'x', failure('invalid JSON')),
  row(
    0x10,
    'SPAWN, text for a number',
    { name: 'x', script: '/x', max_restarts: 'many' },
    failure('invalid request'),
  ),
  row(
    0x10,
    'SPAWN by an agent that may not',
    { name: 'x', command: ['/bin/true'] },
    { success: false, code: 'FORBIDDEN' },
    { as: 'agent' },
  ),

  ...['', {}].map((send) =>
    row(0x12, `LIST ${send === '' ? 'without payload' : '{}'} is a bare array`, send, (answer, { saved }) => {
      const found = answer.find(({ id }: { id: number }) => id === saved.get('older')?.id);
      expect(found).toMatchObject({
        name: 'older',
        pid: NUMBER,
        state: 'running',
        running: true,
        uptime: NUMBER,
        uptime_ms: NUMBER,
        memory: NUMBER,
        cpu: NUMBER,
      });
    }),
  ),
  row(0x14, 'PAUSE by name', { name: 'older' }, (answer, scene) => {
    expect(answer).toMatchObject({ success: true, paused: true, agent_id: idOf('older')(scene) });
  }),
  row(0x12, 'LIST: its state is lower case', {}, (answer) => {
    expect(answer.find(({ name }: { name: string }) => name === 'older')).toMatchObject({
      state: 'paused',
      running: false,
    });
  }),
  row(0x14, 'PAUSE of what is paused', { name: 'older' }, { success: false, paused: false }),
  row(0x15, 'RESUME by id', (scene) => ({ id: idOf('older')(scene) }), { success: true, resumed: true }),
  row(0x15, 'RESUME by agent_id of what runs', (scene) => ({ agent_id: idOf('older')(scene) }), {
    success: false,
    resumed: false,
  }),
  row(0x14, 'PAUSE of nobody named', {}, failure('invalid request', { paused: false })),
  row(0x14, 'PAUSE, malformed', '{', failure('invalid request', { paused: false })),
  row(0x15, 'RESUME, malformed', '[]', failure('invalid request', { resumed: false })),

  row(
    0xc1,
    'METRICS_AGENT, nested and flat',
    (scene) => ({ agent_id: idOf('older')(scene) }),
    (answer, scene) => {
      const id = idOf('older')(scene);
      expect(answer).toMatchObject({
        success: true,
        agent_id: id,
        name: 'older',
        cpu_percent: NUMBER,
        memory_bytes: NUMBER,
        memory_percent: NUMBER,
        syscalls_count: NUMBER,
        uptime_seconds: NUMBER,
        state: 'running',
        metrics: {
          agent_id: id,
          status: 'running',
          sandboxed: true,
          uptime_ms: NUMBER,
          process: { cpu: expect.objectContaining({ percent: NUMBER }), threads: NUMBER, fds: NUMBER },
          kernel_stats: expect.objectContaining({
            syscall_count: NUMBER,
            llm_calls: 0,
            messages_sent: NUMBER,
            messages_recv: NUMBER,
            bytes_read: NUMBER,
            bytes_written: NUMBER,
          }),
        },
      });
    },
    { save: 'metrics' },
  ),
  row(
    0xc1,
    'METRICS_AGENT of nobody',
    { agent_id: 999_999 },
    failure('Agent not found', { agent_id: 999_999 }),
  ),
  row(0xc1, 'METRICS_AGENT, malformed', 'x', failure('Invalid JSON payload')),
  row(0xc1, 'METRICS_AGENT, array', [], failure('invalid request')),
  row(0xc1, 'METRICS_AGENT of itself', {}, { success: true, metrics: expect.any(Object) }, { as: 'agent' }),
  ...['', {}].map((send) =>
    row(0xc2, `METRICS_ALL_AGENTS ${send === '' ? 'without payload' : '{}'}`, send, (answer) => {
      expect(answer).toMatchObject({ success: true, count: answer.agents.length });
      expect(answer.agents.map(({ name }: { name: string }) => name)).toEqual(
        expect.arrayContaining(['older', 'newer']),
      );
    }),
  ),
  row(0xc3, 'METRICS_CGROUP by agent_id', (scene) => ({ agent_id: idOf('newer')(scene) }), {
    success: true,
    cpu_usage_usec: NUMBER,
    memory_current: NUMBER,
    memory_limit: NUMBER,
    pids_current: NUMBER,
    pids_limit: NUMBER,
    metrics: expect.objectContaining({ valid: true, cgroup_path: TEXT }),
  }),
  row(
    0xc3,
    'METRICS_CGROUP by path',
    ({ saved }) => ({ cgroup_path: saved.get('metrics')?.metrics.cgroup.cgroup_path }),
    {
      success: true,
      metrics: expect.objectContaining({ pids: { current: NUMBER, max: 32 } }),
    },
  ),
  row(
    0xc3,
    'METRICS_CGROUP does not leave its place',
    { cgroup_path: '../../..' },
    failure('Cgroup not found or not readable', { cgroup_path: '../../..' }),
  ),
  row(0xc3, 'METRICS_CGROUP, malformed', 'x', failure('Invalid JSON payload')),
  ...['', {}].map((send) =>
    row(0xc0, `METRICS_SYSTEM ${send === '' ? 'without payload' : '{}'}, nested and flat`, send, {
      success: true,
      cpu_percent: NUMBER,
      memory_used_bytes: NUMBER,
      memory_total_bytes: NUMBER,
      memory_percent: NUMBER,
      disk_used_bytes: NUMBER,
      disk_total_bytes: NUMBER,
      disk_percent: NUMBER,
      network_rx_bytes: NUMBER,
      network_tx_bytes: NUMBER,
      load_average: [NUMBER, NUMBER, NUMBER],
      metrics: expect.objectContaining({
        timestamp: NUMBER,
        cpu: expect.objectContaining({
          percent: NUMBER,
          per_core: expect.any(Array),
          count: NUMBER,
          load_avg: [NUMBER, NUMBER, NUMBER],
        }),
        memory: expect.objectContaining({ total: NUMBER, available: NUMBER, used: NUMBER, percent: NUMBER }),
        swap: expect.objectContaining({ total: NUMBER, used: NUMBER, free: NUMBER }),
        disk: expect.objectContaining({ read_bytes: NUMBER, write_bytes: NUMBER }),
        network: expect.objectContaining({ bytes_sent: NUMBER, bytes_recv: NUMBER }),
      }),
    }),
  ),

  row(0x17, 'LOGS', { name: 'older' }, { success: true, stdout: TEXT, stderr: TEXT }),
  row(0x17, 'LOGS of nobody', { name: 'nobody' }, { success: false, code: 'NOT_FOUND' }),
  row(0x18, 'RELOAD of nobody', { name: 'nobody' }, { success: false, code: 'NOT_FOUND' }),
  row(0x18, 'RELOAD', { name: 'older' }, { success: true, reloaded: true }),
  row(
    0x11,
    'KILL by id',
    (scene) => ({ id: idOf('newer')(scene) }),
    (answer, scene) => {
      expect(answer).toMatchObject({ success: true, killed: true, agent_id: idOf('newer')(scene) });
    },
  ),
  row(
    0x11,
    'KILL: id wins over name',
    (scene) => ({ id: idOf('unnamed')(scene), name: 'older' }),
    (answer, scene) => {
      expect(answer).toMatchObject({ killed: true, agent_id: idOf('unnamed')(scene) });
    },
  ),
  row(0x11, 'KILL by name', { name: 'older' }, { killed: true }),
  row(0x11, 'KILL by agent_id', (scene) => ({ agent_id: idOf('big')(scene) }), { killed: true }),
  row(0x11, 'KILL of nobody', { name: 'nobody' }, { success: false, killed: false, agent_id: 0 }),
  row(0x11, 'KILL, malformed', 'x', failure('invalid request', { killed: false })),
  row(0x16, 'WAIT: how it ended', (scene) => ({ id: idOf('newer')(scene) }), {
    success: true,
    agent_id: NUMBER,
  }),
  row(0x16, 'WAIT for nobody', { name: 'nobody' }, { success: false, code: 'NOT_FOUND' }),
  row(0x12, 'LIST: they are gone', {}, (answer, { agentId }) => {
    expect(answer.map(({ id }: { id: number }) => id)).toEqual([agentId]);
  }),
];
