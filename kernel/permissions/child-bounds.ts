import path from 'node:path';
import type { SandboxLimits, SandboxMount } from '../../native/types.ts';
import type { LaunchPlan } from '../agents/agent.ts';
import { layersNamedBy } from '../agents/isolation.ts';
import { DEFAULT_LIMITS } from '../agents/limits.ts';
import type { LimitsRequest, SpawnRequest } from '../agents/spawn-request.ts';
import type { ChildBounds } from './grants.ts';

/** Interpreters that an agent may name: found on the kernel's own path, so a path of the host is not for it to give. */
const INTERPRETER = /^(node|python(3(\.\d{1,2})?)?|sh|bash)$/;
const PROFILES = ['strict', 'default', 'debug'] as const;
const MIB = 2 ** 20;

type Sandboxed = LaunchPlan['sandbox'];

/**
 * A request of an agent for a child, with what it leaves out set to the usual or to what the parent has, whichever is less.
 * What it names itself is left as it is: childRefusal() judges that.
 */
export function withParentsLimits(request: SpawnRequest, parent: Sandboxed): SpawnRequest {
  const named = request.limits ?? {};
  const { limits } = parent;
  const least = (usual: number, most: number | null) => (most === null ? usual : Math.min(usual, most));
  const isCpuNamed = named.cpu_quota != null || named.cpu_percent != null || named.cpu != null;
  const usual: LimitsRequest = {
    max_pids: least(DEFAULT_LIMITS.maxPids ?? Number.MAX_SAFE_INTEGER, limits.maxPids),
    cpu_shares: least(DEFAULT_LIMITS.cpuShares ?? 1024, limits.cpuShares),
    file_size: least(DEFAULT_LIMITS.fileSizeBytes ?? Number.MAX_SAFE_INTEGER, limits.fileSizeBytes),
    open_files: Math.min(DEFAULT_LIMITS.maxOpenFiles, limits.maxOpenFiles),
    tmpfs: Math.min(DEFAULT_LIMITS.tmpfsBytes, limits.tmpfsBytes),
    tmpfs_inodes: Math.min(DEFAULT_LIMITS.tmpfsInodes, limits.tmpfsInodes),
    cpus: limits.cpus,
    ...(named.memory_mb == null ? { memory: least(256 * MIB, limits.memoryBytes) } : {}),
    ...(isCpuNamed ? {} : { cpu: least(1, coresOf(limits)) }),
  };
  const given = Object.fromEntries(Object.entries(named).filter(([, value]) => value != null));
  // What nobody named and the parent itself does without is no reason to refuse the child.
  const { isolation } = request;
  const relied = [...layersNamedBy(named), ...parent.require, ...(isolation?.require ?? [])];
  const optional = layersNamedBy(usual).filter((layer) => !relied.includes(layer));
  return {
    ...request,
    limits: { ...usual, ...given },
    ...(optional.length === 0
      ? {}
      : {
          isolation: { ...isolation, allow_degraded: [...(isolation?.allow_degraded ?? []), ...optional] },
        }),
  };
}

/** What of a request of an agent is not for agents to ask at all; null = nothing. */
export function requestRefusal(request: SpawnRequest): string | null {
  if (request.python != null && !INTERPRETER.test(request.python)) return 'spawn.interpreter';
  if (request.template != null) return 'spawn.template';
  return null;
}

/**
 * In what a child would be less walled in than its parent, or be given more than the parent has or may give: a rule id; null =
 * in nothing. Live children count together.
 */
export function childRefusal(
  child: LaunchPlan,
  requestedMounts: readonly SandboxMount[],
  parent: LaunchPlan,
  siblings: readonly LaunchPlan[],
  bounds: ChildBounds,
): string | null {
  const mine = parent.sandbox;
  const { sandbox } = child;
  if (sandbox.network === 'host' && mine.network !== 'host') return 'spawn.network';
  if (PROFILES.indexOf(sandbox.profile) > PROFILES.indexOf(mine.profile)) return 'spawn.profile';
  const dropped = sandbox.disable.find((layer) => !mine.disable.includes(layer));
  if (dropped !== undefined) return `spawn.layer:${dropped}`;
  const optional = mine.require.find(
    (layer) => !sandbox.require.includes(layer) && !sandbox.disable.includes(layer),
  );
  if (optional !== undefined) return `spawn.layer:${optional}`;
  const mount = requestedMounts.find((each) => !isMountWithin(each, mine.mounts));
  if (mount !== undefined) return `spawn.mount:${mount.source}`;
  if (child.logBytes > Math.max(parent.logBytes, 64 * 1024)) return 'spawn.limit:log_bytes';
  return limitRefusal(sandbox.limits, mine.limits, siblings, bounds);
}

/** The same place of the host, or one below, and writable only if the parent's is. */
function isMountWithin(mount: SandboxMount, parents: readonly SandboxMount[]): boolean {
  const source = path.normalize(mount.source);
  return parents.some(
    (held) =>
      (source === held.source || source.startsWith(`${held.source.replace(/\/$/, '')}/`)) &&
      (mount.readonly || !held.readonly),
  );
}

function coresOf({ cpuQuotaUs, cpuPeriodUs }: SandboxLimits): number | null {
  return cpuQuotaUs === null ? null : cpuQuotaUs / cpuPeriodUs;
}

function limitRefusal(
  child: SandboxLimits,
  parent: SandboxLimits,
  siblings: readonly LaunchPlan[],
  bounds: ChildBounds,
): string | null {
  const others = siblings.map(({ sandbox }) => sandbox.limits);
  const shared = [
    ['memory', (limits: SandboxLimits) => limits.memoryBytes, bounds.memoryBytes],
    ['max_pids', (limits: SandboxLimits) => limits.maxPids, bounds.maxPids],
    ['cpu', coresOf, bounds.cpu],
  ] as const;
  for (const [name, of, bound] of shared) {
    const wanted = of(child);
    const most = of(parent);
    if (!isAtMost(wanted, most) || !isAtMost(wanted, bound)) return `spawn.limit:${name}`;
    const taken = others.reduce((sum, limits) => sum + (of(limits) ?? 0), 0);
    if (most !== null && taken + (wanted ?? 0) > most) return `spawn.limit-of-all:${name}`;
  }
  const each = [
    ['swap', child.swapBytes, parent.swapBytes],
    ['cpu_shares', child.cpuShares, parent.cpuShares],
    ['file_size', child.fileSizeBytes, parent.fileSizeBytes],
    ['open_files', child.maxOpenFiles, parent.maxOpenFiles],
    ['tmpfs', child.tmpfsBytes, parent.tmpfsBytes],
    ['tmpfs_inodes', child.tmpfsInodes, parent.tmpfsInodes],
  ] as const;
  const beyond = each.find(([, wanted, most]) => !isAtMost(wanted, most));
  if (beyond !== undefined) return `spawn.limit:${beyond[0]}`;
  return isCpusetWithin(child.cpus, parent.cpus) ? null : 'spawn.limit:cpus';
}

function isAtMost(wanted: number | null, most: number | null): boolean {
  return most === null || (wanted !== null && wanted <= most);
}

function isCpusetWithin(child: string | null, parent: string | null): boolean {
  if (parent === null || child === parent) return true;
  if (child === null) return false;
  const mine = rangesOf(parent);
  return rangesOf(child).every(([first, last]) => mine.some(([from, to]) => from <= first && last <= to));
}

function rangesOf(cpus: string): [number, number][] {
  return cpus.split(',').map((range) => {
    const [first = '', last = first] = range.split('-');
    return [Number(first), Number(last)];
  });
}
