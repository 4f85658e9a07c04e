/** Watches what the agents of one trial do: every call of the dispatcher, every request that reaches a world's network. */
import type { Caller } from '../../kernel/identity.ts';
import type { Kernel } from '../../kernel/index.ts';
import type { CallObserver, ObservedCall } from '../../kernel/telemetry/observer.ts';
import type { NetworkLogEntry } from '../../worlds/network/types.ts';
import type { World } from '../../worlds/world.ts';
import { addressOf, type CallText, hostOf, short, textOf } from './activity-call.ts';
import {
  ACTIVITY_KINDS,
  type ActivityEntry,
  type ActivityKind,
  type CallCount,
  type ChangedFile,
  type FileCount,
  type FleetActivity,
  type FleetWorld,
  type MessageCount,
  type RefusalCount,
  type RequestCount,
} from './activity-record.ts';
import { FirstAndLast, Rows } from './kept.ts';
import type { FleetEvent } from './types.ts';

/** Entries of all trials of a run together, about: its record and its report stay small. */
const RUN_ENTRIES = 200_000;
const MOST_ENTRIES = 4000;
const LEAST_ENTRIES = 100;
const MAX_ROWS = 400;
const MAX_CHANGED = 200;
const MAX_PARSED_CHARS = 65_536;
/** Of calls that have not ended: what begins in a flood beyond that is not recorded. */
const MAX_OPEN = 10_000;

const OPERATOR: Caller = {
  id: 0,
  kind: 'operator',
  connection: 0,
  peer: { pid: process.pid, uid: 0, gid: 0 },
};

type Writable<T> = { -readonly [K in keyof T]: T[K] };

interface Open extends Pick<ActivityEntry, 'atMs' | 'worldMs' | 'agent'> {
  readonly call: string;
  readonly payload: string;
  readonly kernel: Kernel;
  readonly world: World | null;
  text: CallText | null;
}

/** How many entries each of so many trials may keep. */
export function entriesPerTrial(trials: number): number {
  return Math.min(MOST_ENTRIES, Math.max(LEAST_ENTRIES, Math.floor(RUN_ENTRIES / Math.max(1, trials))));
}

const SHARE: Readonly<Partial<Record<ActivityKind, number>>> = { message: 1 / 2, network: 1 / 4 };
const SHARE_OF_OTHERS = 1 / 8;

export class ActivityRecorder implements CallObserver {
  readonly #nowMs: () => number;
  readonly #nameOfOperator: string;
  readonly #open = new Map<object, Open>();
  readonly #entries: ReadonlyMap<ActivityKind, FirstAndLast<ActivityEntry>>;
  readonly #calls = new Rows<Writable<CallCount>>(MAX_ROWS * 4);
  readonly #requests = new Rows<Writable<RequestCount>>(MAX_ROWS);
  readonly #files = new Rows<Writable<FileCount>>(MAX_ROWS);
  readonly #messages = new Rows<Writable<MessageCount>>(MAX_ROWS);
  readonly #worlds = new Map<World, () => void>();
  #changed: readonly ChangedFile[] = [];
  #changedLost = 0;

  constructor(options: {
    /** ms since the start of the attempt. */
    readonly nowMs: () => number;
    readonly nameOfOperator: string;
    readonly maxEntries: number;
  }) {
    this.#nowMs = options.nowMs;
    this.#nameOfOperator = options.nameOfOperator;
    this.#entries = new Map(
      ACTIVITY_KINDS.map((kind) => [
        kind,
        new FirstAndLast<ActivityEntry>(options.maxEntries * (SHARE[kind] ?? SHARE_OF_OTHERS)),
      ]),
    );
  }

  begin(key: object, { context, definition, opcode, isLater }: ObservedCall): void {
    // Accepted before as a call of its own.
    if (isLater || this.#open.size >= MAX_OPEN) return;
    const { kernel, caller } = context;
    const world = this.#worldOf(kernel, caller.id);
    this.#open.set(key, {
      atMs: this.#nowMs(),
      worldMs: world?.parts.clock.monotonicMs() ?? null,
      agent: kernel.agents.get(caller.id)?.name ?? this.#nameOfOperator,
      call: definition?.name ?? `0x${opcode.toString(16)}`,
      payload: payloadOf(key),
      kernel,
      world,
      text: null,
    });
  }

  admitted(key: object, input: unknown): void {
    const open = this.#open.get(key);
    if (open === undefined) return;
    open.text = textOf(open.call, input, open.payload.length);
  }

  ended(key: object, outcome: string, answer: unknown): void {
    const open = this.#open.get(key);
    if (open === undefined) return;
    this.#open.delete(key);
    const { agent, call, world } = open;
    const isRefused = outcome === 'FORBIDDEN';
    const row = this.#calls.at(`${agent}\n${call}`, () => ({ agent, call, count: 0, refused: 0, failed: 0 }));
    if (row !== null) {
      row.count += 1;
      if (isRefused) row.refused += 1;
      // Its caller went away while it waited.
      else if (outcome !== 'OK' && outcome !== 'CANCELLED') row.failed += 1;
    }
    const fields = (typeof answer === 'object' && answer !== null ? answer : {}) as Record<string, unknown>;
    if (call === 'SPAWN' && typeof fields.id === 'number') this.#worldOf(open.kernel, fields.id);
    const text = open.text ?? (isRefused ? textOf(call, parsed(open.payload), open.payload.length) : null);
    // What reached the network of a world is told by that network, with what answered.
    const isToldByWorld = text?.kind === 'network' && world?.parts.network != null && !isRefused;
    if (isToldByWorld || (text === null && !isRefused)) return;
    this.#add(this.#entryOf(open, text, outcome, fields));
  }

  /** What has become of the files of its worlds; before the kernel is closed. */
  async settle(kernel: Kernel): Promise<void> {
    for (const stop of this.#worlds.values()) stop();
    const changed: ChangedFile[] = [];
    for (const world of this.#worlds.keys()) {
      const all = await kernel.worlds?.diff(world.id, OPERATOR).catch(() => []);
      for (const { path, change, kind, bytes_after } of all ?? [])
        if (kind === 'file') changed.push({ path: short(path, 240), change, bytes: bytes_after });
    }
    changed.sort((a, b) => (a.path < b.path ? -1 : 1));
    this.#changed = changed.slice(0, MAX_CHANGED);
    this.#changedLost = changed.length - this.#changed.length;
  }

  /** `events` tell of refusals by which rule they were made. */
  record(events: readonly FleetEvent[]): FleetActivity {
    const refusals = refusalsOf(events);
    const all = [...this.#entries.values()].flatMap((kept) => kept.items());
    const [world] = this.#worlds.keys();
    return {
      worldStart: world === undefined ? null : isoOf(world.parts.clock.snapshot().startEpochMs),
      worlds: [...this.#worlds.keys()].map(worldTimeOf),
      entries: all.sort((a, b) => a.atMs - b.atMs),
      losses: [...this.#entries].flatMap(([kind, kept]) => {
        const gap = kept.gap();
        if (gap === null) return [];
        const [before, behind] = gap;
        return [{ kind, seen: kept.seen, kept: kept.items().length, fromMs: before.atMs, toMs: behind.atMs }];
      }),
      calls: this.#calls.rows(),
      refusals: refusals.rows(),
      requests: this.#requests.rows(),
      files: this.#files.rows(),
      messages: this.#messages.rows(),
      changed: this.#changed,
      rowsLost: {
        requests: this.#requests.lost,
        files: this.#files.lost,
        messages: this.#messages.lost,
        changed: this.#changedLost,
        refusals: refusals.lost,
      },
    };
  }

  #entryOf(
    { atMs, worldMs, agent, call, kernel }: Open,
    text: CallText | null,
    outcome: string,
    answer: Record<string, unknown>,
  ): ActivityEntry {
    const { kind, what, target, bytes } = text ?? {
      kind: 'other' as const,
      what: call.toLowerCase(),
      target: '',
      bytes: null,
    };
    const number = (value: unknown) => (typeof value === 'number' ? value : null);
    return {
      atMs: rounded(atMs),
      worldMs: worldMs === null ? null : rounded(worldMs),
      agent,
      kind,
      what,
      target: kind === 'message' && target === '' ? this.#receiverOf(kernel, answer) : target,
      outcome,
      status: number(answer.status_code) ?? number(answer.exit_code),
      bytes: bytes ?? number(answer.size) ?? number(answer.bytes) ?? sizeOf(answer.content ?? answer.body),
      durationMs: rounded(this.#nowMs() - atMs),
    };
  }

  #receiverOf(kernel: Kernel, { delivered_to: id }: Record<string, unknown>): string {
    if (typeof id !== 'number') return '?';
    return kernel.agents.get(id)?.name ?? (kernel.mailboxes.nameOf(id) || this.#nameOfOperator);
  }

  /** The world somebody is in, whose network is listened to from then on. */
  #worldOf(kernel: Kernel, callerId: number): World | null {
    // A kernel of this bench has no other worlds than those of the engine.
    const world = (kernel.worlds?.joinedBy(callerId) ?? null) as World | null;
    if (world === null || this.#worlds.has(world)) return world;
    const stop = world.parts.network?.log.onEntry((entry) => this.#requested(world, entry));
    this.#worlds.set(world, stop ?? (() => {}));
    return world;
  }

  #requested(world: World, entry: NetworkLogEntry): void {
    const { startEpochMs } = world.parts.clock.snapshot();
    const { kind, agentId, agentName, method, status, outcome, faults, durationMs } = entry;
    const code = outcome === 'answered' ? 'OK' : outcome === 'refused' ? 'NETWORK_REFUSED' : 'NETWORK_FAULT';
    this.#add({
      // The log is told at the end; how long that took in real time it does not know.
      atMs: rounded(this.#nowMs()),
      worldMs: rounded(entry.at - startEpochMs),
      agent: agentId === 0 ? 'world' : agentName || this.#nameOfOperator,
      kind: 'network',
      what: short(kind === 'http' ? method : `${kind} ${method}`.trim()),
      target: short(kind === 'dns' ? entry.url : addressOf(entry.url), 240),
      outcome: faults.length > 0 && code !== 'OK' ? `NETWORK_FAULT ${faults.join(' ')}` : code,
      status,
      bytes: entry.responseBody?.bytes ?? null,
      durationMs: rounded(durationMs),
    });
  }

  #add(entry: ActivityEntry): void {
    this.#entries.get(entry.kind)?.add(entry);
    if (entry.kind === 'network') this.#countRequest(entry);
    else if (entry.kind === 'file') this.#countFile(entry);
    else if (entry.kind === 'message') this.#countMessage(entry);
  }

  #countRequest({ agent, target, what: method, status, outcome, bytes }: ActivityEntry): void {
    const host = hostOf(target);
    const row = this.#requests.at([agent, host, method, status, outcome].join('\n'), () => ({
      agent,
      host,
      method,
      status,
      outcome,
      count: 0,
      bytes: 0,
    }));
    if (row === null) return;
    row.count += 1;
    row.bytes += bytes ?? 0;
  }

  #countFile({ agent, target: path, what, outcome, bytes }: ActivityEntry): void {
    const row = this.#files.at(`${agent}\n${path}`, () => ({
      agent,
      path,
      reads: 0,
      writes: 0,
      failed: 0,
      bytesRead: 0,
      bytesWritten: 0,
    }));
    if (row === null) return;
    const isRead = what === 'read';
    if (isRead) row.reads += 1;
    else row.writes += 1;
    if (outcome !== 'OK') row.failed += 1;
    else if (isRead) row.bytesRead += bytes ?? 0;
    else row.bytesWritten += bytes ?? 0;
  }

  #countMessage({ agent: from, target: to, what, outcome, bytes }: ActivityEntry): void {
    const row = this.#messages.at([from, to, what].join('\n'), () => ({
      from,
      to,
      what,
      count: 0,
      failed: 0,
      bytes: 0,
    }));
    if (row === null) return;
    row.count += 1;
    if (outcome !== 'OK') row.failed += 1;
    row.bytes += bytes ?? 0;
  }
}

function refusalsOf(events: readonly FleetEvent[]): Rows<Writable<RefusalCount>> {
  const rows = new Rows<Writable<RefusalCount>>(MAX_CHANGED);
  for (const { type, agent, data } of events) {
    if (type !== 'SYSCALL_BLOCKED') continue;
    const call = short(String(data.syscall ?? '?'));
    const rule = short(String(data.rule ?? '?'));
    const object = short(addressOf(String(data.object ?? '')), 240);
    const row = rows.at([agent, call, rule, object].join('\n'), () => ({
      agent: agent ?? '?',
      call,
      rule,
      object,
      count: 0,
    }));
    if (row !== null) row.count += 1;
  }
  return rows;
}

/** The key of a call is its request, where it came over a socket. */
function payloadOf(key: object): string {
  const { payload } = key as { readonly payload?: unknown };
  return typeof payload === 'string' ? payload : '';
}

/** Of a request that was refused before it was given to its handler. */
function parsed(payload: string): unknown {
  if (payload.length > MAX_PARSED_CHARS) return undefined;
  try {
    return JSON.parse(payload);
  } catch {
    return undefined;
  }
}

function rounded(ms: number): number {
  return Math.max(0, Math.round(ms * 1000) / 1000);
}

function sizeOf(content: unknown): number | null {
  return typeof content === 'string' ? Buffer.byteLength(content) : null;
}

function isoOf(epochMs: number): string {
  return new Date(Math.min(epochMs, 8.64e15)).toISOString();
}

function worldTimeOf({ name, parts, thinking }: World): FleetWorld {
  const { time, calls, failed, charged_ms, real_ms } = thinking.metrics();
  return {
    name: short(name),
    clock: parts.clock.mode,
    llmTime: time,
    modelCalls: calls,
    modelFailed: failed,
    modelChargedMs: charged_ms,
    modelRealMs: real_ms,
  };
}
