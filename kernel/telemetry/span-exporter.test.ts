import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { attributesOf, FakeCollector } from './fixture.ts';
import { SPAN_KIND, type Span } from './otlp.ts';
import {
  parseHeaders,
  SPAN_EXPORTER_LIMITS,
  SpanExporter,
  type SpanExporterLimits,
} from './span-exporter.ts';

const LIMITS: SpanExporterLimits = {
  ...SPAN_EXPORTER_LIMITS,
  queue: 10,
  batch: 4,
  delayMs: 10,
  timeoutMs: 2000,
  backoffMs: 1,
};

let collector: FakeCollector;
let exporter: SpanExporter;
let lost: [string, number][];

function exporterTo(endpoint: string, limits = LIMITS): SpanExporter {
  lost = [];
  return new SpanExporter({
    endpoint,
    headers: { 'x-key': 'k' },
    origin: {
      resource: { 'service.name': 's' },
      scope: { name: 'scope', version: '1' },
      schemaUrl: 'https://example.org/1',
    },
    limits,
    onLost: (reason, spans) => lost.push([reason, spans]),
  });
}

function span(name: string): Span {
  return {
    traceId: '0'.repeat(31) + 1,
    spanId: '0'.repeat(15) + 1,
    name,
    kind: SPAN_KIND.server,
    startMs: 1_700_000_000_000.25,
    endMs: 1_700_000_000_001.5,
    attributes: { text: 'a\ud800', whole: 7, part: 0.5, yes: true, list: ['x'] },
    error: null,
  };
}

beforeEach(async () => {
  collector = await FakeCollector.start();
  exporter = exporterTo(collector.endpoint);
});
afterEach(async () => {
  await exporter.close();
  await collector.close();
});

describe('an exporter of spans', () => {
  it('sends the JSON form of the protocol', async () => {
    exporter.add({ ...span('one'), error: 'FORBIDDEN' });
    await exporter.close();
    expect(collector.requests).toHaveLength(1);
    const [request] = collector.requests;
    expect(request).toMatchObject({
      path: '/v1/traces',
      headers: { 'content-type': 'application/json', 'x-key': 'k' },
      body: {
        resourceSpans: [
          {
            resource: { attributes: [{ key: 'service.name', value: { stringValue: 's' } }] },
            schemaUrl: 'https://example.org/1',
            scopeSpans: [{ scope: { name: 'scope', version: '1' }, schemaUrl: 'https://example.org/1' }],
          },
        ],
      },
    });
    expect(collector.spans).toEqual([
      {
        traceId: '00000000000000000000000000000001',
        spanId: '0000000000000001',
        name: 'one',
        kind: 2,
        startTimeUnixNano: '1700000000000250000',
        endTimeUnixNano: '1700000000001500000',
        attributes: [
          { key: 'text', value: { stringValue: 'a\uFFFD' } },
          { key: 'whole', value: { intValue: '7' } },
          { key: 'part', value: { doubleValue: 0.5 } },
          { key: 'yes', value: { boolValue: true } },
          { key: 'list', value: { arrayValue: { values: [{ stringValue: 'x' }] } } },
        ],
        status: { code: 2, message: 'FORBIDDEN' },
      },
    ]);
    expect(attributesOf(collector.spans[0] as (typeof collector.spans)[number])).toMatchObject({ whole: 7 });
  });

  it('sends a batch when it is full or its time has come, and the rest at the end', async () => {
    for (let index = 0; index < 4; index += 1) exporter.add(span(String(index)));
    await expect.poll(() => collector.spans.length).toBe(4);
    exporter.add(span('late'));
    await expect.poll(() => collector.spans.length).toBe(5);
    for (let index = 0; index < 6; index += 1) exporter.add(span('last'));
    await exporter.close();
    expect(collector.spans).toHaveLength(11);
    expect(
      collector.requests.every(({ body }) => (body.resourceSpans[0]?.scopeSpans[0]?.spans.length ?? 0) <= 4),
    ).toBe(true);
    expect(exporter.counters).toEqual({ exported: 11, droppedFull: 0, lost: 0 });
  });

  it('drops and counts what does not fit while the collector is slow', async () => {
    const waiting: (() => void)[] = [];
    const { answer } = collector;
    collector.answer = (response) => waiting.push(() => answer(response));
    for (let index = 0; index < 4; index += 1) exporter.add(span('first'));
    await expect.poll(() => waiting.length).toBe(1);
    for (let index = 0; index < 13; index += 1) exporter.add(span('more'));
    expect(exporter.queued).toBe(10);
    expect(exporter.counters.droppedFull).toBe(3);
    collector.answer = answer;
    for (const each of waiting) each();
    await exporter.close();
    expect(exporter.counters).toEqual({ exported: 14, droppedFull: 3, lost: 0 });
  });

  it('tries again where the collector says so, and gives up in the end', async () => {
    const statuses = [503, 429, 200];
    collector.answer = (response) =>
      response.writeHead(statuses.shift() ?? 503, { 'retry-after': '0' }).end();
    for (let index = 0; index < 4; index += 1) exporter.add(span('x'));
    await expect.poll(() => exporter.counters.exported).toBe(4);
    expect(collector.requests).toHaveLength(3);
    for (let index = 0; index < 4; index += 1) exporter.add(span('y'));
    await expect.poll(() => exporter.counters.lost).toBe(4);
    expect(collector.requests).toHaveLength(3 + LIMITS.attempts);
    expect(lost).toEqual([['the collector answered HTTP 503', 4]]);
  });

  it('gives up at once where trying again is of no use', async () => {
    collector.answer = (response) => response.writeHead(400).end();
    for (let index = 0; index < 4; index += 1) exporter.add(span('x'));
    await expect.poll(() => exporter.counters.lost).toBe(4);
    expect(collector.requests).toHaveLength(1);
  });

  it('counts what the collector took only a part of', async () => {
    collector.answer = (response) => response.end('{"partialSuccess":{"rejectedSpans":"3"}}');
    for (let index = 0; index < 4; index += 1) exporter.add(span('x'));
    await expect.poll(() => exporter.counters).toEqual({ exported: 1, droppedFull: 0, lost: 3 });
  });

  it('does not keep the kernel from stopping when nobody listens', async () => {
    const { endpoint } = collector;
    await collector.close();
    const away = exporterTo(endpoint, { ...LIMITS, backoffMs: 60_000 });
    for (let index = 0; index < 9; index += 1) away.add(span('x'));
    await away.close();
    expect(away.counters).toEqual({ exported: 0, droppedFull: 0, lost: 9 });
    expect(away.queued).toBe(0);
    collector = await FakeCollector.start();
  });

  it.each(['x', 'ftp://h/', 'http://user:key@h/'])('refuses the endpoint %s', (endpoint) => {
    expect(() => exporterTo(endpoint)).toThrow(expect.objectContaining({ code: 'CONFIG' }));
  });
});

it('reads headers as OTEL_EXPORTER_OTLP_HEADERS has them', () => {
  expect(parseHeaders('')).toEqual({});
  expect(parseHeaders('Api-Key=a%20b, x=y=z,')).toEqual({ 'api-key': 'a b', x: 'y=z' });
  for (const bad of ['secret', '=secret', 'a b=secret', 'a=%zz']) {
    expect(() => parseHeaders(bad)).toThrow(
      expect.objectContaining({ code: 'CONFIG', message: expect.not.stringContaining('secret') }),
    );
  }
});
