import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { namesHint } from '../../errors/suggest.ts';
import { durationSchema } from '../clock/duration.ts';
import { flatten } from '../issues.ts';

const pattern = z.string().min(1).max(1024);
const probability = z.number().min(0).max(1);
const ms = durationSchema;
const hosts = z
  .union([pattern, z.array(pattern).min(1).max(64)])
  .transform((value) => [value].flat())
  .optional()
  .describe('Host patterns; default all.');
const names = z
  .union([pattern, z.array(pattern).min(1).max(256)])
  .transform((value) => [value].flat())
  .optional();
const agents = names.describe('Names of members, `*` as a wild card; default all.');
const path = pattern.optional().describe('Pattern of paths; default all.');

/** What may happen in a world, and what each kind takes. One line each for the reference. */
export const EVENT_KINDS = {
  disk_full: { summary: 'Nothing more can be written.', params: z.strictObject({ path }) },
  disk_fail: {
    summary: 'Reads and writes fail.',
    params: z.strictObject({
      path,
      operation: z.enum(['read', 'write', 'both']).default('both'),
      probability: probability.default(1),
    }),
  },
  slow_io: {
    summary: 'Reads and writes take longer.',
    params: z.strictObject({ path, ms: ms.default(1000), jitter_ms: ms.default(0) }),
  },
  readonly: { summary: 'Files are mounted read-only.', params: z.strictObject({ path }) },
  file_corruption: {
    summary: 'Bytes of some files change, for good.',
    params: z.strictObject({
      path,
      files: z.int().min(1).max(10_000).default(1),
      bytes: z.int().min(1).max(65_536).default(1),
    }),
  },
  data_corruption: {
    summary: 'Stored values change, for good, or reads give wrong bytes while it lasts.',
    params: z.strictObject({
      target: z.enum(['state', 'reads']).default('state'),
      path,
      key: pattern.default('*').describe('Which keys of the shared state, `*` as a wild card.'),
      keys: z.int().min(1).max(10_000).default(1).describe('Most of them.'),
      probability: probability.default(1),
    }),
  },
  network_partition: {
    summary: 'Nothing passes between the agents and the hosts in scope, nor between two groups of agents.',
    params: z.strictObject({
      hosts,
      agents,
      between: z
        .tuple([z.array(pattern).min(1).max(256), z.array(pattern).min(1).max(256)])
        .optional()
        .describe('Two groups of members that cannot send to each other.'),
      hang_ms: ms.optional(),
    }),
  },
  latency_spike: {
    summary: 'Requests take longer.',
    params: z.strictObject({ hosts, agents, ms: ms.default(1000), jitter_ms: ms.default(0) }),
  },
  bandwidth_limit: {
    summary: 'Connections are slow.',
    params: z.strictObject({ hosts, agents, bytes_per_second: z.number().min(1).max(1e12) }),
  },
  packet_loss: {
    summary: 'Messages are lost and sent again, later and later; at last the connection is reset.',
    params: z.strictObject({
      hosts,
      agents,
      probability: probability.default(0.1),
      retransmit_ms: ms.optional(),
    }),
  },
  connection_reset: {
    summary: 'Connections end instead of answering.',
    params: z.strictObject({ hosts, agents, probability: probability.default(1) }),
  },
  dns_failure: {
    summary: 'Names are not resolved.',
    params: z.strictObject({
      hosts,
      agents,
      rcode: z.enum(['SERVFAIL', 'NXDOMAIN', 'timeout']).default('SERVFAIL'),
      probability: probability.default(1),
    }),
  },
  tls_expiry: { summary: 'Certificates have expired.', params: z.strictObject({ hosts, agents }) },
  error_rate: {
    summary: 'Services answer with an error.',
    params: z.strictObject({
      hosts,
      agents,
      probability: probability.default(1),
      status: z.int().min(400).max(599).default(503),
      body: z.string().max(65_536).optional(),
    }),
  },
  http_failure: {
    summary: 'Requests to some URLs fail.',
    params: z.strictObject({ url: pattern.default('*'), probability: probability.default(1) }),
  },
  agent_crash: {
    summary: 'A member’s processes are killed; its restart policy decides what follows.',
    params: z.strictObject({ agents, count: z.int().min(1).max(10_000).default(1) }),
  },
  agent_pause: {
    summary: 'Members stand still.',
    params: z.strictObject({ agents, count: z.int().min(1).max(10_000).default(1) }),
  },
  memory_pressure: {
    summary: 'Members have less memory. Mounted worlds only.',
    params: z.strictObject({ agents, percent: z.number().min(1).max(99).default(50) }),
  },
  cpu_contention: {
    summary: 'Members have less processor time. Mounted worlds only.',
    params: z.strictObject({ agents, percent: z.number().min(1).max(99).default(50) }),
  },
  clock_skew: {
    summary: 'The time that members are told is wrong by so much.',
    params: z.strictObject({ ms: z.number().min(-3.2e12).max(3.2e12) }),
  },
  load_spike: {
    summary: 'Others than the members make requests, too, so many a second.',
    params: z.strictObject({
      url: z.string().min(1).max(8192),
      method: z
        .string()
        .regex(/^[A-Z]{1,16}$/)
        .default('GET'),
      body: z.string().max(65_536).optional(),
      per_second: z.number().min(0.01).max(200).default(10),
      latency_ms: ms.default(0).describe('How much longer members wait meanwhile.'),
    }),
  },
} as const satisfies Readonly<Record<string, { readonly summary: string; readonly params: z.ZodObject }>>;

export type EventKind = keyof typeof EVENT_KINDS;
export const EVENT_KIND_NAMES = Object.keys(EVENT_KINDS) as [EventKind, ...EventKind[]];
export type EventParams<Kind extends EventKind> = z.output<(typeof EVENT_KINDS)[Kind]['params']>;

/** One event: its kind with what it takes. */
export type WorldEvent = {
  readonly [Kind in EventKind]: { readonly kind: Kind; readonly params: EventParams<Kind> };
}[EventKind];

/** Names by which existing clients know some of them. */
const ALIASES: Readonly<Record<string, EventKind>> = {
  disk_failure: 'disk_fail',
  resource_pressure: 'memory_pressure',
  readonly_remount: 'readonly',
  service_error_rate: 'error_rate',
  partition: 'network_partition',
  traffic_spike: 'load_spike',
};

/** The kind that a name means; null = none. */
export function kindOf(name: string): EventKind | null {
  if (Object.hasOwn(EVENT_KINDS, name)) return name as EventKind;
  return Object.hasOwn(ALIASES, name) ? (ALIASES[name] as EventKind) : null;
}

/** @throws BAD_REQUEST */
export function parseEvent(name: string, params: Readonly<Record<string, unknown>>): WorldEvent {
  const kind = kindOf(name);
  if (kind === null) {
    throw new CloveError('BAD_REQUEST', `unknown event type "${name.slice(0, 100)}"`, {
      hint: namesHint(name, EVENT_KIND_NAMES),
    });
  }
  const parsed = EVENT_KINDS[kind].params.safeParse(renamed(kind, params));
  if (!parsed.success) {
    throw new CloveError('BAD_REQUEST', `event ${kind}: ${describe(parsed.error, renamed(kind, params))}`);
  }
  return { kind, params: parsed.data } as WorldEvent;
}

/** Existing clients name some parameters otherwise. */
function renamed(kind: EventKind, params: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { path_pattern, latency_ms, delay_ms, agent, host, ...rest } = params;
  const renamedParams: Record<string, unknown> = { ...rest };
  if (path_pattern !== undefined) renamedParams.path ??= path_pattern;
  if (agent !== undefined) renamedParams.agents ??= agent;
  if (host !== undefined) renamedParams.hosts ??= host;
  const slow = latency_ms ?? delay_ms;
  if (slow !== undefined) renamedParams[kind === 'load_spike' ? 'latency_ms' : 'ms'] ??= slow;
  return renamedParams;
}

function describe(error: z.ZodError, value: unknown): string {
  return error.issues
    .flatMap((issue) => flatten(issue, [], value))
    .slice(0, 3)
    .map(({ at, message }) => (at.length === 0 ? message : `${at.map(String).join('.')}: ${message}`))
    .join('; ');
}
