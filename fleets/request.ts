import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { SyscallRequest } from '../sdk/typescript/types.ts';
import type { Member } from './definition.ts';
import { type AgentEntry, type FleetFile, LANGUAGES } from './schema.ts';
import type { YamlSource } from './source.ts';

export type SpawnFields = SyscallRequest<'SPAWN'>;
export type Quotas = NonNullable<SyscallRequest<'SET_QUOTA'>['quotas']>;

/** Labels by which `up` finds its agents again. */
export const LABELS = { fleet: 'clove/fleet', code: 'clove/code', spec: 'clove/spec' } as const;

/** One agent as it is to be. */
export interface DesiredAgent {
  readonly name: string;
  readonly dependsOn: readonly string[];
  readonly group: string | null;
  /** Complete, labels included. */
  readonly request: SpawnFields;
  readonly quotas: Quotas | null;
  /** Digest of what a running agent can be given anew: its program. */
  readonly code: string;
  /** Digest of the rest, for which it has to be started anew. */
  readonly spec: string;
  /** Whether it comes back, or is done when it has ended with 0. */
  readonly isJob: boolean;
  /** Absolute paths of what its program is read from. */
  readonly files: readonly string[];
}

export interface RequestContext {
  /** Where relative paths are meant from. */
  readonly folder: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly source: YamlSource;
}

/** What SPAWN is to be asked for. Problems go to the source. */
export function agentRequest(
  file: FleetFile,
  member: Member,
  order: number,
  { folder, env, source }: RequestContext,
): DesiredAgent {
  const entry = withDefaults(member.entry, file.defaults ?? {});
  const at = ['agents', member.key];
  const script = entry.script === undefined ? null : path.resolve(folder, entry.script);
  let content = '';
  if (script !== null) {
    try {
      content = createHash('sha256').update(readFileSync(script)).digest('hex');
    } catch (error) {
      source.report(
        [...at, 'script'],
        `cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }
  const passed: Record<string, string> = {};
  for (const [index, variable] of (entry.env_from ?? []).entries()) {
    const value = env[variable];
    const where = member.entry.env_from?.includes(variable)
      ? [...at, 'env_from', index]
      : ['defaults', 'env_from', index];
    if (value === undefined) source.report(where, `the variable ${variable} is not set`);
    else passed[variable] = value;
  }
  const code: SpawnFields = {
    ...(script === null ? {} : { script }),
    ...(entry.command === undefined ? {} : { command: entry.command }),
    ...interpreterOf(entry),
    ...(entry.args === undefined ? {} : { args: entry.args }),
    ...(entry.env === undefined && entry.env_from === undefined ? {} : { env: { ...entry.env, ...passed } }),
  };
  const rest = specOf(entry, member, order, folder);
  const codeDigest = digest([code, content]);
  // The place in the order is no reason to start anything anew; another interpreter is.
  const { group_order: _, ...compared } = rest;
  const specDigest = digest([compared, entry.quotas ?? null, interpreterOf(entry)]);
  return {
    name: member.name,
    dependsOn: member.dependsOn,
    group: entry.group ?? null,
    request: {
      ...code,
      ...rest,
      name: member.name,
      labels: { [LABELS.fleet]: file.fleet, [LABELS.code]: codeDigest, [LABELS.spec]: specDigest },
    },
    quotas: entry.quotas ?? null,
    code: codeDigest,
    spec: specDigest,
    isJob: rest.restart_policy !== 'always',
    files: script === null ? [] : [script],
  };
}

type Defaults = NonNullable<FleetFile['defaults']>;

/** An agent's own words win; limits, variables and quotas are merged one by one. */
function withDefaults(entry: AgentEntry, defaults: Defaults): AgentEntry {
  const merged: AgentEntry = { ...defaults, ...entry };
  if (entry.interpreter !== undefined) delete merged.language;
  for (const key of ['limits', 'env', 'quotas'] as const) {
    if (defaults[key] !== undefined) Object.assign(merged, { [key]: { ...defaults[key], ...entry[key] } });
  }
  if (defaults.env_from !== undefined) {
    merged.env_from = [...new Set([...defaults.env_from, ...(entry.env_from ?? [])])];
  }
  return merged;
}

function interpreterOf({ script, language, interpreter }: AgentEntry): SpawnFields {
  if (script === undefined) return {};
  if (interpreter !== undefined) return { python: interpreter };
  return language === undefined ? {} : { python: LANGUAGES[language] };
}

function specOf(entry: AgentEntry, member: Member, order: number, folder: string): SpawnFields {
  const { limits, health } = entry;
  const ready = typeof entry.ready === 'string' ? { on: entry.ready } : entry.ready;
  return defined<SpawnFields>({
    ...restartOf(entry),
    cwd: entry.cwd,
    stdin: entry.stdin,
    network: entry.network === undefined ? undefined : entry.network === 'host',
    mounts: entry.mounts?.map((mount) => ({ ...mount, source: path.resolve(folder, mount.source) })),
    isolation: entry.isolation,
    permissions: entry.permissions,
    timeout_ms: entry.timeout,
    log_bytes: entry.log,
    stop_grace_ms: entry.stop_grace,
    depends_on: member.dependsOn.length === 0 ? undefined : [...member.dependsOn],
    group: entry.group,
    group_order: order,
    ready: ready === undefined ? undefined : { on: ready.on, name: ready.name, timeout_ms: ready.timeout },
    health:
      health === undefined
        ? undefined
        : {
            check: health.check,
            command: health.command,
            interval_ms: health.interval,
            timeout_ms: health.timeout,
            failures: health.failures,
            start_ms: health.start,
            action: health.action,
          },
    limits:
      limits === undefined
        ? undefined
        : {
            memory: limits.memory,
            swap: limits.swap,
            cpu: limits.cpu,
            max_pids: limits.pids,
            cpus: limits.cpus,
            file_size: limits.file_size,
            tmpfs: limits.tmpfs,
            tmpfs_inodes: limits.tmpfs_inodes,
            open_files: limits.open_files,
          },
  });
}

/** What a fleet declares is to run: it comes back after a failure where nothing else is said. */
function restartOf({ restart = 'on-failure' }: AgentEntry): SpawnFields {
  if (typeof restart === 'string') return { restart_policy: restart };
  return {
    restart_policy: restart.policy,
    max_restarts: restart.max,
    restart_window: restart.within === undefined ? undefined : restart.within / 1000,
    restart_backoff_ms: restart.backoff,
    restart_backoff_max_ms: restart.backoff_max,
    restart_stable_ms: restart.stable,
    restart_min_uptime_ms: restart.min_uptime,
  };
}

/** Without members that have no value, also inside. */
function defined<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

function digest(value: unknown): string {
  return createHash('sha256').update(canonical(value)).digest('hex').slice(0, 16);
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  return `{${entries
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, each]) => `${JSON.stringify(key)}:${canonical(each)}`)
    .join(',')}}`;
}
