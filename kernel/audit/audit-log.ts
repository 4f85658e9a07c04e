import { CloveError } from '../../errors/index.ts';
import type { Decision } from '../permissions/decision.ts';
import type { DurableStore } from '../store/durable-store.ts';
import type { Gap } from '../store/record-queue.ts';
import {
  AUDIT_CATEGORIES,
  type AuditCategory,
  type Permission,
  type SyscallDefinition,
} from '../syscalls/define.ts';
import { CallBytes } from './call-bytes.ts';
import { chainName, describeChain } from './chains.ts';
import { type AuditConfig, DEFAULT_AUDIT_CONFIG, switchesOf } from './config.ts';
import type { AuditDraft, Outcome } from './draft.ts';
import type { AuditEntry, AuditQuery } from './query.ts';
import type { AuditReader } from './reader.ts';
import { type AuditEvent, type AuditedCall, CallRecord, EventRecord, type Subject } from './records.ts';
import { SummaryWriter } from './summary-bytes.ts';
import type { VerifyReport } from './verify-report.ts';

/** What to do when records cannot be written: refuse what could not be recorded, or go on and record the gap. */
export type AuditFailurePolicy = 'stop' | 'continue';

export interface AuditLogOptions {
  readonly store: DurableStore;
  readonly bootId: string;
  /** As it was stored; null = the defaults. */
  readonly config: AuditConfig | null;
  readonly onFailure: AuditFailurePolicy;
  readonly reader: Pick<AuditReader, 'query' | 'verify'>;
  /** What time it is to a caller that lives in a world, ISO 8601; null = it lives in none. Absent: nobody does. */
  readonly worldTimeOf?: (callerId: number) => string | null;
}

/**
 * What changes nothing that outlives the kernel's memory. The answer to all else leaves only when its record is on disk, so
 * that whatever was acknowledged is in the log after a crash.
 */
const TRANSIENT: ReadonlySet<Permission> = new Set<Permission>([
  'none',
  'agents.list',
  'ipc.send',
  'ipc.receive',
  'ipc.register',
  'state.read',
  'files.read',
  'events.subscribe',
  'events.emit',
  'metrics.self',
  'metrics.all',
  'permissions.read',
  'audit.read',
  'tunnel.read',
]);

/** Writes what was decided and what happened. Cheap where the category is off: one look-up. */
export class AuditLog {
  readonly #store: DurableStore;
  readonly #bootId: string;
  readonly #onFailure: AuditFailurePolicy;
  readonly #reader: AuditLogOptions['reader'];
  readonly #worldTimeOf: (callerId: number) => string | null;
  #config: AuditConfig;
  /** Of the call whose handler has just been entered. */
  #entered: CallRecord | null = null;
  /** By position in AUDIT_CATEGORIES. */
  #switches: boolean[];
  readonly #desk = { bytes: new CallBytes(), summaries: new SummaryWriter() };
  /** Whose bytes are on the desk. */
  #onDesk: CallRecord | null = null;
  readonly #categoryIndex = new Map<AuditCategory, number>(AUDIT_CATEGORIES.map((name, at) => [name, at]));

  constructor(options: AuditLogOptions) {
    this.#store = options.store;
    this.#bootId = options.bootId;
    this.#onFailure = options.onFailure;
    this.#reader = options.reader;
    this.#worldTimeOf = options.worldTimeOf ?? (() => null);
    this.#config = options.config ?? DEFAULT_AUDIT_CONFIG;
    this.#switches = switchesOf(this.#config);
    options.store.maxEntries = this.#config.max_entries;
    options.store.describeGap = (gap) => this.#gapRecord(gap);
  }

  get config(): AuditConfig {
    return this.#config;
  }

  isOn(category: AuditCategory): boolean {
    return this.#switches[this.#categoryIndex.get(category) ?? 0] === true;
  }

  /**
   * The record of a call that was allowed, still without its outcome; null = its category is off.
   * @throws AUDIT_FAILED where it could not be recorded and the policy is to stop.
   */
  begin(
    subject: Subject,
    definition: SyscallDefinition,
    decision: Decision,
    input: unknown,
  ): CallRecord | null {
    // A request of the wrong form goes on with nothing.
    const goesOn = input !== undefined && definition.continues?.(input) === true;
    const category = goesOn ? 'SYSCALL' : definition.audit;
    if (!this.isOn(category)) return null;
    this.#assertWritable(category);
    const { opcode } = definition;
    return this.#callRecord({ category, subject, definition, opcode, decision, input });
  }

  /** Runs the handler of a call; a write it begins with carries the call's record in its transaction. */
  during<Result>(record: CallRecord | null, work: () => Result): Result {
    if (record === null) return work();
    this.#entered = record;
    try {
      return this.#store.during(record, work);
    } finally {
      this.#entered = null;
    }
  }

  /**
   * For a handler, before it first waits: what it gets records its call as begun, so that this is on its way to the disk while the
   * effect comes about. Should the call fail after that, a second record says so.
   */
  whenBegun(): () => void {
    const record = this.#entered;
    // At once: a write on the way may take the record along before there is an effect.
    if (record !== null && !record.isUnderWay) record.outcome = 'BEGUN';
    return () => {
      if (record === null || record.isUnderWay) return;
      // Should the call fail after this, its bytes are asked for again when others have been on the desk.
      if (record === this.#onDesk) record.keep();
      this.#write(record, true);
      this.#store.hurry();
    };
  }

  /**
   * The call has ended. Returns what its answer has to wait for; null = nothing. The promise @throws AUDIT_FAILED when the record
   * cannot be written and the policy is to stop.
   */
  end(record: CallRecord, definition: SyscallDefinition, outcome: Outcome): Promise<void> | null {
    const isWaitedFor =
      outcome === 'OK' && definition.readOnly !== true && !TRANSIENT.has(definition.permission);
    if (record.isUnderWay) {
      const isAsExpected = record.outcome === outcome || (record.outcome === 'BEGUN' && outcome === 'OK');
      if (!isAsExpected) this.#correct(record, outcome);
    } else {
      record.outcome = outcome;
      this.#write(record, isWaitedFor);
    }
    return isWaitedFor && !record.isDurable ? this.#whenDurable(record) : null;
  }

  /** A refusal. It holds nothing up: nothing was done. */
  denied(subject: Subject, definition: SyscallDefinition, decision: Decision, input: unknown): void {
    if (!this.isOn('SECURITY')) return;
    const { opcode } = definition;
    const record = this.#callRecord({ category: 'SECURITY', subject, definition, opcode, decision, input });
    record.outcome = 'FORBIDDEN';
    this.#write(record);
  }

  unknownSyscall(subject: Subject, opcode: number): void {
    if (!this.isOn('SYSCALL')) return;
    const decision = { allowed: false, ruleId: 'syscall.unknown', policyDigest: '', object: '' };
    const call = { category: 'SYSCALL', subject, definition: null, opcode, decision, input: null } as const;
    const record = this.#callRecord(call);
    record.outcome = 'UNKNOWN_SYSCALL';
    this.#write(record);
  }

  /** Resolves when the event is on disk, or its category is off, or it will be written later. Never rejects. */
  async event(event: AuditEvent, isAlwaysRecorded = false): Promise<void> {
    if (!isAlwaysRecorded && !this.isOn(event.category)) return;
    const record = this.#eventRecord(event);
    this.#write(record, false, true);
    await record.whenSettled();
  }

  /**
   * Recorded first, whatever is being switched off, together with the setting itself; then it takes effect.
   * @throws IO when it could not be stored; then nothing has changed.
   */
  async configure(change: Partial<AuditConfig>, by: Subject): Promise<AuditConfig> {
    if (Object.keys(change).length === 0) return this.#config;
    const next: AuditConfig = { ...this.#config, ...change };
    const record = this.#eventRecord({
      category: 'SECURITY',
      type: 'AUDIT_CONFIG_CHANGED',
      agentId: by.caller.id,
      agentName: by.name,
      by,
      details: { changed_by: by.caller.id, old_config: this.#config, new_config: next },
    });
    await this.#store.during(record, () =>
      this.#store.write([['audit.setting', 'config', JSON.stringify(next)]]),
    );
    this.#config = next;
    this.#switches = switchesOf(next);
    this.#store.maxEntries = next.max_entries;
    return next;
  }

  /** Sees everything that was recorded before it was asked. @throws OVERLOAD, DATA_CORRUPT, IO, CANCELLED */
  async query(query: AuditQuery): Promise<AuditEntry[]> {
    await this.#store.settled();
    return this.#reader.query(query);
  }

  /** @throws OVERLOAD, IO, CANCELLED */
  async verify(): Promise<VerifyReport> {
    await this.#store.settled();
    return this.#reader.verify();
  }

  #callRecord(call: AuditedCall): CallRecord {
    // Calls that do not end at once.
    this.#onDesk?.keep();
    const worldTime = this.#worldTimeOf(call.subject.caller.id);
    const record = new CallRecord({ boot: this.#bootId, worldTime }, call, this.#desk);
    this.#onDesk = record;
    return record;
  }

  #eventRecord(event: AuditEvent): EventRecord {
    const worldTime = event.agentId === undefined ? null : this.#worldTimeOf(event.agentId);
    return new EventRecord({ boot: this.#bootId, worldTime }, event);
  }

  /** Watched: somebody will ask whether it is on disk. */
  #write(record: AuditDraft, isUrgent = false, isWatched = isUrgent): void {
    record.queued();
    this.#store.record(record, isUrgent, isWatched);
    if (record === this.#onDesk) this.#onDesk = null;
  }

  async #whenDurable(record: CallRecord): Promise<void> {
    const reason = await record.whenSettled();
    if (reason === null || this.#onFailure === 'continue') return;
    throw new CloveError('AUDIT_FAILED', 'done, but its audit record could not be written yet', {
      hint: 'Check the disk of the kernel’s data directory. The record is written as soon as that is possible.',
      details: { reason },
    });
  }

  #assertWritable(category: AuditCategory): void {
    if (this.#onFailure === 'continue') return;
    const { failure } = this.#store;
    if (failure === null && !this.#store.isFull) return;
    throw new CloveError(
      'AUDIT_FAILED',
      `the audit log cannot be written, and ${category} must be recorded`,
      {
        hint: 'Check the disk of the kernel’s data directory. The kernel tries again by itself.',
        details: { reason: failure ?? 'too many records wait for the disk' },
      },
    );
  }

  /** Its record went with its write, but what came after that failed: said by a record of its own. */
  #correct(record: CallRecord, outcome: Outcome): void {
    const category = describeChain(record.chain)?.category ?? 'SYSCALL';
    const correction = this.#eventRecord({
      category,
      type: 'SYSCALL_FAILED_AFTER_WRITE',
      agentId: record.agentId,
      by: record.subject,
      details: { call: JSON.parse(record.body()), outcome },
    });
    correction.outcome = outcome;
    this.#write(correction);
  }

  #gapRecord(gap: Gap): AuditDraft {
    const category = describeChain(gap.chain)?.category ?? 'SECURITY';
    const record = this.#eventRecord({
      category,
      type: 'AUDIT_GAP',
      success: false,
      details: {
        chain: chainName(gap.chain),
        missing: gap.count,
        from: new Date(gap.firstMs).toISOString(),
        to: new Date(gap.lastMs).toISOString(),
        reason: this.#store.failure ?? 'more records waited for the disk than there was room for',
      },
    });
    record.queued();
    return record;
  }
}
