import { CloveError } from '../../errors/index.ts';
import type { KeepsByCaller } from '../kernel.ts';
import { DurableStore } from '../store/durable-store.ts';
import type { StoreOperation } from '../store/schema.ts';
import { Accounts } from './accounts.ts';
import { type Change, ChangeLog } from './change-log.ts';
import { loadState, type StateRow } from './database.ts';
import { type Expected, isExpected } from './expected.ts';
import type { Entry } from './key-space.ts';
import { STATE_LIMITS, type StateLimits } from './limits.ts';
import { Space, type StateScope } from './space.ts';
import { Versions } from './versions.ts';
import { changesBehind, type WatchRequest, type WatchResult } from './watch.ts';

export interface StateStoreOptions {
  /** SQLite file of what is durable; null = kept in memory only. */
  readonly databasePath: string | null;
  /** What writes that file; absent = a writer of its own, which is closed with this store. */
  readonly store?: DurableStore;
  /** Agents that outlive the kernel: what they keep for themselves does, too. Asked at start and when an agent first stores. */
  readonly outlivesKernel?: (callerId: number) => boolean;
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
  /** Of the change that stored it: each change of anything has a higher one than all before. */
  readonly version: number;
}

export interface SwapResult {
  readonly swapped: boolean;
  /** What is there now; null = nothing. JSON */
  readonly text: string | null;
  /** Of what is there now; 0 = nothing. When swapped to nothing: of the deletion. */
  readonly version: number;
}

const ENTRY_OVERHEAD_BYTES = 160;
const SWEEP_INTERVAL_MS = 60_000;
/** How late somebody who watches hears that a lifetime is over. */
const WATCHED_SWEEP_INTERVAL_MS = 1000;
/** Where a key is looked for when no scope is named: what is the caller's own comes first, so nobody can shadow it. */
const LOOKUP_ORDER: readonly StateScope[] = ['session', 'agent', 'global'];

/**
 * Key-value state of the fleet. A value belongs to (scope, owner, key); no key can be written so that it means another
 * owner's. A change is seen by everybody at once and acknowledged when it is durable; if it cannot be made durable, it is
 * undone and refused. Watchers, and those whose swap failed, are told only of what is durable.
 */
export class StateStore implements KeepsByCaller {
  readonly #limits: StateLimits;
  readonly #monotonicMs: () => number;
  readonly #wallMs: () => number;
  readonly #journal: DurableStore | null;
  readonly #ownsJournal: boolean;
  readonly #outlivesKernel: (callerId: number) => boolean;
  readonly #global: Space;
  readonly #private: Record<'agent' | 'session', Map<number, Space>> = {
    agent: new Map(),
    session: new Map(),
  };
  readonly #accounts = new Accounts();
  readonly #versions: Versions;
  readonly #watches = new Map<number, number>();
  /** How often something was undone. */
  #undone = 0;
  #sweeper: NodeJS.Timeout;
  #isSweepingOften = false;

  private constructor(options: StateStoreOptions) {
    this.#limits = { ...STATE_LIMITS, ...options.limits };
    this.#monotonicMs = options.monotonicMs ?? (() => performance.now());
    this.#wallMs = options.wallMs ?? Date.now;
    const { databasePath, store } = options;
    const loaded = databasePath === null ? { rows: [], usedVersion: 0 } : loadState(databasePath);
    this.#ownsJournal = store === undefined;
    this.#journal = store ?? (databasePath === null ? null : new DurableStore({ databasePath }));
    this.#outlivesKernel = (callerId) =>
      this.#journal !== null && options.outlivesKernel?.(callerId) === true;
    this.#versions = new Versions(loaded.usedVersion);
    this.#global = new Space('global', 0, this.#journal !== null);
    this.#load(loaded.rows);
    this.#sweeper = setInterval(() => this.sweep(), SWEEP_INTERVAL_MS).unref();
  }

  /** @throws DATA_CORRUPT, IO when the database cannot be used. */
  static open(options: StateStoreOptions): StateStore {
    return new StateStore(options);
  }

  /** Returns the version of the change; 0 = there was nothing to change. @throws BAD_REQUEST, PAYLOAD_TOO_LARGE, OVERLOAD, IO */
  async store(callerId: number, request: StoreRequest): Promise<number> {
    const { version, durable } = this.#apply(callerId, request);
    await durable;
    return version;
  }

  /** Stores where the expected is found; looking and storing are one step. @throws as store() */
  async swap(callerId: number, request: StoreRequest, expected: Expected): Promise<SwapResult> {
    const { scope, key } = request;
    this.#assertKey(key);
    for (;;) {
      const found = this.#spaceIfAny(scope, callerId)?.keys.get(key, this.#monotonicMs());
      if (isExpected(expected, found)) {
        const { version, durable } = this.#apply(callerId, request);
        await durable;
        const isGone = request.ttlMs !== null && request.ttlMs <= 0;
        return { swapped: true, text: isGone ? null : request.text, version };
      }
      const undone = this.#undone;
      await this.#journal?.settled();
      // What was found in the way may not have become durable: then it never was.
      if (undone !== this.#undone) continue;
      return { swapped: false, text: found?.text ?? null, version: found?.version ?? 0 };
    }
  }

  /** With no scope: the caller's session, then its own, then the global one. */
  fetch(callerId: number, key: string, scope: StateScope | null): FoundValue | null {
    const now = this.#monotonicMs();
    for (const candidate of scope === null ? LOOKUP_ORDER : [scope]) {
      const entry = this.#spaceIfAny(candidate, callerId)?.keys.get(key, now);
      if (entry !== undefined) return { text: entry.text, scope: candidate, version: entry.version };
    }
    return null;
  }

  /** Deletes what fetch() would find. Returns where it was; null = there was nothing. @throws IO */
  async delete(
    callerId: number,
    key: string,
    scope: StateScope | null,
  ): Promise<{ readonly scope: StateScope; readonly version: number } | null> {
    const found = this.fetch(callerId, key, scope);
    if (found === null) return null;
    const { version, durable } = this.#remove(this.#space(found.scope, callerId), callerId, key);
    await durable;
    return { scope: found.scope, version };
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
      .map((space) => space.keys.list(options.prefix, options.after, options.limit, now));
    if (lists.length === 1) return lists[0] as { keys: string[]; more: boolean };
    const keys = [...new Set(lists.flatMap((list) => list.keys))].sort();
    const more = keys.length > options.limit || lists.some((list) => list.more);
    return { keys: keys.slice(0, options.limit), more };
  }

  /**
   * Changes of watched keys behind a version, in order, each at least once and none left out; waits for one where there is
   * none. @throws CANCELLED, OVERLOAD, BAD_REQUEST
   */
  async watch(callerId: number, request: WatchRequest, signal: AbortSignal): Promise<WatchResult> {
    for (const key of request.keys ?? []) this.#assertKey(key);
    const deadline = request.timeoutMs === null ? null : performance.now() + request.timeoutMs;
    const log = this.#logOf(this.#space(request.scope, callerId));
    const since = request.sinceVersion ?? log.head;
    this.#countWatch(callerId, 1);
    try {
      for (;;) {
        const space = this.#spaceIfAny(request.scope, callerId);
        const found = changesBehind(space, log, request, since, this.#monotonicMs());
        if (found !== null) return found;
        const leftMs = deadline === null ? null : deadline - performance.now();
        if (leftMs !== null && leftMs <= 0) {
          return { changes: [], version: Math.max(since, log.head), resync: false, more: false };
        }
        this.#sweepOften();
        await log.wait(request, leftMs, signal);
      }
    } finally {
      this.#countWatch(callerId, -1);
    }
  }

  /** Everything in the global scope, with the time each value has left; null = for ever. ms */
  globalEntries(): readonly { readonly key: string; readonly text: string; readonly ttlMs: number | null }[] {
    const now = this.#monotonicMs();
    const live = [...this.#global.keys.entries()].filter(
      ([key]) => this.#global.keys.get(key, now) !== undefined,
    );
    return live
      .map(([key, { text, expiresAtMs }]) => ({
        key,
        text,
        ttlMs: expiresAtMs === null ? null : expiresAtMs - now,
      }))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** The caller's process or connection is gone, the caller itself may come back. */
  endSession(callerId: number): void {
    this.#clear('session', callerId);
  }

  release(callerId: number): void {
    this.#clear('session', callerId);
    this.#clear('agent', callerId);
    // What it left in the global scope stays, on nobody's quota: ids are never used again.
    this.#accounts.close(callerId);
  }

  /** Frees what has expired. */
  sweep(): void {
    const now = this.#monotonicMs();
    for (const space of this.#spaces()) {
      for (const key of space.keys.expired(now)) {
        // Not waited for, and never undone: a row that stays is expired when it is loaded, too.
        this.#remove(space, 0, key).durable?.catch(() => {});
      }
    }
  }

  /** What one caller has stored, over all scopes. */
  bytesOf(callerId: number): number {
    return this.#accounts.of(callerId).bytes;
  }

  usage(): { readonly keys: number; readonly bytes: number } {
    const keys = this.#spaces().reduce((sum, space) => sum + space.keys.size, 0);
    return { keys, bytes: this.#accounts.totalBytes };
  }

  /** Waits until everything acknowledged or under way is written. */
  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    if (this.#ownsJournal) await this.#journal?.close();
    else await this.#journal?.settled();
  }

  #load(rows: readonly StateRow[]): void {
    const now = this.#monotonicMs();
    const wall = this.#wallMs();
    const strangers = new Set<number>();
    for (const row of rows) {
      if (row.owner !== 0 && !this.#outlivesKernel(row.owner)) {
        strangers.add(row.owner);
        continue;
      }
      if (row.expiresWallMs !== null && row.expiresWallMs <= wall) continue;
      const space = this.#space(row.owner === 0 ? 'global' : 'agent', row.owner);
      // A clock that was set back while the kernel was down makes nothing live longer than it was to.
      const leftMs = row.expiresWallMs === null ? null : row.expiresWallMs - wall;
      const boundedMs = leftMs === null || row.ttlMs === null ? leftMs : Math.min(leftMs, row.ttlMs);
      this.#put(space, row.key, {
        text: row.value,
        bytes: sizeOf(row.key, row.value),
        expiresAtMs: boundedMs === null ? null : now + boundedMs,
        writerId: row.owner,
        version: row.version,
      });
      space.settledVersion = Math.max(space.settledVersion, row.version);
    }
    // Agents that nobody wants any more, or that did not get to be.
    const operations = [...strangers].map((owner): StoreOperation => ['state.agent.clear', owner]);
    if (operations.length > 0) this.#journal?.write(operations).catch(() => {});
  }

  /** Makes the change, visible at once; `durable` tells when it is acknowledged. null = now. */
  #apply(callerId: number, request: StoreRequest): { version: number; durable: Promise<void> | null } {
    const { key, text, scope, ttlMs } = request;
    this.#assertKey(key);
    if (Buffer.byteLength(text) > this.#limits.valueBytes) {
      throw new CloveError('PAYLOAD_TOO_LARGE', `value is larger than ${this.#limits.valueBytes} bytes`);
    }
    if (ttlMs !== null && ttlMs <= 0) {
      const space = this.#spaceIfAny(scope, callerId);
      return space === undefined ? NO_CHANGE : this.#remove(space, callerId, key);
    }
    const bytes = sizeOf(key, text);
    if (!this.#hasRoom(request, callerId, bytes)) {
      this.sweep();
      if (!this.#hasRoom(request, callerId, bytes)) {
        throw new CloveError('OVERLOAD', 'state store is full', {
          hint: 'Delete keys, store less, or give values a ttl.',
        });
      }
    }
    const space = this.#space(scope, callerId);
    const previous = space.keys.peek(key);
    const version = this.#versions.next();
    const now = this.#monotonicMs();
    const expiresAtMs = ttlMs === null ? null : now + ttlMs;
    const shown = space.keys.get(key, now)?.text ?? null;
    this.#put(space, key, { text, bytes, expiresAtMs, writerId: callerId, version });
    const change: Change = { key, version, text, previousText: shown, callerId };
    return { version, durable: this.#settle(space, change, previous, ttlMs) };
  }

  #remove(space: Space, callerId: number, key: string): { version: number; durable: Promise<void> | null } {
    const previous = space.keys.peek(key);
    if (previous === undefined) return NO_CHANGE;
    const version = this.#versions.next();
    this.#drop(space, key);
    const change: Change = { key, version, text: null, previousText: previous.text, callerId };
    return { version, durable: this.#settle(space, change, previous, null) };
  }

  /** Writes the change where the space is durable, and tells watchers when it is certain. */
  #settle(
    space: Space,
    change: Change,
    previous: Entry | undefined,
    ttlMs: number | null,
  ): Promise<void> | null {
    const certain = () => {
      space.settledVersion = change.version;
      space.log?.append(change);
    };
    if (!space.isDurable || this.#journal === null) {
      certain();
      return null;
    }
    const { key, text, version } = change;
    const expiresWallMs = ttlMs === null ? null : Math.ceil(this.#wallMs() + ttlMs);
    const { operations, undo } = this.#versions.reserve(version);
    const operation = operationOf(space, key, text, expiresWallMs, ttlMs, version);
    const written = this.#journal.write([...operations, operation], () => {
      undo();
      this.#undone += 1;
      if (this.#spaceIfAny(space.scope, space.ownerId) !== space) return;
      if (previous === undefined) this.#drop(space, key);
      else this.#put(space, key, previous);
    });
    return written.then(certain);
  }

  #logOf(space: Space): ChangeLog {
    const limits = space.scope === 'global' ? this.#limits.globalChanges : this.#limits.privateChanges;
    // What is under way will be in it, for its versions are higher.
    space.log ??= new ChangeLog(limits, space.settledVersion);
    return space.log;
  }

  #countWatch(callerId: number, by: 1 | -1): void {
    const count = (this.#watches.get(callerId) ?? 0) + by;
    if (count > this.#limits.callerWatches) {
      throw new CloveError('OVERLOAD', `too many watches (at most ${this.#limits.callerWatches})`);
    }
    if (count === 0) this.#watches.delete(callerId);
    else this.#watches.set(callerId, count);
    if (this.#watches.size === 0) this.#sweepSeldom();
  }

  #sweepOften(): void {
    if (this.#isSweepingOften) return;
    this.#isSweepingOften = true;
    clearInterval(this.#sweeper);
    this.#sweeper = setInterval(() => this.sweep(), WATCHED_SWEEP_INTERVAL_MS).unref();
  }

  #sweepSeldom(): void {
    if (!this.#isSweepingOften) return;
    this.#isSweepingOften = false;
    clearInterval(this.#sweeper);
    this.#sweeper = setInterval(() => this.sweep(), SWEEP_INTERVAL_MS).unref();
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

  #hasRoom({ scope, key }: StoreRequest, callerId: number, bytes: number): boolean {
    const previous = this.#spaceIfAny(scope, callerId)?.keys.peek(key);
    const usage = this.#accounts.of(callerId);
    const mine = previous !== undefined && previous.writerId === callerId;
    const { keys } = this.#global;
    if (usage.keys + (mine ? 0 : 1) > this.#limits.callerKeys) return false;
    if (usage.bytes + bytes - (mine ? previous.bytes : 0) > this.#limits.callerBytes) return false;
    const added = bytes - (previous?.bytes ?? 0);
    if (this.#accounts.totalBytes + added > this.#limits.totalBytes) return false;
    if (scope !== 'global') return true;
    if (keys.size + (previous === undefined ? 1 : 0) > this.#limits.globalKeys) return false;
    return keys.bytes + added <= this.#limits.globalBytes;
  }

  #put(space: Space, key: string, entry: Entry): void {
    const previous = space.keys.peek(key);
    if (previous !== undefined) this.#accounts.remove(previous);
    space.keys.set(key, entry);
    this.#accounts.add(entry);
  }

  #drop(space: Space, key: string): void {
    const entry = space.keys.peek(key);
    if (entry === undefined) return;
    space.keys.delete(key);
    this.#accounts.remove(entry);
  }

  #spaces(): Space[] {
    return [...this.#private.agent.values(), ...this.#private.session.values(), this.#global];
  }

  #space(scope: StateScope, callerId: number): Space {
    if (scope === 'global') return this.#global;
    return this.#private[scope].getOrInsertComputed(
      callerId,
      () => new Space(scope, callerId, scope === 'agent' && this.#outlivesKernel(callerId)),
    );
  }

  #spaceIfAny(scope: StateScope, callerId: number): Space | undefined {
    return scope === 'global' ? this.#global : this.#private[scope].get(callerId);
  }

  #clear(scope: 'agent' | 'session', callerId: number): void {
    const space = this.#private[scope].get(callerId);
    if (space === undefined) return;
    for (const [, entry] of space.keys.entries()) this.#accounts.remove(entry);
    this.#private[scope].delete(callerId);
    space.log?.reset(this.#versions.next());
    // Not waited for: rows of an agent that is gone are cleared at the next start at the latest.
    if (space.isDurable && !this.#outlivesKernel(callerId))
      this.#journal?.write([['state.agent.clear', callerId]]).catch(() => {});
  }
}

const NO_CHANGE = { version: 0, durable: null } as const;

function sizeOf(key: string, text: string): number {
  return Buffer.byteLength(text) + Buffer.byteLength(key) + ENTRY_OVERHEAD_BYTES;
}

function operationOf(
  { scope, ownerId }: Space,
  key: string,
  text: string | null,
  expiresWallMs: number | null,
  ttlMs: number | null,
  version: number,
): StoreOperation {
  const ttl = ttlMs === null ? null : Math.ceil(ttlMs);
  if (scope === 'global') {
    return text === null ? ['state.delete', key] : ['state.put', key, text, expiresWallMs, ttl, version];
  }
  return text === null
    ? ['state.agent.delete', key, ownerId]
    : ['state.agent.put', key, text, expiresWallMs, ttl, version, ownerId];
}
