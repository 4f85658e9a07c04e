import { hash, randomBytes } from 'node:crypto';
import { CloveError } from '../../errors/index.ts';
import type { WireRequest } from '../../native/types.ts';
import type { Agent } from '../agents/agent.ts';
import type { Caller } from '../identity.ts';
import { KERNEL_VERSION } from '../protocol/version.ts';
import type { SyscallDefinition } from '../syscalls/define.ts';
import { FORMAT, FORMAT_VERSION } from './format.ts';
import { callKey, Occurrences } from './keying.ts';
import { processEntry, stdoutSince } from './process-facts.ts';
import { Redactor } from './redactor.ts';
import type { CallTap } from './tap.ts';
import { isInView, readView, type ViewEntry, type ViewRange } from './view.ts';
import { type GapReason, RecordingWriter } from './writer.ts';

export type RecordingState = 'IDLE' | 'RECORDING' | 'PAUSED';

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

export interface RecordingStatus {
  readonly state: RecordingState;
  readonly pauseReason: GapReason | null;
  /** Calls of the view for existing clients. */
  readonly viewEntries: number;
  /** All calls of the file. */
  readonly calls: number;
  readonly lost: number;
  /** ms since the epoch; null = never. */
  readonly startedAt: number | null;
  /** Of the current recording while it is written, of the latest one afterwards; null = none. */
  readonly file: string | null;
  /** Hash of the finished recording. */
  readonly id: string | null;
}

interface Pending {
  readonly request: WireRequest;
  readonly caller: Caller;
  readonly name: string;
  readonly incarnation: number;
  readonly begun: number;
  readonly at: number;
  readonly startedMs: number;
}

/** All that belongs to one recording. */
interface Session {
  readonly writer: RecordingWriter;
  readonly redactor: Redactor;
  readonly settings: RecordingSettings;
  readonly occurrences: Occurrences;
  readonly pending: Map<WireRequest, Pending>;
  /** Where the stdout of each agent's incarnation begins. */
  readonly stdoutFrom: Map<number, number>;
  readonly startedAt: number;
  pause: GapReason | null;
  tick: number;
  calls: number;
  view: number;
}

export interface RecorderOptions {
  readonly folder: string;
  readonly table: ReadonlyMap<number, SyscallDefinition>;
  readonly liveAgents: () => readonly Agent[];
  /** Puts the recorder into the way of calls, or takes it out: a kernel that does not record spends nothing on it. */
  readonly attach: (tap: CallTap | null) => void;
  readonly onFailure: (error: Error) => void;
}

/**
 * Writes down what chosen callers ask and are answered, and how agents start and end. One recording at a time. Calls are
 * never held up, and nothing is left out silently: what cannot be written is counted in the file.
 */
export class Recorder implements CallTap {
  readonly #options: RecorderOptions;
  /** Sticky: a start changes what it names. */
  #settings: RecordingSettings = DEFAULT_SETTINGS;
  #session: Session | null = null;
  #last: { readonly session: Session; readonly path: string; readonly id: string | null } | null = null;
  /** Which start of its agent a connection belongs to. */
  readonly #incarnations = new WeakMap<Caller, number>();

  constructor(options: RecorderOptions) {
    this.#options = options;
  }

  get status(): RecordingStatus {
    const session = this.#session ?? this.#last?.session ?? null;
    const pauseReason = this.#session?.pause ?? null;
    return {
      state: this.#session === null ? 'IDLE' : pauseReason === null ? 'RECORDING' : 'PAUSED',
      pauseReason,
      viewEntries: session?.view ?? 0,
      calls: session?.calls ?? 0,
      lost: session?.writer.lost ?? 0,
      startedAt: session?.startedAt ?? null,
      file: this.#session?.writer.partialPath ?? this.#last?.path ?? null,
      id: this.#session === null ? (this.#last?.id ?? null) : null,
    };
  }

  /** Begins a new recording; resolves when its file is there. false = there is one already. @throws IO */
  async start(changes: Partial<RecordingSettings>, secrets: readonly string[] = []): Promise<boolean> {
    if (this.#session !== null) return false;
    this.#settings = { ...this.#settings, ...changes };
    const session = this.#open(this.#settings);
    for (const secret of secrets) session.redactor.learn(secret);
    this.#session = session;
    this.#options.attach(this);
    for (const agent of this.#options.liveAgents()) {
      if (agent.sandbox !== null) this.#process(session, agent, false);
    }
    try {
      await session.writer.flush();
    } catch (error) {
      if (this.#session === session) this.#detach();
      await session.writer.abandon().catch(() => {});
      throw new CloveError('IO', `the recording cannot be written: ${(error as Error).message}`, {
        cause: error,
      });
    }
    return true;
  }

  /** Ends the recording and closes its file. false = there is none. @throws IO */
  async stop(): Promise<boolean> {
    const session = this.#session;
    if (session === null) return false;
    for (const pending of session.pending.values()) {
      if (!pending.name.startsWith('RECORD_')) this.#write(session, pending, null, false);
    }
    session.pending.clear();
    this.#detach();
    this.#last = { session, path: session.writer.partialPath, id: null };
    try {
      const { path, id } = await session.writer.finish((seq, lost) => ({
        type: 'footer',
        seq,
        ended_at: new Date().toISOString(),
        entries: seq,
        calls: session.calls,
        lost,
      }));
      this.#last = { session, path, id };
    } catch (error) {
      throw new CloveError('IO', `the recording is incomplete: ${(error as Error).message}`, {
        cause: error,
        details: { file: session.writer.partialPath },
      });
    }
    return true;
  }

  /** Part of the current or latest recording, as existing clients know it. */
  async view(range: ViewRange): Promise<ViewEntry[]> {
    const session = this.#session;
    if (session !== null) {
      await session.writer.flush().catch(() => {});
      return readView(session.writer.partialPath, session.writer.writtenBytes, range);
    }
    const last = this.#last;
    return last === null ? [] : readView(last.path, last.session.writer.writtenBytes, range);
  }

  // ---- what the dispatcher and the supervisor tell

  begin(request: WireRequest, caller: Caller, agent: Agent | null): boolean {
    const session = this.#session;
    if (session === null || !isChosen(session.settings, caller.id, agent?.name ?? '')) return false;
    const name = this.#options.table.get(request.opcode)?.name ?? '';
    // What ends a recording is not part of it.
    if (name === 'RECORD_STOP') return false;
    if (session.pause !== null) {
      session.writer.lose(caller.id, session.pause);
      return false;
    }
    session.pending.set(request, {
      request,
      caller,
      name,
      incarnation: this.#incarnationOf(caller, agent),
      begun: tickOf(session),
      at: Date.now(),
      startedMs: performance.now(),
    });
    return false;
  }

  answered(request: WireRequest, payload: string | Uint8Array, delivered: boolean): boolean {
    const session = this.#session;
    const pending = session?.pending.get(request);
    if (session !== null && pending !== undefined) {
      session.pending.delete(request);
      const text = typeof payload === 'string' ? payload : Buffer.from(payload).toString('utf8');
      this.#write(session, pending, text, delivered);
    }
    return true;
  }

  agentStarted(agent: Agent): void {
    if (this.#session !== null) this.#process(this.#session, agent, true);
  }

  agentEnded(agent: Agent): void {
    const session = this.#session;
    const exit = agent.lastExit;
    if (session === null || exit === null || !isChosen(session.settings, agent.id, agent.name)) return;
    for (const [request, pending] of session.pending) {
      if (pending.caller.id !== agent.id || pending.caller.kind !== 'agent') continue;
      session.pending.delete(request);
      this.#write(session, pending, null, false);
    }
    if (session.pause !== null) return;
    const stdout = stdoutSince(agent, session.stdoutFrom.get(agent.id) ?? 0);
    session.writer.append(agent.id, (seq) => ({
      type: 'exit',
      seq,
      agent: agent.id,
      incarnation: exit.restartCount,
      at: new Date(exit.endedAt).toISOString(),
      reason: exit.reason,
      exit_code: exit.exitCode,
      signal: exit.signal,
      stdout: stdout === null ? null : session.redactor.redact(stdout).text,
    }));
  }

  // ---- inside

  #open(settings: RecordingSettings): Session {
    const startedAt = Date.now();
    const name = `recording-${startedAt}-${randomBytes(4).toString('hex')}`;
    const session: Session = {
      writer: new RecordingWriter({
        folder: this.#options.folder,
        name,
        onFailure: (error) => {
          session.pause = 'write_failed';
          this.#options.onFailure(error);
        },
      }),
      redactor: new Redactor(settings.redactNames),
      settings,
      occurrences: new Occurrences(),
      pending: new Map(),
      stdoutFrom: new Map(),
      startedAt,
      pause: null,
      tick: 0,
      calls: 0,
      view: 0,
    };
    session.writer.append(0, (seq) => ({
      type: 'header',
      seq,
      format: FORMAT,
      version: FORMAT_VERSION,
      kernel_version: KERNEL_VERSION,
      node_version: process.version,
      started_at: new Date(startedAt).toISOString(),
      filter_agents: settings.filterAgents,
      filter_names: settings.filterNames,
      redact_names: settings.redactNames,
      max_entries: settings.maxEntries,
      max_bytes: settings.maxBytes,
    }));
    return session;
  }

  #detach(): void {
    this.#session = null;
    this.#options.attach(null);
  }

  #incarnationOf(caller: Caller, agent: Agent | null): number {
    if (agent === null) return 0;
    let incarnation = this.#incarnations.get(caller);
    if (incarnation === undefined) {
      incarnation = agent.restart.count;
      this.#incarnations.set(caller, incarnation);
    }
    return incarnation;
  }

  #process(session: Session, agent: Agent, fromStart: boolean): void {
    session.stdoutFrom.set(agent.id, fromStart ? agent.stdout.totalBytes : 0);
    // Its secrets may turn up in the calls of others.
    session.redactor.learnEnvironment(agent.plan.sandbox.env);
    if (session.pause !== null || !isChosen(session.settings, agent.id, agent.name)) return;
    const facts = processEntry(agent, fromStart, session.redactor);
    session.writer.append(agent.id, (seq) => ({ ...facts, seq }));
  }

  #write(session: Session, pending: Pending, answer: string | null, delivered: boolean): void {
    const { caller, incarnation } = pending;
    if (session.pause !== null) {
      session.writer.lose(caller.id, session.pause);
      return;
    }
    const { opcode, payload } = pending.request;
    const definition = this.#options.table.get(opcode);
    const request = session.redactor.redact(payload);
    const labels = answer === null ? undefined : parsed(request.text);
    const redacted = answer === null ? null : session.redactor.redact(answer, labels);
    const key = callKey(opcode, request.base);
    const syscall = definition?.name ?? '';
    const inView = isInView(syscall, {
      think: session.settings.includeThink,
      http: session.settings.includeHttp,
      exec: session.settings.includeExec,
    });
    const ended = tickOf(session);
    const tooMuch = syscall === 'RECORD_STATUS' && (redacted?.text.length ?? 0) > MAX_STATUS_ANSWER;
    const taken = session.writer.append(caller.id, (seq) => ({
      type: 'call',
      seq,
      agent: caller.id,
      incarnation,
      caller: caller.kind,
      opcode,
      syscall,
      replay: definition?.replay ?? 'recorded',
      key,
      occurrence: session.occurrences.next(caller.id, incarnation, key),
      request: request.text,
      answer: tooMuch ? null : (redacted?.text ?? null),
      ...(tooMuch && redacted !== null ? { answer_digest: digestOf(redacted.text) } : {}),
      success: redacted !== null && succeeded(redacted.text),
      delivered,
      begun: pending.begun,
      ended,
      at: new Date(pending.at).toISOString(),
      duration_us: Math.round((performance.now() - pending.startedMs) * 1000),
      view: inView ? session.view + 1 : 0,
      redactions: request.count + (redacted?.count ?? 0),
    }));
    if (!taken) return;
    session.calls += 1;
    if (inView) session.view += 1;
    if (session.calls >= session.settings.maxEntries) session.pause ??= 'max_entries';
    else if (session.writer.bytes >= session.settings.maxBytes) session.pause ??= 'max_bytes';
  }
}

function isChosen(settings: RecordingSettings, id: number, name: string): boolean {
  const { filterAgents, filterNames } = settings;
  if (filterAgents.length === 0 && filterNames.length === 0) return true;
  return filterAgents.includes(id) || (name !== '' && filterNames.includes(name));
}

function tickOf(session: Session): number {
  session.tick += 1;
  return session.tick;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function digestOf(text: string): { sha256: string; bytes: number } {
  return { sha256: hash('sha256', text), bytes: Buffer.byteLength(text) };
}

/** Answers that are no objects (LIST, EXIT) say nothing of failure. */
function succeeded(answer: string): boolean {
  const value = parsed(answer);
  return !(typeof value === 'object' && value !== null && 'success' in value && value.success === false);
}
