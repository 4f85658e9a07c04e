import type { AnchorState } from './anchor.ts';

export type ProblemKind =
  /** The record does not have the hash it was written with, or does not follow the one before it. */
  | 'changed'
  /** A record is gone that was not dropped by retention. */
  | 'missing'
  /** A record is where none was written. */
  | 'inserted'
  /** The end of the log is gone. */
  | 'truncated'
  /** The anchor is gone, was changed, or is of another log. */
  | 'anchor'
  /** The database cannot be read. */
  | 'unreadable';

export interface Problem {
  /** The first record concerned; null = it is not about one. */
  readonly seq: number | null;
  readonly kind: ProblemKind;
  readonly text: string;
}

export interface ChainReport {
  readonly chain: string;
  readonly records: number;
  /** Dropped by retention, as a checkpoint in the chain says. */
  readonly dropped: number;
}

export interface VerifyReport {
  readonly ok: boolean;
  readonly logId: string;
  readonly records: number;
  readonly headSeq: number;
  /** The lowest of the records concerned; null = none. */
  readonly firstBadSeq: number | null;
  /** At most 20, in order. */
  readonly problems: readonly Problem[];
  readonly chains: readonly ChainReport[];
  readonly anchor: {
    readonly state: AnchorState['state'] | 'none';
    readonly seq: number | null;
    readonly time: string | null;
    /** Records behind the anchor: of them, nobody outside of the database knows. */
    readonly unanchored: number;
  };
}

/** Where there is nothing to walk through. */
export function unreadableReport(anchor: AnchorState, reason: string): VerifyReport {
  const seq = anchor.state === 'ok' ? anchor.anchor.seq : null;
  return {
    ok: false,
    logId: anchor.state === 'ok' ? anchor.anchor.logId : '',
    records: 0,
    headSeq: 0,
    firstBadSeq: null,
    problems: [{ seq: null, kind: 'unreadable', text: reason }],
    chains: [],
    anchor: {
      state: anchor.state,
      seq,
      time: anchor.state === 'ok' ? anchor.anchor.time : null,
      unanchored: 0,
    },
  };
}
