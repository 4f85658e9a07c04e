import type { IncomingMessage } from 'node:http';
import { CloveError } from '../../errors/index.ts';
import { contentFields } from '../files/fd.ts';
import type { Caller } from '../identity.ts';
import { readBody } from './body.ts';
import { Deadline } from './deadline.ts';
import { errorOf, exchange, failed, type TlsOptions } from './exchange.ts';
import { type Headers, prepareHeaders, receivedHeaders } from './headers.ts';
import type { HttpPolicy } from './policy.ts';
import { type Hop, nextHop } from './redirects.ts';
import { Resolver } from './resolve.ts';
import { ByteRoom, type RoomLimits, Slots } from './slots.ts';
import { parseMethod, parseTarget } from './target.ts';

/** Largest body of a response; in JSON it may grow by a third. */
export const MAX_BODY_BYTES = 8 * 2 ** 20;
export const MAX_REDIRECTS = 5;

export interface HttpRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly body: Buffer | null;
  readonly redirect: 'follow' | 'manual';
  /** All of it, from the resolving of the name to the last byte. */
  readonly timeoutMs: number;
  /** Of the body, decoded. */
  readonly maxBytes: number;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly setCookies: readonly string[];
  readonly body: string;
  /** Of `body` when its bytes are not text. */
  readonly encoding: 'base64' | undefined;
  readonly url: string;
  readonly redirects: number;
  readonly durationMs: number;
}

/** The response of the last server of a chain, its body unread. */
export interface LastHop {
  readonly response: IncomingMessage;
  readonly url: URL;
  readonly redirects: number;
  readonly signal: AbortSignal;
}

export interface HttpClientOptions {
  readonly policy: HttpPolicy;
  readonly resolver?: Resolver;
  readonly tls?: TlsOptions;
  /** For bodies that are being read. */
  readonly room?: RoomLimits;
}

const BODY_ROOM: RoomLimits = { perCallerBytes: 64 * 2 ** 20, totalBytes: 256 * 2 ** 20 };

/** HTTP on behalf of callers that have no network: each request and each redirect is judged, resolved once and pinned. */
export class HttpClient {
  /** Requests that callers wait for. */
  readonly slots = new Slots('HTTP requests', { perCaller: 8, total: 256 });
  /** Those that run while their callers do something else. */
  readonly background = new Slots('HTTP requests', { perCaller: 8, total: 256 });
  readonly #room: ByteRoom;
  readonly #policy: HttpPolicy;
  readonly #resolver: Resolver;
  readonly #tls: TlsOptions;

  constructor({ policy, resolver = new Resolver(), tls = {}, room = BODY_ROOM }: HttpClientOptions) {
    this.#policy = policy;
    this.#resolver = resolver;
    this.#tls = tls;
    this.#room = new ByteRoom(room);
  }

  /** Of bodies that are being read. */
  get bodyBytes(): number {
    return this.#room.totalBytes;
  }

  /** Judges a request before anything happens. @throws BAD_REQUEST, FORBIDDEN */
  prepare(caller: Caller, request: HttpRequest): Hop {
    const url = parseTarget(request.url);
    const method = parseMethod(request.method);
    // As existing clients know it: they may give one with every request.
    const body = method === 'GET' || method === 'HEAD' ? null : request.body;
    const headers = prepareHeaders(request.headers, url, body?.length ?? 0);
    this.#judge(caller, url, method);
    return { url, method, headers, body };
  }

  /** @throws FORBIDDEN, TIMEOUT, CANCELLED, PAYLOAD_TOO_LARGE, OVERLOAD, IO */
  request(caller: Caller, request: HttpRequest, hop: Hop, signal: AbortSignal): Promise<HttpAnswer> {
    const startedAt = performance.now();
    return this.open(caller, request, hop, signal, async (last) => {
      const bytes = await this.#collect(caller.id, last, request.maxBytes);
      const { headers, setCookies } = receivedHeaders(last.response.rawHeaders);
      const { content, encoding } = contentFields(bytes);
      return {
        status: last.response.statusCode ?? 0,
        headers,
        setCookies,
        body: content,
        encoding,
        url: last.url.href,
        redirects: last.redirects,
        durationMs: performance.now() - startedAt,
      };
    });
  }

  /** Follows redirects up to the last response and gives it to `consume`; when that is done the connection is, too. */
  async open<Result>(
    caller: Caller,
    request: Pick<HttpRequest, 'redirect' | 'timeoutMs'>,
    first: Hop,
    signal: AbortSignal,
    consume: (last: LastHop) => Promise<Result>,
  ): Promise<Result> {
    using deadline = new Deadline(signal, request.timeoutMs, 'HTTP');
    let hop = first;
    for (let redirects = 0; ; redirects += 1) {
      const privateNetwork = this.#judge(caller, hop.url, hop.method);
      const addresses = await deadline.race(this.#resolver.resolve(caller.id, hop.url, privateNetwork));
      const response = await exchange(hop, addresses, this.#tls, deadline.signal);
      try {
        const next =
          request.redirect === 'follow'
            ? nextHop(hop, response.statusCode ?? 0, response.headers.location)
            : null;
        if (next === null) {
          return await consume({ response, url: hop.url, redirects, signal: deadline.signal });
        }
        if (redirects === MAX_REDIRECTS) throw failed(`more than ${MAX_REDIRECTS} redirects`);
        hop = next;
      } catch (error) {
        throw errorOf(error, deadline.signal);
      } finally {
        response.destroy();
      }
    }
  }

  /** Whether private addresses are allowed. @throws FORBIDDEN */
  #judge(caller: Caller, url: URL, method: string): boolean {
    const { refusal, privateNetwork } = this.#policy.check(caller, url, method);
    if (refusal !== null) throw refusal;
    return privateNetwork;
  }

  async #collect(callerId: number, { response, signal }: LastHop, maxBytes: number): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let taken = 0;
    try {
      await readBody(response, maxBytes, signal, (chunk) => {
        if (!this.#room.take(callerId, chunk.length)) {
          throw new CloveError('OVERLOAD', 'the responses that are being read take up too much memory');
        }
        taken += chunk.length;
        chunks.push(chunk);
      });
      return Buffer.concat(chunks);
    } finally {
      this.#room.give(callerId, taken);
    }
  }
}
