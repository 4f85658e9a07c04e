import { createHash, type Hash } from 'node:crypto';
import type { BlockStore } from '../filesystem/blocks.ts';
import type { TreeEntry } from '../filesystem/types.ts';
import type { World } from '../world.ts';
import { Journal, type JournalEvent } from './journal.ts';

const KEPT_OUTPUT_BYTES = 4 * 2 ** 20;

export interface OutputEvidence {
  readonly sha256: string;
  readonly bytes: number;
  /** Its beginning. */
  readonly kept: Buffer;
}

/** What one run of a world leaves to be compared. Contents of files are held in the block store it was made with. */
export interface RunEvidence {
  readonly events: readonly JournalEvent[];
  readonly stdout: OutputEvidence;
  readonly stderr: OutputEvidence;
  /** `0`, `SIGKILL`, `timeout` … */
  readonly ended: string;
  readonly files: readonly TreeEntry[];
  /** JSON per place: `state.cart`, `luck.corrupt`, `network.services.db.users[0].name` … */
  readonly state: ReadonlyMap<string, string>;
}

/** Watches one run. `exact`: times are the world's alone, and compared. */
export class RunWatch {
  readonly journal: Journal;
  readonly #exact: boolean;
  readonly #blocks: BlockStore;
  readonly #output = { stdout: new Output(), stderr: new Output() };
  #files: readonly TreeEntry[] = [];
  #state: ReadonlyMap<string, string> = new Map();
  #ended = '';

  constructor(exact: boolean, blocks: BlockStore) {
    this.#exact = exact;
    this.#blocks = blocks;
    this.journal = new Journal(exact);
  }

  output(stream: 'stdout' | 'stderr', chunk: Uint8Array): void {
    this.#output[stream].add(chunk);
  }

  exited(how: string): void {
    this.#ended = how;
  }

  /** The command has ended, and the world is as it left it. */
  take(world: World): void {
    this.journal.stop();
    this.#files = world.parts.files?.entries() ?? [];
    for (const { hash } of this.#files) if (hash !== undefined) this.#blocks.hold(hash);
    this.#state = stateOf(world, this.#exact);
  }

  get evidence(): RunEvidence {
    return {
      events: this.journal.events,
      stdout: this.#output.stdout.evidence,
      stderr: this.#output.stderr.evidence,
      ended: this.#ended,
      files: this.#files,
      state: this.#state,
    };
  }
}

class Output {
  readonly #hash: Hash = createHash('sha256');
  readonly #kept: Buffer[] = [];
  #bytes = 0;

  add(chunk: Uint8Array): void {
    this.#hash.update(chunk);
    const room = KEPT_OUTPUT_BYTES - this.#bytes;
    this.#bytes += chunk.length;
    if (room > 0) this.#kept.push(Buffer.from(chunk.subarray(0, room)));
  }

  get evidence(): OutputEvidence {
    return { sha256: this.#hash.copy().digest('hex'), bytes: this.#bytes, kept: Buffer.concat(this.#kept) };
  }
}

/** Keys of our own records that hold times; where time is not exact they are left out. */
const TIMES = new Set(['since', 'sinceMs', 'untilMs', 'dueMs', 'baseMs', 'record']);

function stateOf(world: World, exact: boolean): ReadonlyMap<string, string> {
  const { network, luck, clock } = world.parts;
  const chaos = world.chaos.snapshot();
  const untimed = <Value extends object>(value: Value) =>
    exact ? value : Object.fromEntries(Object.entries(value).filter(([key]) => !TIMES.has(key)));
  const parts: Record<string, unknown> = {
    state: Object.fromEntries(
      (world.hasState ? world.state.globalEntries() : []).map(({ key, text }) => [key, JSON.parse(text)]),
    ),
    luck: luck.snapshot(),
    chaos: {
      ...chaos,
      active: chaos.active.map(untimed),
      ...(exact ? {} : { rules: chaos.rules.map((dueMs) => dueMs !== null) }),
    },
    schedule: Object.fromEntries(world.schedule.snapshot().map(({ name, ...rest }) => [name, untimed(rest)])),
  };
  if (network !== null) {
    const { faults, ...rest } = network.snapshot();
    parts.network = { ...rest, faults: faults.map(untimed) };
  }
  if (exact) parts.clock = clock.snapshot();
  const places = new Map<string, string>();
  // Through JSON: what is compared is what a snapshot would keep.
  for (const [name, value] of Object.entries(parts))
    flatten(name, JSON.parse(JSON.stringify(value ?? null)), places);
  return places;
}

function flatten(at: string, value: unknown, into: Map<string, string>): void {
  if (typeof value !== 'object' || value === null) {
    into.set(at, JSON.stringify(value));
    return;
  }
  const isList = Array.isArray(value);
  const entries = Object.entries(value);
  if (entries.length === 0) into.set(at, isList ? '[]' : '{}');
  for (const [key, one] of entries) flatten(isList ? `${at}[${key}]` : `${at}.${key}`, one, into);
}
