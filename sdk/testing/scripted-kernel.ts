import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { OPCODES, type SyscallName } from '../../kernel/protocol/opcodes.ts';
import { encodeFrame, FrameDecoder } from '../../kernel/wire/codec.ts';

export interface ScriptedRequest {
  readonly name: SyscallName;
  /** Parsed JSON; the text where it is none. */
  readonly body: unknown;
  /** Which connection since the server started, from 0. */
  readonly connection: number;
  answer(body: unknown): void;
  answerRaw(opcode: number, payload: string | Uint8Array): void;
  /** Ends the connection. */
  drop(): void;
}

/** false = not answered here: HELLO is answered as a kernel does, everything else with `{success: true}`. */
type Script = (request: ScriptedRequest) => boolean | undefined | Promise<boolean | undefined>;

const NAMES: ReadonlyMap<number, SyscallName> = new Map(
  Object.entries(OPCODES).map(([name, opcode]) => [opcode, name as SyscallName]),
);

/** A kernel that does what a test wants: answers late, wrongly, never, or goes away. */
export class ScriptedKernel {
  readonly socketPath: string;
  script: Script;
  /** All requests so far. */
  readonly requests: ScriptedRequest[] = [];
  connections = 0;
  readonly #agentId: number;
  readonly #folder: string;
  readonly #open = new Set<Socket>();
  #server: Server | null = null;

  /** `agentId`: whom it takes every caller for. */
  constructor(script: Script = () => false, agentId = 7) {
    this.script = script;
    this.#agentId = agentId;
    this.#folder = mkdtempSync(path.join(tmpdir(), 'clove-sdk-'));
    this.socketPath = path.join(this.#folder, 'kernel.sock');
  }

  get openConnections(): number {
    return this.#open.size;
  }

  async start(): Promise<this> {
    const server = createServer((socket) => this.#serve(socket));
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.socketPath, resolve));
    return this;
  }

  /** Drops every connection and refuses new ones; start() again comes back. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    this.dropAll();
    if (server !== null) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  dropAll(): void {
    for (const socket of this.#open) socket.destroy();
  }

  async close(): Promise<void> {
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #serve(socket: Socket): void {
    const connection = this.connections;
    this.connections += 1;
    this.#open.add(socket);
    const decoder = new FrameDecoder();
    // As a kernel does: answers leave in the order of their requests.
    const owed: (Uint8Array | null)[] = [];
    let sent = 0;
    socket.on('error', () => {});
    socket.on('close', () => this.#open.delete(socket));
    socket.on('data', (chunk: Buffer) => {
      for (const frame of decoder.push(chunk)) {
        const text = Buffer.from(frame.payload).toString();
        const place = owed.push(null) - 1;
        const respond = (opcode: number, payload: string | Uint8Array): void => {
          owed[place] = encodeFrame({ opcode, agentId: this.#agentId, payload });
          for (let next = owed[sent]; next; next = owed[sent]) {
            socket.write(next);
            sent += 1;
          }
        };
        const request: ScriptedRequest = {
          name: NAMES.get(frame.opcode) as SyscallName,
          body: parse(text),
          connection,
          answer: (body) => respond(frame.opcode, typeof body === 'string' ? body : JSON.stringify(body)),
          answerRaw: respond,
          drop: () => socket.destroy(),
        };
        this.requests.push(request);
        void this.#answer(request);
      }
    });
  }

  async #answer(request: ScriptedRequest): Promise<void> {
    if ((await this.script(request)) !== false) return;
    request.answer(request.name === 'NOOP' ? request.body : { success: true });
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
