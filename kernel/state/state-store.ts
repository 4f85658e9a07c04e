import { CloveError } from '../../errors/index.ts';
import type { KeepsByCaller } from '../kernel.ts';
import { DurableStore } from '../store/durable-store.ts';
import { loadStateRows } from './database.ts';
import { type Entry, KeySpace } from './key-space.ts';

/**
 * - `global`: one space for everybody. Durable where the kernel has a data directory.
 * - `agent`: private to one caller; an agent's survives its restarts and goes with the agent, a client's with its connection.
 * - `session`: private to one caller and one life of it: gone when the agent's process ends or the client disconnects.
 */
export const STATE_SCOPES = ['global', 'agent', 'session'] as const;
export type StateScope = (typeof STATE_SCOPES)[number];

export interface StateLimits {
  /** UTF-8 bytes of a key. */
  readonly keyBytes: number;
  /** UTF-8 bytes of a value as JSON. */
  readonly valueBytes: number;
  /** Keys and bytes of the global scope. */
  readonly globalKeys: number;
  readonly globalBytes: number;
  /** Keys and bytes that one caller has written, over all scopes. */
  readonly callerKeys: number;
  readonly callerBytes: number;
  /** Of all scopes of all callers. */
  readonly totalBytes: number;
}

export const STATE_LIMITS: StateLimits = {
  keyBytes: 1024,
  valueBytes: 2 ** 20,
  globalKeys: 100_000,
  globalBytes: 256 * 2 ** 20,
  callerKeys: 20_000,
  callerBytes: 64 * 2 ** 20,
  totalBytes: 1024 * 2 ** 20,
};

export interface StateStoreOptions {
  /** SQLite file of the global scope; null = kept in memory only. */
  readonly databasePath: string | null;
  /** What writes that file; absent = a writer of its own, which is closed with this store. */
  readonly store?: DurableStore;
  readonly limits?: Partial<StateLimits>;
  /** Milliseconds that never go back; lifetimes are counted on it. */
  readonly monotonicMs?: () => number;
  /** Milliseconds since the epoch; lifetimes are stored by it. */
  readonly wallMs?: () => number;
}

export interface StoreRequest {
  readonly key: string;
  /** JSON. */
  readonly text: string;
  readonly scope: StateScope;
  /** Lifetime; 0 or less = gone at once; null = for ever. ms */
  readonly ttlMs: number | null;
}

export interface FoundValue {
  readonly text: string;
  readonly scope: StateScope;
}

interface Usage {
  keys: number;
  bytes: number;
}

const ENTRY_OVERHEAD_BYTES = 160;
const SWEEP_INTERVAL_MS = 60_000;
/** Where a key is looked for when no scope is named: what is the caller's own comes first, so nobody can shadow it. */
const LOOKUP_ORDER: readonly StateScope[] = ['session', 'agent', 'global'];

/**
 * Key-value state of the fleet. A value belongs to (scope, owner, key); no key can be written so that it means another
 * owner's. A store is seen by everybody at once and acknowledged when it is durable; if it cannot be made durable, it is
 * undone and refused.
 */
export class StateStore implements KeepsByCaller {
  readonly #limits: StateLimits;
  readonly #monotonicMs: () => number;
  readonly #wallMs: () => number;
  readonly #journal: DurableStore | null;
  readonly #ownsJournal: boolean;
  readonly #global = new KeySpace();
  readonly #private: Record<'agent' | 'session', Map<number, KeySpace>> = {
    agent: new Map(),
    session: new Map(),
  };
  readonly #usage = new Map<number, Usage>();
  #totalBytes = 0;
  readonly #sweeper: NodeJS.Timeout;

  private constructor(options: StateStoreOptions) {
    this.#limits = { ...STATE_LIMITS, ...options.limits };
    this.#monotonicMs = options.monotonicMs ?? (() => performance.now());
    this.#wallMs = options.wallMs ?? Date.now;
    const { databasePath, store } = options;
    this.#ownsJournal = store === undefined;
    this.#journal = store ?? (databasePath === null ? null : new DurableStore({ databasePath }));
    this.#sweeper = setInterval(() => this.sweep(), SWEEP_INTERVAL_MS).unref();
    if (options.databasePath !== null) this.#load(options.databasePath);
  }

  /** @throws DATA_CORRUPT, IO when the database cannot be used. */
  static open(options: StateStoreOptions): StateStore {
    return new StateStore(options);
  }

  /** @throws BAD_REQUEST, PAYLOAD_TOO_LARGE, OVERLOAD, IO */
  async store(callerId: number, request: StoreRequest): Promise<void> {
    this.#assertKey(request.key);
    const size = Buffer.byteLength(request.text);
    if (size > this.#limits.valueBytes) {
      throw new CloveError('PAYLOAD_TOO_LARGE', `value is larger than ${this.#limits.valueBytes} bytes`);
    }
    if (request.ttlMs !== null && request.ttlMs <= 0) {
      await this.#remove(request.scope, callerId, request.key);
      return;
    }
    const now = this.#monotonicMs();
    const entry: Entry = {
      text: request.text,
      bytes: size + Buffer.byteLength(request.key) + ENTRY_OVERHEAD_BYTES,
      expiresAtMs: request.ttlMs === null ? null : now + request.ttlMs,
      writerId: callerId,
    };
    if (!this.#hasRoom(request, callerId, entry)) {
      this.sweep();
      if (!this.#hasRoom(request, callerId, entry)) {
        throw new CloveError('OVERLOAD', 'state store is full', {
          hint: 'Delete keys, store less, or give values a ttl.',
        });
      }
    }
    const space = this.#space(request.scope, callerId);
    const previous = space.peek(request.key);
    this.#put(space, request.key, entry);
    if (request.scope !== 'global' || this.#journal === null) return;
    const expiresWallMs = request.ttlMs === null ? null : Math.ceil(this.#wallMs() + request.ttlMs);
    await this.#durably(space, request.key, previous, request.text, expiresWallMs);
  }

  /** With no scope: the caller's session, then its own, then the global one. */
  fetch(callerId: number, key: string, scope: StateScope | null): FoundValue | null {
    const now = this.#monotonicMs();
    for (const candidate of scope === null ? LOOKUP_ORDER : [scope]) {
      const entry = this.#spaceIfAny(candidate, callerId)?.get(key, now);
      if (entry !== undefined) return { text: entry.text, scope: candidate };
    }
    return null;
  }

  /** Deletes what fetch() would find. Returns where it was; null = there was nothing. @throws IO */
  async delete(callerId: number, key: string, scope: StateScope | null): Promise<StateScope | null> {
    const found = this.fetch(callerId, key, scope);
    if (found === null) return null;
    await this.#remove(found.scope, callerId, key);
    return found.scope;
  }

  /** Keys the caller can fetch, in code unit order, each once. `more` = there are others behind the last. */
  keys(
    callerId: number,
    options: { prefix: string; scope: StateScope | null; after: string; limit: number },
  ): { keys: string[]; more: boolean } {
    const now = this.#monotonicMs();
    const scopes = options.scope === null ? LOOKUP_ORDER : [options.scope];
    const lists = scopes
      .map((scope) => this.#spaceIfAny(scope, callerId))
      .filter((space) => space !== undefined)
      .map((space) => space.list(options.prefix, options.after, options.limit, now));
    if (lists.length === 1) return lists[0] as { keys: string[]; more: boolean };
    const keys = [...new Set(lists.flatMap((list) => list.keys))].sort();
    const more = keys.length > options.limit || lists.some((list) => list.more);
    return { keys: keys.slice(0, options.limit), more };
  }

  /** The caller's process or connection is gone, the caller itself may come back. */
  endSession(callerId: number): void {
    this.#clear('session', callerId);
  }

  release(callerId: number): void {
    this.#clear('session', callerId);
    this.#clear('agent', callerId);
    // What it left in the global scope stays, on nobody's quota: ids are never used again.
    this.#usage.delete(callerId);
  }

  /** Frees what has expired. */
  sweep(): void {
    const now = this.#monotonicMs();
    const spaces = [...this.#private.agent.values(), ...this.#private.session.values(), this.#global];
    for (const space of spaces) {
      for (const key of space.expired(now)) {
        this.#drop(space, key);
        // Not waited for: a row that stays is expired when it is loaded, too.
        if (space === this.#global) {
          this.#journal?.write([['state.delete', key]]).catch(() => {});
        }
      }
    }
  }

  /** What one caller has stored, over all scopes. */
  bytesOf(callerId: number): number {
    return this.#usage.get(callerId)?.bytes ?? 0;
  }

  usage(): { readonly keys: number; readonly bytes: number } {
    const spaces = [...this.#private.agent.values(), ...this.#private.session.values(), this.#global];
    return { keys: spaces.reduce((sum, space) => sum + space.size, 0), bytes: this.#totalBytes };
  }

  /** Waits until everything acknowledged or under way is written. */
  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    if (this.#ownsJournal) await this.#journal?.close();
    else await this.#journal?.settled();
  }

  #load(databasePath: string): void {
    const now = this.#monotonicMs();
    const wall = this.#wallMs();
    for (const row of loadStateRows(databasePath)) {
      if (row.expiresWallMs !== null && row.expiresWallMs <= wall) continue;
      this.#put(this.#global, row.key, {
        text: row.value,
        bytes: Buffer.byteLength(row.value) + Buffer.byteLength(row.key) + ENTRY_OVERHEAD_BYTES,
        expiresAtMs: row.expiresWallMs === null ? null : now + (row.expiresWallMs - wall),
        writerId: 0,
      });
    }
  }

  async #remove(scope: StateScope, callerId: number, key: string): Promise<void> {
    const space = this.#spaceIfAny(scope, callerId);
    const previous = space?.peek(key);
    if (space === undefined || previous === undefined) return;
    this.#drop(space, key);
    if (scope === 'global') await this.#durably(space, key, previous, null, null);
  }

  async #durably(
    space: KeySpace,
    key: string,
    previous: Entry | undefined,
    text: string | null,
    expiresWallMs: number | null,
  ): Promise<void> {
    if (this.#journal === null) return;
    const change =
      text === null ? (['state.delete', key] as const) : (['state.put', key, text, expiresWallMs] as const);
    await this.#journal.write([change], () => {
      if (previous === undefined) this.#drop(space, key);
      else this.#put(space, key, previous);
    });
  }

  #assertKey(key: string): void {
    if (key === '') throw new CloveError('BAD_REQUEST', 'key is required');
    if (!key.isWellFormed()) {
      // Two such keys would become one when they are written as UTF-8.
      throw new CloveError('BAD_REQUEST', 'invalid request: key is not valid Unicode');
    }
    if (Buffer.byteLength(key) > this.#limits.keyBytes) {
      throw new CloveError(
        'BAD_REQUEST',
        `invalid request: key is longer than ${this.#limits.keyBytes} bytes`,
      );
    }
  }

  #hasRoom(request: StoreRequest, callerId: number, entry: Entry): boolean {
    const space = this.#spaceIfAny(request.scope, callerId);
    const previous = space?.peek(request.key);
    const usage = this.#usage.get(callerId) ?? { keys: 0, bytes: 0 };
    const mine = previous !== undefined && previous.writerId === callerId;
    if (usage.keys + (mine ? 0 : 1) > this.#limits.callerKeys) return false;
    if (usage.bytes + entry.bytes - (mine ? previous.bytes : 0) > this.#limits.callerBytes) return false;
    if (this.#totalBytes + entry.bytes - (previous?.bytes ?? 0) > this.#limits.totalBytes) return false;
    if (request.scope !== 'global') return true;
    if (this.#global.size + (previous === undefined ? 1 : 0) > this.#limits.globalKeys) return false;
    return this.#global.bytes + entry.bytes - (previous?.bytes ?? 0) <= this.#limits.globalBytes;
  }

  #put(space: KeySpace, key: string, entry: Entry): void {
    const previous = space.peek(key);
    if (previous !== undefined) this.#charge(previous, -1);
    space.set(key, entry);
    this.#charge(entry, 1);
  }

  #drop(space: KeySpace, key: string): void {
    const entry = space.peek(key);
    if (entry === undefined) return;
    space.delete(key);
    this.#charge(entry, -1);
  }

  #charge(entry: Entry, sign: 1 | -1): void {
    this.#totalBytes += sign * entry.bytes;
    if (entry.writerId === 0) return;
    const usage = this.#usage.get(entry.writerId);
    // A released caller has no account any more; what it left behind is charged to nobody.
    if (usage === undefined && sign === -1) return;
    const { keys, bytes } = usage ?? { keys: 0, bytes: 0 };
    this.#usage.set(entry.writerId, { keys: keys + sign, bytes: bytes + sign * entry.bytes });
  }

  #space(scope: StateScope, callerId: number): KeySpace {
    if (scope === 'global') return this.#global;
    return this.#private[scope].getOrInsertComputed(callerId, () => new KeySpace());
  }

  #spaceIfAny(scope: StateScope, callerId: number): KeySpace | undefined {
    return scope === 'global' ? this.#global : this.#private[scope].get(callerId);
  }

  #clear(scope: 'agent' | 'session', callerId: number): void {
    const space = this.#private[scope].get(callerId);
    if (space === undefined) return;
    for (const [, entry] of space.entries()) this.#charge(entry, -1);
    this.#private[scope].delete(callerId);
  }
}
