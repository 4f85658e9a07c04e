import { z } from 'zod';

const MAX_MS = 2 ** 31 - 1;
const ms = (min: number) => z.int().min(min).max(MAX_MS);

/** Of an agent or a group, as in kernel/agents/spawn-request.ts. */
export const memberName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
    'must be 1 to 64 of A-Z a-z 0-9 . _ - and start with a letter or digit',
  );

const text = (maxLength: number) =>
  z
    .string()
    .max(maxLength)
    .refine((value) => !value.includes('\0') && value.isWellFormed(), 'NUL or malformed text');

export const READY_ON = ['start', 'notify', 'name', 'health'] as const;

export const readyRequest = z.strictObject({
  on: z
    .enum(READY_ON)
    .describe(
      'start: its program runs; notify: it says so (NOTIFY); name: `name` is registered by it; health: its first check has passed',
    ),
  name: text(128).min(1).nullish(),
  timeout_ms: ms(1).nullish().describe('then the incarnation has failed; default 60 000'),
});

export const healthRequest = z.strictObject({
  check: z
    .enum(['exec', 'heartbeat', 'ping'])
    .describe(
      'exec: `command` in its sandbox ends with 0; heartbeat: it makes any call at all within `timeout_ms`; ping: it answers a message {"type":"clove.ping","nonce":…} by NOTIFY with that `pong`',
    ),
  command: z.array(text(131_072)).min(1).max(256).nullish().describe('argv'),
  interval_ms: ms(10).nullish().describe('between two checks; default 10 000'),
  timeout_ms: ms(1).nullish().describe('default 5000; of a heartbeat 30 000'),
  failures: z
    .int()
    .min(1)
    .max(1000)
    .nullish()
    .describe('in a row until it is unhealthy; default 3, of a heartbeat 1'),
  start_ms: ms(0).nullish().describe('failures so soon after its start do not count; default 0'),
  action: z.enum(['restart', 'report']).nullish().describe('when it is unhealthy; default restart'),
});

/** The part of a spawn request that is about supervision. */
export const supervisionFields = {
  group: memberName.nullish().describe('group of a supervision tree; only for operators'),
  group_order: z
    .int()
    .min(0)
    .max(1_000_000)
    .nullish()
    .describe('place in the group; of two with the same the older comes first'),
  depends_on: z
    .array(memberName)
    .max(64)
    .nullish()
    .describe('agents that must be ready before it starts; SPAWN answers when it runs'),
  ready: readyRequest.nullish().describe('when it counts as ready; default: when its program runs'),
  health: healthRequest.nullish(),
  stop_grace_ms: ms(0)
    .nullish()
    .describe('between SIGTERM and SIGKILL where nobody says otherwise; default 5000'),
  labels: z
    .record(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$/, 'not a label'), text(128))
    .refine((labels) => Object.keys(labels).length <= 16, 'more than 16')
    .nullish()
    .describe('what whoever started it wants to find again in LIST'),
};

export type HealthRequest = z.output<typeof healthRequest>;
export type ReadyRequest = z.output<typeof readyRequest>;

export interface HealthPlan {
  readonly check: 'exec' | 'heartbeat' | 'ping';
  /** argv of the check `exec`. */
  readonly command: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** In a row. */
  readonly failures: number;
  readonly startMs: number;
  readonly action: 'restart' | 'report';
}

export interface ReadyPlan {
  readonly on: (typeof READY_ON)[number];
  readonly name: string;
  readonly timeoutMs: number;
}

/** What the supervisor has to know of an agent. */
export interface SupervisionPlan {
  readonly group: string | null;
  readonly order: number;
  readonly dependsOn: readonly string[];
  readonly ready: ReadyPlan;
  readonly health: HealthPlan | null;
  readonly stopGraceMs: number;
}

export const DEFAULT_STOP_GRACE_MS = 5000;
const DEFAULT_ORDER = 1_000_000;
const DEFAULT_READY_TIMEOUT_MS = 60_000;

interface Asked {
  readonly group?: string | null | undefined;
  readonly group_order?: number | null | undefined;
  readonly depends_on?: readonly string[] | null | undefined;
  readonly ready?: ReadyRequest | null | undefined;
  readonly health?: HealthRequest | null | undefined;
  readonly stop_grace_ms?: number | null | undefined;
}

/** null = nobody asked for anything. */
export function supervisionPlan(request: Asked | null): SupervisionPlan {
  const { health } = request ?? {};
  const isHeartbeat = health?.check === 'heartbeat';
  return {
    group: request?.group ?? null,
    order: request?.group_order ?? DEFAULT_ORDER,
    dependsOn: [...new Set(request?.depends_on ?? [])],
    ready: {
      on: request?.ready?.on ?? 'start',
      name: request?.ready?.name ?? '',
      timeoutMs: request?.ready?.timeout_ms ?? DEFAULT_READY_TIMEOUT_MS,
    },
    health:
      health == null
        ? null
        : {
            check: health.check,
            command: health.command ?? [],
            intervalMs: health.interval_ms ?? 10_000,
            timeoutMs: health.timeout_ms ?? (isHeartbeat ? 30_000 : 5000),
            failures: health.failures ?? (isHeartbeat ? 1 : 3),
            startMs: health.start_ms ?? 0,
            action: health.action ?? 'restart',
          },
    stopGraceMs: request?.stop_grace_ms ?? DEFAULT_STOP_GRACE_MS,
  };
}

/** What cannot be seen field by field; null = it makes sense. */
export function supervisionFault({ ready, health }: Asked): string | null {
  if (ready?.on === 'name' && ready.name == null) return 'ready.name: which name?';
  if (ready?.on !== 'name' && ready?.name != null) return 'ready.name: only where ready.on is "name"';
  if (ready?.on === 'health' && health == null) return 'ready.on: "health" without a health check';
  if (health?.check === 'exec' && health.command == null) return 'health.command: which command?';
  if (health != null && health.check !== 'exec' && health.command != null) {
    return `health.command: not for the check "${health.check}"`;
  }
  return null;
}
