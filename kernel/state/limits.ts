import type { ChangeLogLimits } from './change-log.ts';

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
  /** Changes kept for watchers who come late, of the global scope and of each private one that is watched. */
  readonly globalChanges: ChangeLogLimits;
  readonly privateChanges: ChangeLogLimits;
  /** Watches of one caller that wait at a time. */
  readonly callerWatches: number;
}

export const STATE_LIMITS: StateLimits = {
  keyBytes: 1024,
  valueBytes: 2 ** 20,
  globalKeys: 100_000,
  globalBytes: 256 * 2 ** 20,
  callerKeys: 20_000,
  callerBytes: 64 * 2 ** 20,
  totalBytes: 1024 * 2 ** 20,
  globalChanges: { changes: 10_000, bytes: 32 * 2 ** 20 },
  privateChanges: { changes: 256, bytes: 64 * 2 ** 10 },
  callerWatches: 256,
};
