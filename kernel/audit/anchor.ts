import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { canonicalJson } from './canonical.ts';
import type { LogHead } from './chain-writer.ts';

const FORMAT = 'clove-audit-anchor/1';
const KEY_BYTES = 32;

/** Where the head of a log is kept outside of its database, so that a log that was cut off does not look whole. */
export interface AnchorPlace {
  readonly anchorPath: string;
  readonly keyPath: string;
}

export function anchorPlaceOf(dataDirectory: string, anchorPath: string | null = null): AnchorPlace {
  return {
    anchorPath: anchorPath ?? path.join(dataDirectory, 'audit.anchor'),
    keyPath: path.join(dataDirectory, 'audit.key'),
  };
}

const content = z.strictObject({
  format: z.literal(FORMAT),
  log_id: z.string(),
  seq: z.int(),
  chains: z.array(z.strictObject({ chain: z.int(), chain_seq: z.int(), hash: z.string() })),
  /** The kernel had ended and written everything: nothing may follow but by a later kernel. */
  closed: z.boolean(),
  time: z.string(),
});
const anchorFile = content.extend({ mac: z.string() });
type AnchorContent = z.output<typeof content>;

export interface Anchor extends LogHead {
  readonly closed: boolean;
  /** ISO 8601. */
  readonly time: string;
}

export type AnchorState =
  | { readonly state: 'ok'; readonly anchor: Anchor }
  | { readonly state: 'missing' }
  | { readonly state: 'invalid'; readonly reason: string };

/** Made once for each data directory; readable for its user alone. @throws IO */
export function loadOrMakeKey(keyPath: string): string {
  try {
    const fd = openSync(keyPath, 'wx', 0o600);
    try {
      writeFileSync(fd, randomBytes(KEY_BYTES).toString('hex'));
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw asIo('write', keyPath, error);
  }
  const key = readKey(keyPath);
  if (key !== null) return key;
  throw new CloveError('DATA_CORRUPT', `${keyPath} is not a key`, {
    hint: 'Restore it from a backup. Without it, anchors of the audit log cannot be checked.',
  });
}

function readKey(keyPath: string): string | null {
  const text = readOrNull(keyPath)?.trim() ?? '';
  return /^[0-9a-f]{64}$/.test(text) ? text : null;
}

/** The old anchor or the new one, whenever the machine stops. @throws IO */
export function writeAnchor(
  place: AnchorPlace,
  key: string,
  head: LogHead,
  closed: boolean,
  nowMs: number,
): void {
  const anchor: AnchorContent = {
    format: FORMAT,
    log_id: head.logId,
    seq: head.seq,
    chains: head.chains.map(({ chain, chainSeq, hash }) => ({ chain, chain_seq: chainSeq, hash })),
    closed,
    time: new Date(nowMs).toISOString(),
  };
  const text = `${canonicalJson({ ...anchor, mac: macOf(key, anchor) })}\n`;
  const temporary = `${place.anchorPath}.new`;
  try {
    const fd = openSync(temporary, 'w', 0o600);
    try {
      writeFileSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, place.anchorPath);
    const folder = openSync(path.dirname(place.anchorPath), 'r');
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  } catch (error) {
    throw asIo('write', place.anchorPath, error);
  }
}

export function readAnchor(place: AnchorPlace): AnchorState {
  const text = readOrNull(place.anchorPath);
  if (text === null) return { state: 'missing' };
  const key = readKey(place.keyPath);
  if (key === null) return { state: 'invalid', reason: 'the key to check it with is missing or damaged' };
  let parsed: z.output<typeof anchorFile>;
  try {
    parsed = anchorFile.parse(JSON.parse(text));
  } catch {
    return { state: 'invalid', reason: 'it is not of the form of an anchor' };
  }
  const { mac, ...anchor } = parsed;
  const expected = Buffer.from(macOf(key, anchor));
  const given = Buffer.from(mac);
  if (expected.length !== given.length || !timingSafeEqual(expected, given)) {
    return { state: 'invalid', reason: 'its authentication code is wrong' };
  }
  return {
    state: 'ok',
    anchor: {
      logId: anchor.log_id,
      seq: anchor.seq,
      chains: anchor.chains.map(({ chain, chain_seq, hash }) => ({ chain, chainSeq: chain_seq, hash })),
      closed: anchor.closed,
      time: anchor.time,
    },
  };
}

function macOf(key: string, anchor: AnchorContent): string {
  return createHmac('sha256', Buffer.from(key, 'hex')).update(canonicalJson(anchor)).digest('hex');
}

function readOrNull(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}

function asIo(verb: string, file: string, error: unknown): CloveError {
  return new CloveError('IO', `cannot ${verb} ${file}: ${(error as Error).message}`, { cause: error });
}
