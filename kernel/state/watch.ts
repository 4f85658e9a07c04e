import { type Change, type ChangeLog, isWatched, type Watched } from './change-log.ts';
import type { Space, StateScope } from './space.ts';

export interface WatchRequest extends Watched {
  readonly scope: StateScope;
  /** Changes behind this version; null = from now on. */
  readonly sinceVersion: number | null;
  /** null = for ever. ms */
  readonly timeoutMs: number | null;
  /** Changes of one answer. */
  readonly limit: number;
}

export interface WatchResult {
  /** Oldest first; empty when none came in time. */
  readonly changes: readonly Change[];
  /** Where to go on. */
  readonly version: number;
  /**
   * Some changes are no longer known: these are the keys as they are now (of watched keys by name, also those that are not
   * there), and others may have been deleted.
   */
  readonly resync: boolean;
  /** There are others right now. */
  readonly more: boolean;
}

/** Values of one answer. */
const MAX_BYTES = 4 * 2 ** 20;

/** What there is to tell of changes behind a version; null = nothing yet. `space` is absent when its owner is gone. */
export function changesBehind(
  space: Space | undefined,
  log: ChangeLog,
  request: WatchRequest,
  since: number,
  nowMs: number,
): WatchResult | null {
  const head = Math.max(since, log.head);
  const kept = log.since(since, request);
  if (kept !== null) return kept.length === 0 ? null : page([], kept, request.limit, head, false);
  return page(
    absentKeys(space, request, nowMs),
    presentKeys(space, request, since, nowMs),
    request.limit,
    head,
    true,
  );
}

function absentKeys(space: Space | undefined, { keys }: WatchRequest, nowMs: number): Change[] {
  return [...(keys ?? [])]
    .filter((key) => space?.keys.get(key, nowMs) === undefined)
    .map((key) => ({ key, version: 0, text: null, previousText: null, callerId: 0 }));
}

/** In order of their versions. */
function presentKeys(
  space: Space | undefined,
  request: WatchRequest,
  since: number,
  nowMs: number,
): Change[] {
  return [...(space?.keys.entries() ?? [])]
    .filter(([key, { version }]) => version > since && isWatched(request, key))
    .filter(([key]) => space?.keys.get(key, nowMs) !== undefined)
    .map(([key, { version, text }]) => ({ key, version, text, previousText: null, callerId: 0 }))
    .sort((a, b) => a.version - b.version);
}

/** As many as an answer takes. */
function page(
  absent: readonly Change[],
  changes: readonly Change[],
  limit: number,
  head: number,
  resync: boolean,
): WatchResult {
  let bytes = 0;
  let count = 0;
  for (const { text, previousText } of changes) {
    bytes += (text?.length ?? 0) + (previousText?.length ?? 0);
    if (count > 0 && (count === limit || bytes > MAX_BYTES)) break;
    count += 1;
  }
  const more = count < changes.length;
  const taken = changes.slice(0, count);
  const version = more ? (taken.at(-1) as Change).version : head;
  return { changes: [...absent, ...taken], version, resync, more };
}
