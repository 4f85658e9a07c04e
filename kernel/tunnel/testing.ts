import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import { OPCODES, type SyscallName } from '../protocol/opcodes.ts';

type Json = Record<string, unknown>;

interface RelayedAgent {
  readonly id: number;
  readonly name: string;
  readonly socket: WebSocket;
}

export interface TestRelayOptions {
  readonly port?: number;
  /** Tokens of machines, by id. */
  readonly machines?: Readonly<Record<string, string>>;
  /** Tokens of agents. */
  readonly agentTokens?: readonly string[];
  /** Leave the correlation out of answers, as relays do that do not know it. */
  readonly isOld?: boolean;
}

/** For tests: a relay as small as can be that speaks the protocol, and can be told to misbehave. */
export class TestRelay {
  readonly port: number;
  /** What kernels have sent, but for pings and answers. */
  readonly fromKernel: Json[] = [];
  pings = 0;
  /** Do not answer pings. */
  isMute = false;
  readonly #server: WebSocketServer;
  readonly #options: TestRelayOptions;
  #kernel: WebSocket | null = null;
  readonly #agents = new Map<number, RelayedAgent>();
  #lastId = 999;
  /** Waits for messages of the kernel. */
  #waiting: { matches(message: Json): boolean; resolve(message: Json): void }[] = [];

  private constructor(server: WebSocketServer, options: TestRelayOptions) {
    this.#server = server;
    this.#options = options;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (socket) => this.#admit(socket));
  }

  static async start(options: TestRelayOptions = {}): Promise<TestRelay> {
    const server = new WebSocketServer({
      host: '127.0.0.1',
      port: options.port ?? 0,
      maxPayload: 64 * 2 ** 20,
    });
    await once(server, 'listening');
    return new TestRelay(server, options);
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`;
  }

  get kernel(): WebSocket {
    if (this.#kernel === null) throw new Error('no kernel is connected');
    return this.#kernel;
  }

  get hasKernel(): boolean {
    return this.#kernel !== null;
  }

  /** Whatever a relay might say to a kernel. */
  say(message: unknown): void {
    this.kernel.send(typeof message === 'string' ? message : JSON.stringify(message));
  }

  /** The next message of the kernel that fits. */
  heard(matches: (message: Json) => boolean): Promise<Json> {
    return new Promise((resolve) => {
      this.#waiting.push({ matches, resolve });
    });
  }

  /** A call in the name of any agent, and its answer. */
  async call(agentId: number, name: SyscallName | number, request: unknown, more: Json = {}): Promise<Json> {
    const opcode = typeof name === 'number' ? name : OPCODES[name];
    const text = typeof request === 'string' ? request : JSON.stringify(request);
    const answer = this.heard((message) => message.type === 'response' && message.agent_id === agentId);
    this.say({
      type: 'syscall',
      agent_id: agentId,
      opcode,
      payload: Buffer.from(text).toString('base64'),
      ...more,
    });
    return answerOf(await answer);
  }

  /** Ends every connection without a farewell, as a relay that is killed. */
  async kill(): Promise<void> {
    for (const socket of this.#server.clients) socket.terminate();
    this.#server.close();
    await once(this.#server, 'close');
    this.#kernel = null;
  }

  async close(): Promise<void> {
    await this.kill().catch(() => {});
  }

  #admit(socket: WebSocket): void {
    socket.once('message', (data: Buffer) => {
      const hello = JSON.parse(data.toString()) as Json;
      if (hello.type === 'kernel_auth') this.#admitKernel(socket, hello);
      else if (hello.type === 'agent_auth') this.#admitAgent(socket, hello);
      else socket.send(JSON.stringify({ type: 'error', error: `Unknown auth type: ${String(hello.type)}` }));
    });
  }

  #admitKernel(socket: WebSocket, hello: Json): void {
    const { machines } = this.#options;
    if (machines !== undefined && machines[String(hello.machine_id)] !== hello.token) {
      socket.send(JSON.stringify({ type: 'auth_error', error: 'Invalid credentials' }));
      socket.close();
      return;
    }
    this.#kernel = socket;
    socket.send(JSON.stringify({ type: 'auth_ok', machine_id: hello.machine_id }));
    socket.on('message', (data: Buffer) => this.#takeFromKernel(socket, JSON.parse(data.toString()) as Json));
    socket.on('close', () => {
      if (this.#kernel === socket) this.#kernel = null;
      for (const { socket: agent } of this.#agents.values()) {
        agent.send(JSON.stringify({ type: 'kernel_disconnected', machine_id: hello.machine_id }));
      }
    });
  }

  #takeFromKernel(socket: WebSocket, message: Json): void {
    if (message.type === 'ping') {
      this.pings += 1;
      if (!this.isMute) socket.send('{"type":"pong"}');
      return;
    }
    if (message.type === 'list_remotes') {
      const agents = [...this.#agents.values()].map(({ id, name }) => ({
        agent_id: id,
        agent_name: name,
        connected_at: '2026-01-01T00:00:00',
      }));
      socket.send(JSON.stringify({ type: 'remote_list', agents }));
    }
    if (message.type === 'response') {
      const { agent_id, id, ...rest } = message;
      const agent = this.#agents.get(Number(agent_id));
      agent?.socket.send(JSON.stringify(this.#options.isOld === true ? rest : { ...rest, id }));
    } else if (message.type !== 'pong') this.fromKernel.push(message);
    const at = this.#waiting.findIndex(({ matches }) => matches(message));
    if (at >= 0) this.#waiting.splice(at, 1)[0]?.resolve(message);
  }

  #admitAgent(socket: WebSocket, hello: Json): void {
    const { agentTokens } = this.#options;
    if (agentTokens !== undefined && !agentTokens.includes(String(hello.token))) {
      socket.send(JSON.stringify({ type: 'auth_error', error: 'Invalid token or target machine' }));
      socket.close();
      return;
    }
    if (this.#kernel === null) {
      socket.send(
        JSON.stringify({ type: 'auth_error', error: `Kernel ${String(hello.target_machine)} not connected` }),
      );
      socket.close();
      return;
    }
    this.#lastId += 1;
    const id = this.#lastId;
    const name = String(hello.name ?? 'unnamed');
    this.#agents.set(id, { id, name, socket });
    this.#kernel.send(JSON.stringify({ type: 'agent_connected', agent_id: id, name }));
    socket.send(JSON.stringify({ type: 'auth_ok', agent_id: id, target_machine: hello.target_machine }));
    socket.on('message', (data: Buffer) => {
      const message = JSON.parse(data.toString()) as Json;
      if (message.type === 'ping') socket.send('{"type":"pong"}');
      if (message.type === 'syscall') this.#kernel?.send(JSON.stringify({ ...message, agent_id: id }));
    });
    socket.on('close', () => {
      this.#agents.delete(id);
      this.#kernel?.send(JSON.stringify({ type: 'agent_disconnected', agent_id: id, name }));
    });
  }
}

/** What a response carries: JSON where it is. */
export function answerOf(response: Json): Json {
  const text = Buffer.from(String(response.payload), 'base64').toString();
  try {
    return JSON.parse(text) as Json;
  } catch {
    return { text };
  }
}
