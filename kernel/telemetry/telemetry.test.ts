import { afterEach, describe, expect, it } from 'vitest';
import { callingAgent, type TestClient, TestKernel, until } from '../fixture.ts';
import { CallMetrics } from '../metrics/call-metrics.ts';
import { Exposition } from '../metrics/exposition.ts';
import { type ParsedFamily, parsePrometheus } from '../metrics/prometheus-testing.ts';
import { attributesOf, type CollectedSpan, FakeCollector } from './fixture.ts';
import { SCHEMA_URL } from './semantic-conventions.ts';

let kernel: TestKernel;
let collector: FakeCollector | null = null;

afterEach(async () => {
  await kernel?.close();
  await collector?.close();
  collector = null;
});

async function boot(options: Parameters<typeof TestKernel.boot>[0]): Promise<TestClient> {
  kernel = await TestKernel.boot({ llm: { provider: 'mock' }, ...options });
  return kernel.connect();
}

async function scrape(): Promise<ReadonlyMap<string, ParsedFamily>> {
  const { metricsPort } = kernel.running.kernel.telemetry;
  const response = await fetch(`http://127.0.0.1:${metricsPort}/metrics`);
  expect(response.status).toBe(200);
  return parsePrometheus(await response.text());
}

function figure(
  families: ReadonlyMap<string, ParsedFamily>,
  name: string,
  labels: Record<string, string> = {},
): number | undefined {
  const family = families.get(name.replace(/_(bucket|sum|count)$/, '')) ?? families.get(name);
  return family?.samples.find(
    (sample) =>
      sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
  )?.value;
}

describe('the page of metrics', () => {
  it('shows machine, kernel, calls and agents', async () => {
    const client = await boot({ telemetry: { metricsPort: 0 } });
    for (let index = 0; index < 3; index += 1) await client.call('HELLO');
    await client.call('FETCH', {});
    await client.callText(0xee, '{}');
    await client.call('THINK', { prompt: 'a b c', async: false });
    await client.call('THINK', { prompt: 'a b c', request_id: 5 });
    await client.call('ASYNC_POLL', { request_id: 5, wait: true });
    const { id } = await client.spawn({
      name: 'shown',
      command: [
        'sh',
        '-c',
        'node -e "$1" "$2"; sleep 60',
        'sh',
        ...(callingAgent([['LLM_REPORT', { tokens: 42 }]]).command as string[]).slice(2),
      ],
      limits: { memory: 128 * 2 ** 20 },
    });
    await until(async () => {
      const { metrics } = await client.call('METRICS_AGENT', { agent_id: id });
      return metrics.kernel_stats.llm_tokens_used === 42;
    });
    const page = await scrape();
    expect(figure(page, 'clove_syscalls_total', { syscall: 'HELLO', outcome: 'OK' })).toBe(3);
    expect(figure(page, 'clove_syscalls_total', { syscall: 'FETCH', outcome: 'BAD_REQUEST' })).toBe(1);
    expect(figure(page, 'clove_syscalls_total', { syscall: 'UNKNOWN', outcome: 'UNKNOWN_SYSCALL' })).toBe(1);
    expect(figure(page, 'clove_syscalls_total', { syscall: 'THINK' })).toBe(2);
    expect(figure(page, 'clove_async_calls_total', { syscall: 'THINK', outcome: 'OK' })).toBe(1);
    expect(figure(page, 'clove_syscall_duration_seconds_count', { syscall: 'HELLO' })).toBe(3);
    expect(figure(page, 'clove_syscall_duration_quantile_seconds', { syscall: 'HELLO' })).toBeGreaterThan(0);
    expect(figure(page, 'clove_syscalls_in_flight')).toBe(0);
    expect(figure(page, 'clove_info', { boot: kernel.running.bootId, sandbox: 'required' })).toBe(1);
    expect(figure(page, 'clove_wire_frames_received_total')).toBeGreaterThan(8);
    expect(figure(page, 'clove_llm_questions_total', { outcome: 'answered' })).toBe(2);
    expect(figure(page, 'clove_llm_tokens_total', { type: 'input' })).toBe(6);
    expect(figure(page, 'clove_system_memory_total_bytes')).toBeGreaterThan(2 ** 20);
    expect(figure(page, 'clove_agents', { state: 'running' })).toBe(1);
    const agent = { agent_id: String(id), agent: 'shown' };
    expect(figure(page, 'clove_agent_cpu_seconds_total', agent)).toBeGreaterThan(0);
    expect(figure(page, 'clove_agent_pids', agent)).toBeGreaterThan(0);
    expect(figure(page, 'clove_agent_llm_tokens_total', agent)).toBe(42);
    expect(figure(page, 'clove_agent_syscalls_total', agent)).toBe(1);
    expect(figure(page, 'clove_agents_without_series')).toBe(0);
  });

  it('keeps to a number of series, and says how many are missing', async () => {
    const client = await boot({});
    for (let index = 0; index < 4; index += 1) await client.spawn({ command: ['sleep', '60'] });
    const exposition = new Exposition({
      kernel: () => kernel.running.kernel,
      calls: new CallMetrics(),
      more: () => [],
      maxAgentSeries: 3,
    });
    const page = parsePrometheus(await exposition.page());
    expect(page.get('clove_agent_restarts_total')?.samples).toHaveLength(3);
    expect(figure(page, 'clove_agents_without_series')).toBe(1);
    expect(figure(page, 'clove_agents', { state: 'running' })).toBe(4);
  });

  it('gathers its figures once for all who ask at the same time', async () => {
    await boot({ telemetry: { metricsPort: 0, metricsToken: 'a-token-of-the-operator' } });
    const url = `http://127.0.0.1:${kernel.running.kernel.telemetry.metricsPort}/metrics`;
    const headers = { authorization: 'Bearer a-token-of-the-operator' };
    const pages = await Promise.all(
      Array.from({ length: 8 }, async () => (await fetch(url, { headers })).text()),
    );
    expect(new Set(pages).size).toBe(1);
    expect((await fetch(url)).status).toBe(401);
  });

  it('has no series that a caller can make: a hundred thousand unknown names and codes are one', () => {
    const calls = new CallMetrics();
    for (let index = 0; index < 100_000; index += 1) {
      const key = {};
      calls.begin(key, { context: {} as never, definition: undefined, opcode: index % 256, isLater: false });
      calls.ended(key, 'UNKNOWN_SYSCALL');
    }
    const total = calls.families().find(({ name }) => name === 'clove_syscalls_total');
    expect(total?.samples).toEqual([
      { labels: { syscall: 'UNKNOWN', outcome: 'UNKNOWN_SYSCALL' }, value: 100_000 },
    ]);
  });

  it('is not there unless asked for, nor is anybody told of calls', async () => {
    await boot({});
    const { telemetry, dispatcher } = kernel.running.kernel;
    expect([telemetry.metricsPort, telemetry.exporter, dispatcher.observer]).toEqual([null, null, null]);
  });
});

describe('spans of calls', () => {
  const spanNamed = (name: string): CollectedSpan => {
    const span = collector?.spans.find((each) => each.name === name);
    expect(span, name).toBeDefined();
    return span as CollectedSpan;
  };

  it('tell which call it was, whose, how long and how it ended, and nothing of what was in it', async () => {
    collector = await FakeCollector.start();
    const client = await boot({
      telemetry: { otlpEndpoint: collector.endpoint, otlpHeaders: { 'x-key': 'k' }, metricsPort: 0 },
    });
    await client.call('STORE', { key: 'the-key', value: 'the-secret' });
    await client.call('FETCH', { key: 7 });
    const agent = await client.run({ name: 'traced', ...callingAgent([['LIST', {}]]) });
    await client.call('THINK', {
      prompt: 'the-secret',
      async: false,
      model: 'mock-2',
      max_tokens: 3,
      temperature: 0.5,
    });
    await client.call('THINK', { prompt: 'later', request_id: 9 });
    await client.call('ASYNC_POLL', { request_id: 9, wait: true });
    const exporter = kernel.running.kernel.telemetry.exporter;
    await until(() => exporter?.queued === 0 && exporter.counters.exported > 0);
    await until(() => collector?.spans.some(({ name }) => name === 'ASYNC_POLL') === true);

    expect(JSON.stringify(collector.requests.map(({ body }) => body))).not.toContain('the-secret');
    expect(collector.requests[0]).toMatchObject({
      headers: { 'x-key': 'k' },
      body: { resourceSpans: [{ schemaUrl: SCHEMA_URL }] },
    });
    const stored = spanNamed('STORE');
    expect(stored).toMatchObject({ kind: 2, status: {} });
    expect(stored.traceId).toMatch(/^[0-9a-f]{32}$/);
    expect(stored.spanId).toMatch(/^[0-9a-f]{16}$/);
    expect(BigInt(stored.endTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(stored.startTimeUnixNano));
    expect(attributesOf(stored)).toMatchObject({
      'clove.syscall.name': 'STORE',
      'clove.syscall.opcode': 0x30,
      'clove.outcome': 'OK',
      'clove.caller.kind': 'operator',
    });
    expect(spanNamed('FETCH')).toMatchObject({ status: { code: 2, message: 'BAD_REQUEST' } });
    expect(attributesOf(spanNamed('FETCH'))).toMatchObject({ 'error.type': 'BAD_REQUEST' });
    expect(attributesOf(spanNamed('LIST'))).toMatchObject({
      'clove.caller.kind': 'agent',
      'gen_ai.agent.id': String(agent.agent_id ?? agent.id),
      'gen_ai.agent.name': 'traced',
    });
    const chat = spanNamed('chat mock-2');
    expect(chat.kind).toBe(3);
    expect(attributesOf(chat)).toMatchObject({
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'mock',
      'gen_ai.request.model': 'mock-2',
      'gen_ai.request.max_tokens': 3,
      'gen_ai.request.temperature': 0.5,
      'gen_ai.response.model': 'mock-2',
      'gen_ai.response.finish_reasons': ['length'],
      'gen_ai.usage.input_tokens': 1,
      'gen_ai.usage.output_tokens': 3,
    });
    expect(spanNamed('THINK').kind).toBe(2);
    expect(attributesOf(spanNamed('chat mock'))).toMatchObject({
      'clove.async': true,
      'gen_ai.usage.input_tokens': 1,
    });
    const page = await scrape();
    expect(figure(page, 'clove_telemetry_spans_total', { fate: 'exported' })).toBeGreaterThan(5);
  });

  it('do not hold up calls or the end of the kernel when the collector is away', async () => {
    const away = await FakeCollector.start();
    const { endpoint } = away;
    await away.close();
    const client = await boot({ telemetry: { otlpEndpoint: endpoint } });
    for (let index = 0; index < 50; index += 1) expect((await client.call('HELLO')).success).toBe(true);
    const { exporter } = kernel.running.kernel.telemetry;
    await kernel.close();
    expect(exporter?.counters).toMatchObject({ exported: 0, lost: 50 });
  });
});
