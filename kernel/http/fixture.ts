import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import net, { type AddressInfo, type Server, type Socket } from 'node:net';
import { CloveError } from '../../errors/index.ts';
import type { Caller } from '../identity.ts';
import type { HttpPolicy } from './policy.ts';

/** A server on loopback for tests; what it was asked is kept. */
export class LoopbackServer {
  readonly port: number;
  readonly requests: { method: string; url: string; headers: http.IncomingHttpHeaders; body: string }[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  static async #listen(server: Server, host: string): Promise<LoopbackServer> {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, host, resolve);
    });
    return new LoopbackServer(server);
  }

  static async http(
    answer: (request: IncomingMessage, response: ServerResponse, body: string) => void,
    create: (onRequest: http.RequestListener) => Server = (onRequest) => http.createServer(onRequest),
    host = '127.0.0.1',
  ): Promise<LoopbackServer> {
    let self: LoopbackServer | null = null;
    const server = create((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const body = Buffer.concat(chunks).toString();
        const { method = '', url = '', headers } = request;
        self?.requests.push({ method, url, headers, body });
        answer(request, response, body);
      });
    });
    self = await LoopbackServer.#listen(server, host);
    return self;
  }

  /** Says whatever it likes once a connection has sent something. */
  static raw(speak: (socket: Socket) => void): Promise<LoopbackServer> {
    const server = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => speak(socket));
    });
    return LoopbackServer.#listen(server, '127.0.0.1');
  }

  get connections(): number {
    return this.#sockets.size;
  }

  url(path = '/', host = '127.0.0.1', scheme = 'http'): string {
    return `${scheme}://${host}:${this.port}${path}`;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export const TEST_CALLER: Caller = {
  id: 7,
  kind: 'agent',
  connection: 1,
  peer: { pid: 1, uid: 1, gid: 1 },
};

/** Lets everything through, and private addresses if told so. */
export function openPolicy(privateNetwork: boolean): HttpPolicy {
  return { check: () => ({ refusal: null, privateNetwork }) };
}

/** Lets these hosts (with port) through, to wherever they resolve. */
export function hostPolicy(hosts: readonly string[], privateNetwork = true): HttpPolicy {
  return {
    check: (_caller, url) => ({
      refusal: hosts.includes(url.host) ? null : new CloveError('FORBIDDEN', `not granted: ${url.host}`),
      privateNetwork,
    }),
  };
}
