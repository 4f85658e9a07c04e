import { CloveError, type ErrorCode } from '../errors/index.ts';
import { loadAddon } from './load.ts';
import type { WireCounters, WireEvents, WireListenOptions, WireRequest, WireServer } from './types.ts';

/** Bounds of one wire server. Bytes and counts are per connection unless said otherwise. */
export interface WireLimits {
  /** Requests that wait for their answer; beyond, the connection is not read until half of them are answered. */
  readonly outstandingRequests: number;
  /** Payload bytes of those requests. */
  readonly outstandingBytes: number;
  /** Answer bytes the peer has not read; beyond, its requests are not read until it has read half. */
  readonly outputBytes: number;
  /** Answer bytes including those that came after reading was stopped; beyond, the connection is closed. */
  readonly outputBytesHard: number;
  /** Requests JavaScript has not taken yet: what the requests of others may have to wait behind. */
  readonly handoffRequests: number;
  /** Request bytes of all connections that JavaScript has not taken yet; beyond, no more requests are read. */
  readonly handoffBytes: number;
  /** Longest silence inside a frame that was begun. */
  readonly frameSilenceMs: number;
  /** Longest time a frame may take from its first byte to its last. */
  readonly frameTotalMs: number;
  /** After a protocol error: how long earlier answers are waited for before the connection ends. */
  readonly failedMs: number;
  /** After the error frame is sent: how long what still comes in is swallowed, so that the peer can read it. */
  readonly lingerMs: number;
}

export const WIRE_LIMITS: WireLimits = Object.freeze({
  outstandingRequests: 1024,
  outstandingBytes: 4 * 2 ** 20,
  outputBytes: 4 * 2 ** 20,
  outputBytesHard: 64 * 2 ** 20,
  handoffRequests: 128,
  handoffBytes: 32 * 2 ** 20,
  frameSilenceMs: 10_000,
  frameTotalMs: 60_000,
  failedMs: 1_000,
  lingerMs: 500,
});

export interface WireServerOptions {
  readonly limits?: Partial<WireLimits>;
  /** Opcodes whose payload is not JSON: no guard, bytes that are not UTF-8 arrive as U+FFFD. Default: NOOP and EXIT. */
  readonly rawOpcodes?: readonly number[];
}

/** What the addon answers instead of a value. */
interface NativeFailure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string | null;
  readonly errno: number;
}

declare const handleBrand: unique symbol;
type Handle = { readonly [handleBrand]: true };

/** Five numbers, or three numbers, payload and refusal, for each item: cheaper to build natively than objects. */
type Deliver = (opens: number[], requests: (number | string | null)[], closes: number[]) => void;

interface WireAddon {
  wireCreate(deliver: Deliver, limits: WireLimits, rawOpcodes: readonly number[]): Handle | NativeFailure;
  wireListen(handle: Handle, path: string, options: WireListenOptions): number | NativeFailure;
  wireCloseListener(handle: Handle, listener: number): void;
  wireCloseConnection(handle: Handle, connection: number): void;
  wireRespond(
    handle: Handle,
    connection: number,
    sequence: number,
    opcode: number,
    payload: string | Uint8Array,
  ): void;
  wireFlush(handle: Handle): number;
  wireTakeNativeCount(handle: Handle, connection: number): number;
  wireCounters(handle: Handle): WireCounters;
  wireClose(handle: Handle): void;
}

/**
 * Starts a wire server: an own thread that holds every socket. Keeps the event loop alive until close().
 * Handlers are called on this thread; what one of them throws is an uncaught exception.
 * Throws IO when the thread cannot be started.
 */
export function createWireServer(events: WireEvents, options: WireServerOptions = {}): WireServer {
  const addon = loadAddon() as unknown as WireAddon;
  const limits = { ...WIRE_LIMITS, ...options.limits };
  for (const [name, value] of Object.entries(limits)) {
    if (!Number.isSafeInteger(value) || value < 1 || value > 2 ** 31) {
      throw new CloveError(
        'BAD_REQUEST',
        `wire limit ${name} must be a whole number from 1 to 2^31: ${value}`,
      );
    }
  }
  const handle = addon.wireCreate(
    (opens, requests, closes) => deliver(events, opens, requests, closes),
    limits,
    options.rawOpcodes ?? [0x00, 0xff],
  );
  if (isFailure(handle)) throw errorOf(handle);
  return new NativeWireServer(addon, handle);
}

function deliver(
  events: WireEvents,
  opens: number[],
  requests: (number | string | null)[],
  closes: number[],
): void {
  for (let i = 0; i < opens.length; i += 5) {
    const [connection, principal, pid, uid, gid] = opens.slice(i, i + 5) as [
      number,
      number,
      number,
      number,
      number,
    ];
    call(() => events.onOpen(connection, principal, { pid, uid, gid }));
  }
  if (requests.length > 0) {
    const batch: WireRequest[] = [];
    for (let i = 0; i < requests.length; i += 5) {
      batch.push({
        connection: requests[i] as number,
        sequence: requests[i + 1] as number,
        opcode: requests[i + 2] as number,
        payload: requests[i + 3] as string,
        refused: requests[i + 4] as string | null,
      });
    }
    call(() => events.onRequests(batch));
  }
  for (const connection of closes) call(() => events.onClose(connection));
}

/** What one handler throws must not cost the others of the batch; it is an uncaught exception all the same. */
function call(handler: () => void): void {
  try {
    handler();
  } catch (error) {
    setImmediate(() => {
      throw error;
    });
  }
}

class NativeWireServer implements WireServer {
  readonly #addon: WireAddon;
  readonly #handle: Handle;
  #flushQueued = false;
  #closed = false;

  constructor(addon: WireAddon, handle: Handle) {
    this.#addon = addon;
    this.#handle = handle;
  }

  listen(path: string, options: WireListenOptions): number {
    if (this.#closed) throw new CloveError('IO', `cannot listen at ${path}: the wire server is closed`);
    checkListenOptions(options);
    const listener = this.#addon.wireListen(this.#handle, path, options);
    if (isFailure(listener)) throw errorOf(listener, path);
    return listener;
  }

  closeListener(listener: number): void {
    if (this.#closed) return;
    this.#flush();
    this.#addon.wireCloseListener(this.#handle, listener);
  }

  respond(connection: number, requestSequence: number, opcode: number, payload: string | Uint8Array): void {
    if (this.#closed) return;
    this.#addon.wireRespond(this.#handle, connection, requestSequence, opcode, payload);
    if (this.#flushQueued) return;
    // One flush for all answers of this turn: as many system calls as connections, not as answers.
    this.#flushQueued = true;
    queueMicrotask(this.#flush);
  }

  closeConnection(connection: number): void {
    if (this.#closed) return;
    this.#flush();
    this.#addon.wireCloseConnection(this.#handle, connection);
  }

  takeNativeCounts(connection: number): number {
    return this.#closed ? 0 : this.#addon.wireTakeNativeCount(this.#handle, connection);
  }

  counters(): WireCounters {
    return this.#addon.wireCounters(this.#handle);
  }

  close(): void {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    this.#addon.wireClose(this.#handle);
  }

  readonly #flush = (): void => {
    this.#flushQueued = false;
    if (this.#closed) return;
    const strays = this.#addon.wireFlush(this.#handle);
    if (strays > 0) {
      process.emitWarning(
        `${strays} answers were given to requests that were answered before or never made`,
        {
          code: 'CLOVE_WIRE_STRAY_ANSWER',
        },
      );
    }
  };
}

function checkListenOptions({
  principal,
  mode,
  uid,
  gid,
  allowUids,
  maxConnections,
}: WireListenOptions): void {
  const ids: [string, number | null, number][] = [
    ['principal', principal, 2 ** 30 - 1],
    ['mode', mode, 0o777],
    ['uid', uid, 2 ** 32 - 2],
    ['gid', gid, 2 ** 32 - 2],
    ['maxConnections', maxConnections, 2 ** 31],
    ...(allowUids ?? []).map((id): [string, number, number] => ['allowUids', id, 2 ** 32 - 2]),
  ];
  for (const [name, value, max] of ids) {
    if (value === null || (Number.isSafeInteger(value) && value >= 0 && value <= max)) continue;
    throw new CloveError('BAD_REQUEST', `${name} must be a whole number from 0 to ${max}: ${value}`);
  }
}

function isFailure(value: unknown): value is NativeFailure {
  return typeof value === 'object' && value !== null && 'errno' in value;
}

function errorOf({ code, message, hint, errno }: NativeFailure, path?: string): CloveError {
  return new CloveError(code, message, {
    ...(hint === null ? {} : { hint }),
    details: { errno, ...(path === undefined ? {} : { path }) },
  });
}
