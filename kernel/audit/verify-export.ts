import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { CloveError } from '../../errors/index.ts';
import { canonicalJson } from './canonical.ts';
import { CHECKPOINT_TYPE, GENESIS_TYPE } from './chain-writer.ts';
import { chainName, firstHash, hashRecord } from './chains.ts';
import type { AuditEntry } from './query.ts';
import type { ChainReport, Problem, VerifyReport } from './verify-report.ts';

const MAX_PROBLEMS = 20;

interface Walk {
  records: number;
  dropped: number;
  chainSeq: number;
  hash: string;
}

/**
 * Checks a JSONL export by itself: every line against its hash and the line before it in its chain. That its end was cut off, or a
 * chain left out, nobody can tell from the file alone. @throws DATA_MISSING, IO
 */
export async function verifyExport(file: string): Promise<VerifyReport> {
  const { logId, drops } = await readBases(file);
  const walks = new Map<number, Walk>();
  const problems: Problem[] = [];
  const fail = (seq: number | null, kind: Problem['kind'], text: string) => {
    if (problems.length < MAX_PROBLEMS) problems.push({ seq, kind, text });
  };
  let lastSeq = 0;
  let records = 0;
  for await (const { entry, line } of linesOf(file)) {
    if (entry === null) {
      fail(null, 'unreadable', `line ${line} is not a record`);
      continue;
    }
    const { seq, chain_number: chain, chain_seq: chainSeq, agent_id: agentId, hash } = entry;
    records += 1;
    if (seq <= lastSeq) fail(seq, 'changed', `record ${seq} stands behind record ${lastSeq}`);
    lastSeq = Math.max(lastSeq, seq);
    const drop = drops.get(chain);
    const walk = walks.get(chain) ?? {
      records: 0,
      dropped: drop?.dropped ?? 0,
      chainSeq: drop?.dropped ?? 0,
      hash: drop?.hash ?? (logId === null ? entry.previous_hash : firstHash(logId, chain)),
    };
    walks.set(chain, walk);
    if (chainSeq > walk.chainSeq + 1) {
      fail(
        seq,
        'missing',
        `${chainSeq - walk.chainSeq - 1} records of ${chainName(chain)} before record ${seq} are not here`,
      );
    } else if (
      chainSeq <= walk.chainSeq ||
      entry.chain !== chainName(chain) ||
      hashRecord(walk.hash, { seq, chain, chainSeq, agentId, body: canonicalJson(entry.body) }) !== hash
    ) {
      fail(seq, 'changed', `record ${seq} is not as it was written, or not where`);
    }
    walk.records += 1;
    walk.chainSeq = chainSeq;
    walk.hash = hash;
  }
  const bad = problems.map(({ seq }) => seq).filter((seq) => seq !== null);
  return {
    ok: problems.length === 0,
    logId: logId ?? '',
    records,
    headSeq: lastSeq,
    firstBadSeq: bad.length === 0 ? null : Math.min(...bad),
    problems,
    chains: [...walks].map(
      ([chain, walk]): ChainReport => ({
        chain: chainName(chain),
        records: walk.records,
        dropped: walk.dropped,
      }),
    ),
    anchor: { state: 'none', seq: null, time: null, unanchored: records },
  };
}

/** What chains stand on: the id of the log where its beginning is there, and what was dropped, as the last checkpoints say. */
async function readBases(file: string) {
  let logId: string | null = null;
  const drops = new Map<number, { dropped: number; hash: string }>();
  for await (const { entry } of linesOf(file)) {
    const { event_type: type, details } = entry?.body ?? {};
    if (entry === null || details === undefined) continue;
    if (type === CHECKPOINT_TYPE) {
      drops.set(entry.chain_number, { dropped: Number(details.dropped), hash: String(details.dropped_hash) });
    }
    if (type === GENESIS_TYPE || (type === 'KERNEL_STARTED' && logId === null)) {
      if (typeof details.log_id === 'string') logId = details.log_id;
    }
  }
  return { logId, drops };
}

async function* linesOf(file: string): AsyncGenerator<{ line: number; entry: AuditEntry | null }> {
  const input = createReadStream(file);
  let line = 0;
  try {
    for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      line += 1;
      yield { line, entry: parse(text) };
    }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'DATA_MISSING' : 'IO';
    throw new CloveError(code, `cannot read ${file}: ${(error as Error).message}`, { cause: error });
  }
}

function parse(text: string): AuditEntry | null {
  try {
    const entry = JSON.parse(text);
    const isRecord =
      typeof entry === 'object' &&
      entry !== null &&
      typeof entry.body === 'object' &&
      entry.body !== null &&
      ['seq', 'chain_number', 'chain_seq', 'agent_id'].every((name) => Number.isSafeInteger(entry[name]));
    return isRecord ? entry : null;
  } catch {
    return null;
  }
}
