import { totalmem } from 'node:os';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { callingAgent, type TestClient, TestKernel, until } from '../fixture.ts';

let kernel: TestKernel;
let client: TestClient;

beforeAll(async () => {
  kernel = await TestKernel.boot();
  client = await kernel.connect();
});
afterAll(() => kernel.close());

it('METRICS_SYSTEM tells the same figures nested and flat', async () => {
  const answer = await client.call('METRICS_SYSTEM');
  expect(answer).toMatchObject({ success: true, memory_total_bytes: totalmem() });
  const { metrics } = answer;
  expect(answer).toMatchObject({
    cpu_percent: metrics.cpu.percent,
    memory_used_bytes: metrics.memory.used,
    memory_percent: metrics.memory.percent,
    disk_used_bytes: metrics.disk.used,
    disk_total_bytes: metrics.disk.total,
    network_rx_bytes: metrics.network.bytes_recv,
    network_tx_bytes: metrics.network.bytes_sent,
    load_average: metrics.cpu.load_avg,
  });
});

it('METRICS_AGENT tells what a real agent with children uses, by id', async () => {
  const { id, pid } = await client.spawn({
    name: 'busy',
    command: ['/bin/sh', '-c', 'sleep 60 & while :; do :; done'],
    limits: { memory: 64 * 2 ** 20, max_pids: 20, cpu: 0.5 },
  });
  // On a busy machine the first window may end before it ever ran.
  await until(async () => {
    const { metrics } = await client.call('METRICS_AGENT', { agent_id: id });
    return metrics.process.processes >= 2 && metrics.process.cpu.percent > 0;
  });
  const { metrics, ...flat } = await client.call('METRICS_AGENT', { agent_id: id });
  expect(metrics).toMatchObject({
    agent_id: id,
    name: 'busy',
    pid,
    status: 'running',
    sandboxed: true,
    process: { pid, name: 'sh' },
    cgroup: { valid: true, pids: { max: 20 } },
  });
  expect(metrics.process.cpu.percent).toBeGreaterThan(0);
  expect(metrics.cgroup.controllers).toContain('pids');
  if (metrics.cgroup.controllers.includes('memory')) expect(metrics.cgroup.memory.max).toBe(64 * 2 ** 20);
  expect(flat).toMatchObject({ success: true, agent_id: id, name: 'busy', state: 'running' });
  expect(flat.cpu_percent).toBe(metrics.process.cpu.percent);
  expect(flat.memory_bytes).toBeGreaterThan(0);

  const all = await client.call('METRICS_ALL_AGENTS');
  expect(all).toMatchObject({ success: true, count: 1, agents: [{ agent_id: id, state: 'running' }] });

  const cgroup = await client.call('METRICS_CGROUP', { agent_id: id });
  expect(cgroup).toMatchObject({
    success: true,
    pids_limit: 20,
    metrics: { cgroup_path: metrics.cgroup.cgroup_path },
  });
  expect(await client.call('METRICS_CGROUP', { cgroup_path: metrics.cgroup.cgroup_path })).toMatchObject({
    success: true,
    memory_limit: cgroup.memory_limit,
  });

  await client.call('PAUSE', { id });
  expect((await client.call('METRICS_AGENT', { agent_id: id })).metrics.status).toBe('paused');
  await client.call('KILL', { id, grace_ms: 0 });
  expect(await client.call('METRICS_AGENT', { agent_id: id })).toMatchObject({
    success: false,
    error: 'Agent not found',
    code: 'NOT_FOUND',
    agent_id: id,
  });
  expect(await client.call('METRICS_CGROUP', { agent_id: id })).toMatchObject({
    success: false,
    error: 'Cgroup not found or not readable',
  });
});

it('an agent sees itself with true counters, and nothing of others or of the machine', async () => {
  const other = await client.spawn({ name: 'other', command: ['sleep', '60'] });
  const ofOther = (await client.call('METRICS_AGENT', { agent_id: other.id })).metrics.cgroup.cgroup_path;
  const { stdout } = await client.run({
    name: 'curious',
    ...callingAgent([
      ['SEND', { to_name: 'self', message: 1 }],
      ['RECV', {}],
      ['WRITE', { path: '/tmp/f', content: '12345' }],
      ['READ', { path: '/tmp/f' }],
      ['METRICS_AGENT', {}],
      ['METRICS_CGROUP', {}],
      ['METRICS_AGENT', { agent_id: other.id }],
      ['METRICS_CGROUP', { agent_id: other.id }],
      ['METRICS_CGROUP', { cgroup_path: ofOther }],
      ['METRICS_SYSTEM', {}],
      ['METRICS_ALL_AGENTS', {}],
    ]),
  });
  const answers = JSON.parse(stdout).map((each: { answer: unknown }) => each.answer);
  expect(answers[4].metrics).toMatchObject({
    name: 'curious',
    sandboxed: true,
    kernel_stats: {
      syscall_count: 5,
      llm_calls: 0,
      llm_tokens_used: 0,
      messages_sent: 1,
      messages_recv: 1,
      bytes_read: 5,
      bytes_written: 5,
    },
  });
  expect(answers[5]).toMatchObject({
    success: true,
    metrics: answers[4].metrics.cgroup === null ? {} : { valid: true },
  });
  for (const refused of answers.slice(6)) {
    expect(refused).toMatchObject({ success: false, code: 'FORBIDDEN' });
    expect(refused).not.toHaveProperty('metrics');
  }
  await client.call('KILL', { id: other.id, grace_ms: 0 });
});

it.each(['../../etc', '/etc', 'clove/../..', 'clove', '.', 'memory', 'a\u0000b', ''])(
  'METRICS_CGROUP reads nothing at %j',
  async (cgroupPath) => {
    expect(await client.call('METRICS_CGROUP', { cgroup_path: cgroupPath })).toMatchObject({
      success: false,
      error: 'Cgroup not found or not readable',
      cgroup_path: cgroupPath,
    });
  },
);

it('what is not of the right form is refused', async () => {
  for (const request of [[], 'x', { agent_id: '1' }, { agent_id: -1 }, { agent_id: 1.5 }]) {
    expect(await client.call('METRICS_AGENT', request)).toMatchObject({
      success: false,
      code: 'BAD_REQUEST',
    });
  }
  expect(await client.call('METRICS_CGROUP', { cgroup_path: 1 })).toMatchObject({ code: 'BAD_REQUEST' });
});

it('an agent that runs without a sandbox is not called sandboxed', async () => {
  const open = await TestKernel.boot({ sandbox: 'off' });
  try {
    const operator = await open.connect();
    const { id } = await operator.spawn({ name: 'loose', command: ['/bin/sleep', '600'] });
    const { metrics } = await operator.call('METRICS_AGENT', { agent_id: id });
    expect(metrics).toMatchObject({ name: 'loose', status: 'running', sandboxed: false });
    expect(metrics.process.memory.rss).toBeGreaterThan(0);
  } finally {
    await open.close();
  }
});
