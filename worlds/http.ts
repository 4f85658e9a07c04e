import { CloveError, isCloveError } from '../errors/index.ts';
import type { WorldHttpRequest, WorldHttpResponse } from '../kernel/worlds/host.ts';
import type { WorldClock } from './clock/types.ts';
import type { NetworkCaller, WorldNetwork } from './network/types.ts';

const MAX_REDIRECTS = 5;
const NO_BODY = new Set(['GET', 'HEAD']);

/**
 * One request of a member, with its redirects, within its time on the world's clock.
 * @throws NETWORK_REFUSED, NETWORK_FAULT (with the words existing clients know), TIMEOUT, PAYLOAD_TOO_LARGE, BAD_REQUEST
 */
export async function fetchAs(
  network: WorldNetwork,
  clock: WorldClock,
  caller: NetworkCaller,
  request: WorldHttpRequest,
): Promise<WorldHttpResponse> {
  const startedMs = clock.monotonicMs();
  const late = new AbortController();
  const limit = clock.setTimer(startedMs + request.timeoutMs, () => late.abort());
  const signal = AbortSignal.any([request.signal, late.signal]);
  try {
    let url = parse(request.url);
    let method = request.method.toUpperCase();
    let body = NO_BODY.has(method) ? null : request.body;
    for (let redirects = 0; ; redirects += 1) {
      const headers = headersFor(request, url);
      const response = await network.fetch(
        new Request(url, {
          method,
          headers,
          signal,
          ...(body === null ? {} : { body: new Uint8Array(body) }),
        }),
        caller,
      );
      const location = response.headers.get('location');
      const isRedirect = response.status >= 301 && response.status <= 308 && response.status !== 304;
      if (request.redirect === 'follow' && isRedirect && location !== null) {
        if (redirects === MAX_REDIRECTS) throw new CloveError('IO', `more than ${MAX_REDIRECTS} redirects`);
        url = parse(new URL(location, url).href);
        if (response.status === 303 || (response.status < 303 && method === 'POST')) {
          method = method === 'HEAD' ? 'HEAD' : 'GET';
          body = null;
        }
        continue;
      }
      const bytes = Buffer.from(await response.arrayBuffer());
      if (bytes.length > request.maxBytes) {
        throw new CloveError('PAYLOAD_TOO_LARGE', `the response is larger than ${request.maxBytes} bytes`);
      }
      const { 'set-cookie': _, ...plain } = Object.fromEntries(response.headers);
      return {
        status: response.status,
        headers: plain,
        setCookies: response.headers.getSetCookie(),
        body: bytes,
        url: url.href,
        redirects,
        durationMs: clock.monotonicMs() - startedMs,
      };
    }
  } catch (error) {
    if (late.signal.aborted) {
      throw new CloveError(
        'TIMEOUT',
        `timeout: no answer within ${request.timeoutMs} ms of the world’s time`,
        {
          cause: error,
        },
      );
    }
    throw inKnownWords(error);
  } finally {
    limit.cancel();
  }
}

/** What existing clients look for is the message; what really happened is the hint. */
function inKnownWords(error: unknown): unknown {
  if (!isCloveError(error)) return error;
  const known: Readonly<Record<string, string>> = {
    NETWORK_REFUSED: 'No mock response configured for URL',
    NETWORK_FAULT: 'Simulated network failure (chaos)',
  };
  const message = known[error.code];
  if (message === undefined) return error;
  return new CloveError(error.code, message, {
    cause: error,
    hint: error.message,
    ...(error.details === undefined ? {} : { details: error.details }),
  });
}

function parse(text: string): URL {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new CloveError('BAD_REQUEST', 'invalid request: url must be http or https');
  }
  return url;
}

/** To another origin no secrets go along. */
function headersFor(request: WorldHttpRequest, url: URL): Headers {
  try {
    const headers = new Headers({ ...request.headers });
    if (url.origin !== parse(request.url).origin)
      for (const name of ['authorization', 'cookie']) headers.delete(name);
    return headers;
  } catch (error) {
    if (isCloveError(error)) throw error;
    throw new CloveError('BAD_REQUEST', `invalid request: ${(error as Error).message}`);
  }
}
