import { CloveError } from '../../errors/index.ts';
import { Connection, type ConnectionOptions } from './connection.ts';

const MAX_IDLE_LANES = 2;

/**
 * Connections for calls that may take long: answers of one connection come in order, so such a call holds up all behind it.
 * Each gets a connection of its own for as long as it lasts.
 */
export class Lanes {
  readonly #options: ConnectionOptions;
  readonly #most: () => number;
  readonly #idle: Connection[] = [];
  readonly #busy = new Set<Connection>();
  #opening = 0;
  #closed: CloveError | null = null;

  /** `most`: how many may be open at a time. */
  constructor(options: ConnectionOptions, most: () => number) {
    this.#options = options;
    this.#most = most;
  }

  /** Lends a connection to `use`. When that fails the connection is closed, which ends the call in the kernel too. */
  async borrow<Result>(use: (connection: Connection) => Promise<Result>): Promise<Result> {
    const connection = await this.#acquire();
    this.#busy.add(connection);
    try {
      const result = await use(connection);
      this.#busy.delete(connection);
      this.#giveBack(connection);
      return result;
    } catch (error) {
      this.#busy.delete(connection);
      connection.close(new CloveError('CANCELLED', 'the call that this connection was made for is over'));
      throw error;
    }
  }

  close(reason: CloveError): void {
    this.#closed = reason;
    for (const connection of [...this.#idle, ...this.#busy]) connection.close(reason);
  }

  async #acquire(): Promise<Connection> {
    if (this.#closed !== null) throw this.#closed;
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      if (idle.closed === null) return idle;
    }
    const most = this.#most();
    if (this.#busy.size + this.#opening >= most) {
      throw new CloveError('OVERLOAD', `more than ${most} calls of one client wait at the same time`);
    }
    this.#opening += 1;
    try {
      const connection = await Connection.open(this.#options);
      if (this.#closed !== null) connection.close(this.#closed);
      return connection;
    } finally {
      this.#opening -= 1;
    }
  }

  #giveBack(connection: Connection): void {
    if (connection.closed !== null) return;
    if (this.#closed !== null) connection.close(this.#closed);
    else if (this.#idle.length < MAX_IDLE_LANES) this.#idle.push(connection);
    else connection.close(new CloveError('CANCELLED', 'not needed any more'));
  }
}
