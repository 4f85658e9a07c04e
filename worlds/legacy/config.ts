import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { kindOf } from '../chaos/kinds.ts';
import { parseDurationMs } from '../clock/duration.ts';

/** The configuration that existing clients send with WORLD_CREATE, as a definition of ours. */

const patterns = z.array(z.string().max(1024)).max(256).default([]);
const number = z.number().min(0).max(86_400_000);
const probability = z.number().min(0).max(1);

const schema = z.looseObject({
  name: z.string().max(256).nullish(),
  description: z.string().max(16_384).nullish(),
  virtual_filesystem: z
    .looseObject({
      initial_files: z
        .record(
          z.string(),
          z.union([
            z.string(),
            z.looseObject({ content: z.string().default(''), mode: z.enum(['r', 'rw']).default('rw') }),
          ]),
        )
        .default({}),
      readonly_patterns: patterns,
      writable_patterns: patterns,
      intercept_patterns: patterns,
    })
    .nullish(),
  network: z
    .looseObject({
      mode: z.enum(['passthrough', 'mock', 'record']).default('passthrough'),
      mock_responses: z
        .record(
          z.string(),
          z.union([
            z.string(),
            z.looseObject({
              status: z.int().min(100).max(599).default(200),
              body: z.string().default(''),
              latency_ms: number.default(0),
              headers: z.record(z.string(), z.string()).default({}),
            }),
          ]),
        )
        .default({}),
      default_response: z
        .looseObject({
          status: z.int().min(100).max(599).default(404),
          body: z.string().default('Not Found'),
          latency_ms: number.default(0),
        })
        .nullish(),
      allowed_domains: z.array(z.string().max(260)).max(256).default([]),
      fail_unmatched: z.boolean().default(false),
    })
    .nullish(),
  chaos: z
    .looseObject({
      enabled: z.boolean().default(false),
      failure_rate: probability.default(0),
      latency: z.looseObject({ min_ms: number.default(0), max_ms: number.default(0) }).nullish(),
      rules: z
        .array(
          z.looseObject({
            type: z.string(),
            path_pattern: z.string().max(1024).nullish(),
            url_pattern: z.string().max(1024).nullish(),
            probability: probability.default(0),
          }),
        )
        .max(1000)
        .default([]),
    })
    .nullish(),
  events: z
    .array(z.looseObject({ type: z.string() }))
    .max(1000)
    .nullish(),
});
type LegacyConfig = z.output<typeof schema>;

const NETWORK_KEYS = new Set([
  'mode',
  'mock_responses',
  'default_response',
  'allowed_domains',
  'fail_unmatched',
]);
const CHAOS_KEYS = new Set(['enabled', 'failure_rate', 'latency', 'rules']);
const KEYS = new Set([
  'name',
  'description',
  'virtual_filesystem',
  'network',
  'chaos',
  'filesystem',
  'time',
  'events',
]);

/**
 * Whether this is of the form of existing clients. What could be of either is, where `ambiguous` says so: sent by a client, an
 * empty one means a world that takes nothing over.
 */
export function isLegacyConfig(config: Readonly<Record<string, unknown>>, ambiguous: boolean): boolean {
  if ('virtual_filesystem' in config) return true;
  if (Object.keys(config).some((key) => !KEYS.has(key))) return false;
  const { network = {}, chaos = {} } = config;
  if (!isObject(network) || Object.keys(network).some((key) => !NETWORK_KEYS.has(key))) return false;
  if (!isObject(chaos) || Object.keys(chaos).some((key) => !CHAOS_KEYS.has(key))) return false;
  if (Array.isArray(chaos.rules) && chaos.rules.some((rule) => isObject(rule) && 'event' in rule))
    return false;
  const isTelling =
    ['mock_responses', 'allowed_domains', 'fail_unmatched'].some((key) => key in network) ||
    ['failure_rate', 'latency'].some((key) => key in chaos) ||
    'events' in config;
  return isTelling || ambiguous;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export interface Translated {
  readonly input: Readonly<Record<string, unknown>>;
  readonly warnings: readonly string[];
}

/** @throws CONFIG */
export function definitionFromLegacy(config: Readonly<Record<string, unknown>>): Translated {
  const parsed = schema.safeParse(config);
  if (!parsed.success) {
    throw new CloveError('CONFIG', `configuration of a world: ${z.prettifyError(parsed.error)}`);
  }
  const given = parsed.data;
  const warnings: string[] = [];
  const files = filesOf(given);
  const network = networkOf(given);
  const chaos = chaosOf(given, files !== 'own', network !== 'own', warnings);
  const schedule = eventsOf(given, warnings);
  const { filesystem, time } = config;
  if (filesystem !== undefined)
    warnings.push('filesystem: has no effect; files are given by virtual_filesystem');
  if (time !== undefined)
    warnings.push('time: has no effect; a definition with `clock` has a time of its own');
  return {
    input: {
      ...(given.name ? { name: given.name } : {}),
      ...(given.description ? { description: given.description } : {}),
      files,
      network,
      chaos,
      schedule,
      clock: { mode: 'real' },
      // As existing clients know it: whoever has its id may join.
      open: true,
    },
    warnings,
  };
}

function filesOf({ virtual_filesystem: given }: LegacyConfig) {
  if (given === null || given === undefined) return 'own';
  const { initial_files, readonly_patterns, writable_patterns, intercept_patterns } = given;
  const isUsed =
    Object.keys(initial_files).length +
    readonly_patterns.length +
    writable_patterns.length +
    intercept_patterns.length;
  if (isUsed === 0) return 'own';
  return {
    initial: Object.fromEntries(
      Object.entries(initial_files).map(([path, file]) => [
        path,
        typeof file === 'string' ? file : { content: file.content, mode: file.mode },
      ]),
    ),
    readonly: readonly_patterns,
    writable: writable_patterns,
    intercept: intercept_patterns.length === 0 ? ['/**'] : intercept_patterns,
  };
}

function networkOf({ network: given }: LegacyConfig) {
  if (given === null || given === undefined || given.mode === 'passthrough') return 'own';
  const mocks = Object.fromEntries(
    Object.entries(given.mock_responses).map(([url, mock]) => [
      url,
      typeof mock === 'string'
        ? mock
        : { status: mock.status, body: mock.body, latency_ms: mock.latency_ms, headers: mock.headers },
    ]),
  );
  const fallback = given.fail_unmatched
    ? { status: 503, body: 'Service Unavailable' }
    : given.default_response
      ? {
          status: given.default_response.status,
          body: given.default_response.body,
          latency_ms: given.default_response.latency_ms,
        }
      : null;
  const isRecord = given.mode === 'record';
  const allow = isRecord && given.allowed_domains.length === 0 ? ['*'] : given.allowed_domains;
  return {
    mode: isRecord ? 'record' : allow.length > 0 ? 'passthrough' : 'mock',
    mocks,
    allow,
    ...(fallback === null ? {} : { default_response: fallback }),
  };
}

function chaosOf({ chaos: given }: LegacyConfig, hasFiles: boolean, hasNetwork: boolean, warnings: string[]) {
  if (given === null || given === undefined || !given.enabled) return { enabled: true, rules: [] };
  const rules: Record<string, unknown>[] = [];
  const lack = (what: string) => warnings.push(`chaos: ${what} has no effect: the world has none of its own`);
  const add = (isThere: boolean, what: string, rule: Record<string, unknown>) => {
    if (isThere) rules.push(rule);
    else lack(what);
  };
  if (given.failure_rate > 0) {
    const params = { probability: given.failure_rate };
    if (hasFiles) rules.push({ name: 'failure_rate/files', event: 'disk_fail', params });
    if (hasNetwork) rules.push({ name: 'failure_rate/http', event: 'http_failure', params });
    if (!hasFiles && !hasNetwork) lack('failure_rate');
  }
  const { min_ms = 0, max_ms = 0 } = given.latency ?? {};
  if (max_ms > 0) {
    const least = Math.min(min_ms, max_ms);
    const params = { ms: (least + max_ms) / 2, jitter_ms: (max_ms - least) / 2 };
    add(hasNetwork, 'latency', { name: 'latency', event: 'latency_spike', params });
  }
  for (const [index, rule] of given.rules.entries()) {
    const name = `rule-${index + 1}`;
    const { probability } = rule;
    const path = rule.path_pattern ?? '*';
    const url = rule.url_pattern ?? '*';
    if (rule.type === 'file_read_fail' || rule.type === 'file_write_fail') {
      const operation = rule.type === 'file_read_fail' ? 'read' : 'write';
      add(hasFiles, rule.type, { name, event: 'disk_fail', params: { path, operation, probability } });
    } else if (rule.type === 'network_timeout' || rule.type === 'network_fail') {
      add(hasNetwork, rule.type, { name, event: 'http_failure', params: { url, probability } });
    } else warnings.push(`chaos.rules.${index}: unknown type "${rule.type.slice(0, 64)}" has no effect`);
  }
  return { enabled: true, rules };
}

/** As the documents of existing clients show them: `{type, at, duration}`. */
function eventsOf({ events }: LegacyConfig, warnings: string[]) {
  return (events ?? []).flatMap((given, index) => {
    const { type, at, duration, params, ...rest } = given as Record<string, unknown>;
    const kind = kindOf(String(type));
    const atMs = timeOf(at);
    if (kind === null || atMs === null) {
      warnings.push(
        `events.${index}: ${kind === null ? `unknown type "${String(type).slice(0, 64)}"` : 'no time'}: has no effect`,
      );
      return [];
    }
    const forMs = timeOf(duration);
    return [
      {
        at: atMs,
        event: kind,
        params: isObject(params) ? params : rest,
        ...(forMs === null ? {} : { for: forMs }),
      },
    ];
  });
}

/** Numbers are seconds, as everywhere in those documents. */
function timeOf(value: unknown): number | null {
  if (typeof value === 'number' && value >= 0) return value * 1000;
  return typeof value === 'string' ? parseDurationMs(value.replace(/^\+/, '')) : null;
}
