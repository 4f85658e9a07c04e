import os from 'node:os';
import type { Logger } from 'pino';
import type { Kernel } from '../kernel.ts';
import { CallMetrics } from '../metrics/call-metrics.ts';
import { Exposition } from '../metrics/exposition.ts';
import { MetricsListener } from '../metrics/listener.ts';
import type { Family } from '../metrics/prometheus.ts';
import { KERNEL_VERSION } from '../protocol/version.ts';
import { CallTracer } from './call-tracer.ts';
import { type CallObserver, observersAsOne } from './observer.ts';
import type { TelemetryOptions } from './options.ts';
import { RESOURCE, SCHEMA_URL, SCOPE_NAME } from './semantic-conventions.ts';
import { SpanExporter, type SpanExporterLimits } from './span-exporter.ts';

/** A collector that is away must not fill the log. */
const LOST_LOG_INTERVAL_MS = 60_000;

export interface TelemetryParts {
  readonly options: TelemetryOptions;
  readonly kernel: () => Kernel;
  readonly bootId: string;
  readonly log: Logger;
  readonly limits?: SpanExporterLimits;
}

/** The page of metrics and the spans of calls, where they were asked for. */
export class Telemetry {
  /** null = nobody wants to know of calls. */
  readonly observer: CallObserver | null;
  readonly exporter: SpanExporter | null;
  readonly #parts: TelemetryParts;
  readonly #calls: CallMetrics | null;
  #listener: MetricsListener | null = null;
  #lostLoggedMs = Number.NEGATIVE_INFINITY;

  /** @throws CONFIG */
  constructor(parts: TelemetryParts) {
    this.#parts = parts;
    const { metricsPort, otlpEndpoint } = parts.options;
    this.#calls = metricsPort === null ? null : new CallMetrics();
    this.exporter = otlpEndpoint === null ? null : this.#createExporter(otlpEndpoint);
    const { exporter } = this;
    const tracer = exporter === null ? null : new CallTracer((span) => exporter.add(span));
    this.observer = observersAsOne([this.#calls, tracer].filter((each) => each !== null));
  }

  /** Of the page; null = there is none. */
  get metricsPort(): number | null {
    return this.#listener?.port ?? null;
  }

  /** Begins to serve the page. @throws SETUP_FAILED */
  async open(): Promise<void> {
    const { options, kernel, log } = this.#parts;
    if (this.#calls === null || options.metricsPort === null) return;
    const exposition = new Exposition({ kernel, calls: this.#calls, more: () => this.#families() });
    this.#listener = await MetricsListener.open({
      port: options.metricsPort,
      token: options.metricsToken,
      page: () => exposition.page(),
      onError: (error) => log.error({ err: error }, 'fault while serving metrics'),
    });
    log.info({ port: this.#listener.port }, 'metrics are served');
  }

  async close(): Promise<void> {
    await this.#listener?.close();
    await this.exporter?.close();
  }

  #createExporter(endpoint: string): SpanExporter {
    const { options, bootId, limits } = this.#parts;
    return new SpanExporter({
      endpoint,
      headers: options.otlpHeaders,
      origin: {
        resource: {
          [RESOURCE.serviceName]: 'clove-kernel',
          [RESOURCE.serviceVersion]: KERNEL_VERSION,
          [RESOURCE.serviceInstanceId]: bootId,
          [RESOURCE.hostName]: os.hostname(),
          [RESOURCE.processPid]: process.pid,
        },
        scope: { name: SCOPE_NAME, version: KERNEL_VERSION },
        schemaUrl: SCHEMA_URL,
      },
      onLost: (reason, spans) => this.#logLost(reason, spans),
      ...(limits === undefined ? {} : { limits }),
    });
  }

  #logLost(reason: string, spans: number): void {
    const now = performance.now();
    if (now - this.#lostLoggedMs < LOST_LOG_INTERVAL_MS) return;
    this.#lostLoggedMs = now;
    this.#parts.log.warn({ reason, spans, ...this.exporter?.counters }, 'spans were lost');
  }

  #families(): Family[] {
    if (this.exporter === null) return [];
    const { exported, droppedFull, lost } = this.exporter.counters;
    return [
      {
        name: 'clove_telemetry_spans_total',
        type: 'counter',
        help: 'Spans by what became of them: taken by the collector, dropped because the queue was full, or lost on the way.',
        samples: [
          { labels: { fate: 'exported' }, value: exported },
          { labels: { fate: 'dropped' }, value: droppedFull },
          { labels: { fate: 'lost' }, value: lost },
        ],
      },
      {
        name: 'clove_telemetry_spans_queued',
        type: 'gauge',
        help: 'Spans that wait.',
        samples: [{ value: this.exporter.queued }],
      },
    ];
  }
}
