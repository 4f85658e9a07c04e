import net from 'node:net';
import { encodeFrame, type Frame, FrameDecoder, type FrameToEncode } from './codec.ts';

/** A client for tests that can also misbehave: raw bytes, half-close, not reading. */
export class RawClient {
  readonly socket: net.Socket;
  /** Settles when the connection is over; an error such as EPIPE is part of misbehaving and not thrown. */
  readonly closed: Promise<void>;
  readonly #decoder = new FrameDecoder(64 * 2 ** 20);
  readonly #frames: Frame[] = [];
  readonly #waiting: { resolve(frame: Frame): void; reject(error: Error): void }[] = [];
  #ended = false;

  private constructor(socket: net.Socket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#end();
        resolve();
      });
    });
    socket.on('error', () => {});
    socket.on('end', () => this.#end());
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
  }

  static connect(path: string): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = net.connect({ path, allowHalfOpen: true });
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new RawClient(socket));
      });
    });
  }

  write(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  send(frame: FrameToEncode): void {
    this.socket.write(encodeFrame(frame));
  }

  /** The next answer; rejects when the connection ends before it. */
  next(): Promise<Frame> {
    const frame = this.#frames.shift();
    if (frame !== undefined) return Promise.resolve(frame);
    if (this.#ended) return Promise.reject(new Error('connection ended'));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
    });
  }

  async call(frame: FrameToEncode): Promise<Frame> {
    this.send(frame);
    return this.next();
  }

  /** Answers that came and were not asked for yet. */
  get unread(): readonly Frame[] {
    return this.#frames;
  }

  async close(): Promise<void> {
    this.socket.destroy();
    await this.closed;
  }

  #take(chunk: Buffer): void {
    for (const frame of this.#decoder.push(chunk)) {
      const waiting = this.#waiting.shift();
      if (waiting === undefined) this.#frames.push(frame);
      else waiting.resolve(frame);
    }
  }

  #end(): void {
    this.#ended = true;
    for (const { reject } of this.#waiting.splice(0)) reject(new Error('connection ended'));
  }
}

export function textOf(frame: Frame): string {
  return Buffer.from(frame.payload).toString();
}
