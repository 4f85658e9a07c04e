import type { SandboxLimits } from '../../native/types.ts';
import type { LimitsRequest } from './spawn-request.ts';

const MIB = 2 ** 20;
/** The kernel takes no smaller quota. */
const MIN_CPU_QUOTA_US = 1000;

export const DEFAULT_LIMITS: SandboxLimits = {
  memoryBytes: 256 * MIB,
  swapBytes: 0,
  cpuQuotaUs: 100_000,
  cpuPeriodUs: 100_000,
  cpuShares: 1024,
  cpus: null,
  maxPids: 64,
  fileSizeBytes: 1024 * MIB,
  maxOpenFiles: 1024,
  tmpfsBytes: 64 * MIB,
  tmpfsInodes: 16_384,
};

/** The units of all clients brought to one; what is not named keeps its default. */
export function resolveLimits(request: LimitsRequest | null | undefined): SandboxLimits {
  if (request === null || request === undefined) return DEFAULT_LIMITS;
  const cpuPeriodUs = request.cpu_period ?? DEFAULT_LIMITS.cpuPeriodUs;
  const cores = request.cpu_percent != null ? request.cpu_percent / 100 : (request.cpu ?? 1);
  return {
    memoryBytes:
      request.memory ??
      (request.memory_mb != null ? Math.round(request.memory_mb * MIB) : DEFAULT_LIMITS.memoryBytes),
    swapBytes: request.swap ?? DEFAULT_LIMITS.swapBytes,
    cpuQuotaUs: request.cpu_quota ?? Math.max(MIN_CPU_QUOTA_US, Math.round(cores * cpuPeriodUs)),
    cpuPeriodUs,
    cpuShares: request.cpu_shares ?? DEFAULT_LIMITS.cpuShares,
    cpus: request.cpus ?? null,
    maxPids: request.max_pids ?? DEFAULT_LIMITS.maxPids,
    fileSizeBytes: request.file_size ?? DEFAULT_LIMITS.fileSizeBytes,
    maxOpenFiles: request.open_files ?? DEFAULT_LIMITS.maxOpenFiles,
    tmpfsBytes: request.tmpfs ?? DEFAULT_LIMITS.tmpfsBytes,
    tmpfsInodes: request.tmpfs_inodes ?? DEFAULT_LIMITS.tmpfsInodes,
  };
}
