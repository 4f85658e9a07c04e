import { CloveError } from '../../errors/index.ts';
import type { KeepsByCaller } from '../kernel.ts';
import { DurableStore } from '../store/durable-store.ts';
import type { StoreOperation } from '../store/schema.ts';
import { type Change, ChangeLog } from './change-log.ts';
import { loadState, type StateRow } from './database.ts';
import { type Expected, isExpected } from './expected.ts';
import type { Entry } from './key-space.ts';
import { STATE_LIMITS, type StateLimits } from './limits.ts';
import { operationOf } from './operation.ts';
import type { Space, StateScope } from './space.ts';
import { Spaces } from './spaces.ts';
import { Sweeper } from './sweeper.ts';
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
  readonly #spaces: Spaces;
  readonly #versions: Versions;
  readonly #watches = new Map<number, number>();
  /** How often something was undone. */
  #undone = 0;
  readonly #sweeper: Sweeper;

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
    this.#spaces = new Spaces(this.#limits, {
      isDurable: this.#journal !== null,
      outlivesKernel: this.#outlivesKernel,
    });
    this.#load(loaded.rows);
    this.#sweeper = new Sweeper(() => this.sweep());
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
      const found = this.#spaces.ifAny(scope, callerId)?.keys.get(key, this.#monotonicMs());
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
      const entry = this.#spaces.ifAny(candidate, callerId)?.keys.get(key, now);
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
    const { version, durable } = this.#remove(this.#spaces.of(found.scope, callerId), callerId, key);
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
      .map((scope) => this.#spaces.ifAny(scope, callerId))
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
    const log = this.#logOf(this.#spaces.of(request.scope, callerId));
    const since = request.sinceVersion ?? log.head;
    this.#countWatch(callerId, 1);
    try {
      for (;;) {
        const space = this.#spaces.ifAny(request.scope, callerId);
        const found = changesBehind(space, log, request, since, this.#monotonicMs());
        if (found !== null) return found;
        const leftMs = deadline === null ? null : deadline - performance.now();
        if (leftMs !== null && leftMs <= 0) {
          return { changes: [], version: Math.max(since, log.head), resync: false, more: false };
        }
        this.#sweeper.setOften(true);
        await log.wait(request, leftMs, signal);
      }
    } finally {
      this.#countWatch(callerId, -1);
    }
  }

  /** Everything in the global scope, with the time each value has left; null = for ever. ms */
  globalEntries(): readonly { readonly key: string; readonly text: string; readonly ttlMs: number | null }[] {
    const now = this.#monotonicMs();
    const live = [...this.#spaces.global.keys.entries()].filter(
      ([key]) => this.#spaces.global.keys.get(key, now) !== undefined,
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
    this.#spaces.closeAccount(callerId);
  }

  /** Frees what has expired. */
  sweep(): void {
    const now = this.#monotonicMs();
    for (const space of this.#spaces.all()) {
      for (const key of space.keys.expired(now)) {
        // Not waited for, and never undone: a row that stays is expired when it is loaded, too.
        this.#remove(space, 0, key).durable?.catch(() => {});
      }
    }
  }

  /** What one caller has stored, over all scopes. */
  bytesOf(callerId: number): number {
    return this.#spaces.bytesOf(callerId);
  }

  usage(): { readonly keys: number; readonly bytes: number } {
    return this.#spaces.usage();
  }

  /** Waits until everything acknowledged or under way is written. */
  async close(): Promise<void> {
    this.#sweeper.close();
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
      const space = this.#spaces.of(row.owner === 0 ? 'global' : 'agent', row.owner);
      // A clock that was set back while the kernel was down makes nothing live longer than it was to.
      const leftMs = row.expiresWallMs === null ? null : row.expiresWallMs - wall;
      const boundedMs = leftMs === null || row.ttlMs === null ? leftMs : Math.min(leftMs, row.ttlMs);
      this.#spaces.put(space, row.key, {
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
      const space = this.#spaces.ifAny(scope, callerId);
      return space === undefined ? NO_CHANGE : this.#remove(space, callerId, key);
    }
    const bytes = sizeOf(key, text);
    const room = { scope, key, callerId, bytes };
    if (!this.#spaces.hasRoom(room)) {
      this.sweep();
      if (!this.#spaces.hasRoom(room)) {
        throw new CloveError('OVERLOAD', 'state store is full', {
          hint: 'Delete keys, store less, or give values a ttl.',
        });
      }
    }
    const space = this.#spaces.of(scope, callerId);
    const previous = space.keys.peek(key);
    const version = this.#versions.next();
    const now = this.#monotonicMs();
    const expiresAtMs = ttlMs === null ? null : now + ttlMs;
    const shown = space.keys.get(key, now)?.text ?? null;
    this.#spaces.put(space, key, { text, bytes, expiresAtMs, writerId: callerId, version });
    const change: Change = { key, version, text, previousText: shown, callerId };
    return { version, durable: this.#settle(space, change, previous, ttlMs) };
  }

  #remove(space: Space, callerId: number, key: string): { version: number; durable: Promise<void> | null } {
    const previous = space.keys.peek(key);
    if (previous === undefined) return NO_CHANGE;
    const version = this.#versions.next();
    this.#spaces.drop(space, key);
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
      if (this.#spaces.ifAny(space.scope, space.ownerId) !== space) return;
      if (previous === undefined) this.#spaces.drop(space, key);
      else this.#spaces.put(space, key, previous);
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
    if (this.#watches.size === 0) this.#sweeper.setOften(false);
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

  #clear(scope: 'agent' | 'session', callerId: number): void {
    const space = this.#spaces.clear(scope, callerId);
    if (space === undefined) return;
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
