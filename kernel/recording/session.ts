import { hash, randomBytes } from 'node:crypto';
import type { WireRequest } from '../../native/types.ts';
import type { Agent } from '../agents/agent.ts';
import type { Caller } from '../identity.ts';
import { KERNEL_VERSION } from '../protocol/version.ts';
import type { SyscallDefinition } from '../syscalls/define.ts';
import { FORMAT, FORMAT_VERSION } from './format.ts';
import { callKey, Occurrences } from './keying.ts';
import type { RecordingMark } from './past.ts';
import { processEntry, stdoutSince } from './process-facts.ts';
import { Redactor } from './redactor.ts';
import { isInView } from './view.ts';
import { type GapReason, RecordingWriter } from './writer.ts';

/** An answer of RECORD_STATUS may hold the whole recording, which must not hold itself. */
const MAX_STATUS_ANSWER = 16 * 1024;

export interface RecordingSettings {
  readonly includeThink: boolean;
  readonly includeHttp: boolean;
  readonly includeExec: boolean;
  /** Calls; then the recording pauses. */
  readonly maxEntries: number;
  /** Of the file; then the recording pauses. */
  readonly maxBytes: number;
  /** Callers by id; none here and none by name = all. */
  readonly filterAgents: readonly number[];
  readonly filterNames: readonly string[];
  /** Names besides the usual ones whose values are secrets; `*` stands for any text. */
  readonly redactNames: readonly string[];
}

export const DEFAULT_SETTINGS: RecordingSettings = {
  includeThink: false,
  includeHttp: false,
  includeExec: false,
  maxEntries: 50_000,
  maxBytes: 2 ** 30,
  filterAgents: [],
  filterNames: [],
  redactNames: [],
};

/** A call that was not answered yet. */
interface Pending {
  readonly request: WireRequest;
  readonly caller: Caller;
  readonly incarnation: number;
  readonly begun: number;
  readonly at: number;
  readonly startedMs: number;
}

export interface SessionOptions {
  readonly folder: string;
  readonly table: ReadonlyMap<number, SyscallDefinition>;
  readonly onFailure: (error: Error) => void;
}

/** One recording, from its header to its footer. */
export class RecordingSession {
  readonly writer: RecordingWriter;
  readonly startedAt = Date.now();
  readonly #settings: RecordingSettings;
  readonly #table: ReadonlyMap<number, SyscallDefinition>;
  readonly #redactor: Redactor;
  readonly #occurrences = new Occurrences();
  readonly #pending = new Map<WireRequest, Pending>();
  /** Of each agent that runs: where the stdout of this start of it begins. */
  readonly #stdoutFrom = new Map<number, number>();
  /** Why nothing is recorded any more; null = it is. */
  #pause: GapReason | null = null;
  #tick = 0;
  #calls = 0;
  #viewEntries = 0;

  constructor(options: SessionOptions, settings: RecordingSettings, secrets: readonly string[]) {
    this.#settings = settings;
    this.#table = options.table;
    this.#redactor = new Redactor(settings.redactNames);
    for (const secret of secrets) this.#redactor.learn(secret);
    this.writer = new RecordingWriter({
      folder: options.folder,
      name: `recording-${this.startedAt}-${randomBytes(4).toString('hex')}`,
      onFailure: (error) => {
        this.#pause = 'write_failed';
        options.onFailure(error);
      },
    });
    this.writer.append(0, (seq) => ({
      type: 'header',
      seq,
      format: FORMAT,
      version: FORMAT_VERSION,
      kernel_version: KERNEL_VERSION,
      node_version: process.version,
      started_at: new Date(this.startedAt).toISOString(),
      filter_agents: settings.filterAgents,
      filter_names: settings.filterNames,
      redact_names: settings.redactNames,
      max_entries: settings.maxEntries,
      max_bytes: settings.maxBytes,
    }));
  }

  get pause(): GapReason | null {
    return this.#pause;
  }

  /** All calls of the file. */
  get calls(): number {
    return this.#calls;
  }

  /** Those that existing clients see. */
  get viewEntries(): number {
    return this.#viewEntries;
  }

  isChosen(id: number, name: string): boolean {
    const { filterAgents, filterNames } = this.#settings;
    if (filterAgents.length === 0 && filterNames.length === 0) return true;
    return filterAgents.includes(id) || (name !== '' && filterNames.includes(name));
  }

  /** What was answered until now, and what the agents have under way. */
  mark(): RecordingMark {
    const underWay = [...this.#pending.values()].flatMap(({ request, caller, incarnation, begun, at }) => {
      if (caller.kind !== 'agent') return [];
      const { text, count } = this.#redactor.redact(request.payload);
      return [
        {
          agent: caller.id,
          incarnation,
          opcode: request.opcode,
          syscall: this.#table.get(request.opcode)?.name ?? '',
          request: text,
          redactions: count,
          begun,
          ended: begun,
          at: new Date(at).toISOString(),
          duration_us: 0,
        },
      ];
    });
    return { file: this.writer.partialPath, tick: this.#tick, underWay };
  }

  callBegan(request: WireRequest, caller: Caller, incarnation: number): void {
    // What ends a recording is not part of it.
    if (this.#table.get(request.opcode)?.name === 'RECORD_STOP') return;
    if (this.#pause !== null) {
      this.writer.lose(caller.id, this.#pause);
      return;
    }
    const begun = this.#nextTick();
    const startedMs = performance.now();
    this.#pending.set(request, { request, caller, incarnation, begun, at: Date.now(), startedMs });
  }

  callEnded(request: WireRequest, payload: string | Uint8Array, delivered: boolean): void {
    const pending = this.#pending.get(request);
    if (pending === undefined) return;
    this.#pending.delete(request);
    this.#writeCall(
      pending,
      typeof payload === 'string' ? payload : Buffer.from(payload).toString('utf8'),
      delivered,
    );
  }

  agentStarted(agent: Agent, incarnation: number, isSeen: boolean): void {
    this.#stdoutFrom.set(agent.id, isSeen ? agent.stdout.totalBytes : 0);
    // Its secrets may turn up in the calls of others.
    this.#redactor.learnEnvironment(agent.plan.sandbox.env);
    if (this.#pause !== null || !this.isChosen(agent.id, agent.name)) return;
    const facts = processEntry(agent, incarnation, isSeen, this.#redactor);
    this.writer.append(agent.id, (seq) => ({ ...facts, seq }));
  }

  agentEnded(agent: Agent, incarnation: number): void {
    const exit = agent.lastExit;
    const stdoutFrom = this.#stdoutFrom.get(agent.id);
    this.#stdoutFrom.delete(agent.id);
    // What could not even be started has no end.
    if (exit === null || stdoutFrom === undefined || !this.isChosen(agent.id, agent.name)) return;
    this.#writeUnanswered(({ caller }) => caller.kind === 'agent' && caller.id === agent.id);
    if (this.#pause !== null) return;
    const stdout = stdoutSince(agent, stdoutFrom);
    this.writer.append(agent.id, (seq) => ({
      type: 'exit',
      seq,
      agent: agent.id,
      incarnation,
      at: new Date(exit.endedAt).toISOString(),
      // Told to end, to make room for new code, it did not end by itself.
      reason: agent.state === 'stopping' ? 'killed' : exit.reason,
      exit_code: exit.exitCode,
      signal: exit.signal,
      stdout: stdout === null ? null : this.#redactor.redact(stdout).text,
    }));
  }

  /** Nothing more comes. @throws the disk's error */
  finish(): Promise<{ path: string; id: string }> {
    this.#writeUnanswered(() => true);
    return this.writer.finish((seq, lost) => ({
      type: 'footer',
      seq,
      ended_at: new Date().toISOString(),
      entries: seq,
      calls: this.#calls,
      lost,
    }));
  }

  #writeUnanswered(isMeant: (pending: Pending) => boolean): void {
    for (const [request, pending] of this.#pending) {
      if (!isMeant(pending)) continue;
      this.#pending.delete(request);
      this.#writeCall(pending, null, false);
    }
  }

  #writeCall(pending: Pending, answer: string | null, delivered: boolean): void {
    const { caller, incarnation } = pending;
    if (this.#pause !== null) {
      this.writer.lose(caller.id, this.#pause);
      return;
    }
    const { opcode, payload } = pending.request;
    const definition = this.#table.get(opcode);
    const syscall = definition?.name ?? '';
    const request = this.#redactor.redact(payload);
    const labels = answer === null ? undefined : parsed(request.text);
    const redacted = answer === null ? null : this.#redactor.redact(answer, labels);
    const key = callKey(opcode, request.base);
    const isSeen = this.#isInView(syscall);
    const ended = this.#nextTick();
    const taken = this.writer.append(caller.id, (seq) => ({
      type: 'call',
      seq,
      agent: caller.id,
      incarnation,
      caller: caller.kind,
      opcode,
      syscall,
      replay: definition?.replay ?? 'recorded',
      key,
      occurrence: this.#occurrences.next(caller.id, incarnation, key),
      request: request.text,
      ...answerFields(syscall, redacted?.text ?? null),
      success: redacted !== null && succeeded(redacted.text),
      delivered,
      begun: pending.begun,
      ended,
      at: new Date(pending.at).toISOString(),
      duration_us: Math.round((performance.now() - pending.startedMs) * 1000),
      view: isSeen ? this.#viewEntries + 1 : 0,
      redactions: request.count + (redacted?.count ?? 0),
    }));
    if (!taken) return;
    this.#calls += 1;
    if (isSeen) this.#viewEntries += 1;
    if (this.#calls >= this.#settings.maxEntries) this.#pause ??= 'max_entries';
    else if (this.writer.bytes >= this.#settings.maxBytes) this.#pause ??= 'max_bytes';
  }

  #isInView(syscall: string): boolean {
    const { includeThink: think, includeHttp: http, includeExec: exec } = this.#settings;
    return isInView(syscall, { think, http, exec });
  }

  #nextTick(): number {
    this.#tick += 1;
    return this.#tick;
  }
}

function answerFields(syscall: string, answer: string | null): object {
  if (answer === null || syscall !== 'RECORD_STATUS' || answer.length <= MAX_STATUS_ANSWER) return { answer };
  return {
    answer: null,
    answer_digest: { sha256: hash('sha256', answer), bytes: Buffer.byteLength(answer) },
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Answers that are no objects (LIST, EXIT) say nothing of failure. */
function succeeded(answer: string): boolean {
  const value = parsed(answer);
  return !(typeof value === 'object' && value !== null && 'success' in value && value.success === false);
}
