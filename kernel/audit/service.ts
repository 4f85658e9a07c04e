import type { Logger } from 'pino';
import type { Audience, EventType } from '../events/event-bus.ts';
import type { KernelOptions } from '../options.ts';
import { KERNEL_VERSION } from '../protocol/version.ts';
import { DurableStore } from '../store/durable-store.ts';
import { AuditLog } from './audit-log.ts';
import { recordBusEvent } from './bus-events.ts';
import { logFilesOf } from './offline.ts';
import { type OpenedLog, openLog } from './open-log.ts';
import { AuditReader } from './reader.ts';

export interface AuditServiceOptions {
  readonly kernel: Pick<
    KernelOptions,
    'dataDirectory' | 'auditAnchorPath' | 'auditOnFailure' | 'socketPath' | 'sandbox'
  >;
  readonly bootId: string;
  readonly log: Logger;
  /** What time it is to a caller in its world, ms since the epoch; null = it is in none. */
  readonly worldTimeMsOf: (callerId: number) => number | null;
}

/** The kernel's database with its audit log, from start to end of one run. */
export class AuditService {
  readonly store: DurableStore;
  readonly audit: AuditLog;
  readonly databasePath: string;
  readonly #options: AuditServiceOptions;
  readonly #opened: OpenedLog;
  readonly #reader: AuditReader;

  private constructor(options: AuditServiceOptions) {
    this.#options = options;
    const { kernel, bootId, log, worldTimeMsOf } = options;
    const files = logFilesOf(kernel.dataDirectory, kernel.auditAnchorPath);
    this.databasePath = files.databasePath;
    this.#opened = openLog(files.databasePath, files.place, { version: KERNEL_VERSION, bootId });
    this.store = new DurableStore({
      databasePath: files.databasePath,
      anchorPlace: files.place,
      onProblem: (problem) => log.error({ problem }, 'audit log'),
    });
    this.#reader = new AuditReader(files);
    this.audit = new AuditLog({
      store: this.store,
      bootId,
      config: this.#opened.config,
      onFailure: kernel.auditOnFailure,
      reader: this.#reader,
      worldTimeOf: (callerId) => {
        const atMs = worldTimeMsOf(callerId);
        return atMs === null ? null : new Date(atMs).toISOString();
      },
    });
  }

  /** @throws DATA_CORRUPT when the database is not the one that its anchor tells of, IO */
  static open(options: AuditServiceOptions): AuditService {
    return new AuditService(options);
  }

  /** Of what went before, too: how the last kernel ended, and what of its records may be missing. */
  started(): void {
    const { kernel } = this.#options;
    const { head, previousEnd, isAnchorMissing } = this.#opened;
    if (isAnchorMissing) {
      this.#always('AUDIT_ANCHOR_MISSING', false, { head_seq: head.seq });
    }
    if (previousEnd === 'unclean') {
      this.#always('AUDIT_GAP', false, {
        missing: null,
        reason:
          'the kernel before this one was killed: calls that it had not answered, or that changed nothing lasting, may have no record',
        after_seq: head.seq,
      });
    }
    this.#always('KERNEL_STARTED', true, {
      kernel_version: KERNEL_VERSION,
      pid: process.pid,
      uid: process.geteuid?.() ?? null,
      log_id: head.logId,
      socket: kernel.socketPath,
      sandbox: kernel.sandbox,
      on_failure: kernel.auditOnFailure,
      previous_end: previousEnd,
    });
  }

  onEvent(type: EventType, data: unknown, sourceId: number, onlyTo: Audience | undefined): void {
    recordBusEvent(this.audit, type, data, sourceId, onlyTo);
  }

  stopped(): void {
    this.#always('KERNEL_STOPPED', true, { pid: process.pid });
  }

  async close(): Promise<void> {
    await this.#reader.close();
    await this.store.close();
  }

  #always(type: string, success: boolean, details: Readonly<Record<string, unknown>>): void {
    void this.audit.event({ category: 'SECURITY', type, success, details }, true);
  }
}
