import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Readable, type Writable } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { WebSocketServer } from 'ws';
import { isCloveError } from '../../../errors/index.ts';
import type { NetworkCaller } from '../types.ts';
import type { VirtualNetwork } from '../virtual.ts';
import { serveWebSocket, webSocketFor } from './websocket.ts';
import { piecesOf, Wire } from './wire.ts';

/** Limits of the gateway towards hostile clients: generous for programs, finite for everybody. */
const LIMITS = {
  maxHeaderSize: 64 * 1024,
  // Times of the host: they protect the kernel process. A world under a fast clock has its own time-outs.
  headersTimeout: 60_000,
  requestTimeout: 0,
  keepAliveTimeout: 60_000,
  connectionsCheckingInterval: 5_000,
};
export const MOST_HEADERS = 512;
const WEBSOCKET_BYTES = 16 * 2 ** 20;

export interface HttpServerOptions {
  readonly network: VirtualNetwork;
  readonly caller: NetworkCaller;
  /** The host behind the address that a connection was made to, for clients that name none. */
  readonly hostOf: (socket: Socket) => string;
  readonly signal: AbortSignal;
}

/** HTTP/1.1 and WebSocket on connections that are handed to it (`emit('connection')`), plain or under TLS. */
export function createHttpServer(options: HttpServerOptions): Server {
  const { network, signal } = options;
  const server = createServer(LIMITS, (request, response) => {
    answer(request, response, options).catch(() => reset(request.socket));
  });
  server.maxHeadersCount = MOST_HEADERS;
  server.on('clientError', (_error, socket) => {
    if (!socket.destroyed) socket.destroy();
  });
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: WEBSOCKET_BYTES,
    perMessageDeflate: false,
  });
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    const url = urlOf(request, options);
    const config = url === null ? null : webSocketFor(network.config.websockets, url);
    const wire = new Wire(network, options.caller, url?.hostname ?? '');
    const entry = {
      kind: 'websocket' as const,
      method: request.method ?? 'GET',
      url: (url?.href ?? request.url ?? '').replace(/^http/, 'ws'),
      requestHeaders: headerPairs(request),
    };
    if (config === null) {
      wire.log({ ...entry, outcome: 'refused', matched: null, reason: 'no WebSocket is declared there' });
      socket.end('HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    wire.pass(0, signal).then(
      () => {
        wire.log({ ...entry, outcome: 'answered', matched: 'websocket', status: 101 });
        sockets.handleUpgrade(request, socket, head, (client) =>
          serveWebSocket(config, client, wire, signal),
        );
      },
      (error: Error) => {
        wire.log({ ...entry, outcome: 'failed', matched: 'websocket', reason: error.message });
        reset(socket);
      },
    );
  });
  return server;
}

function headerPairs({ rawHeaders }: IncomingMessage): [string, string][] {
  return Array.from({ length: rawHeaders.length / 2 }, (_, index) => [
    rawHeaders[index * 2] as string,
    rawHeaders[index * 2 + 1] as string,
  ]);
}

function urlOf(request: IncomingMessage, { hostOf }: HttpServerOptions): URL | null {
  const { socket, url = '/' } = request;
  // Clients that take the world for a proxy send the whole URL.
  if (/^https?:\/\//i.test(url)) return URL.parse(url);
  const scheme = socket instanceof TLSSocket ? 'https' : 'http';
  const host = request.headers.host ?? hostOf(socket);
  return URL.parse(`${scheme}://${host}${url.startsWith('/') ? url : '/'}`);
}

/** One request, whichever version of HTTP it came by, and the ways to answer it. */
export interface Asked {
  readonly url: URL | null;
  readonly method: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Readable;
  /** Aborted when the client has gone. */
  readonly gone: AbortSignal;
  isAnswered(): boolean;
  refuse(status: number, message: string): void;
  give(response: Response, wire: Wire, until: AbortSignal): Promise<void>;
  /** As a host does that is no longer there. */
  reset(): void;
}

export async function answerAsked(
  { url, method, headers: pairs, body, gone, isAnswered, refuse, give, reset }: Asked,
  { network, caller, signal }: HttpServerOptions,
): Promise<void> {
  if (url === null || url.username !== '' || url.password !== '') return refuse(400, 'no such URL');
  if (method === 'CONNECT' || method === 'TRACE' || method === 'TRACK')
    return refuse(405, `${method} is not served in a world`);
  const until = AbortSignal.any([signal, gone]);
  const headers = new Headers();
  for (const [name, value] of pairs) headers.append(name, value);
  const hasBody = method !== 'GET' && method !== 'HEAD';
  const wire = new Wire(network, caller, url.hostname);
  try {
    const asked = new Request(url, {
      method,
      headers,
      signal: until,
      ...(hasBody
        ? { body: Readable.toWeb(body) as ReadableStream<Uint8Array>, duplex: 'half' as const }
        : {}),
    });
    if (!hasBody) body.resume();
    await give(await network.answer(asked, caller, { onWire: true }), wire, until);
  } catch (error) {
    // Nobody is there to be told; others on the same connection still are.
    if (gone.aborted) return;
    if (isAnswered()) return reset();
    const code = isCloveError(error) ? error.code : 'INTERNAL';
    if (code === 'NETWORK_REFUSED') return refuse(502, (error as Error).message);
    if (code === 'PAYLOAD_TOO_LARGE') return refuse(413, (error as Error).message);
    const handler = isCloveError(error) && error.details?.fault === 'handler';
    if (handler) return refuse(500, (error as Error).message);
    reset();
  }
}

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  options: HttpServerOptions,
): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  return answerAsked(
    {
      url: urlOf(request, options),
      method: request.method ?? 'GET',
      headers: headerPairs(request),
      body: request,
      gone: gone.signal,
      isAnswered: () => response.headersSent || response.destroyed,
      refuse: (status, message) => plain(request, response, status, message),
      give: (answered, wire, until) => give(answered, request, response, wire, until),
      reset: () => reset(request.socket),
    },
    options,
  );
}

async function give(
  answered: Response,
  request: IncomingMessage,
  response: ServerResponse,
  wire: Wire,
  signal: AbortSignal,
): Promise<void> {
  const raw: string[] = [];
  for (const [name, value] of answered.headers) {
    if (name === 'transfer-encoding' || name === 'connection' || name === 'content-length') continue;
    raw.push(name, value);
  }
  // The date of the world, which clients compare with their own.
  if (!answered.headers.has('date')) raw.push('date', new Date(wire.clock.nowMs()).toUTCString());
  response.sendDate = false;
  const streamed = answered.headers.get('content-type')?.startsWith('text/event-stream') === true;
  if (streamed) {
    response.writeHead(answered.status, raw);
    response.flushHeaders();
    for await (const chunk of answered.body ?? []) {
      await wire.pace(chunk.length, signal);
      await write(response, chunk);
    }
    response.end();
    return;
  }
  const body = new Uint8Array(await answered.arrayBuffer());
  const isNull = answered.status === 204 || answered.status === 304;
  if (!isNull) {
    const declared = request.method === 'HEAD' ? answered.headers.get('content-length') : null;
    raw.push('content-length', declared ?? String(body.length));
  }
  response.writeHead(answered.status, raw);
  if (request.method !== 'HEAD') {
    for (const piece of piecesOf(body)) {
      await wire.pace(piece.length, signal);
      await write(response, piece);
    }
  }
  response.end();
}

function write(response: ServerResponse, chunk: Uint8Array): Promise<void> | undefined {
  if (response.write(chunk)) return undefined;
  return drained(response);
}

/** When more may be written, or nobody reads any more. */
export function drained(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stream.off('drain', done).off('close', done);
      resolve();
    };
    stream.on('drain', done).on('close', done);
  });
}

function plain(request: IncomingMessage, response: ServerResponse, status: number, message: string): void {
  request.resume();
  response.sendDate = false;
  // After an answer that came before the whole request, the rest of it would be taken for the next one.
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'x-clove-world': 'refused',
    connection: 'close',
  });
  response.end(`${message}\n`);
}

/** As a host does that is no longer there: not an end, a reset. */
export function reset(socket: Socket): void {
  // Under TLS the connection below is the one to reset.
  const below = socket instanceof TLSSocket ? ((socket as { _parent?: Socket })._parent ?? socket) : socket;
  if (below.destroyed) return;
  try {
    below.resetAndDestroy();
  } catch {
    below.destroy();
  }
}
