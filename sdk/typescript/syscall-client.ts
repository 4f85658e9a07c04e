import { CloveError, errorFromData, isCloveError, isErrorCode } from '../../errors/index.ts';
import { MAX_ANSWER_BYTES, MAX_PAYLOAD_BYTES } from '../../kernel/protocol/constants.ts';
import { OPCODES } from '../../kernel/protocol/opcodes.ts';
import type { Frame } from '../../kernel/wire/codec.ts';
import { type Connection, type ConnectionOptions, cancelled } from './connection.ts';
import { Lanes } from './lanes.ts';
import { Link } from './link.ts';
import { defaultSocketPath } from './socket-path.ts';
import type { CallOptions, ClientOptions, RequestArguments, SyscallName, SyscallResponse } from './types.ts';

/** Syscalls whose payloads are bytes as they are, not JSON. */
export const RAW_SYSCALLS: ReadonlySet<SyscallName> = new Set(['NOOP', 'EXIT']);
/** Syscalls that may take as long as what they run or wait for. They do not depend on which connection asks. */
export const LONG_SYSCALLS: ReadonlySet<SyscallName> = new Set([
  'EXEC',
  'HTTP',
  'DOWNLOAD',
  'THINK',
  'WAIT',
  'WAIT_READY',
  'GROUP_REMOVE',
  'WATCH',
  'RELOAD',
  'TUNNEL_CONNECT',
  'WORLD_CHECKPOINT',
]);

/** Of those, what a world answers for who is in it. */
const WORLD_SYSCALLS: ReadonlySet<SyscallName> = new Set(['EXEC', 'HTTP', 'DOWNLOAD', 'WATCH']);

/** Ids from here on are those of connections; an agent's is below and the same on all its connections. */
export const FIRST_CLIENT_ID = 2 ** 30;
const DEFAULT_TIMEOUT_MS = 30_000;
/** Calls that wait at the same time. The kernel gives an agent 16 connections; its other processes need some, too. */
const MAX_AGENT_LANES = 12;
const MAX_CLIENT_LANES = 256;
/** How long a call of a client may be held up by its own waiting for messages or events. */
const SLICE_MS = 20;
/** While a client makes other calls it asks so often instead of waiting in the kernel, and holds up none of them. */
const BUSY_PAUSE_MS = 4;
/** A client counts as busy for so long after a call. */
const BUSY_MS = 200;

/** Syscalls that wait for something to come when told to. */
type WaitingName = 'RECV' | 'POLL_EVENTS' | 'ASYNC_POLL' | 'TASK_ASSIGN';
type WaitingRequest = { readonly wait?: boolean | undefined; readonly timeout_ms?: number | undefined };
type WaitingResponse = SyscallResponse<WaitingName>;

/** Calls by name over a connection that heals itself; the methods with friendly arguments are in CloveClient. */
export class SyscallClient {
  readonly socketPath: string;
  protected readonly options: ClientOptions;
  /** Taken again after a reconnect. */
  protected readonly names = new Set<string>();
  protected subscriptions: readonly string[] = [];
  /** The world this client is in: its one connection is, others of it are not. Joined again after a reconnect. */
  #world: string | null = null;
  readonly #timeoutMs: number | null;
  readonly #link: Link;
  readonly #lanes: Lanes;
  #agentId = 0;
  #lastCallAtMs = 0;
  #closed = false;

  constructor(options: ClientOptions = {}) {
    this.options = options;
    this.socketPath = options.socketPath ?? defaultSocketPath();
    this.#timeoutMs = options.timeoutMs === undefined ? DEFAULT_TIMEOUT_MS : options.timeoutMs;
    const connection: ConnectionOptions = {
      socketPath: this.socketPath,
      maxAnswerBytes: options.maxAnswerBytes ?? MAX_ANSWER_BYTES,
    };
    this.#lanes = new Lanes(connection, () => (this.#isAgent() ? MAX_AGENT_LANES : MAX_CLIENT_LANES));
    this.#link = new Link({
      ...connection,
      connectRetryMs: options.connectRetryMs ?? 0,
      reconnect: options.reconnect ?? {},
      onUp: (up) => this.#introduce(up),
    });
  }

  /** Id of this caller: an agent's own, or that of this connection. 0 before the first connection. */
  get agentId(): number {
    return this.#agentId;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get connected(): boolean {
    return this.#link.current !== null;
  }

  /** Waits until the kernel has answered. Calls do so by themselves. @throws UNREACHABLE */
  async connect(): Promise<this> {
    await this.#link.ready();
    return this;
  }

  /** Ends all connections; calls without an answer reject with CANCELLED. */
  async close(): Promise<void> {
    this.#closed = true;
    const reason = new CloveError('CANCELLED', 'the client was closed');
    this.#lanes.close(reason);
    this.#link.close(reason);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * One syscall by name, with the fields of docs/syscalls.md. Calls may overlap: answers find their callers.
   * A call that was in flight when the connection broke rejects with DISCONNECTED and is never repeated: whether the kernel
   * has done it is not known. @throws the kernel's error by its code; TIMEOUT, CANCELLED, DISCONNECTED, UNREACHABLE
   */
  async call<Name extends SyscallName>(
    name: Name,
    ...[request, options = {}]: RequestArguments<Name>
  ): Promise<SyscallResponse<Name>> {
    const payload = encodeRequest(name, request);
    // What is accepted to be answered later belongs to the connection that asks, and is answered at once.
    if ((LONG_SYSCALLS.has(name) && !isAsynchronous(name, request)) || isWaitingForLogs(name, request)) {
      const { timeoutMs = null, signal } = options;
      if (this.#meetsWorld(name)) {
        return decodeAnswer(name, await this.#onMain(name, payload, { timeoutMs, signal }));
      }
      const frame = await this.#onLane(name, payload, { timeoutMs, signal });
      return decodeAnswer(name, frame);
    }
    if (isWaitingName(name)) {
      const waiting: WaitingRequest = request ?? {};
      if (waiting.wait !== false && (waiting.wait === true || (waiting.timeout_ms ?? 0) > 0)) {
        return (await this.#wait(name, waiting, options)) as SyscallResponse<Name>;
      }
    }
    const { timeoutMs = this.#timeoutMs, signal } = options;
    this.#lastCallAtMs = performance.now();
    const answer = decodeAnswer(name, await this.#onMain(name, payload, { timeoutMs, signal }));
    this.#noteWorld(name, request);
    return answer;
  }

  protected warn(warning: CloveError): void {
    if (this.options.onWarning !== undefined) this.options.onWarning(warning);
    else process.emitWarning(warning.message, { type: 'CloveWarning', code: warning.code });
  }

  /** A client is in a world by its connection: what is the world's must not go by another. */
  #meetsWorld(name: SyscallName): boolean {
    return this.#world !== null && !this.#isAgent() && WORLD_SYSCALLS.has(name);
  }

  #noteWorld(name: SyscallName, request: unknown): void {
    const { world_id, agent_id } = (request ?? {}) as {
      readonly world_id?: string;
      readonly agent_id?: unknown;
    };
    if (name === 'WORLD_JOIN' && agent_id === undefined && world_id !== undefined) this.#world = world_id;
    if (name === 'WORLD_LEAVE') this.#world = null;
  }

  #isAgent(): boolean {
    return this.#agentId < FIRST_CLIENT_ID;
  }

  async #onMain(
    name: SyscallName,
    payload: string,
    options: { timeoutMs: number | null; signal: AbortSignal | undefined },
  ): Promise<Frame> {
    const { timeoutMs, signal } = options;
    const startedAt = performance.now();
    // No detour when the link is up: calls leave in the order they were made.
    const connection = this.#link.current ?? (await this.#link.ready(timeoutMs, signal));
    const leftMs = timeoutMs === null ? null : Math.max(1, timeoutMs - (performance.now() - startedAt));
    return connection.call(OPCODES[name], payload, { timeoutMs: leftMs, signal });
  }

  /** On a connection of its own; when the call is given up, closing that connection ends it in the kernel. */
  async #onLane(
    name: SyscallName,
    payload: string,
    options: { timeoutMs: number | null; signal: AbortSignal | undefined },
  ): Promise<Frame> {
    if (this.#link.current === null) await this.#link.ready(options.timeoutMs, options.signal);
    return this.#lanes.borrow((connection) => connection.call(OPCODES[name], payload, options));
  }

  async #wait(name: WaitingName, request: WaitingRequest, options: CallOptions): Promise<WaitingResponse> {
    if (this.#link.current === null) await this.#link.ready(options.timeoutMs ?? null, options.signal);
    if (this.#isAgent()) {
      const { timeoutMs = null, signal } = options;
      const frame = await this.#onLane(name, encodeRequest(name, request), { timeoutMs, signal });
      return decodeAnswer(name, frame);
    }
    return this.#waitInSlices(name, request, options);
  }

  /**
   * A client's mailbox belongs to its one connection, and a call that waits there holds up the others behind it. So it waits
   * for a little while at a time, or only asks now and then while there are others. It is given up between two questions
   * only, so nothing that was taken is lost.
   */
  async #waitInSlices(
    name: WaitingName,
    request: WaitingRequest,
    { timeoutMs = null, signal }: CallOptions,
  ): Promise<WaitingResponse> {
    const startedAt = performance.now();
    for (;;) {
      if (signal?.aborted === true) throw cancelled();
      const elapsedMs = performance.now() - startedAt;
      const leftMs = (request.timeout_ms ?? Number.POSITIVE_INFINITY) - elapsedMs;
      const busy = performance.now() - this.#lastCallAtMs < BUSY_MS;
      const sliceMs = busy ? 0 : Math.max(0, Math.ceil(Math.min(leftMs, SLICE_MS)));
      const slice = { ...request, timeout_ms: sliceMs };
      const frame = await this.#onMain(name, encodeRequest(name, slice), {
        timeoutMs: this.#timeoutMs,
        signal: undefined,
      });
      const answer = decodeAnswer(name, frame);
      if (hasCome(answer) || leftMs <= sliceMs) return answer;
      if (timeoutMs !== null && performance.now() - startedAt > timeoutMs) {
        throw new CloveError('TIMEOUT', `no answer within ${Math.round(timeoutMs)} ms`);
      }
      if (busy) await new Promise((resolve) => setTimeout(resolve, Math.min(leftMs, BUSY_PAUSE_MS)));
    }
  }

  /** Says hello, and takes up again what a lost connection took with it. */
  async #introduce(connection: Connection): Promise<void> {
    const ask = async (name: SyscallName, request: unknown): Promise<Frame> => {
      const frame = await connection.call(OPCODES[name], JSON.stringify(request), {
        timeoutMs: this.#timeoutMs,
      });
      decodeAnswer(name, frame);
      return frame;
    };
    this.#agentId = (await ask('HELLO', {})).agentId;
    const renewals: [SyscallName, unknown][] = [...this.names].map((name) => ['REGISTER', { name }]);
    if (this.subscriptions.length > 0) renewals.push(['SUBSCRIBE', { event_types: this.subscriptions }]);
    if (this.#world !== null && !this.#isAgent()) renewals.push(['WORLD_JOIN', { world_id: this.#world }]);
    for (const [name, request] of renewals) {
      try {
        await ask(name, request);
      } catch (error) {
        if (connection.closed !== null) throw error;
        if (name === 'WORLD_JOIN') this.#world = null;
        if (name === 'REGISTER') this.names.delete((request as { name: string }).name);
        const { code, message } = error as CloveError;
        this.warn(new CloveError(code, `after a reconnect: ${name} ${JSON.stringify(request)}: ${message}`));
      }
    }
  }

  /** null when this client was closed; after a lost connection it tries again. */
  protected async untilClosed<Result>(attempt: () => Promise<Result>): Promise<Result | null> {
    for (;;) {
      try {
        return await attempt();
      } catch (error) {
        if (this.closed) return null;
        if (!isCloveError(error) || error.code !== 'DISCONNECTED' || this.options.reconnect === false)
          throw error;
      }
    }
  }
}

function isWaitingName(name: SyscallName): name is WaitingName {
  return name === 'RECV' || name === 'POLL_EVENTS' || name === 'ASYNC_POLL' || name === 'TASK_ASSIGN';
}

function hasCome(answer: WaitingResponse): boolean {
  return 'assigned' in answer ? answer.assigned : answer.count > 0;
}

function isAsynchronous(name: SyscallName, request: unknown): boolean {
  const { async } = (request ?? {}) as { readonly async?: unknown };
  // What the kernel takes an absent `async` for.
  return name === 'THINK' ? async !== false : async === true;
}

function isWaitingForLogs(name: SyscallName, request: unknown): boolean {
  const { timeout_ms: timeoutMs } = (request ?? {}) as { readonly timeout_ms?: unknown };
  return name === 'LOGS' && typeof timeoutMs === 'number' && timeoutMs > 0;
}

function encodeRequest(name: SyscallName, request: unknown): string {
  const raw = RAW_SYSCALLS.has(name);
  const payload = raw ? String(request ?? '') : JSON.stringify(request ?? {});
  // A string has at most three bytes a unit: most need no counting.
  if (payload.length * 3 > MAX_PAYLOAD_BYTES && Buffer.byteLength(payload) > MAX_PAYLOAD_BYTES) {
    throw new CloveError('PAYLOAD_TOO_LARGE', `request of ${name} is larger than ${MAX_PAYLOAD_BYTES} bytes`);
  }
  return payload;
}

function decodeAnswer<Name extends SyscallName>(name: Name, frame: Frame): SyscallResponse<Name> {
  const { buffer, byteOffset, byteLength } = frame.payload;
  // Not a TextDecoder: it would take a leading U+FEFF away from an echo.
  const text = Buffer.from(buffer, byteOffset, byteLength).toString('utf8');
  if (RAW_SYSCALLS.has(name)) return text as SyscallResponse<Name>;
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch (error) {
    throw new CloveError('PROTOCOL', `answer to ${name} is not JSON`, { cause: error });
  }
  // `success: false` of a command that ran is how it ended, not a failure of the call.
  const ran = name === 'EXEC' && typeof answer === 'object' && answer !== null && 'timed_out' in answer;
  if (!ran && typeof answer === 'object' && answer !== null && 'success' in answer && !answer.success) {
    const { code, error, ...rest } = answer as { code?: unknown; error?: unknown };
    if (isErrorCode(code)) throw errorFromData({ ...rest, code, message: String(error) });
  }
  return answer as SyscallResponse<Name>;
}
