import { z } from 'zod';
import { CloveError } from '../../errors/index.ts';
import { type AgentPast, bytesOf, MAX_PAST_BYTES } from '../../kernel/recording/past.ts';
import { EVENT_KIND_NAMES, parseEvent } from '../chaos/kinds.ts';
import { CLOCK_MODES } from '../clock/types.ts';
import { checkedPath } from '../filesystem/paths.ts';
import type { TreeEntry } from '../filesystem/types.ts';
import type { WorldImage } from '../image.ts';
import type { Origin } from '../origin.ts';

/** What a snapshot says, once its text is believed: a snapshot may come from anybody. */

export const SNAPSHOT_FORMAT = 'clove-world';
export const SNAPSHOT_VERSION = 1;
const MAX_ENTRIES = 200_000;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hex digits');
const time = z.number().min(-8.64e15).max(8.64e15);
/** ms since a world's start. */
const monotonic = z
  .number()
  .min(0)
  .max(500 * 366 * 86_400_000);
const count = z.int().min(0).max(Number.MAX_SAFE_INTEGER);
const counts = z.record(z.string().max(1024), count);

const treeEntry = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('file'),
    path: z.string(),
    mode: z.int().min(0).max(0o777),
    mtimeMs: time,
    hash: sha256,
    size: z
      .int()
      .min(0)
      .max(2 ** 31),
  }),
  z.strictObject({
    kind: z.literal('folder'),
    path: z.string(),
    mode: z.int().min(0).max(0o777),
    mtimeMs: time,
  }),
  z.strictObject({
    kind: z.literal('link'),
    path: z.string(),
    mode: z.int().min(0).max(0o777),
    mtimeMs: time,
    target: z.string().min(1).max(4096),
  }),
]);
const tree = z.array(treeEntry).max(MAX_ENTRIES);

const fileFault = z.union([
  z.strictObject({ kind: z.enum(['full', 'readonly']), path: z.string().max(1024).optional() }),
  z.strictObject({
    kind: z.enum(['read_failure', 'write_failure', 'corrupt_reads']),
    path: z.string().max(1024).optional(),
    probability: z.number().min(0).max(1).optional(),
  }),
  z.strictObject({
    kind: z.literal('slow'),
    path: z.string().max(1024).optional(),
    ms: z.number().min(0),
    jitterMs: z.number().min(0).optional(),
  }),
]);

/** Sums of both are still dates. */
const LATEST_START_MS = Date.UTC(2262, 0, 1);
const past = z.strictObject({
  seed: z.string().max(256).nullable(),
  calls: z
    .array(
      z.strictObject({
        opcode: z.int().min(0).max(255),
        request: z.string().max(MAX_PAST_BYTES),
        answer: z.string().max(MAX_PAST_BYTES).nullable(),
        success: z.boolean(),
        delivered: z.boolean(),
        begun: count,
        ended: count,
        at: z.iso.datetime(),
        duration_us: count,
        until_ms: monotonic.nullable(),
      }),
    )
    .max(100_000),
});

const image = z.strictObject({
  clock: z.strictObject({
    mode: z.enum(CLOCK_MODES),
    startEpochMs: z.number().min(0).max(LATEST_START_MS),
    monotonicMs: monotonic,
  }),
  luck: counts,
  files: z
    .strictObject({
      base: tree,
      entries: tree,
      faults: z.array(z.strictObject({ handle: z.string().max(64), spec: fileFault })).max(10_000),
    })
    .nullable(),
  // The network checks its own state against its definition.
  network: z.looseObject({ version: z.int() }).nullable(),
  state: z
    .array(
      z.strictObject({
        key: z.string().min(1).max(1024),
        text: z.string().max(2 ** 20),
        ttlMs: z.number().min(0).nullable(),
      }),
    )
    .max(100_000),
  chaos: z.strictObject({
    last: count,
    injected: count,
    failures: count,
    delays: count,
    active: z
      .array(
        z.strictObject({
          id: z.string().max(64),
          kind: z.enum(EVENT_KIND_NAMES),
          params: z.record(z.string(), z.unknown()),
          source: z.string().max(256),
          sinceMs: z.number(),
          untilMs: z.number().nullable(),
          record: z.strictObject({
            files: z.array(z.string().max(64)).max(1000),
            network: z.array(z.string().max(64)).max(1000),
            paused: z.array(z.int()).max(10_000),
          }),
        }),
      )
      .max(1000),
    rules: z.array(z.number().nullable()).max(1000),
  }),
  schedule: z
    .array(
      z.strictObject({
        name: z.string().max(256),
        count,
        dueMs: monotonic.nullable(),
        baseMs: monotonic.nullable(),
        held: z.boolean(),
      }),
    )
    .max(20_000),
  mail: z.record(
    z.string().max(256),
    z.array(z.strictObject({ fromName: z.string().max(256), text: z.string().max(2 ** 20) })).max(10_000),
  ),
  // Snapshots of before there were any have none.
  agents: z
    .array(
      z.strictObject({
        name: z.string().max(256),
        request: z.record(z.string(), z.unknown()).nullable(),
        withheld: z.array(z.string().max(256)).max(10_000),
        checkpoint: z
          .strictObject({ text: z.string().max(2 ** 20), atMs: monotonic, isAsked: z.boolean() })
          .nullable(),
        // Snapshots of before there was one have none.
        past: past.nullable().default(null),
        reason: z.string().max(1024).nullable(),
      }),
    )
    .max(10_000)
    .default([]),
});

const object = z.record(z.string(), z.unknown());
const origin = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('inline'), definition: object }),
  z.strictObject({ kind: z.literal('template'), template: z.string().max(128), overlay: object }),
  z.strictObject({ kind: z.literal('file'), path: z.string().max(4096), overlay: object }),
]);

const body = z.strictObject({
  format: z.literal(SNAPSHOT_FORMAT),
  version: z.literal(SNAPSHOT_VERSION),
  /** Of the world that was. */
  world_id: z.string().max(256),
  name: z.string().max(256),
  seed: z
    .int()
    .min(0)
    .max(2 ** 32 - 1),
  /** Real time, ISO 8601. */
  taken_at: z.string().max(40),
  origin,
  image,
});

export interface SnapshotBody {
  readonly format: typeof SNAPSHOT_FORMAT;
  readonly version: typeof SNAPSHOT_VERSION;
  readonly world_id: string;
  readonly name: string;
  readonly seed: number;
  readonly taken_at: string;
  readonly origin: Origin;
  readonly image: WorldImage;
}

/** A body as it may be used: every path within the root, no two that are one, nothing below a link. @throws DATA_CORRUPT */
export function checkedBody(value: unknown): SnapshotBody {
  const parsed = body.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const at = issue?.path.map(String).join('.') ?? '';
    throw corrupt(`${at}: ${issue?.message ?? 'of another form'}`);
  }
  const checked = parsed.data as unknown as SnapshotBody;
  for (const entries of [checked.image.files?.base ?? [], checked.image.files?.entries ?? []])
    checkTree(entries);
  for (const { text } of checked.image.state) assertJson(text, 'a value of the state');
  for (const messages of Object.values(checked.image.mail)) {
    for (const { text } of messages) assertJson(text, 'a message');
  }
  for (const { checkpoint } of checked.image.agents)
    if (checkpoint !== null) assertJson(checkpoint.text, 'a checkpoint');
  checkPasts(checked.image.agents.flatMap(({ past }) => past ?? []));
  // As they would be injected: with defaults, and under the names that are read.
  const active = checked.image.chaos.active.map((event) => {
    try {
      return { ...event, params: parseEvent(event.kind, event.params).params };
    } catch (error) {
      throw corrupt((error as Error).message);
    }
  }) as typeof checked.image.chaos.active;
  return { ...checked, image: { ...checked.image, chaos: { ...checked.image.chaos, active } } };
}

/** Answers go to an agent as they stand. Requests are only compared with what it asks, and it may have asked nonsense. */
function checkPasts(pasts: readonly AgentPast[]): void {
  let bytes = 0;
  for (const { calls } of pasts) {
    let last = -1;
    for (const call of calls) {
      bytes += bytesOf(call);
      if (call.begun <= last || call.ended < call.begun)
        throw corrupt('calls of a past are not in their order');
      last = call.begun;
      if (call.answer !== null) assertJson(call.answer, 'an answer of a past');
    }
  }
  if (bytes > MAX_PAST_BYTES) throw corrupt(`pasts of more than ${MAX_PAST_BYTES} bytes`);
}

function checkTree(entries: readonly TreeEntry[]): void {
  const seen = new Set<string>();
  const links = new Set<string>();
  const files = new Set<string>();
  for (const { path, kind } of entries) {
    let at: string;
    try {
      at = checkedPath(path);
    } catch (error) {
      throw corrupt((error as Error).message);
    }
    // What normalising would change was not written by a snapshot: `..`, a relative path, a slash too many.
    if (at !== path || at === '/')
      throw corrupt(`path ${JSON.stringify(path.slice(0, 200))} is not one of a tree`);
    const folded = path.normalize('NFC');
    if (seen.has(folded)) throw corrupt(`two entries are called ${JSON.stringify(path.slice(0, 200))}`);
    seen.add(folded);
    if (kind === 'link') links.add(path);
    if (kind === 'file') files.add(path);
  }
  for (const { path } of entries) {
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      const above = path.slice(0, end);
      if (links.has(above) || files.has(above)) {
        throw corrupt(`${JSON.stringify(path.slice(0, 200))} lies below what is no folder`);
      }
    }
  }
}

function assertJson(text: string, what: string): void {
  try {
    JSON.parse(text);
  } catch {
    throw corrupt(`${what} is not JSON`);
  }
}

export function corrupt(reason: string): CloveError {
  return new CloveError('DATA_CORRUPT', `not a snapshot of a world: ${reason}`);
}
