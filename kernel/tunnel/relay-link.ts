import { CloveError } from '../../errors/index.ts';
import { type KernelMessage, MAX_MESSAGE_BYTES, parseRelayMessage, type RelayMessage } from './messages.ts';
import type { RelayTarget } from './settings.ts';

/** What a relay may send within one window; beyond, nothing more is read until the window is over. */
const WINDOW_MS = 100;
const WINDOW_MESSAGES = 400;
const WINDOW_BYTES = 8 * 2 ** 20;
/** Unsent bytes from which on nothing more is read, and from which on the relay is taken for dead. */
const CONGESTED_BYTES = 8 * 2 ** 20;
const HOPELESS_BYTES = 64 * 2 ** 20;

export interface RelayLinkOptions {
  readonly target: RelayTarget;
  readonly connectMs: number;
  readonly authMs: number;
  readonly pingMs: number;
  readonly deadMs: number;
  readonly signal: AbortSignal;
}

export interface RelayLinkEvents {
  onMessage(message: RelayMessage): void;
  /** Once, after open() has resolved. */
  onDown(reason: string): void;
}

type Socket = import('ws').WebSocket;

/**
 * One connection to a relay, let in and alive. Whatever the relay sends, this costs bounded memory and a bounded part of the
 * event loop: it is not read faster than it may send.
 */
export class RelayLink {
  /** Round trip of the last ping; null = none was answered yet. ms */
  latencyMs: number | null = null;
  /** Messages that made no sense. */
  strange = 0;
  /** Largest message that the relay said it takes; null = it did not say. */
  readonly relayBytes: number | null;
  readonly #socket: Socket;
  readonly #events: RelayLinkEvents;
  readonly #deadMs: number;
  readonly #pinger: NodeJS.Timeout;
  #heardAtMs = performance.now();
  #pingedAtMs: number | null = null;
  #congestedSinceMs: number | null = null;
  #window: NodeJS.Timeout | null = null;
  #windowMessages = 0;
  #windowBytes = 0;
  #isDown = false;

  private constructor(
    socket: Socket,
    relayBytes: number | null,
    options: RelayLinkOptions,
    events: RelayLinkEvents,
  ) {
    this.#socket = socket;
    this.relayBytes = relayBytes;
    this.#events = events;
    this.#deadMs = options.deadMs;
    socket.on('message', (data: Buffer, isBinary: boolean) => this.#take(data, isBinary));
    socket.on('close', (code: number) => this.#down(`the relay closed the connection (${code})`));
    socket.on('error', (error) => this.#down(error.message));
    this.#pinger = setInterval(() => this.#beat(), options.pingMs).unref();
    this.#ping();
  }

  /** Connects and is let in. @throws UNREACHABLE, TIMEOUT, CANCELLED */
  static async open(options: RelayLinkOptions, events: RelayLinkEvents): Promise<RelayLink> {
    const { target, connectMs, authMs, signal } = options;
    // Loaded when the first tunnel is asked for: most kernels never do.
    const { WebSocket } = await import('ws');
    if (signal.aborted) throw cancelled();
    const { promise, resolve, reject } = Promise.withResolvers<number | null>();
    const socket = new WebSocket(target.relayUrl, {
      handshakeTimeout: connectMs,
      maxPayload: MAX_MESSAGE_BYTES,
      perMessageDeflate: false,
      followRedirects: false,
    });
    /** What follows the relay's yes at once belongs to the link that is about to be made. */
    let early: [Buffer, boolean][] | null = null;
    const late = (what: string) => () => reject(new CloveError('TIMEOUT', `${FAILED}: ${what}`));
    let timer = setTimeout(late('no connection in time'), connectMs);
    const onAbort = () => reject(cancelled());
    signal.addEventListener('abort', onAbort, { once: true });
    socket.on('open', () => {
      clearTimeout(timer);
      timer = setTimeout(late('no answer to the token in time'), Math.min(authMs, connectMs));
      const hello: KernelMessage = {
        type: 'kernel_auth',
        machine_id: target.machineId,
        token: target.token,
      };
      socket.send(JSON.stringify(hello));
    });
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      if (early !== null) {
        early.push([data, isBinary]);
        return;
      }
      const message = isBinary ? null : parseRelayMessage(data.toString());
      if (message?.type === 'auth_ok') {
        early = [];
        resolve(message.max_message_bytes ?? null);
      } else if (message?.type === 'auth_error' || message?.type === 'error') {
        reject(failed(message.error));
      } else reject(failed('the relay did not answer to the token'));
    });
    socket.on('error', (error) => reject(failed(error.message)));
    socket.on('close', (code: number) => reject(failed(`the relay closed the connection (${code})`)));
    try {
      const relayBytes = await promise;
      if (signal.aborted) throw cancelled();
      socket.removeAllListeners();
      const link = new RelayLink(socket, relayBytes, options, events);
      // After whoever asked for the link has it.
      setImmediate(() => {
        for (const [data, isBinary] of early ?? []) link.#take(data, isBinary);
      });
      return link;
    } catch (error) {
      socket.removeAllListeners();
      socket.on('error', () => {});
      socket.terminate();
      throw error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    }
  }

  send(message: KernelMessage): void {
    if (this.#isDown) return;
    this.#socket.send(JSON.stringify(message), () => this.#relax());
    if (this.#socket.bufferedAmount > HOPELESS_BYTES) this.#down('the relay does not read');
    else if (this.#socket.bufferedAmount > CONGESTED_BYTES && this.#congestedSinceMs === null) {
      this.#congestedSinceMs = performance.now();
      this.#socket.pause();
    }
  }

  close(): void {
    if (this.#isDown) return;
    this.#end();
    this.#socket.close(1000);
    // A relay that does not answer to that must not keep the kernel from stopping.
    setTimeout(() => this.#socket.terminate(), 1000).unref();
  }

  #take(data: Buffer, isBinary: boolean): void {
    if (this.#isDown) return;
    this.#heardAtMs = performance.now();
    this.#count(data.length);
    const message = isBinary ? null : parseRelayMessage(data.toString());
    if (message === null) this.strange += 1;
    else if (message.type === 'ping') this.send({ type: 'pong' });
    else if (message.type === 'pong') this.#ponged();
    else this.#events.onMessage(message);
  }

  #count(bytes: number): void {
    this.#windowMessages += 1;
    this.#windowBytes += bytes;
    this.#window ??= setTimeout(() => {
      this.#window = null;
      this.#windowMessages = 0;
      this.#windowBytes = 0;
      this.#resume();
    }, WINDOW_MS).unref();
    if (this.#isOverRate()) this.#socket.pause();
  }

  #isOverRate(): boolean {
    return this.#windowMessages >= WINDOW_MESSAGES || this.#windowBytes >= WINDOW_BYTES;
  }

  #relax(): void {
    if (this.#congestedSinceMs === null || this.#socket.bufferedAmount > CONGESTED_BYTES / 2) return;
    this.#congestedSinceMs = null;
    this.#heardAtMs = performance.now();
    this.#resume();
  }

  #resume(): void {
    if (this.#isDown || this.#congestedSinceMs !== null || this.#isOverRate()) return;
    this.#socket.resume();
  }

  #ping(): void {
    this.#pingedAtMs ??= performance.now();
    this.send({ type: 'ping' });
  }

  #ponged(): void {
    if (this.#pingedAtMs === null) return;
    this.latencyMs = performance.now() - this.#pingedAtMs;
    this.#pingedAtMs = null;
  }

  #beat(): void {
    const now = performance.now();
    // While nothing is read, nothing can be heard: then it counts for how long the relay has not read.
    const silentSince = this.#congestedSinceMs ?? this.#heardAtMs;
    if (now - silentSince >= this.#deadMs) {
      const what = this.#congestedSinceMs === null ? 'is silent' : 'does not read';
      this.#down(`the relay ${what} for ${Math.round(now - silentSince)} ms`);
    } else this.#ping();
  }

  #down(reason: string): void {
    if (this.#isDown) return;
    this.#end();
    this.#socket.terminate();
    this.#events.onDown(reason);
  }

  #end(): void {
    this.#isDown = true;
    clearInterval(this.#pinger);
    if (this.#window !== null) clearTimeout(this.#window);
    this.#socket.removeAllListeners();
    this.#socket.on('error', () => {});
  }
}

const FAILED = 'Failed to connect to relay server';

function failed(reason: string): CloveError {
  return new CloveError('UNREACHABLE', `${FAILED}: ${reason}`, {
    hint: 'Check the relay’s address, the machine id and its token.',
  });
}

function cancelled(): CloveError {
  return new CloveError('CANCELLED', `${FAILED}: the attempt was called off`);
}
