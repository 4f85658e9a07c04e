import { createConnection, type Socket } from 'node:net';
import { CloveError } from '../../errors/index.ts';
import { encodeFrame, type Frame, FrameDecoder } from '../../kernel/wire/codec.ts';

export interface ConnectionOptions {
  readonly socketPath: string;
  readonly maxAnswerBytes: number;
}

export interface ConnectionCallOptions {
  /** null = no limit. */
  readonly timeoutMs: number | null;
  readonly signal?: AbortSignal | undefined;
}

interface Pending {
  readonly opcode: number;
  /** Ignored when the caller has given up already: then the answer is only taken out of the order. */
  settle(answer: Frame | CloveError): void;
}

/**
 * One socket. Calls go out at once and answers come back in the same order, so an answer belongs to the oldest call that
 * has none. A call that gave up keeps its place until its answer has come.
 *
 * The socket keeps the process alive only while somebody waits for an answer.
 */
export class Connection {
  /** Why it ended; null = it has not. */
  closed: CloveError | null = null;
  readonly #socket: Socket;
  readonly #decoder: FrameDecoder;
  readonly #socketPath: string;
  readonly #onClose: ((reason: CloveError) => void)[] = [];
  #pending: Pending[] = [];
  #answered = 0;
  #waiting = 0;
  #corked = false;

  private constructor(socket: Socket, options: ConnectionOptions) {
    this.#socket = socket;
    this.#socketPath = options.socketPath;
    this.#decoder = new FrameDecoder(options.maxAnswerBytes);
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (error) => this.close(this.#lost(error.message)));
    socket.on('close', () => this.close(this.#lost('the kernel closed it')));
    socket.unref();
  }

  /** @throws UNREACHABLE */
  static open(options: ConnectionOptions): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(options.socketPath);
      const fail = (error: Error): void => {
        socket.destroy();
        reject(
          new CloveError('UNREACHABLE', `no kernel answers at ${options.socketPath}: ${error.message}`, {
            cause: error,
            hint: 'Start one with `clove kernel start`, or name its socket.',
          }),
        );
      };
      socket.once('error', fail);
      socket.once('connect', () => {
        socket.off('error', fail);
        resolve(new Connection(socket, options));
      });
    });
  }

  /** Calls somebody waits for. */
  get waiting(): number {
    return this.#waiting;
  }

  onClose(listener: (reason: CloveError) => void): void {
    this.#onClose.push(listener);
  }

  /** @throws DISCONNECTED, TIMEOUT, CANCELLED, PROTOCOL, PAYLOAD_TOO_LARGE */
  call(opcode: number, payload: string, options: ConnectionCallOptions): Promise<Frame> {
    const { timeoutMs, signal } = options;
    if (this.closed !== null) return Promise.reject(this.closed);
    if (signal?.aborted === true) return Promise.reject(cancelled());
    return new Promise((resolve, reject) => {
      let settled = false;
      const settle = (answer: Frame | CloveError): void => {
        if (settled) return;
        settled = true;
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        this.#waiting -= 1;
        if (this.#waiting === 0) this.#socket.unref();
        if (answer instanceof Error) reject(answer);
        else resolve(answer);
      };
      const onAbort = (): void => settle(cancelled());
      const timer =
        timeoutMs === null
          ? undefined
          : setTimeout(() => {
              settle(new CloveError('TIMEOUT', `no answer within ${Math.round(timeoutMs)} ms`));
            }, timeoutMs);
      signal?.addEventListener('abort', onAbort, { once: true });
      if (this.#waiting === 0) this.#socket.ref();
      this.#waiting += 1;
      this.#pending.push({ opcode, settle });
      this.#write(encodeFrame({ opcode, payload }));
    });
  }

  /** Ends the connection; calls without an answer reject with the reason. */
  close(reason: CloveError): void {
    if (this.closed !== null) return;
    this.closed = reason;
    this.#socket.destroy();
    const unanswered = this.#pending.slice(this.#answered);
    this.#pending = [];
    this.#answered = 0;
    for (const pending of unanswered) pending.settle(reason);
    for (const listener of this.#onClose) listener(reason);
  }

  /** Calls made in one turn leave in one write. */
  #write(frame: Uint8Array): void {
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      process.nextTick(() => {
        this.#corked = false;
        this.#socket.uncork();
      });
    }
    this.#socket.write(frame);
  }

  #receive(chunk: Buffer): void {
    try {
      for (const frame of this.#decoder.push(chunk)) this.#answer(frame);
      if (this.#decoder.failure !== null) throw this.#decoder.failure;
    } catch (error) {
      this.close(error as CloveError);
    }
  }

  #answer(frame: Frame): void {
    const pending = this.#pending[this.#answered];
    if (pending === undefined) throw new CloveError('PROTOCOL', 'an answer came that nothing had asked for');
    if (pending.opcode !== frame.opcode) {
      throw new CloveError('PROTOCOL', `answer to opcode ${pending.opcode} has opcode ${frame.opcode}`);
    }
    this.#answered += 1;
    if (this.#answered >= 256 && this.#answered * 2 >= this.#pending.length) {
      this.#pending = this.#pending.slice(this.#answered);
      this.#answered = 0;
    }
    pending.settle(frame);
  }

  #lost(why: string): CloveError {
    return new CloveError('DISCONNECTED', `connection to ${this.#socketPath} lost: ${why}`);
  }
}

export function cancelled(): CloveError {
  return new CloveError('CANCELLED', 'the call was cancelled');
}
