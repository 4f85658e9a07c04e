// Chains of audit records, made of what a chunk of them holds (kernel/store/record-chunk.ts).
import { createRequire } from 'node:module';
import { addonPath } from './load.ts';

/** Records of one chain that belong together. */
export interface RecordRun {
  readonly chain: number;
  /** "7:30,9:12": agents and how many of the records are about each; null where there is one agent only. */
  readonly agents: string | null;
  /** Of their bodies, at most. */
  readonly bytes: number;
  /** For each: number of its chunk, offset there, agent id. */
  readonly places: Uint32Array;
}

/** What the thread that writes the audit log has of the addon. */
export interface NativeAudit {
  /**
   * The records of a transaction: from `packFrom` on those of a chain together, in runs of at most `maxRecords` and about `maxBytes`,
   * else each by itself, in their order. null = what was handed over are no records.
   */
  runs(
    chunks: readonly Uint8Array[],
    packFrom: number,
    maxRecords: number,
    maxBytes: number,
  ): RecordRun[] | null;
  /** The text of the record at this offset; null = there is none. */
  body(chunk: Uint8Array, offset: number): string | null;
  /**
   * Writes the texts of consecutive records of one chain into `out`, each with a line end. `places` as of a run. `hash`: 64 characters in hex, of the record before them; afterwards that of the last. Returns the bytes
   * written; -1 = there is no room, or no record.
   */
  chain(
    chunks: readonly Uint8Array[],
    places: Uint32Array,
    hash: Uint8Array,
    out: Uint8Array,
    seq: number,
    chain: number,
    chainSeq: number,
  ): number;
  /** In hex. `portable`: without the instructions that this processor may have. */
  sha256(bytes: Uint8Array, portable: boolean): string;
}

/** For `workerData`: a thread need not look for the addon again. @throws SETUP_FAILED */
export const auditAddonPath = addonPath;

export function openNativeAudit(addon: string): NativeAudit {
  return (createRequire(import.meta.url)(addon) as { readonly audit: NativeAudit }).audit;
}
