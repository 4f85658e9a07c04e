import {
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Stream,
} from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { answerAsked, drained, type HttpServerOptions, MOST_HEADERS, reset } from './http-server.ts';
import { piecesOf, type Wire } from './wire.ts';

/** Streams of one connection at a time, and what a client may send of headers. */
const SETTINGS = { maxConcurrentStreams: 128, maxHeaderListSize: 64 * 1024, enablePush: false };
/** Headers of a connection, which this version of HTTP does not have. */
const OF_CONNECTION = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'content-length',
]);

/** HTTP/2 on a connection under TLS whose client has chosen it; answers are those of HTTP/1.1. */
export function serveHttp2(socket: TLSSocket, options: HttpServerOptions): void {
  const session = performServerHandshake(socket, {
    settings: SETTINGS,
    maxHeaderListPairs: MOST_HEADERS,
    // A client that resets streams or sends nonsense for ever is cut off.
    maxSessionInvalidFrames: 100,
    maxSessionRejectedStreams: 100,
    maxSessionMemory: 10,
  });
  const end = () => session.destroy();
  session.on('error', end);
  socket.on('error', end);
  options.signal.addEventListener('abort', end, { once: true });
  session.once('close', () => options.signal.removeEventListener('abort', end));
  session.on(
    'stream',
    (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, raw: string[]) => {
      stream.on('error', () => stream.destroy());
      const gone = new AbortController();
      stream.once('close', () => gone.abort());
      const cut = () => {
        session.destroy();
        reset(socket);
      };
      answerAsked(
        {
          url: urlOf(headers, socket, options),
          method: String(headers[':method'] ?? 'GET'),
          headers: pairsOf(raw),
          body: stream,
          gone: gone.signal,
          isAnswered: () => stream.headersSent || stream.destroyed,
          refuse: (status, message) => refuse(stream, status, message),
          give: (answered, wire, until) => give(answered, stream, headers[':method'] === 'HEAD', wire, until),
          reset: cut,
        },
        options,
      ).catch(cut);
    },
  );
}

function urlOf(headers: IncomingHttpHeaders, socket: TLSSocket, { hostOf }: HttpServerOptions): URL | null {
  const host = headers[':authority'] ?? headers.host ?? hostOf(socket);
  const at = String(headers[':path'] ?? '/');
  return URL.parse(`https://${String(host)}${at.startsWith('/') ? at : '/'}`);
}

/** Without what stands for the request line, and with the host where HTTP/1.1 has it. */
function pairsOf(raw: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const [name, value] = [raw[index] as string, raw[index + 1] as string];
    if (name === ':authority') pairs.unshift(['host', value]);
    else if (!name.startsWith(':')) pairs.push([name, value]);
  }
  return pairs;
}

function refuse(stream: ServerHttp2Stream, status: number, message: string): void {
  if (stream.destroyed) return;
  stream.respond({
    ':status': status,
    'content-type': 'text/plain; charset=utf-8',
    'x-clove-world': 'refused',
  });
  stream.end(`${message}\n`);
  // The rest of a request that nobody reads.
  stream.resume();
}

async function give(
  answered: Response,
  stream: ServerHttp2Stream,
  isHead: boolean,
  wire: Wire,
  signal: AbortSignal,
): Promise<void> {
  const headers: OutgoingHttpHeaders = { ':status': answered.status };
  for (const [name, value] of answered.headers)
    if (!OF_CONNECTION.has(name) && name !== 'set-cookie') headers[name] = value;
  const cookies = answered.headers.getSetCookie();
  if (cookies.length > 0) headers['set-cookie'] = cookies;
  // The date of the world, which clients compare with their own.
  headers.date ??= new Date(wire.clock.nowMs()).toUTCString();
  const streamed = answered.headers.get('content-type')?.startsWith('text/event-stream') === true;
  const isNull = isHead || answered.status === 204 || answered.status === 304;
  if (streamed && !isNull) {
    stream.respond(headers, { waitForTrailers: false });
    for await (const chunk of answered.body ?? []) {
      await wire.pace(chunk.length, signal);
      await write(stream, chunk);
    }
    stream.end();
    return;
  }
  const body = new Uint8Array(await answered.arrayBuffer());
  if (!isNull) headers['content-length'] = String(body.length);
  else if (isHead) headers['content-length'] = answered.headers.get('content-length') ?? String(body.length);
  stream.respond(headers, { endStream: isNull });
  if (isNull) return;
  for (const piece of piecesOf(body)) {
    await wire.pace(piece.length, signal);
    await write(stream, piece);
  }
  stream.end();
}

function write(stream: ServerHttp2Stream, chunk: Uint8Array): Promise<void> | undefined {
  if (stream.destroyed || stream.closed || stream.rstCode !== constants.NGHTTP2_NO_ERROR) return undefined;
  if (stream.write(chunk)) return undefined;
  return drained(stream);
}
