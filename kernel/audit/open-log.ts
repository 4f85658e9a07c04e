import { randomUUID } from 'node:crypto';
import { CloveError } from '../../errors/index.ts';
import { openDatabase } from '../store/database.ts';
import { type AnchorPlace, readAnchor } from './anchor.ts';
import { ChainWriter, genesisRecord, type LogHead, readHead } from './chain-writer.ts';
import { type AuditConfig, auditConfig, DEFAULT_AUDIT_CONFIG } from './config.ts';

export interface OpenedLog {
  readonly head: LogHead;
  readonly config: AuditConfig;
  /** How the kernel before this one ended; null = there was none, or nothing is known of it. */
  readonly previousEnd: 'clean' | 'unclean' | null;
  /** What is known to have been lost or cannot be known; to be recorded. */
  readonly isAnchorMissing: boolean;
}

/**
 * Makes the log of a data directory, or looks whether the one that is there can be gone on with. Fast whatever its size: it
 * compares heads, it does not verify. @throws DATA_CORRUPT when the database is behind its anchor, IO
 */
export function openLog(
  databasePath: string,
  place: AnchorPlace,
  kernel: { readonly version: string; readonly bootId: string },
): OpenedLog {
  const database = openDatabase(databasePath);
  try {
    const found = readHead(database);
    const anchor = readAnchor(place);
    if (anchor.state === 'invalid') {
      throw new CloveError(
        'DATA_CORRUPT',
        `the anchor ${place.anchorPath} cannot be trusted: ${anchor.reason}`,
        { hint: ANCHOR_HINT },
      );
    }
    if (anchor.state === 'ok') assertNotBehind(databasePath, found, anchor.anchor);
    const config = readConfig(database);
    if (found.seq > 0) {
      const previousEnd = anchor.state === 'ok' ? (anchor.anchor.closed ? 'clean' : 'unclean') : null;
      return { head: found, config, previousEnd, isAnchorMissing: anchor.state === 'missing' };
    }
    const logId = randomUUID();
    database.exec('BEGIN IMMEDIATE');
    database.prepare("INSERT INTO audit_settings (key, value) VALUES ('log_id', ?)").run(logId);
    const writer = new ChainWriter(database, () => config.max_entries);
    writer.append(
      genesisRecord(
        { schema: 'clove-audit/1', log_id: logId, kernel_version: kernel.version, boot: kernel.bootId },
        Date.now(),
      ),
    );
    database.exec('COMMIT');
    return { head: writer.head, config, previousEnd: null, isAnchorMissing: false };
  } finally {
    database.close();
  }
}

const ANCHOR_HINT =
  'clove audit verify --data-dir … tells more. To go on all the same, move the anchor away: the kernel then records that it was missing.';

function assertNotBehind(databasePath: string, found: LogHead, anchor: LogHead): void {
  const isOther = found.seq > 0 && found.logId !== anchor.logId;
  const heads = new Map(found.chains.map(({ chain, chainSeq, hash }) => [chain, { chainSeq, hash }]));
  const isBehind = anchor.chains.some(({ chain, chainSeq, hash }) => {
    const head = heads.get(chain);
    return (
      head === undefined || head.chainSeq < chainSeq || (head.chainSeq === chainSeq && head.hash !== hash)
    );
  });
  if (!isOther && !isBehind) return;
  throw new CloveError(
    'DATA_CORRUPT',
    isOther
      ? `${databasePath} is not the database that its audit anchor belongs to`
      : `${databasePath} is older than its audit anchor: it was cut off, or an old copy was put in its place`,
    { hint: ANCHOR_HINT, details: { database_seq: found.seq, anchor_seq: anchor.seq } },
  );
}

function readConfig(database: ReturnType<typeof openDatabase>): AuditConfig {
  const text = database.prepare("SELECT value FROM audit_settings WHERE key = 'config'").get()?.value;
  if (typeof text !== 'string') return DEFAULT_AUDIT_CONFIG;
  const parsed = auditConfig.safeParse(JSON.parse(text));
  if (parsed.success) return parsed.data;
  throw new CloveError('DATA_CORRUPT', 'the stored configuration of the audit log is not of its form');
}
