import type { IncomingMessage } from 'node:http';
import type { RequestOptions } from 'node:https';
import { isIP } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { CloveError, isCloveError } from '../../errors/index.ts';
import { nodeHttp, nodeHttps } from './builtin.ts';
import type { Hop } from './redirects.ts';
import { hostOf, portOf } from './target.ts';

/** Status line and headers of a response, all 1xx ones apart. */
const MAX_RESPONSE_HEADER_BYTES = 32 * 1024;
/** 100, 102, 103 … before the response. */
const MAX_INTERIM_RESPONSES = 16;
/** While there is another vetted address to try. */
const CONNECT_MS = 3000;

export interface TlsOptions {
  /** Certificates to trust, PEM; default those of Node. */
  readonly ca?: string;
}

/**
 * Sends one request to addresses that were vetted, the next one when nothing answers at the first, and waits for the head
 * of the response. The name of the URL goes into SNI and Host but is never looked up here. The connection serves this one
 * request. @throws PAYLOAD_TOO_LARGE, IO, or what the signal was aborted with
 */
export async function exchange(
  hop: Hop,
  addresses: readonly string[],
  tls: TlsOptions,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  for (const [index, address] of addresses.entries()) {
    const isLast = index === addresses.length - 1;
    try {
      return await attempt(hop, address, tls, isLast ? null : CONNECT_MS, signal);
    } catch (error) {
      if (isLast || !(error instanceof NotConnected)) throw errorOf(error, signal);
    }
  }
  throw new CloveError('INTERNAL', 'no address to connect to');
}

/** Nothing of the request has left. */
class NotConnected extends Error {}
class ConnectTimeout extends Error {}

function attempt(
  hop: Hop,
  address: string,
  tls: TlsOptions,
  connectMs: number | null,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  if (signal.aborted) {
    reject(signal.reason);
    return promise;
  }
  const secure = hop.url.protocol === 'https:';
  const name = hostOf(hop.url);
  const { Agent, request: send } = secure ? nodeHttps() : nodeHttp();
  const options: RequestOptions = {
    // An address, so nothing is left to look up; the name is said to the server only.
    host: address,
    port: portOf(hop.url),
    path: `${hop.url.pathname}${hop.url.search}`,
    method: hop.method,
    setHost: false,
    headers: requestHeaders(hop),
    maxHeaderSize: MAX_RESPONSE_HEADER_BYTES,
    insecureHTTPParser: false,
    // Of its own: no connection is shared between callers or outlives its vetting, and no proxy of the environment is asked.
    agent: new Agent({ keepAlive: false }),
    ...(secure ? { servername: isIP(name) === 0 ? name.replace(/\.$/, '') : '', ...tls } : {}),
  };
  const request = send(options);
  // What comes after maxHeadersCount would be dropped without a word; maxHeaderSize bounds them.
  request.maxHeadersCount = 0;
  let connected = false;
  let interim = 0;
  const timer =
    connectMs === null
      ? null
      : setTimeout(
          () => request.destroy(new ConnectTimeout(`connect timeout after ${connectMs} ms`)),
          connectMs,
        );
  const onAbort = () => request.destroy(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  const countInterim = () => {
    interim += 1;
    if (interim > MAX_INTERIM_RESPONSES)
      request.destroy(tooMuch(`more than ${MAX_INTERIM_RESPONSES} interim responses`));
  };
  request.on('socket', (socket) => {
    socket.once('connect', () => {
      if (timer !== null) clearTimeout(timer);
      connected = true;
    });
  });
  request.on('continue', countInterim);
  request.on('information', countInterim);
  request.on('upgrade', (_response, socket: TLSSocket) => {
    socket.destroy();
    reject(failed('the server changed the protocol'));
  });
  request.on('response', (response) => {
    // An abort between here and the reading of the body must not go unheard of and take the process along.
    response.on('error', () => {});
    resolve(response);
  });
  // Stays: after the response an abort is told to the request as well.
  request.on('error', (error) =>
    reject(connected || signal.aborted ? error : new NotConnected(error.message, { cause: error })),
  );
  request.on('close', () => {
    if (timer !== null) clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    reject(failed('the connection ended without a response'));
  });
  request.end(hop.body ?? undefined);
  return promise;
}

function requestHeaders(hop: Hop): Record<string, string | number> {
  const headers: Record<string, string | number> = { ...hop.headers, host: hop.url.host };
  if (hop.body !== null) headers['content-length'] = hop.body.length;
  else if (hop.method === 'POST' || hop.method === 'PUT' || hop.method === 'PATCH')
    headers['content-length'] = 0;
  return headers;
}

export function tooMuch(what: string): CloveError {
  return new CloveError('PAYLOAD_TOO_LARGE', `Failed to execute HTTP request: ${what}`);
}

export function failed(what: string, cause?: unknown): CloveError {
  return new CloveError('IO', `Failed to execute HTTP request: ${what}`, { cause });
}

/** Whatever Node said, as what it means here. */
export function errorOf(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted && isCloveError(signal.reason)) return signal.reason;
  if (error instanceof NotConnected) return errorOf(error.cause, signal);
  if (isCloveError(error)) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  // Everything that Node reports has one; what has none is a fault of ours.
  if (code === undefined && !(error instanceof ConnectTimeout)) return error;
  if (code === 'HPE_HEADER_OVERFLOW')
    return tooMuch(`response headers are larger than ${MAX_RESPONSE_HEADER_BYTES} bytes`);
  // The address is left out of it: errors of connect name the one that was tried.
  const isErrno = code !== undefined && /^E[A-Z]+$/.test(code);
  return failed(isErrno ? code : message, error);
}
