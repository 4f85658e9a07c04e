import path from 'node:path';
import type { AuditEntry } from '../kernel/audit/query.ts';
import type { VerifyReport } from '../kernel/audit/verify-report.ts';
import type { SyscallRequest, SyscallResponse } from '../sdk/typescript/index.ts';
import { withKernel } from './connect.ts';

export type AuditFilter = Omit<SyscallRequest<'AUDIT_QUERY'>, 'limit' | 'end'>;
export type AuditRecord = SyscallResponse<'AUDIT_QUERY'>['entries'][number] | AuditEntry;
export type AuditReport = Omit<SyscallResponse<'AUDIT_VERIFY'>, 'success'>;

/** Where records come from: a running kernel, or the files of one. */
export interface AuditSource {
  /** Oldest first. */
  query(filter: AuditFilter, limit: number, end: 'newest' | 'oldest'): Promise<readonly AuditRecord[]>;
  all(filter: AuditFilter): AsyncIterable<AuditRecord>;
  verify(): Promise<AuditReport>;
}

/** Records of one answer of the kernel. */
const PAGE = 1000;

/** With a data directory its files are read, otherwise the kernel behind the socket is asked. */
export function withAuditSource<Result>(
  flags: { readonly socket?: string; readonly dataDir?: string; readonly anchor?: string },
  work: (source: AuditSource) => Promise<Result>,
): Promise<Result> {
  if (flags.dataDir !== undefined) {
    const anchorPath = flags.anchor === undefined ? null : path.resolve(flags.anchor);
    return fromFiles(path.resolve(flags.dataDir), anchorPath, work);
  }
  return withKernel(flags, (client) => {
    const ask = async (filter: AuditFilter, limit: number, end: 'newest' | 'oldest') =>
      (await client.auditQuery({ ...filter, limit, end })).entries;
    return work({
      async query(filter, limit, end) {
        if (limit <= PAGE) return ask(filter, limit, end);
        const pages: AuditRecord[][] = [];
        let left = limit;
        for (let bounds: AuditFilter = filter; left > 0; ) {
          const page = await ask(bounds, Math.min(left, PAGE), end);
          pages.push(page);
          left -= page.length;
          if (page.length < PAGE) break;
          bounds =
            end === 'newest'
              ? { ...filter, before_seq: page[0]?.seq }
              : { ...filter, since_seq: page.at(-1)?.seq };
        }
        return (end === 'newest' ? pages.reverse() : pages).flat();
      },
      async *all(filter) {
        for (let after = filter.since_seq ?? 0; ; ) {
          const entries = await ask({ ...filter, since_seq: after }, PAGE, 'oldest');
          yield* entries;
          after = entries.at(-1)?.seq ?? after;
          if (entries.length < PAGE) return;
        }
      },
      verify: () => client.auditVerify(),
    });
  });
}

async function fromFiles<Result>(
  dataDirectory: string,
  anchorPath: string | null,
  work: (source: AuditSource) => Promise<Result>,
): Promise<Result> {
  const { exportFiles, logFilesOf, queryFiles, verifyFiles } = await import('../kernel/audit/offline.ts');
  const files = logFilesOf(dataDirectory, anchorPath);
  const toQuery = (filter: AuditFilter) => ({
    categories: filter.categories,
    agentId: filter.agent_id,
    eventTypes: filter.event_types,
    syscall: filter.syscall,
    decision: filter.decision,
    outcome: filter.outcome,
    sinceSeq: filter.since_seq,
    beforeSeq: filter.before_seq,
    from: filter.from,
    to: filter.to,
  });
  return work({
    query: async (filter, limit, end) => queryFiles(files, { ...toQuery(filter), limit, end }),
    async *all(filter) {
      yield* exportFiles(files, toQuery(filter));
    },
    async verify() {
      return toReport(verifyFiles(files));
    },
  });
}

/** An export, without the log it was made from. */
export async function verifyExportFile(file: string): Promise<AuditReport> {
  const { verifyExport } = await import('../kernel/audit/verify-export.ts');
  return toReport(await verifyExport(path.resolve(file)));
}

function toReport(report: VerifyReport): AuditReport {
  const { ok, logId, records, headSeq, firstBadSeq, problems, chains, anchor } = report;
  return {
    ok,
    log_id: logId,
    records,
    head_seq: headSeq,
    first_bad_seq: firstBadSeq,
    problems: problems.map((problem) => ({ ...problem })),
    chains: chains.map((chain) => ({ ...chain })),
    anchor: { ...anchor },
  };
}
