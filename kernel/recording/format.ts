import { createHash } from 'node:crypto';
import { z } from 'zod';

export const FORMAT = 'clove-recording';
export const FORMAT_VERSION = 1;

const hex64 = z.string().regex(/^[0-9a-f]{64}$/);
const seq = z.int().min(0);

const header = z.strictObject({
  type: z.literal('header'),
  seq: z.literal(0),
  format: z.literal(FORMAT),
  version: z.literal(FORMAT_VERSION),
  kernel_version: z.string(),
  node_version: z.string(),
  started_at: z.string(),
  filter_agents: z.array(z.int()),
  filter_names: z.array(z.string()),
  /** Names besides the usual ones whose values were taken out. */
  redact_names: z.array(z.string()),
  max_entries: z.int(),
  max_bytes: z.int(),
});

/** One start of an agent: what is needed to start it again. */
const processFacts = z.strictObject({
  type: z.literal('process'),
  seq,
  agent: z.int(),
  incarnation: z.int(),
  name: z.string(),
  parent: z.int(),
  /** The recording saw it start; else calls before the recording are missing, and it cannot be replayed. */
  from_start: z.boolean(),
  at: z.string(),
  /** As given to SPAWN, secrets taken out; null = not known any more. */
  request: z.unknown(),
  argv: z.array(z.string()),
  cwd: z.string(),
  env_names: z.array(z.string()),
  /** CLOVE_SEED of the agent. */
  seed: z.string().nullable(),
  script: z
    .strictObject({ path: z.string(), sha256: hex64.nullable(), bytes: z.int().nullable() })
    .nullable(),
  redactions: z.int(),
});

const call = z.strictObject({
  type: z.literal('call'),
  seq,
  /** Who called: the id of an agent, or of an operator's connection. */
  agent: z.int(),
  /** Of an agent: how often this kernel had started it before. */
  incarnation: z.int(),
  caller: z.enum(['agent', 'operator', 'remote']),
  opcode: z.int(),
  syscall: z.string(),
  replay: z.enum(['deterministic', 'recorded']),
  /** Of the request, as far as it is the same in a replay. */
  key: hex64,
  /** How often this caller made the same call before, in this incarnation. */
  occurrence: z.int(),
  request: z.string(),
  /** null = there was none: the caller, or the recording, ended first. */
  answer: z.string().nullable(),
  /** The answer was too much to keep, and this was it. Never of an agent's call. */
  answer_digest: z.strictObject({ sha256: hex64, bytes: z.int() }).optional(),
  success: z.boolean(),
  /** Somebody was there to get the answer. */
  delivered: z.boolean(),
  /** Order of all comings and answers of the recording. */
  begun: z.int(),
  ended: z.int(),
  at: z.string(),
  duration_us: z.int(),
  /** Place in the view for existing clients, from 1; 0 = not part of it. */
  view: z.int(),
  redactions: z.int(),
});

const exit = z.strictObject({
  type: z.literal('exit'),
  seq,
  agent: z.int(),
  incarnation: z.int(),
  at: z.string(),
  reason: z.string(),
  exit_code: z.int().nullable(),
  signal: z.string().nullable(),
  /** What it wrote to stdout, secrets taken out; null = more than was kept. */
  stdout: z.string().nullable(),
});

const gap = z.strictObject({
  type: z.literal('gap'),
  seq,
  at: z.string(),
  reason: z.enum(['queue_full', 'max_entries', 'max_bytes', 'write_failed']),
  /** Calls that came and are not here. */
  lost: z.int(),
  /** Whose; null = not known, it may be anybody's. */
  agents: z.array(z.int()).nullable(),
});

const footer = z.strictObject({
  type: z.literal('footer'),
  seq,
  ended_at: z.string(),
  entries: z.int(),
  calls: z.int(),
  lost: z.int(),
});

export const entry = z.discriminatedUnion('type', [header, processFacts, call, exit, gap, footer]);

export type Entry = z.output<typeof entry>;
export type HeaderEntry = z.output<typeof header>;
export type ProcessEntry = z.output<typeof processFacts>;
export type CallEntry = z.output<typeof call>;
export type ExitEntry = z.output<typeof exit>;
export type GapEntry = z.output<typeof gap>;
export type FooterEntry = z.output<typeof footer>;

/** What the first link of the chain follows. */
export const CHAIN_START = '0'.repeat(64);

const SEAL = /,"hash":"([0-9a-f]{64})"\}$/;
const SEAL_BYTES = ',"hash":"'.length + 64 + '"}'.length;

/** Every line carries the hash of itself and of the line before it, and so of all before it. */
export function linkHash(previous: string, body: Uint8Array | string): string {
  return createHash('sha256').update(previous).update('\n').update(body).digest('hex');
}

/** One line without its end. `body` is a JSON object. */
export function sealLine(previous: string, body: string): { readonly line: string; readonly hash: string } {
  const hash = linkHash(previous, body);
  return { line: `${body.slice(0, -1)},"hash":"${hash}"}`, hash };
}

/** The hash a line claims, and the bytes it was made of; null = no such line. */
export function openLine(line: Buffer): { readonly body: Buffer; readonly hash: string } | null {
  if (line.length <= SEAL_BYTES) return null;
  const seal = SEAL.exec(line.toString('latin1', line.length - SEAL_BYTES));
  if (seal === null) return null;
  const body = Buffer.concat([line.subarray(0, -SEAL_BYTES), Buffer.from('}')]);
  return { body, hash: seal[1] as string };
}
