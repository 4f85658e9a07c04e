import { canonicalJson } from '../kernel/audit/canonical.ts';
import type { AuditBody } from '../kernel/audit/query.ts';
import type { AuditRecord } from './audit-source.ts';
import { escapeLine } from './ui/escape.ts';

/** One line of printable ASCII; its members are those that the hash was made of. */
export function toJsonLine(entry: AuditRecord): string {
  return canonicalJson(entry);
}

/** For people: when, who, what, and whether it was allowed. Text of agents is escaped. */
export function entryLine(entry: AuditRecord): string {
  const body = bodyOf(entry);
  const { subject, decision } = body;
  const who =
    subject.kind === 'kernel'
      ? 'kernel'
      : `${subject.kind} ${subject.id}${subject.name ? ` (${subject.name})` : ''}`;
  const what =
    decision === undefined
      ? `${body.event_type}${entry.agent_id === 0 ? '' : ` of ${entry.agent_id}${body.agent_name ? ` (${body.agent_name})` : ''}`}`
      : `${decision === 'allow' ? 'allowed' : 'DENIED'} ${body.syscall ?? `opcode ${body.opcode}`}${body.object ? ` ${body.object}` : ''} by ${body.rule}`;
  const outcome =
    body.outcome === 'OK'
      ? body.success
        ? ''
        : '  failed'
      : `  ${body.outcome === 'BEGUN' ? 'begun' : body.outcome}`;
  return escapeLine(`${entry.seq}  ${body.time}  ${entry.category}  ${who}  ${what}${outcome}`);
}

const COLUMNS: readonly (readonly [string, (entry: AuditRecord, body: AuditBody) => unknown])[] = [
  ['seq', ({ seq }) => seq],
  ['time', (_, { time }) => time],
  ['world_time', (_, { world_time: time }) => time],
  ['category', ({ category }) => category],
  ['event_type', (_, { event_type: type }) => type],
  ['agent_id', ({ agent_id: id }) => id],
  ['agent_name', (_, { agent_name: name, subject }) => name ?? subject.name],
  ['subject_kind', (_, { subject }) => subject.kind],
  ['subject_id', (_, { subject }) => subject.id],
  ['subject_uid', (_, { subject }) => subject.uid],
  ['subject_pid', (_, { subject }) => subject.pid],
  ['decision', (_, { decision }) => decision],
  ['syscall', (_, { syscall }) => syscall],
  ['object', (_, { object }) => object],
  ['rule', (_, { rule }) => rule],
  ['policy', (_, { policy }) => policy],
  ['outcome', (_, { outcome }) => outcome],
  ['success', (_, { success }) => success],
  ['boot', (_, { boot }) => boot],
  ['details', (_, { details }) => canonicalJson(details)],
  ['chain', ({ chain }) => chain],
  ['chain_seq', ({ chain_seq: seq }) => seq],
  ['previous_hash', ({ previous_hash: hash }) => hash],
  ['hash', ({ hash }) => hash],
];

export function toCsvHeader(): string {
  return COLUMNS.map(([name]) => name).join(',');
}

export function toCsvLine(entry: AuditRecord): string {
  const body = bodyOf(entry);
  return COLUMNS.map(([, value]) => toCell(value(entry, body))).join(',');
}

function toCell(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (typeof value !== 'string') return String(value);
  const text = escapeLine(value);
  // A spreadsheet would take it for a formula.
  const inert = /^[=+\-@]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
}

function bodyOf(entry: AuditRecord): AuditBody {
  return entry.body as unknown as AuditBody;
}
