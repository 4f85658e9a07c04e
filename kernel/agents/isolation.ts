import { CloveError } from '../../errors/index.ts';
import { hintFor } from '../../native/sandbox-hints.ts';
import type { Layer, LayerReport, NetworkMode, SandboxLimits, UnavailableLayer } from '../../native/types.ts';
import { layersNotHere, OF_NAMESPACES } from './reduced-host.ts';
import type { LimitsRequest, SpawnRequest } from './spawn-request.ts';

/** What every profile of a root kernel names; limits add theirs. */
const PROFILE_LAYERS: readonly Layer[] = [
  'uid',
  'pidns',
  'mntns',
  'netns',
  'ipcns',
  'utsns',
  'cgroupns',
  'root_ro',
  'proc_masked',
  'dev_min',
  'sys_hidden',
  'caps',
  'nnp',
  'seccomp',
  'landlock',
  'fds',
  'env',
  'session',
  'pdeath',
  'freeze',
  'kill',
];

/** What keeps an agent apart from the host. `--no-sandbox` leaves these out; limits and supervision stay. */
const ISOLATING_LAYERS: readonly Layer[] = [
  ...OF_NAMESPACES,
  'uid',
  'userns',
  'timens',
  'overlay',
  'caps',
  'nnp',
  'seccomp',
  'landlock',
];

/** Without one of these an agent is not in a sandbox, whatever else it is in. */
export const WALLS: readonly Layer[] = [
  'pidns',
  'mntns',
  'netns',
  'ipcns',
  'root_ro',
  'proc_masked',
  'dev_min',
  'sys_hidden',
  'caps',
  'nnp',
  'seccomp',
  'fds',
  'env',
  'session',
  'kill',
];

/** Walls that keep their promise when they are degraded: with pidns and root_ro, which need them, they are never off. */
export const MAY_DEGRADE: readonly Layer[] = ['mntns', 'kill'];

/** What a process can do to itself, whatever its host refuses it. */
export const WITHOUT_HOST: readonly Layer[] = ['nnp', 'seccomp', 'fds', 'env', 'session'];

/** What a kernel demands of sandboxes whose request does not say it. */
export type Sandboxing = 'required' | 'reduced' | 'least' | 'off';

/** Why a layer cannot be required here: the sandbox would call it not applicable, and that is not what was asked for. */
function whyUnavailable(layer: Layer, limits: SandboxLimits): string | null {
  if (layer === 'overlay' || layer === 'timens') return 'sandboxes have none yet';
  if (layer === 'userns' && process.geteuid?.() === 0)
    return 'a root kernel gives agents host users of their own';
  if (layer === 'cpuset' && limits.cpus === null) return 'the request has no limits.cpus';
  return null;
}

function layersByDefault(
  sandboxing: Sandboxing,
  asked: LimitsRequest | null | undefined,
  limits: SandboxLimits,
): readonly Layer[] {
  if (sandboxing === 'required') return [...PROFILE_LAYERS, ...layersOfLimits(limits)];
  // However little is demanded: who names a limit relies on it.
  const named = layersNamedBy(asked);
  if (sandboxing === 'off') return named;
  if (sandboxing === 'least') return [...WITHOUT_HOST, ...named];
  const walls = PROFILE_LAYERS.filter((layer) => WALLS.includes(layer) && !MAY_DEGRADE.includes(layer));
  return [...walls, ...named];
}

export interface Isolation {
  readonly profile: 'strict' | 'default' | 'debug';
  readonly require: readonly Layer[];
  readonly disable: readonly Layer[];
  /** Wanted, not required, and not to be had on this machine: left out, and reported as that. */
  readonly unavailable: Readonly<Partial<Record<Layer, UnavailableLayer>>>;
  /** False: paths inside are those of the host, and nothing is mounted. */
  readonly ownFiles: boolean;
}

/** The layers of limits that a request names itself. */
export function layersNamedBy(limits: LimitsRequest | null | undefined): Layer[] {
  if (limits === null || limits === undefined) return [];
  const { memory, memory_mb, swap, max_pids, cpu_quota, cpu_percent, cpu, cpus, file_size, open_files } =
    limits;
  const layers: Layer[] = [];
  if (memory != null || memory_mb != null) layers.push('mem');
  if (swap != null) layers.push('swap');
  if (max_pids != null) layers.push('pids');
  if (cpu_quota != null || cpu_percent != null || cpu != null) layers.push('cpu');
  if (cpus != null) layers.push('cpuset');
  if (file_size != null) layers.push('fsize');
  if (open_files != null) layers.push('nofile');
  return layers;
}

function layersOfLimits(limits: SandboxLimits): Layer[] {
  const layers: Layer[] = ['disk', 'inodes', 'nofile'];
  if (limits.memoryBytes !== null) layers.push('mem');
  if (limits.swapBytes !== null) layers.push('swap');
  if (limits.cpuQuotaUs !== null) layers.push('cpu');
  if (limits.maxPids !== null) layers.push('pids');
  if (limits.cpus !== null) layers.push('cpuset');
  if (limits.fileSizeBytes !== null) layers.push('fsize');
  return layers;
}

/**
 * Which layers must hold, which are left out. Nothing is dropped from `require` but by words: the request's own, or those of
 * whoever turned the sandbox off or reduced it to its walls, or to less; limits that the request names must hold all the same.
 * @throws SANDBOX_UNAVAILABLE
 */
export function resolveIsolation(
  request: Pick<SpawnRequest, 'isolation' | 'limits'>,
  limits: SandboxLimits,
  network: NetworkMode,
  sandboxing: Sandboxing,
): Isolation {
  const { isolation } = request;
  const profile = isolation?.profile ?? 'default';
  const disable = new Set<Layer>(isolation?.disable ?? []);
  if (sandboxing === 'off') for (const layer of ISOLATING_LAYERS) disable.add(layer);
  const byDefault = layersByDefault(sandboxing, request.limits, limits);
  const named = isolation?.require ?? byDefault;
  const require = new Set<Layer>(named);
  for (const layer of require) {
    const reason = whyUnavailable(layer, limits);
    if (reason === null) continue;
    throw new CloveError('SANDBOX_UNAVAILABLE', `layer ${layer} cannot be had: ${reason}`, {
      details: { stage: 'request', layer, syscall: null, errno: null },
    });
  }
  // Asking for the host's network, or for a layer to be left out, is asking for less in words.
  if (network === 'host' && isolation?.require == null) require.delete('netns');
  for (const layer of [...disable, ...(isolation?.allow_degraded ?? [])]) require.delete(layer);
  const unavailable: Partial<Record<Layer, UnavailableLayer>> = {};
  for (const [layer, reason] of layersNotHere()) {
    if (disable.has(layer)) continue;
    if (require.has(layer)) throw refusal(layer, reason);
    unavailable[layer] = reason;
    disable.add(layer);
  }
  return {
    profile,
    require: [...require],
    disable: [...disable],
    unavailable,
    ownFiles: !disable.has('mntns'),
  };
}

function refusal(layer: Layer, { how, errno }: UnavailableLayer): CloveError {
  return new CloveError('SANDBOX_UNAVAILABLE', `no sandbox: layer ${layer}: ${how}; nothing ran`, {
    details: { stage: 'clone', syscall: 'clone', layer, errno },
    ...hintFor('clone', errno ?? '', layer),
  });
}

/** The answer existing clients know, each value taken from the report of the layer; and the report itself. */
export interface IsolationSummary {
  readonly fully_isolated: boolean;
  readonly namespaces: Readonly<Record<'pid' | 'net' | 'mnt' | 'uts' | 'ipc' | 'cgroup', boolean>>;
  readonly cgroups: Readonly<Record<'available' | 'memory_limit' | 'cpu_quota' | 'pids_limit', boolean>>;
  readonly degraded_reason?: string;
  readonly on: number;
  readonly off: readonly Layer[];
  readonly degraded: readonly Layer[];
}

export function summariseIsolation(layers: readonly LayerReport[]): IsolationSummary {
  return summaries.getOrInsertComputed(layers, summarise);
}

/** A report never changes once it is there, and LIST asks for it again and again. */
const summaries = new WeakMap<readonly LayerReport[], IsolationSummary>();

function summarise(layers: readonly LayerReport[]): IsolationSummary {
  const states = new Map(layers.map(({ layer, state }) => [layer, state]));
  const on = (layer: Layer) => states.get(layer) === 'on';
  const off = layers.filter(({ state }) => state === 'off').map(({ layer }) => layer);
  const degraded = layers.filter(({ state }) => state === 'degraded').map(({ layer }) => layer);
  const missing = PROFILE_LAYERS.filter((layer) => !on(layer));
  return {
    // Every wall of the default profile stands; a weaker request (host network, no sandbox) is not "fully".
    fully_isolated: missing.length === 0,
    namespaces: {
      pid: on('pidns'),
      net: on('netns'),
      mnt: on('mntns'),
      uts: on('utsns'),
      ipc: on('ipcns'),
      cgroup: on('cgroupns'),
    },
    cgroups: {
      available: on('mem') || on('cpu') || on('pids'),
      memory_limit: on('mem'),
      cpu_quota: on('cpu'),
      pids_limit: on('pids'),
    },
    ...(missing.length === 0 ? {} : { degraded_reason: `not on: ${missing.join(', ')}` }),
    on: layers.filter(({ state }) => state === 'on').length,
    off,
    degraded,
  };
}
