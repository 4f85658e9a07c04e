import { hash } from 'node:crypto';
import { AUDIT_CATEGORIES, type AuditCategory } from '../syscalls/define.ts';

/**
 * Where a record comes from. Each category has a chain per origin, with room of its own: what agents do in any number can
 * push out nothing of what operators did or of what happened.
 */
export const ORIGINS = ['events', 'operators', 'agents'] as const;
export type Origin = (typeof ORIGINS)[number];

export const CHAIN_COUNT = AUDIT_CATEGORIES.length * ORIGINS.length;

/** A number that is written into records: categories and origins are only ever appended to. */
export function chainOf(category: AuditCategory, origin: Origin): number {
  return ORIGINS.indexOf(origin) * 16 + AUDIT_CATEGORIES.indexOf(category);
}

/** null = not a chain's number. */
export function describeChain(
  chain: number,
): { category: AuditCategory; origin: Origin; name: string } | null {
  const category = AUDIT_CATEGORIES[chain % 16];
  const origin = ORIGINS[Math.floor(chain / 16)];
  if (category === undefined || origin === undefined) return null;
  return { category, origin, name: `${category}.${origin}` };
}

export function chainName(chain: number): string {
  return describeChain(chain)?.name ?? `chain ${chain}`;
}

export function chainsOf(category: AuditCategory): number[] {
  return ORIGINS.map((origin) => chainOf(category, origin));
}

/** One record as it is stored. The hash covers everything else, and the hash before it in its chain. */
export interface StoredRecord {
  /** Position in the log, from 1; no number is left out. */
  readonly seq: number;
  readonly chain: number;
  /** Position in the chain, from 1; no number is left out. */
  readonly chainSeq: number;
  /** Whom the record is about; 0 = the kernel. */
  readonly agentId: number;
  /** Canonical JSON. */
  readonly body: string;
  /** SHA-256 in hex. */
  readonly hash: string;
}

export function hashRecord(previousHash: string, record: Omit<StoredRecord, 'hash'>): string {
  return hash('sha256', `${hashHead(previousHash, record)}${record.body}`, 'hex');
}

/** What stands before the body where a record is hashed. */
export function hashHead(previousHash: string, record: Omit<StoredRecord, 'hash' | 'body'>): string {
  const { seq, chain, chainSeq, agentId } = record;
  return `${previousHash}\n${seq}\n${chain}\n${chainSeq}\n${agentId}\n`;
}

/** What the first record of a chain stands on: the log's own random id, so that no record of another log fits in. */
export function firstHash(logId: string, chain: number): string {
  return hash('sha256', `clove-audit/1\n${logId}\n${chain}`, 'hex');
}
