import { CloveError } from '../../errors/index.ts';
import { Connection, type ConnectionOptions, cancelled } from './connection.ts';
import type { ReconnectOptions } from './types.ts';

export interface LinkOptions extends ConnectionOptions {
  readonly connectRetryMs: number;
  readonly reconnect: ReconnectOptions | false;
  /** Runs on every new connection before anybody else may use it. Its failure ends that connection. */
  readonly onUp: (connection: Connection) => Promise<void>;
}

const RECONNECT_DEFAULTS: Required<ReconnectOptions> = { initialMs: 20, maxMs: 2000, giveUpMs: 60_000 };

interface Attempt {
  readonly promise: Promise<Connection>;
  /** The pause before the next attempt; it keeps the process alive only while somebody waits. */
  timer: NodeJS.Timeout | null;
  waiters: number;
  giveUp(reason: CloveError): void;
}

/** A connection that lasts less was no success: the next attempt waits as after a failure. */
const SHORT_LIVED_MS = 1000;

/** A connection that is made again when it is lost. Calls in flight are never repeated: that is for their caller to decide. */
export class Link {
  readonly #options: LinkOptions;
  #connection: Connection | null = null;
  #attempt: Attempt | null = null;
  #failed: CloveError | null = null;
  #everUp = false;
  #upSinceMs = 0;
  /** Connections in a row that were lost at once. */
  #flaps = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  /** The connection when it is up. */
  get current(): Connection | null {
    return this.#connection;
  }

  /** Waits for the connection. @throws UNREACHABLE, TIMEOUT, CANCELLED */
  async ready(timeoutMs: number | null = null, signal?: AbortSignal): Promise<Connection> {
    if (this.#connection !== null) return this.#connection;
    if (this.#failed !== null) throw this.#failed;
    const attempt = this.#attempt ?? this.#begin();
    attempt.waiters += 1;
    attempt.timer?.ref();
    try {
      return await within(attempt.promise, timeoutMs, signal);
    } finally {
      attempt.waiters -= 1;
      if (attempt.waiters === 0) attempt.timer?.unref();
    }
  }

  close(reason: CloveError): void {
    this.#failed = reason;
    this.#connection?.close(reason);
    this.#attempt?.giveUp(reason);
    this.#attempt = null;
  }

  #begin(): Attempt {
    const { promise, resolve, reject } = Promise.withResolvers<Connection>();
    // Rejections reach those who wait; with nobody waiting there is nobody to tell.
    promise.catch(() => {});
    const attempt: Attempt = {
      promise,
      timer: null,
      waiters: 0,
      giveUp: (reason) => {
        clearTimeout(attempt.timer ?? undefined);
        reject(reason);
      },
    };
    this.#attempt = attempt;
    const settled = { ...RECONNECT_DEFAULTS, ...(this.#options.reconnect || {}) };
    const giveUpAt = performance.now() + (this.#everUp ? settled.giveUpMs : this.#options.connectRetryMs);
    const tryOnce = async (pauseMs: number): Promise<void> => {
      try {
        const connection = await this.#open();
        this.#attempt = null;
        resolve(connection);
      } catch (error) {
        const final =
          error instanceof CloveError && error.code !== 'UNREACHABLE' && error.code !== 'DISCONNECTED';
        if (this.#failed !== null || final || performance.now() + pauseMs > giveUpAt) {
          this.#attempt = null;
          if (this.#everUp) this.#failed ??= error as CloveError;
          attempt.giveUp(this.#failed ?? (error as CloveError));
          return;
        }
        pauseThen(pauseMs);
      }
    };
    const pauseThen = (pauseMs: number): void => {
      // Spread out, so that a fleet does not come back all at once.
      const timer = setTimeout(
        () => void tryOnce(Math.min(pauseMs * 2, settled.maxMs)),
        pauseMs * (0.5 + Math.random()),
      );
      if (attempt.waiters === 0) timer.unref();
      attempt.timer = timer;
    };
    const firstPauseMs = Math.min(settled.initialMs * 2 ** this.#flaps, settled.maxMs);
    if (this.#flaps === 0) void tryOnce(settled.initialMs);
    else pauseThen(firstPauseMs);
    return attempt;
  }

  async #open(): Promise<Connection> {
    const connection = await Connection.open(this.#options);
    try {
      await this.#options.onUp(connection);
    } catch (error) {
      connection.close(error as CloveError);
      throw error;
    }
    if (this.#failed !== null) {
      connection.close(this.#failed);
      throw this.#failed;
    }
    if (connection.closed !== null) throw connection.closed;
    this.#connection = connection;
    this.#everUp = true;
    this.#upSinceMs = performance.now();
    connection.onClose((reason) => this.#lost(connection, reason));
    return connection;
  }

  #lost(connection: Connection, reason: CloveError): void {
    if (this.#connection !== connection) return;
    this.#connection = null;
    if (this.#failed !== null) return;
    this.#flaps = performance.now() - this.#upSinceMs < SHORT_LIVED_MS ? this.#flaps + 1 : 0;
    // A peer that breaks the protocol will do so again.
    if (this.#options.reconnect === false || reason.code !== 'DISCONNECTED') this.#failed = reason;
    else this.#begin();
  }
}

/** Gives up waiting for a promise, which goes on by itself. */
function within<Value>(
  promise: Promise<Value>,
  timeoutMs: number | null,
  signal: AbortSignal | undefined,
): Promise<Value> {
  if (timeoutMs === null && signal === undefined) return promise;
  if (signal?.aborted === true) return Promise.reject(cancelled());
  return new Promise((resolve, reject) => {
    const finish = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    };
    const onAbort = (): void => {
      finish();
      reject(cancelled());
    };
    const timer =
      timeoutMs === null
        ? undefined
        : setTimeout(() => {
            finish();
            reject(new CloveError('TIMEOUT', `not connected within ${timeoutMs} ms`));
          }, timeoutMs);
    signal?.addEventListener('abort', onAbort, { once: true });
    promise.then(
      (value) => {
        finish();
        resolve(value);
      },
      (error: unknown) => {
        finish();
        reject(error as Error);
      },
    );
  });
}
