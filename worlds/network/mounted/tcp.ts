import type { Socket } from 'node:net';
import { compileGlob } from '../patterns.ts';
import type { TcpServiceConfig } from '../schema.ts';
import { piecesOf, type Wire } from './wire.ts';

/** Of what a client may send without a line ending or without being asked. */
const MOST_PENDING_BYTES = 2 ** 20;

/** Serves one connection as the definition says; ends with it. Faults act on what is sent and received. */
export async function serveTcp(
  service: TcpServiceConfig,
  socket: Socket,
  wire: Wire,
  signal: AbortSignal,
): Promise<void> {
  switch (service.kind) {
    case 'echo':
      for await (const chunk of socket) await send(socket, chunk as Buffer, wire, signal);
      return finish(socket);
    case 'banner':
      await send(socket, Buffer.from(service.banner), wire, signal);
      // Whatever comes is swallowed; the client decides when it is over.
      for await (const _ of socket);
      return finish(socket);
    case 'script':
      return serveScript(service, socket, wire, signal);
  }
}

async function send(socket: Socket, bytes: Uint8Array, wire: Wire, signal: AbortSignal): Promise<void> {
  for (const piece of piecesOf(bytes)) {
    await wire.pass(piece.length, signal);
    if (socket.destroyed) return;
    if (!socket.write(piece)) await new Promise((done) => socket.once('drain', done).once('close', done));
  }
}

function finish(socket: Socket): void {
  if (!socket.destroyed) socket.end();
}

/** What a client sends, line by line. */
class Lines {
  readonly #source: AsyncIterator<Buffer>;
  #rest = '';

  constructor(socket: Socket) {
    this.#source = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /** Without its ending; null = the client has ended. */
  async next(): Promise<string | null> {
    for (;;) {
      const end = this.#rest.indexOf('\n');
      if (end >= 0) {
        const line = this.#rest.slice(0, end).replace(/\r$/, '');
        this.#rest = this.#rest.slice(end + 1);
        return line;
      }
      if (this.#rest.length > MOST_PENDING_BYTES) return null;
      const { done, value } = await this.#source.next();
      if (done === true) return null;
      this.#rest += value.toString('latin1');
    }
  }
}

async function serveScript(
  service: Extract<TcpServiceConfig, { readonly kind: 'script' }>,
  socket: Socket,
  wire: Wire,
  signal: AbortSignal,
): Promise<void> {
  const lines = new Lines(socket);
  for (const step of service.steps) {
    if ('send' in step) await send(socket, Buffer.from(step.send), wire, signal);
    else if ('send_base64' in step) await send(socket, Buffer.from(step.send_base64, 'base64'), wire, signal);
    else if ('delay_ms' in step) await wire.clock.sleep(step.delay_ms, signal);
    else if ('expect' in step) {
      const matches = compileGlob(step.expect);
      const line = await lines.next();
      if (line === null || !matches(line)) return finish(socket);
    } else if ('reset' in step) {
      socket.resetAndDestroy();
      return;
    } else return finish(socket);
  }
  const replies = service.replies.map(({ match, ...reply }) => ({ matches: compileGlob(match), ...reply }));
  if (replies.length === 0) return finish(socket);
  for (let line = await lines.next(); line !== null; line = await lines.next()) {
    const said = line;
    const reply = replies.find(({ matches }) => matches(said));
    if (reply === undefined) continue;
    await send(socket, Buffer.from(reply.send), wire, signal);
    if (reply.close) break;
  }
  finish(socket);
}
