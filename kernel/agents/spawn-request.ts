import { z } from 'zod';
import { LAYERS } from '../../native/types.ts';
import { LEVELS } from '../permissions/grants.ts';
import { policyRequest } from '../permissions/policy.ts';
import { supervisionFields } from '../supervision/plan.ts';
import { RESTART_POLICIES, type RestartPolicy } from './restart-policy.ts';
import { templateRequest } from './template-plan.ts';

const MIB = 2 ** 20;
/** Longest time a timer of Node can be set to. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
const MAX_STDIN_BYTES = MIB;

const text = (maxLength: number) =>
  z
    .string()
    .max(maxLength)
    .refine((value) => !value.includes('\0') && value.isWellFormed(), 'NUL or malformed text');
const absolutePath = text(4095).refine((value) => value.startsWith('/'), 'must be an absolute path');

/** Existing clients send null for what they leave out. */
const bytes = (min: number) =>
  z
    .int()
    .min(min)
    .max(2 ** 50)
    .nullish();

/** Names of agents: harmless in a log line, a host name and a file name, though never used for a path. */
export const agentName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
    'must be 1 to 64 of A-Z a-z 0-9 . _ - and start with a letter or digit',
  );

export const limitsSchema = z.strictObject({
  memory: bytes(MIB).describe('bytes; default 256 MiB'),
  memory_mb: z
    .number()
    .min(1)
    .max(2 ** 30)
    .nullish()
    .describe('MiB; memory wins'),
  swap: bytes(0).describe('bytes on top of memory; default 0'),
  max_pids: z.int().min(2).max(4_194_304).nullish(),
  cpu_quota: z
    .int()
    .min(1000)
    .max(2 ** 40)
    .nullish()
    .describe('µs per period; default 100 000'),
  cpu_period: z.int().min(1000).max(1_000_000).nullish().describe('µs; default 100 000'),
  cpu_shares: z.int().min(2).max(262_144).nullish(),
  cpu_percent: z.number().positive().max(1e6).nullish().describe('of one core; cpu_quota wins'),
  cpu: z.number().positive().max(1e4).nullish().describe('cores; cpu_quota and cpu_percent win'),
  cpus: z
    .string()
    .regex(/^\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*$/)
    .max(256)
    .nullish()
    .describe('which cores, such as "0-1,3"'),
  file_size: bytes(0).describe('bytes of one file; default 1 GiB'),
  tmpfs: bytes(4096).describe('bytes of each of /work, /tmp, /run, /dev/shm; default 64 MiB'),
  tmpfs_inodes: z
    .int()
    .min(16)
    .max(2 ** 31)
    .nullish(),
  open_files: z.int().min(16).max(1_048_576).nullish(),
});

export const isolationSchema = z.strictObject({
  profile: z.enum(['strict', 'default', 'debug']).nullish(),
  require: z
    .array(z.enum(LAYERS))
    .max(64)
    .nullish()
    .describe('default: all that the profile and limits name'),
  allow_degraded: z.array(z.enum(LAYERS)).max(64).nullish().describe('layers that may be missing'),
  disable: z.array(z.enum(LAYERS)).max(64).nullish().describe('layers to leave out'),
});

const mountSchema = z.strictObject({
  source: absolutePath,
  target: absolutePath,
  readonly: z.boolean().nullish().describe('default true'),
});

const restartPolicy = z
  .enum([...RESTART_POLICIES, 'on_failure'])
  .transform((policy): RestartPolicy => (policy === 'on_failure' ? 'on-failure' : policy));

const environment = z
  .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,255}$/, 'not the name of a variable'), text(131_072))
  .refine(
    (variables) =>
      Object.entries(variables).reduce((sum, [key, value]) => sum + key.length + value.length, 0) <= MIB,
    'more than 1 MiB',
  );

/** What may be asked of a new agent; an agent that asks is held to what it has itself. Unknown keys are errors: a misspelt limit must not be no limit. */
export const spawnRequest = z.strictObject({
  name: agentName.nullish().describe('default agent_<id>'),
  script: text(4095).nullish().describe('path on the host; it and its folder can be read inside'),
  command: z.array(text(131_072)).min(1).max(4096).nullish().describe('argv, in place of script'),
  python: text(4095).min(1).nullish().describe('interpreter; default by the extension of the script'),
  args: z.array(text(131_072)).max(4096).nullish(),
  env: environment.nullish(),
  cwd: absolutePath.nullish().describe('inside; default /work'),
  stdin: z
    .string()
    .refine((value) => Buffer.byteLength(value) <= MAX_STDIN_BYTES, 'more than 1 MiB')
    .nullish(),
  sandboxed: z.boolean().nullish(),
  network: z.boolean().nullish().describe("true = the host's network"),
  mounts: z.array(mountSchema).max(48).nullish(),
  limits: limitsSchema.nullish(),
  isolation: isolationSchema.nullish(),
  permissions: z
    .union([z.enum(LEVELS), policyRequest])
    .nullish()
    .describe('a level, or an object as of SET_PERMS; default `default`: all inside its own sandbox'),
  timeout_ms: z.int().min(1).max(MAX_TIMEOUT_MS).nullish(),
  log_bytes: z
    .int()
    .min(0)
    .max(16 * MIB)
    .nullish()
    .describe('kept of each of stdout and stderr; default 64 KiB'),
  restart_policy: restartPolicy.nullish(),
  max_restarts: z.int().min(0).max(1_000_000).nullish(),
  restart_window: z.number().min(0).max(1e7).nullish().describe('seconds'),
  restart_backoff_ms: z.int().min(0).max(MAX_TIMEOUT_MS).nullish(),
  restart_backoff_max_ms: z.int().min(0).max(MAX_TIMEOUT_MS).nullish(),
  restart_stable_ms: z.int().min(0).max(MAX_TIMEOUT_MS).nullish(),
  restart_min_uptime_ms: z
    .int()
    .min(0)
    .max(MAX_TIMEOUT_MS)
    .nullish()
    .describe('an end before that is a failure, with whatever status; default 1000 for `always`, else 0'),
  ...supervisionFields,
  template: templateRequest
    .nullish()
    .describe('fork it from a process that has loaded these; operators only'),
  world: z
    .string()
    .min(1)
    .max(256)
    .nullish()
    .describe('Id of a world to start it in; default: that of the caller. It ends with this kernel then.'),
  persist: z
    .boolean()
    .nullish()
    .describe('start it again after a restart of the kernel; default: unless restart_policy is never'),
});

export type SpawnRequest = z.output<typeof spawnRequest>;
export type LimitsRequest = z.output<typeof limitsSchema>;
export type IsolationRequest = z.output<typeof isolationSchema>;
