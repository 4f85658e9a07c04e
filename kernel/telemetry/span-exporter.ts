import { setTimeout as sleep } from 'node:timers/promises';
import { CloveError } from '../../errors/index.ts';
import { encodeTraces, type Span, type TraceOrigin } from './otlp.ts';

export interface SpanExporterLimits {
  /** Spans that wait; further ones are dropped, and counted. */
  readonly queue: number;
  /** Of one request. */
  readonly batch: number;
  /** Longest a span waits for others to go along. ms */
  readonly delayMs: number;
  readonly timeoutMs: number;
  /** Attempts of one batch, where the collector says that it is worth it. */
  readonly attempts: number;
  readonly backoffMs: number;
}

export const SPAN_EXPORTER_LIMITS: SpanExporterLimits = {
  queue: 8192,
  batch: 512,
  delayMs: 1000,
  timeoutMs: 10_000,
  attempts: 4,
  backoffMs: 500,
};

const MAX_BACKOFF_MS = 30_000;
const MAX_ANSWER_BYTES = 64 * 2 ** 10;
/** Those that the protocol says to try again. */
const RETRYABLE = new Set([429, 502, 503, 504]);

export interface SpanExporterOptions {
  /** As OTEL_EXPORTER_OTLP_ENDPOINT: `/v1/traces` is below it. */
  readonly endpoint: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly origin: TraceOrigin;
  readonly limits?: SpanExporterLimits;
  /** A batch was lost. Called at most once a batch. */
  readonly onLost: (reason: string, spans: number) => void;
}

/** Sends spans to a collector in batches, never holding up who makes them: when it cannot keep up, spans are lost and counted. */
export class SpanExporter {
  readonly counters = { exported: 0, droppedFull: 0, lost: 0 };
  readonly #options: SpanExporterOptions;
  readonly #limits: SpanExporterLimits;
  readonly #url: URL;
  #queue: Span[] = [];
  #timer: NodeJS.Timeout | null = null;
  #sending: Promise<void> | null = null;
  readonly #closing = new AbortController();

  /** @throws CONFIG */
  constructor(options: SpanExporterOptions) {
    this.#options = options;
    this.#limits = options.limits ?? SPAN_EXPORTER_LIMITS;
    this.#url = tracesUrl(options.endpoint);
  }

  get queued(): number {
    return this.#queue.length;
  }

  add(span: Span): void {
    if (this.#queue.length >= this.#limits.queue) {
      this.counters.droppedFull += 1;
      return;
    }
    this.#queue.push(span);
    if (this.#sending !== null) return;
    if (this.#queue.length >= this.#limits.batch) this.#send();
    else if (this.#timer === null) {
      this.#timer = setTimeout(() => this.#send(), this.#limits.delayMs);
      this.#timer.unref();
    }
  }

  /** Sends what waits, once; what the collector does not take now is lost. */
  async close(): Promise<void> {
    this.#closing.abort();
    while (this.#sending !== null || this.#queue.length > 0) {
      if (this.#sending === null) this.#send();
      await this.#sending;
    }
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #send(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#sending = this.#sendAll().finally(() => {
      this.#sending = null;
      if (this.#queue.length > 0 && !this.#closing.signal.aborted) this.#send();
    });
  }

  /** As long as there are whole batches, and then the rest of the moment. */
  async #sendAll(): Promise<void> {
    do {
      const batch = this.#queue.splice(0, this.#limits.batch);
      const reason = await this.#deliver(batch);
      if (reason === null) continue;
      this.counters.lost += batch.length;
      this.#options.onLost(reason, batch.length);
    } while (this.#queue.length >= this.#limits.batch);
  }

  /** null = taken; else why it is lost. */
  async #deliver(batch: readonly Span[]): Promise<string | null> {
    const body = encodeTraces(this.#options.origin, batch);
    let backoffMs = this.#limits.backoffMs;
    for (let attempt = 1; ; attempt += 1) {
      const outcome = await this.#post(body);
      if (outcome.reason === null) {
        const rejected = Math.min(outcome.rejected, batch.length);
        this.counters.exported += batch.length - rejected;
        this.counters.lost += rejected;
        if (rejected > 0) this.#options.onLost('the collector took only a part', rejected);
        return null;
      }
      if (!outcome.mayRetry || attempt >= this.#limits.attempts || this.#closing.signal.aborted)
        return outcome.reason;
      const waitMs = Math.min(MAX_BACKOFF_MS, outcome.retryAfterMs ?? backoffMs * (0.5 + Math.random()));
      await sleep(waitMs, undefined, { signal: this.#closing.signal, ref: false }).catch(() => {});
      backoffMs *= 2;
    }
  }

  async #post(body: string): Promise<{
    readonly reason: string | null;
    readonly rejected: number;
    readonly mayRetry: boolean;
    readonly retryAfterMs: number | null;
  }> {
    try {
      const response = await fetch(this.#url, {
        method: 'POST',
        headers: { ...this.#options.headers, 'content-type': 'application/json' },
        body,
        redirect: 'error',
        signal: AbortSignal.timeout(this.#limits.timeoutMs),
      });
      const text = await readStart(response);
      if (response.ok)
        return { reason: null, rejected: rejectedOf(text), mayRetry: false, retryAfterMs: null };
      const seconds = Number(response.headers.get('retry-after') ?? Number.NaN);
      return {
        reason: `the collector answered HTTP ${response.status}`,
        rejected: 0,
        mayRetry: RETRYABLE.has(response.status),
        retryAfterMs: seconds >= 0 ? seconds * 1000 : null,
      };
    } catch (error) {
      const { message, cause } = error as { message: string; cause?: { code?: string } };
      return {
        reason: `the collector cannot be reached: ${cause?.code ?? message}`,
        rejected: 0,
        mayRetry: true,
        retryAfterMs: null,
      };
    }
  }
}

/** @throws CONFIG */
function tracesUrl(endpoint: string): URL {
  const url = URL.parse(endpoint);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    throw new CloveError('CONFIG', 'the OTLP endpoint is not a URL of http or https without credentials', {
      hint: 'Credentials go into OTEL_EXPORTER_OTLP_HEADERS.',
    });
  }
  if (!url.pathname.endsWith('/v1/traces')) url.pathname = `${url.pathname.replace(/\/+$/, '')}/v1/traces`;
  return url;
}

/** What is longer than any answer should be is left. */
async function readStart(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) return '';
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function rejectedOf(text: string): number {
  try {
    const { partialSuccess } = JSON.parse(text) as { partialSuccess?: { rejectedSpans?: string | number } };
    const rejected = Number(partialSuccess?.rejectedSpans ?? 0);
    return Number.isSafeInteger(rejected) && rejected > 0 ? rejected : 0;
  } catch {
    // Some answer with nothing, which is as good.
    return 0;
  }
}

/** As OTEL_EXPORTER_OTLP_HEADERS: name=value, percent-encoded, with commas. @throws CONFIG */
export function parseHeaders(text: string): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  for (const pair of text.split(',')) {
    if (pair.trim() === '') continue;
    const [, name, value = ''] = /^\s*([!#$%&'*+.^`|~\w-]+)\s*=\s*(.*?)\s*$/.exec(pair) ?? [];
    try {
      if (name === undefined) throw new Error('no name');
      headers[name.toLowerCase()] = decodeURIComponent(value);
    } catch {
      // Without its text: there are keys in it.
      throw new CloveError('CONFIG', 'OTEL_EXPORTER_OTLP_HEADERS is not a list of name=value');
    }
  }
  return headers;
}
