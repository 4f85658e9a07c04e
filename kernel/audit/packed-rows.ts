import { constants as zlib, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import type { StoredRecord } from './chains.ts';

/** Records of one chain that one row of the database may hold. */
export const MAX_PACKED = 512;
/** What stands for "of several" where a row has one agent id. */
export const SEVERAL_AGENTS = -1;

/** Of the text that a hash is made of; see hashRecord. A body is one of them. */
const LINES = 6;
const MAX_UNPACKED_BYTES = 64 * 2 ** 20;
const COMPRESSION = { params: { [zlib.ZSTD_c_compressionLevel]: 1 } };

/** A row of the log as it is stored: one record, or consecutive ones of a chain, packed. */
export interface LogRow {
  /** Of its first record; the others follow. */
  readonly seq: number;
  readonly chain: number;
  readonly chainSeq: number;
  readonly agentId: number;
  readonly body: string;
  /** Of its last record. */
  readonly hash: string;
  readonly count: number;
  /** "7:30,9:12": agents and how many records are about each; null = all are about `agentId`. */
  readonly agents: string | null;
  /** null = one record, its text in `body`. */
  readonly packed: Uint8Array | null;
}

/** Columns of a row, as it is read. Databases of before form 7 have only rows of one record. */
export function rowColumns(hasPacked: boolean): string {
  return `r.seq, r.chain, r.chain_seq AS chainSeq, r.agent_id AS agentId, r.body, r.hash, ${
    hasPacked ? 'r.count, r.agents, r.packed' : '1 AS count, NULL AS agents, NULL AS packed'
  }`;
}

/** The text is that of every record's hash, one behind the other, each with a line end: it compresses to a tenth. */
export function pack(text: Uint8Array): Uint8Array {
  return zstdCompressSync(text, COMPRESSION);
}

/** "7:30,9:12" in the order of the ids; null where there is one agent only. */
export function countAgents(ids: readonly number[]): string | null {
  const first = ids[0];
  if (ids.every((id) => id === first)) return null;
  const counts = new Map<number, number>();
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  return [...counts]
    .sort(([a], [b]) => a - b)
    .map(([id, count]) => `${id}:${count}`)
    .join(',');
}

/** How many records of a row are about which agent. */
export function agentCounts({ agents, agentId, count }: Pick<LogRow, 'agents' | 'agentId' | 'count'>) {
  if (agents === null) return [[agentId, count]] as const;
  return agents.split(',').map((each) => {
    const [id, number] = each.split(':').map(Number);
    return [id as number, number as number] as const;
  });
}

/** A record as it was read. */
export interface ReadRecord extends StoredRecord {
  /** As it is stored: what its hash was made of; null = nothing but its columns is stored. */
  readonly text: string | null;
}

/** null = it cannot be read as a row of its form. Whether it says what was written is for its hashes to tell. */
export function unpack(row: LogRow): ReadRecord[] | null {
  const { seq, chain, chainSeq, agentId, body, hash, count, packed } = row;
  if (packed === null)
    return count === 1 ? [{ seq, chain, chainSeq, agentId, body, hash, text: null }] : null;
  let lines: string[];
  try {
    lines = zstdDecompressSync(packed, { maxOutputLength: MAX_UNPACKED_BYTES })
      .toString('latin1')
      .split('\n');
  } catch {
    return null;
  }
  if (lines.length !== count * LINES + 1 || lines.at(-1) !== '' || body !== '') return null;
  return Array.from({ length: count }, (_, at) => {
    const line = at * LINES;
    return {
      seq: seq + at,
      chain,
      chainSeq: chainSeq + at,
      agentId: Number(lines[line + 4]),
      body: lines[line + 5] as string,
      // A record's text begins with the hash of the one before.
      hash: at + 1 < count ? (lines[line + LINES] as string) : hash,
      text: lines.slice(line, line + LINES).join('\n'),
    };
  });
}

/** Whether what a row says about its records, so that they are found, is so. */
export function isIndexed({ agents, agentId }: LogRow, records: readonly StoredRecord[]): boolean {
  const ids = records.map((record) => record.agentId);
  const expected = countAgents(ids);
  return agents === expected && agentId === (expected === null ? ids[0] : SEVERAL_AGENTS);
}
