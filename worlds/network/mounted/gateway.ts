import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import type { Server as HttpServer } from 'node:http';
import { createServer, type Server, Socket } from 'node:net';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls';
import { isCloveError } from '../../../errors/index.ts';
import type { WorldNetworkSpace } from '../../../native/index.ts';
import { hostMatcher } from '../patterns.ts';
import type { TcpServiceConfig } from '../schema.ts';
import type { NetworkCaller } from '../types.ts';
import type { VirtualNetwork } from '../virtual.ts';
import { type AgentAddress, type NameTable, plainAddress } from './addresses.ts';
import type { Authority } from './authority.ts';
import { answerQuery } from './dns.ts';
import { createHttpServer, type HttpServerOptions, reset } from './http-server.ts';
import { serveHttp2 } from './http2-server.ts';
import { serveTcp } from './tcp.ts';
import { Wire } from './wire.ts';

/** How long a client may say nothing before it is known what it wants, in ms of the host. */
const SILENCE_MS = 30_000;
const CONNECT_MS = 10_000;
/** First byte of a TLS record that shakes hands. */
const TLS_HANDSHAKE = 0x16;
const DNS_PORT = 53;
const MOST_DNS_BYTES = 65_535;

export interface GatewayOptions {
  readonly network: VirtualNetwork;
  readonly names: NameTable;
  readonly authority: Authority;
  readonly caller: NetworkCaller;
  readonly space: WorldNetworkSpace;
  /** A connection to where another agent listens. */
  readonly connectToAgent: (agent: AgentAddress, port: number) => Promise<Socket>;
}

/** What one agent meets instead of a network: servers of the kernel process on sockets inside of the agent's namespace. */
export class Gateway {
  readonly #options: GatewayOptions;
  readonly #servers: Server[];
  readonly #http: HttpServer;
  readonly #tls: TlsServer;
  readonly #udp: UdpSocket;
  readonly #tcpServices: readonly {
    readonly service: TcpServiceConfig;
    readonly isHost: (host: string) => boolean;
  }[];
  readonly #connections = new Set<Socket>();
  readonly #closed = new AbortController();

  private constructor(options: GatewayOptions) {
    this.#options = options;
    const { network, names, space, caller } = options;
    this.#tcpServices = network.config.tcp.map((service) => ({ service, isHost: hostMatcher(service.host) }));
    const served: HttpServerOptions = {
      network,
      caller,
      hostOf: (socket) => names.nameOf(socket.localAddress ?? '') ?? hostText(socket.localAddress ?? ''),
      signal: this.#closed.signal,
    };
    this.#http = createHttpServer(served);
    this.#tls = createTlsServer({
      ALPNProtocols: ['h2', 'http/1.1'],
      SNICallback: (name, done) => {
        this.#contextFor(name).then((context) => done(null, context), done);
      },
    });
    this.#tls.on('secureConnection', (socket) => {
      if (socket.alpnProtocol === 'h2') serveHttp2(socket, served);
      else this.#http.emit('connection', socket);
    });
    this.#tls.on('tlsClientError', (error, socket) => {
      new Wire(network, caller, '').log({
        kind: 'tls',
        method: 'HANDSHAKE',
        url: `tls://${names.nameOf(socket.localAddress ?? '') ?? socket.localAddress ?? ''}`,
        outcome: 'failed',
        matched: null,
        reason: error.message,
      });
      socket.destroy();
    });
    this.#servers = [];
    this.#udp = createSocket({ type: 'udp6' });
    void space;
  }

  /** Serves from now on; the sockets of the space are the gateway's. */
  static async open(options: GatewayOptions): Promise<Gateway> {
    const gateway = new Gateway(options);
    const { space } = options;
    const listeners = [
      ...(space.anyFd === null ? [] : [space.anyFd]),
      ...space.listeners.map(([, fd]) => fd),
      space.dnsTcpFd,
    ];
    for (const fd of listeners) gateway.#servers.push(await gateway.#serve(fd));
    await gateway.#serveDns(space.dnsUdpFd);
    return gateway;
  }

  #serve(fd: number): Promise<Server> {
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
    server.maxConnections = this.#options.network.config.limits.connections_per_agent;
    server.on('drop', (dropped) => {
      this.#wire('').log({
        kind: 'tcp',
        method: 'CONNECT',
        url: `tcp://${dropped?.localAddress ?? ''}:${dropped?.localPort ?? ''}`,
        outcome: 'refused',
        matched: null,
        reason: `more than ${server.maxConnections} connections`,
      });
    });
    return new Promise((done, fail) => {
      server.once('error', fail);
      server.listen({ fd }, () => done(server));
    });
  }

  #serveDns(fd: number): Promise<void> {
    const { network, names, caller } = this.#options;
    this.#udp.on('message', (packet, from) => {
      answerQuery(packet, true, network, names, caller).then(
        (reply) => {
          if (reply !== null && !this.#closed.signal.aborted)
            this.#udp.send(reply, from.port, from.address, () => undefined);
        },
        () => undefined, // the world has ended while a fault delayed the answer
      );
    });
    this.#udp.on('error', () => undefined);
    return new Promise((done) => {
      this.#udp.bind({ fd }, done);
    });
  }

  #wire(host: string): Wire {
    return new Wire(this.#options.network, this.#options.caller, host);
  }

  #accept(socket: Socket): void {
    this.#connections.add(socket);
    socket.once('close', () => this.#connections.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.setNoDelay(true);
    const { names } = this.#options;
    const address = plainAddress(socket.localAddress ?? '');
    const port = socket.localPort ?? 0;
    if (port === DNS_PORT) return void this.#dnsOverTcp(socket).catch(() => socket.destroy());
    const agent = names.agentAt(address);
    if (agent !== null) return void this.#toAgent(socket, agent, port);
    const host = names.nameOf(address) ?? address;
    const service = this.#tcpServices.find(
      ({ service: one, isHost }) => one.port === port && isHost(host),
    )?.service;
    if (service !== undefined) return void this.#tcp(socket, service, host, port);
    this.#sniff(socket, host, port);
  }

  /** HTTP or TLS: the client's first byte says which. Anything else is refused. */
  #sniff(socket: Socket, host: string, port: number): void {
    const refuse = (reason: string) => {
      this.#wire(host).log({
        kind: 'tcp',
        method: 'CONNECT',
        url: `tcp://${host}:${port}`,
        outcome: 'refused',
        matched: null,
        reason,
      });
      reset(socket);
    };
    // A client that sends nothing of itself waits for a server that speaks first: there is none.
    const silence = setTimeout(
      () => refuse('the client said nothing, and nothing is declared there'),
      SILENCE_MS,
    );
    silence.unref();
    socket.once('close', () => clearTimeout(silence));
    socket.once('readable', () => {
      clearTimeout(silence);
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return void socket.end();
      socket.unshift(chunk);
      if (chunk[0] === TLS_HANDSHAKE) this.#tls.emit('connection', socket);
      else if (/^[A-Z]{1,20}( |$)/.test(chunk.toString('latin1', 0, 24)))
        this.#http.emit('connection', socket);
      else refuse('neither HTTP nor TLS, and no TCP service is declared there');
    });
  }

  async #tcp(socket: Socket, service: TcpServiceConfig, host: string, port: number): Promise<void> {
    const wire = this.#wire(host);
    const entry = {
      kind: 'tcp' as const,
      method: 'CONNECT',
      url: `tcp://${host}:${port}`,
      matched: `tcp:${service.kind}`,
    };
    const at = wire.clock.nowMs();
    try {
      await wire.pass(0, this.#closed.signal);
      await serveTcp(service, socket, wire, this.#closed.signal);
      wire.log({ ...entry, at, durationMs: wire.clock.nowMs() - at, outcome: 'answered' });
    } catch (error) {
      wire.log({
        ...entry,
        at,
        durationMs: wire.clock.nowMs() - at,
        outcome: 'failed',
        reason: (error as Error).message,
      });
      reset(socket);
    }
  }

  async #toAgent(socket: Socket, agent: AgentAddress, port: number): Promise<void> {
    const wire = this.#wire(agent.agentName);
    const entry = {
      kind: 'tcp' as const,
      method: 'CONNECT',
      url: `tcp://${agent.agentName}:${port}`,
      matched: 'agent',
    };
    const at = wire.clock.nowMs();
    let other: Socket | null = null;
    try {
      await wire.pass(0, this.#closed.signal);
      other = await this.#options.connectToAgent(agent, port);
      const far = other;
      far.on('error', () => far.destroy());
      this.#connections.add(far);
      far.once('close', () => this.#connections.delete(far));
      await Promise.all([this.#pump(socket, far, wire), this.#pump(far, socket, wire)]);
      wire.log({ ...entry, at, durationMs: wire.clock.nowMs() - at, outcome: 'answered' });
    } catch (error) {
      const reason =
        isCloveError(error) && error.code === 'IO'
          ? `nobody listens there (${String(error.details?.errno)})`
          : (error as Error).message;
      wire.log({ ...entry, at, durationMs: wire.clock.nowMs() - at, outcome: 'failed', reason });
      reset(socket);
      if (other !== null) reset(other);
    }
  }

  async #pump(from: Socket, to: Socket, wire: Wire): Promise<void> {
    for await (const chunk of from) {
      await wire.pass((chunk as Buffer).length, this.#closed.signal);
      if (to.destroyed) return;
      if (!to.write(chunk as Buffer)) await new Promise((done) => to.once('drain', done).once('close', done));
    }
    if (!to.destroyed) to.end();
  }

  async #dnsOverTcp(socket: Socket): Promise<void> {
    const { network, names, caller } = this.#options;
    let rest = Buffer.alloc(0);
    for await (const chunk of socket) {
      rest = Buffer.concat([rest, chunk as Buffer]);
      if (rest.length > MOST_DNS_BYTES + 2) break;
      while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
        const length = rest.readUInt16BE(0);
        const reply = await answerQuery(rest.subarray(2, 2 + length), false, network, names, caller);
        rest = rest.subarray(2 + length);
        if (reply === null) continue;
        const head = Buffer.alloc(2);
        head.writeUInt16BE(reply.length);
        if (!socket.write(Buffer.concat([head, reply])))
          await new Promise<void>((go) => {
            socket.once('drain', go).once('close', go);
          });
      }
    }
    socket.end();
  }

  #contextFor(name: string) {
    const { network, authority, caller } = this.#options;
    const expired = network.faults.strike('tls_expiry', name, caller) !== null;
    return authority.contextFor(name, expired);
  }

  async close(): Promise<void> {
    this.#closed.abort();
    for (const socket of this.#connections) socket.destroy();
    this.#http.closeAllConnections();
    const servers = this.#servers.map((server) => new Promise<void>((done) => server.close(() => done())));
    const udp = new Promise<void>((done) => this.#udp.close(done));
    await Promise.all([...servers, udp]);
  }
}

/** An address as the host of a URL. */
function hostText(address: string): string {
  const plain = plainAddress(address);
  return plain.includes(':') ? `[${plain}]` : plain;
}

export async function connectInside(
  space: WorldNetworkSpace,
  agent: AgentAddress,
  port: number,
): Promise<Socket> {
  // Servers are found at the agent's own address, or at loopback alone, where development servers sit.
  const fd = await space
    .connect(agent.v4, port, CONNECT_MS)
    .catch(() => space.connect(agent.v6, port, CONNECT_MS))
    .catch(() => space.connect('127.0.0.1', port, CONNECT_MS));
  return new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
}
