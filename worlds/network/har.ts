import type { LoggedBody, NetworkLogEntry } from './types.ts';

// HTTP archive 1.2, as browsers and their tools read it. Times are the world's.

interface NameValue {
  readonly name: string;
  readonly value: string;
}

export interface HarEntry {
  readonly startedDateTime: string;
  readonly time: number;
  readonly request: Readonly<Record<string, unknown>> & { readonly method: string; readonly url: string };
  readonly response: Readonly<Record<string, unknown>> & { readonly status: number };
  readonly cache: Readonly<Record<string, never>>;
  readonly timings: { readonly send: number; readonly wait: number; readonly receive: number };
  /** Clove's own: who asked, what answered, which faults acted, when it was on the host's clock. */
  readonly _clove: Readonly<Record<string, unknown>>;
}

export interface Har {
  readonly log: {
    readonly version: '1.2';
    readonly creator: { readonly name: string; readonly version: string };
    readonly entries: readonly HarEntry[];
  };
}

const pairs = (headers: NetworkLogEntry['requestHeaders']): NameValue[] =>
  headers.map(([name, value]) => ({ name, value }));

const headerOf = (headers: NetworkLogEntry['requestHeaders'], wanted: string): string =>
  headers.find(([name]) => name.toLowerCase() === wanted)?.[1] ?? '';

function contentOf(body: LoggedBody | null, mimeType: string) {
  return {
    size: body?.bytes ?? 0,
    mimeType,
    text: body?.text ?? '',
    ...(body?.encoding === undefined ? {} : { encoding: body.encoding }),
    ...(body?.truncated === true ? { comment: 'truncated: only the beginning was kept' } : {}),
  };
}

export function toHar(entries: readonly NetworkLogEntry[], version: string): Har {
  return {
    log: { version: '1.2', creator: { name: 'clove', version }, entries: entries.map(harEntry) },
  };
}

function harEntry(entry: NetworkLogEntry): HarEntry {
  const url = URL.parse(entry.url);
  const requestType = headerOf(entry.requestHeaders, 'content-type');
  return {
    startedDateTime: new Date(entry.at).toISOString(),
    time: entry.durationMs,
    request: {
      method: entry.method,
      url: entry.url,
      httpVersion: 'HTTP/1.1',
      cookies: [],
      headers: pairs(entry.requestHeaders),
      queryString: [...(url?.searchParams ?? [])].map(([name, value]) => ({ name, value })),
      headersSize: -1,
      bodySize: entry.requestBody?.bytes ?? 0,
      ...(entry.requestBody === null
        ? {}
        : { postData: { mimeType: requestType, text: entry.requestBody.text } }),
    },
    response: {
      // As browsers do for requests that were never answered.
      status: entry.status ?? 0,
      statusText: entry.status === null ? (entry.reason ?? '') : '',
      httpVersion: 'HTTP/1.1',
      cookies: [],
      headers: pairs(entry.responseHeaders),
      content: contentOf(entry.responseBody, headerOf(entry.responseHeaders, 'content-type')),
      redirectURL: headerOf(entry.responseHeaders, 'location'),
      headersSize: -1,
      bodySize: entry.responseBody?.bytes ?? -1,
    },
    cache: {},
    timings: { send: 0, wait: entry.durationMs, receive: 0 },
    _clove: {
      id: entry.id,
      kind: entry.kind,
      agentId: entry.agentId,
      agent: entry.agentName,
      realTime: new Date(entry.realAt).toISOString(),
      outcome: entry.outcome,
      matched: entry.matched,
      faults: entry.faults,
      ...(entry.reason === undefined ? {} : { reason: entry.reason }),
    },
  };
}
