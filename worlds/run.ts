import { existsSync } from 'node:fs';
import path from 'node:path';
import { CloveError } from '../errors/index.ts';
import type { ForegroundPlace, ForegroundWorld } from '../kernel/foreground.ts';
import { type Caller, FIRST_CLIENT_ID } from '../kernel/identity.ts';
import type { FileChange } from '../kernel/worlds/host.ts';
import type { Sandbox } from '../native/types.ts';
import { CATALOG_NAMES } from './catalog/index.ts';
import { BlockStore } from './filesystem/blocks.ts';
import { compareTrees, type TreesToCompare } from './filesystem/changes.ts';
import { type Committed, commitTree } from './filesystem/commit.ts';
import { createMountedWorld } from './mounted-world.ts';
import type { Har } from './network/har.ts';
import type { NetworkLogEntry } from './network/types.ts';
import type { WorldOutside } from './parts.ts';
import { type ResolvedDefinition, resolveConfig, resolveFile } from './resolve.ts';
import { upstreamOf } from './upstream.ts';
import type { RunWatch } from './verify/index.ts';
import type { World } from './world.ts';

const WORLD_BYTES = 2 * 2 ** 30;

/** What is known of a world when the command in it has ended. */
export interface WorldRunRecord {
  readonly name: string;
  readonly seed: number;
  /** What of the definition had no effect, and why. */
  readonly warnings: readonly string[];
  /** Virtual ms that passed in the world while the command ran. */
  readonly worldMs: number;
  readonly createMs: number;
  readonly changes: readonly FileChange[];
  readonly log: readonly NetworkLogEntry[];
  readonly har: Har;
  readonly logDropped: number;
  /** What was written to and removed from the folder of `commitTo`. */
  readonly committed: Committed | null;
}

export interface WorldRunOptions {
  /** Of the definition, unless given. */
  readonly seed: number | null;
  /** Whether hosts that the definition allows may be asked for real. */
  readonly upstream: boolean;
  /** Whether to compare the files afterwards. */
  readonly wantsChanges: boolean;
  /** Folder of the host that is brought to what has become of the tree; null = the changes are discarded. */
  readonly commitTo: string | null;
  /** Keeps what happens, to be compared with another run; its block store must hold the files of both. */
  readonly watch?: { readonly run: RunWatch; readonly blocks: BlockStore } | null;
}

/** A file, a folder with a `world.yaml`, or a world of the catalogue. @throws CONFIG, DATA_MISSING, NOT_FOUND */
export async function findWorld(named: string): Promise<ResolvedDefinition & { readonly name: string }> {
  const files = [named, path.join(named, 'world.yaml'), path.join(named, 'world.ts')];
  const file = files.find((one) => /\.(ya?ml|ts|js|mjs|json)$/.test(one) && existsSync(one));
  if (file !== undefined) {
    const resolved = await resolveFile(path.resolve(file), {});
    return { ...resolved, name: resolved.definition.name ?? path.basename(path.dirname(path.resolve(file))) };
  }
  if ((CATALOG_NAMES as readonly string[]).includes(named))
    return { ...(await resolveConfig({}, named)), name: named };
  throw new CloveError('NOT_FOUND', `no world is called ${named}`, {
    hint: `Give a file, or one of the catalogue: ${CATALOG_NAMES.join(', ')}.`,
  });
}

/** A fresh world for one command in the foreground. `onEnded` is told once, before the world goes. */
export async function worldForCommand(
  resolved: ResolvedDefinition & { readonly name: string },
  { seed, upstream, wantsChanges, commitTo, watch = null }: WorldRunOptions,
  { kernel, folder }: ForegroundPlace,
  onEnded: (record: WorldRunRecord) => void,
): Promise<ForegroundWorld> {
  const started = performance.now();
  const running: { sandbox: Sandbox | null } = { sandbox: null };
  const mounted = await createMountedWorld({
    id: 'run',
    name: resolved.name,
    ownerId: 0,
    seed: seed ?? resolved.definition.seed,
    definition: resolved.definition,
    origin: resolved.origin,
    folder: resolved.folder,
    blocks: watch?.blocks ?? new BlockStore(WORLD_BYTES),
    outside: outsideOfCommand(running, watch?.run ?? null),
    upstream: upstream
      ? upstreamOf(
          () => kernel,
          () => whoRunsIt(),
        )
      : null,
    hostFolder: path.join(folder, 'world'),
    pidOf: () => running.sandbox?.pid ?? null,
  });
  watch?.run.journal.follow(mounted.world);
  const createMs = performance.now() - started;
  const begunMs = mounted.world.parts.clock.monotonicMs();
  return {
    attachment: mounted.attach({ id: 0, name: 'run' }),
    started: (sandbox) => {
      running.sandbox = sandbox;
      mounted.world.add({ id: 0, name: 'run' }, false);
    },
    async ended() {
      watch?.run.take(mounted.world);
      onEnded(
        recordOf(mounted.world, {
          warnings: [...resolved.warnings, ...mounted.warnings],
          createMs,
          begunMs,
          wantsChanges,
          commitTo,
        }),
      );
    },
    close: () => mounted.close(),
  };
}

/** What is told of a world when the command in it has ended, before it goes. */
export function recordOf(
  world: World,
  {
    warnings,
    createMs,
    begunMs,
    wantsChanges,
    commitTo,
  }: Pick<WorldRunRecord, 'warnings' | 'createMs'> &
    Pick<WorldRunOptions, 'wantsChanges' | 'commitTo'> & { readonly begunMs: number },
): WorldRunRecord {
  const { clock, network, files, seed } = world.parts;
  const trees: TreesToCompare | null =
    files === null
      ? null
      : { before: files.baseEntries(), after: files.entries(), content: (hash) => files.content(hash) };
  return {
    name: world.name,
    seed,
    warnings: [
      ...warnings,
      ...clock.status().degradations.map(({ name, detail }) => `clock: ${name}: ${detail}`),
    ],
    worldMs: clock.monotonicMs() - begunMs,
    createMs,
    changes: trees === null || !wantsChanges ? [] : compareTrees(trees),
    committed: trees === null || commitTo === null ? null : commitTree(trees, commitTo),
    log: network?.log.entries() ?? [],
    har: network?.log.toHar() ?? {
      log: { version: '1.2', creator: { name: 'clove', version: '' }, entries: [] },
    },
    logDropped: network?.log.dropped ?? 0,
  };
}

/** Who runs a command in the foreground may reach what this machine can. */
function whoRunsIt(): Caller {
  const uid = process.geteuid?.() ?? -1;
  const gid = process.getegid?.() ?? -1;
  return {
    id: FIRST_CLIENT_ID,
    kind: 'operator',
    connection: FIRST_CLIENT_ID,
    peer: { pid: process.pid, uid, gid },
  };
}

/** The command is the only member: it can be killed and held, and nobody is there to send it anything. */
function outsideOfCommand(
  running: { readonly sandbox: Sandbox | null },
  watch: RunWatch | null,
): WorldOutside {
  return {
    members: {
      list: () => (running.sandbox === null ? [] : [{ id: 0, name: 'run', isAgent: true }]),
      crash: () => running.sandbox?.kill('killed'),
      pause: async () => running.sandbox?.freeze(),
      resume: async () => running.sandbox?.thaw(),
    },
    send: () => undefined,
    emit: () => undefined,
    changed: (what) => watch?.journal.changed(what),
  };
}
