import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach } from 'vitest';
import type { WireEvents, WireListenOptions, WirePeer, WireRequest, WireServer } from './types.ts';
import { createWireServer, type WireServerOptions } from './wire.ts';

export const FIRST_CONNECTION = 2 ** 30;
export const STORE = 0x30;
export const RECV = 0x21;
export const OPTIONS: WireListenOptions = {
  principal: 0,
  mode: 0o600,
  uid: null,
  gid: null,
  allowUids: null,
  maxConnections: 10_000,
};

interface Closable {
  close(): unknown;
}

let folder = '';
let servers: WireServer[] = [];
let clients: Closable[] = [];

/** The folder of the test that runs. */
export const inFolder = (name = ''): string => path.join(folder, name);

/** Gives each test of a file a folder of its own, and takes down what it has opened. */
export function cleanUpAfterEach(): void {
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'clove-wire-'));
    servers = [];
    clients = [];
  });
  afterEach(async () => {
    await Promise.all(clients.map((client) => client.close()));
    for (const server of servers) server.close();
    rmSync(folder, { recursive: true });
  });
}

/** A server whose requests are kept, or answered at once by `answer`. */
export class Recorder implements WireEvents {
  server: WireServer | null = null;
  readonly opened: { connection: number; principal: number; peer: WirePeer }[] = [];
  readonly requests: WireRequest[] = [];
  readonly closed: number[] = [];
  /** What happened, in order. */
  readonly log: string[] = [];
  readonly #answer: ((request: WireRequest) => string | Uint8Array) | null;

  constructor(answer: ((request: WireRequest) => string | Uint8Array) | null) {
    this.#answer = answer;
  }

  onOpen(connection: number, principal: number, peer: WirePeer): void {
    this.opened.push({ connection, principal, peer });
    this.log.push(`open ${connection - FIRST_CONNECTION}`);
  }

  onRequests(requests: readonly WireRequest[]): void {
    this.requests.push(...requests);
    for (const request of requests) {
      this.log.push(`request ${request.connection - FIRST_CONNECTION}`);
      if (this.#answer !== null) this.answer(request, this.#answer(request));
    }
  }

  onClose(connection: number): void {
    this.closed.push(connection);
    this.log.push(`close ${connection - FIRST_CONNECTION}`);
  }

  answer({ connection, sequence, opcode }: WireRequest, payload: string | Uint8Array): void {
    this.server?.respond(connection, sequence, opcode, payload);
  }
}

export const echo = (request: WireRequest): string => request.refused ?? request.payload;

export function serve(
  answer: ((request: WireRequest) => string | Uint8Array) | null,
  options: WireServerOptions = {},
  listen: Partial<WireListenOptions> = {},
): { recorder: Recorder; server: WireServer; socketPath: string; listener: number } {
  const recorder = new Recorder(answer);
  const server = createWireServer(recorder, options);
  servers.push(server);
  recorder.server = server;
  const socketPath = path.join(folder, `${servers.length}.sock`);
  const listener = server.listen(socketPath, { ...OPTIONS, ...listen });
  return { recorder, server, socketPath, listener };
}

/** What is closed after the test. */
export function closing<Client extends Closable>(client: Client): Client {
  clients.push(client);
  return client;
}

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(2);
}

export const openFiles = (): number => readdirSync('/proc/self/fd').length;

/** Node gives descriptors of its own back a little later. */
export const noMoreOpenFilesThan = (count: number): Promise<void> => until(() => openFiles() <= count);
