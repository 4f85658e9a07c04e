import { z } from 'zod';
import { auditConfig } from '../audit/config.ts';
import type { AuditEntry } from '../audit/query.ts';
import type { Caller } from '../identity.ts';
import { forbidden } from '../permissions/refusal.ts';
import { OPCODES } from '../protocol/opcodes.ts';
import { AUDIT_CATEGORIES, type AuditCategory, defineSyscall } from './define.ts';
import { callerId } from './fields.ts';

const DEFAULT_ENTRIES = 100;
/** Records of one answer: as many as existing clients may ask for, and as many as hold up nobody. */
const MAX_ENTRIES = 10_000;
const MAX_QUERIED = 1000;

const seq = z.int().min(0);
const isoTime = z.iso.datetime().describe('UTC, as `2026-01-31T12:00:00.000Z`.');

const entry = z.object({
  id: seq.describe('Position in the log.'),
  timestamp: z.string(),
  category: z.enum(AUDIT_CATEGORIES),
  event_type: z.string(),
  action: z.string().describe('As `event_type`.'),
  agent_id: callerId.describe('Whom it is about; 0 = the kernel.'),
  agent_name: z.string().optional(),
  success: z.boolean(),
  details: z.record(z.string(), z.unknown()),
});

export const getAuditLog = defineSyscall({
  opcode: OPCODES.GET_AUDIT_LOG,
  name: 'GET_AUDIT_LOG',
  summary:
    'The newest records of the audit log that match, oldest first. AUDIT_QUERY tells more and reads on.',
  request: z.object({
    category: z.string().nullish().describe('An unknown one means SYSCALL. Absent: all.'),
    agent_id: callerId.nullish().describe('0 or absent: any.'),
    since_id: seq.nullish().describe('Only records behind this one.'),
    limit: z.int().min(0).nullish().describe(`Default ${DEFAULT_ENTRIES}, at most ${MAX_ENTRIES} are given.`),
  }),
  response: z.object({ success: z.literal(true), count: z.int(), entries: z.array(entry) }),
  permission: 'audit.read',
  audit: 'SYSCALL',
  replay: 'recorded',
  errorShape: { count: 0, entries: [] },
  async handle(request, { kernel, caller }) {
    assertOperator(caller);
    const { category, agent_id: agentId, since_id: sinceSeq, limit } = request;
    const entries = await kernel.audit.query({
      categories: category === undefined || category === null ? undefined : [categoryOf(category)],
      agentId: agentId ?? 0,
      sinceSeq: sinceSeq ?? 0,
      limit: Math.min(limit ?? DEFAULT_ENTRIES, MAX_ENTRIES),
      end: 'newest',
    });
    return { success: true as const, count: entries.length, entries: entries.map(toPlainEntry) };
  },
});

export const setAuditConfig = defineSyscall({
  opcode: OPCODES.SET_AUDIT_CONFIG,
  name: 'SET_AUDIT_CONFIG',
  malformed: 'Invalid JSON payload',
  summary:
    'Switches categories of the audit log on and off, and says how much of each is kept. The change is recorded before it takes effect, whatever it switches off.',
  request: auditConfig.partial(),
  response: z.object({ success: z.literal(true), config: auditConfig }),
  permission: 'audit.configure',
  audit: 'SECURITY',
  replay: 'recorded',
  async handle(request, { kernel, caller }) {
    assertOperator(caller);
    const change = Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined));
    const config = await kernel.audit.configure(change, { caller, name: kernel.mailboxes.nameOf(caller.id) });
    return { success: true as const, config };
  },
});

const fullEntry = z.object({
  seq,
  chain: z
    .string()
    .describe('Its category and where it comes from; the records of a chain hang on each other.'),
  chain_number: z.int(),
  chain_seq: seq,
  category: z.enum(AUDIT_CATEGORIES),
  agent_id: callerId,
  previous_hash: z
    .string()
    .describe('Of the record before it in its chain; empty where that one was dropped by retention.'),
  hash: z.string().describe('SHA-256; docs/design/audit.md says of what.'),
  body: z.record(z.string(), z.unknown()),
});

export const auditQuery = defineSyscall({
  opcode: OPCODES.AUDIT_QUERY,
  name: 'AUDIT_QUERY',
  summary: 'Records of the audit log that match, whole, with their hashes; oldest first.',
  request: z.strictObject({
    categories: z.array(z.enum(AUDIT_CATEGORIES)).optional(),
    agent_id: callerId.optional(),
    event_types: z.array(z.string()).max(64).optional(),
    syscall: z.string().optional(),
    decision: z.enum(['allow', 'deny']).optional(),
    outcome: z
      .string()
      .optional()
      .describe(
        'OK, BEGUN or an error code. A call that failed after its record was written has it in SYSCALL_FAILED_AFTER_WRITE.',
      ),
    since_seq: seq.optional().describe('Only records behind this one.'),
    before_seq: seq.optional().describe('Only records before this one.'),
    from: isoTime.optional(),
    to: isoTime.optional().describe('Excluding.'),
    limit: z.int().min(1).max(MAX_QUERIED).default(DEFAULT_ENTRIES),
    end: z
      .enum(['newest', 'oldest'])
      .default('newest')
      .describe('Which ones, where there are more: `oldest` with `since_seq` reads on.'),
  }),
  response: z.object({
    success: z.literal(true),
    entries: z.array(fullEntry),
    count: z.int(),
    more: z.boolean().describe('There may be others beyond the last one.'),
  }),
  permission: 'audit.read',
  audit: 'SYSCALL',
  replay: 'recorded',
  errorShape: { entries: [], count: 0 },
  async handle(request, { kernel, caller }) {
    assertOperator(caller);
    const entries = await kernel.audit.query({
      categories: request.categories,
      agentId: request.agent_id,
      eventTypes: request.event_types,
      syscall: request.syscall,
      decision: request.decision,
      outcome: request.outcome,
      sinceSeq: request.since_seq,
      beforeSeq: request.before_seq,
      from: request.from === undefined ? undefined : new Date(request.from).toISOString(),
      to: request.to === undefined ? undefined : new Date(request.to).toISOString(),
      limit: request.limit,
      end: request.end,
    });
    return {
      success: true as const,
      entries: entries.map((each) => ({ ...each, body: { ...each.body } })),
      count: entries.length,
      more: entries.length === request.limit,
    };
  },
});

export const auditVerify = defineSyscall({
  opcode: OPCODES.AUDIT_VERIFY,
  name: 'AUDIT_VERIFY',
  summary:
    'Checks every record of the audit log against its hash, its neighbours and the anchor outside of the database; names the first that is not as it was written.',
  request: z.unknown(),
  response: z.object({
    success: z.literal(true),
    ok: z.boolean(),
    log_id: z.string(),
    records: z.int(),
    head_seq: seq,
    first_bad_seq: seq.nullable(),
    problems: z.array(
      z.object({
        seq: seq.nullable(),
        kind: z.enum(['changed', 'missing', 'inserted', 'truncated', 'anchor', 'unreadable']),
        text: z.string(),
      }),
    ),
    chains: z.array(
      z.object({ chain: z.string(), records: z.int(), dropped: z.int().describe('By retention.') }),
    ),
    anchor: z.object({
      state: z.enum(['ok', 'missing', 'invalid', 'none']),
      seq: seq.nullable(),
      time: z.string().nullable(),
      unanchored: z.int().describe('Records behind the anchor.'),
    }),
  }),
  permission: 'audit.read',
  audit: 'SYSCALL',
  replay: 'recorded',
  async handle(_request, { kernel, caller }) {
    assertOperator(caller);
    const report = await kernel.audit.verify();
    return {
      success: true as const,
      ok: report.ok,
      log_id: report.logId,
      records: report.records,
      head_seq: report.headSeq,
      first_bad_seq: report.firstBadSeq,
      problems: report.problems.map((problem) => ({ ...problem })),
      chains: report.chains.map((chain) => ({ ...chain })),
      anchor: { ...report.anchor },
    };
  },
});

export const auditSyscalls = [getAuditLog, setAuditConfig, auditQuery, auditVerify] as const;

/** Whatever an agent was granted: the log is about it. */
function assertOperator(caller: Caller): void {
  if (caller.kind === 'operator') return;
  const decision = { allowed: false, ruleId: 'audit.operators-only', policyDigest: '', object: '' };
  throw forbidden(decision, 'Permission denied: the audit log is the operator’s');
}

/** As existing clients know it. */
function categoryOf(name: string): AuditCategory {
  return (AUDIT_CATEGORIES as readonly string[]).includes(name) ? (name as AuditCategory) : 'SYSCALL';
}

/** What records of decisions tell comes with the details, where existing clients look for it. */
function toPlainEntry({ seq: id, category, agent_id, body }: AuditEntry): z.input<typeof entry> {
  const name = body.agent_name ?? body.subject.name;
  const call =
    body.decision === undefined
      ? {}
      : {
          decision: body.decision,
          syscall: body.syscall,
          object: body.object,
          rule: body.rule,
          outcome: body.outcome,
        };
  return {
    id,
    timestamp: body.time,
    category,
    event_type: body.event_type,
    action: body.event_type,
    agent_id,
    ...(name === undefined || name === '' ? {} : { agent_name: name }),
    success: body.success,
    details: { ...body.details, ...call },
  };
}
