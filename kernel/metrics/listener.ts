import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CloveError } from '../../errors/index.ts';
import { nodeHttp } from '../http/builtin.ts';
import { PROMETHEUS_CONTENT_TYPE } from './prometheus.ts';

const MAX_CONNECTIONS = 64;
/** Another site's page cannot have the browser read this one under a name of its own. */
const LOCAL_HOST = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/i;

export interface MetricsListenerOptions {
  /** 0 = any that is free. */
  readonly port: number;
  /** Asked for as a bearer token; null = any process of this machine may read. */
  readonly token: string | null;
  readonly page: () => Promise<string>;
  readonly onError: (error: unknown) => void;
}

/** Serves one page to this machine alone: GET /metrics. */
export class MetricsListener {
  readonly #server: Server;
  readonly #options: MetricsListenerOptions;
  readonly #tokenDigest: Buffer | null;

  private constructor(options: MetricsListenerOptions) {
    this.#options = options;
    this.#tokenDigest = options.token === null ? null : digest(options.token);
    this.#server = nodeHttp().createServer(
      {
        headersTimeout: 5000,
        requestTimeout: 30_000,
        connectionsCheckingInterval: 1000,
        keepAliveTimeout: 5000,
        maxHeaderSize: 16_384,
        insecureHTTPParser: false,
        requireHostHeader: true,
      },
      (request, response) => this.#serve(request, response),
    );
    this.#server.maxHeadersCount = 64;
    this.#server.maxRequestsPerSocket = 1000;
    this.#server.maxConnections = MAX_CONNECTIONS;
    // Who cannot speak the protocol is told nothing.
    this.#server.on('clientError', (_error, socket) => socket.destroy());
  }

  /** @throws SETUP_FAILED */
  static async open(options: MetricsListenerOptions): Promise<MetricsListener> {
    const listener = new MetricsListener(options);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    listener.#server.once('error', reject);
    listener.#server.listen(options.port, '127.0.0.1', resolve);
    try {
      await promise;
    } catch (error) {
      throw new CloveError('SETUP_FAILED', `cannot serve metrics on port ${options.port}`, {
        cause: error,
        hint: String((error as Error).message),
      });
    }
    listener.#server.on('error', options.onError);
    return listener;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const refusal = this.#refusalOf(request);
    if (refusal !== null) {
      answer(response, refusal, `${refusal}\n`, request.method);
      return;
    }
    this.#options.page().then(
      (page) => answer(response, 200, page, request.method),
      (error: unknown) => {
        this.#options.onError(error);
        answer(response, 500, '500\n', request.method);
      },
    );
  }

  /** The status to refuse with, null = welcome. */
  #refusalOf({ headers, method, url }: IncomingMessage): number | null {
    if (!LOCAL_HOST.test(headers.host ?? '')) return 403;
    if (Number(headers['content-length'] ?? 0) > 0 || headers['transfer-encoding'] !== undefined) return 413;
    if (this.#tokenDigest !== null) {
      const [, token = ''] = /^Bearer +(\S{1,1024})$/i.exec(headers.authorization ?? '') ?? [];
      if (!timingSafeEqual(digest(token), this.#tokenDigest)) return 401;
    }
    if (url?.split('?')[0] !== '/metrics') return 404;
    return method === 'GET' || method === 'HEAD' ? null : 405;
  }
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

function answer(response: ServerResponse, status: number, text: string, method: string | undefined): void {
  const body = Buffer.from(text);
  response.writeHead(status, {
    'content-type': status === 200 ? PROMETHEUS_CONTENT_TYPE : 'text/plain; charset=utf-8',
    'content-length': body.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
    ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
    // What else the client sends has no place here.
    ...(status === 200 ? {} : { connection: 'close' }),
  });
  response.end(method === 'HEAD' ? undefined : body);
}
