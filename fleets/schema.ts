import { z } from 'zod';
import { isolationSchema, spawnRequest } from '../kernel/agents/spawn-request.ts';
import { LLM_PROVIDERS } from '../kernel/llm/providers.ts';
import { DEFAULT_GROUP, STRATEGIES } from '../kernel/supervision/types.ts';
import { duration, size } from './units.ts';

/** The form of a fleet file, clove.yaml. docs/fleets.md explains it. */

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
export const name = z
  .string({ error: 'expected a name' })
  .regex(NAME, 'a name has 1 to 64 of A-Z a-z 0-9 . _ - and starts with a letter or digit');

export const LANGUAGES = {
  typescript: 'node',
  javascript: 'node',
  node: 'node',
  python: 'python3',
  shell: 'sh',
} as const;

const limits = z.strictObject({
  memory: size(2 ** 20).optional(),
  swap: size(0).optional(),
  cpu: z.number().positive().optional(),
  pids: z.int().min(2).optional(),
  cpus: z.string().optional(),
  file_size: size(0).optional(),
  tmpfs: size(4096).optional(),
  tmpfs_inodes: z.int().min(16).optional(),
  open_files: z.int().min(16).optional(),
});

const POLICIES = ['never', 'always', 'on-failure'] as const;
const restart = z.union(
  [
    z.enum(POLICIES),
    z.strictObject({
      policy: z.enum(POLICIES),
      max: z.int().min(0).optional(),
      within: duration().optional(),
      backoff: duration().optional(),
      backoff_max: duration().optional(),
      stable: duration().optional(),
      min_uptime: duration().optional(),
    }),
  ],
  { error: 'expected never, always, on-failure, or an object with `policy`' },
);

const ready = z.union(
  [
    z.enum(['start', 'notify', 'health']),
    z.strictObject({
      on: z.enum(['start', 'notify', 'name', 'health']),
      name: z.string().optional(),
      timeout: duration(1).optional(),
    }),
  ],
  { error: 'expected start, notify, health, or an object with `on`' },
);

const health = z.strictObject({
  check: z.enum(['exec', 'heartbeat', 'ping']),
  command: z.array(z.string()).min(1).optional(),
  interval: duration(10).optional(),
  timeout: duration(1).optional(),
  failures: z.int().min(1).optional(),
  start: duration().optional(),
  action: z.enum(['restart', 'report']).optional(),
});

const count = z.int().min(0);
const quotas = z.strictObject({
  messages: count.optional(),
  state_bytes: size(0).optional(),
  llm_calls: count.optional(),
  llm_tokens: count.optional(),
  agents: count.optional(),
  syscalls_per_second: count.optional(),
});

const value = z.union([z.string(), z.number(), z.boolean()]).transform(String);

/** What `defaults` can say for all agents. */
const common = {
  language: z.enum(Object.keys(LANGUAGES) as [keyof typeof LANGUAGES]).optional(),
  env: z.record(z.string(), value).optional(),
  /** Variables of whoever runs `clove up`, by name. */
  env_from: z.array(z.string()).optional(),
  limits: limits.optional(),
  permissions: spawnRequest.shape.permissions.optional(),
  quotas: quotas.optional(),
  network: z.enum(['none', 'host']).optional(),
  isolation: isolationSchema.optional(),
  restart: restart.optional(),
  health: health.optional(),
  ready: ready.optional(),
  stop_grace: duration().optional(),
  timeout: duration(1).optional(),
  log: size(0).optional(),
};

export const agentSchema = z.strictObject({
  script: z.string().min(1).optional(),
  command: z.array(z.string()).min(1).optional(),
  interpreter: z.string().min(1).optional(),
  args: z.array(value).optional(),
  cwd: z.string().optional(),
  stdin: z.string().optional(),
  mounts: z
    .array(
      z.strictObject({
        source: z.string().min(1),
        target: z.string().startsWith('/', 'expected an absolute path'),
        readonly: z.boolean().optional(),
      }),
    )
    .optional(),
  depends_on: z.array(name).optional(),
  group: name.optional(),
  replicas: z.int().min(0).max(1000).optional(),
  ...common,
});

export const groupSchema = z.strictObject({
  strategy: z.enum(STRATEGIES).default(DEFAULT_GROUP.strategy),
  parent: name.optional(),
  max_restarts: z.int().min(0).default(DEFAULT_GROUP.maxRestarts),
  within: duration().default(DEFAULT_GROUP.windowMs),
  backoff: duration().default(DEFAULT_GROUP.backoffBaseMs),
  backoff_max: duration().default(DEFAULT_GROUP.backoffCapMs),
});

export const llmSchema = z.strictObject({
  provider: z.enum(LLM_PROVIDERS).optional(),
  url: z.string().optional(),
  model: z.string().optional(),
  key_env: z.string().optional(),
  concurrency: z.int().min(1).max(256).optional(),
});

export const fleetSchema = z.strictObject({
  fleet: name,
  llm: llmSchema.optional(),
  defaults: z.strictObject(common).optional(),
  groups: z.record(name, groupSchema.nullable()).optional(),
  agents: z.record(name, agentSchema),
});

export type FleetFile = z.output<typeof fleetSchema>;
export type AgentEntry = z.output<typeof agentSchema>;
export type GroupEntry = z.output<typeof groupSchema>;

type Shape = Readonly<Record<string, unknown>>;
const keys = (schema: { readonly shape: Shape }) => Object.keys(schema.shape);

/** The keys that can stand at a path. */
export function keysAt(path: readonly (string | number)[]): string[] {
  const [first, second, third] = path;
  if (first === undefined) return keys(fleetSchema);
  if (first === 'llm') return keys(llmSchema);
  if (first === 'groups') return second === undefined ? [] : keys(groupSchema);
  const part = first === 'defaults' ? second : third;
  if (part === undefined) {
    if (first === 'defaults') return Object.keys(common);
    return second === undefined ? [] : keys(agentSchema);
  }
  switch (part) {
    case 'limits':
      return keys(limits);
    case 'quotas':
      return keys(quotas);
    case 'health':
      return keys(health);
    case 'isolation':
      return keys(isolationSchema);
    case 'ready':
      return ['on', 'name', 'timeout'];
    case 'restart':
      return ['policy', 'max', 'within', 'backoff', 'backoff_max', 'stable', 'min_uptime'];
    default:
      return [];
  }
}
