import { closeSync, openSync } from 'node:fs';
import { CloveError } from '../../errors/index.ts';
import type { WireRequest } from '../../native/types.ts';
import type { Agent } from '../agents/agent.ts';
import type { Caller } from '../identity.ts';
import { type AgentPast, pastsUntil } from './past.ts';
import {
  DEFAULT_SETTINGS,
  RecordingSession,
  type RecordingSettings,
  type SessionOptions,
} from './session.ts';
import type { CallTap } from './tap.ts';
import { readView, type ViewEntry, type ViewRange } from './view.ts';
import type { GapReason } from './writer.ts';

export type RecordingState = 'IDLE' | 'RECORDING' | 'PAUSED';

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

export interface RecorderOptions extends SessionOptions {
  readonly liveAgents: () => readonly Agent[];
  /** Puts the recorder into the way of calls, or takes it out: a kernel that does not record spends nothing on it. */
  readonly attach: (tap: CallTap | null) => void;
}

/**
 * Writes down what chosen callers ask and are answered, and how agents start and end. One recording at a time. Calls are
 * never held up, and nothing is left out silently: what cannot be written is counted in the file.
 */
export class Recorder implements CallTap {
  readonly #options: RecorderOptions;
  /** Sticky: a start changes what it names. */
  #settings: RecordingSettings = DEFAULT_SETTINGS;
  #session: RecordingSession | null = null;
  #last: { readonly session: RecordingSession; readonly path: string; readonly id: string | null } | null =
    null;
  /** How often each agent was started by this kernel: by its policy, or with new code. */
  readonly #starts = new WeakMap<Agent, number>();
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
      viewEntries: session?.viewEntries ?? 0,
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
    const session = new RecordingSession(this.#options, this.#settings, secrets);
    this.#session = session;
    this.#options.attach(this);
    for (const agent of this.#options.liveAgents()) {
      if (agent.sandbox !== null) session.agentStarted(agent, this.#incarnation(agent), false);
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
    this.#detach();
    const { partialPath } = session.writer;
    this.#last = { session, path: partialPath, id: null };
    try {
      const { path, id } = await session.finish();
      this.#last = { session, path, id };
    } catch (error) {
      throw new CloveError('IO', `the recording is incomplete: ${(error as Error).message}`, {
        cause: error,
        details: { file: partialPath },
      });
    }
    return true;
  }

  /**
   * What these agents did from their start to this very moment, as the current recording has it; of each that, or why not. null = nothing
   * is recorded. The moment is that of the call, whenever it is answered.
   */
  pastsOf(agents: readonly Agent[]): (() => Promise<Map<number, AgentPast | string>>) | null {
    const session = this.#session;
    if (session === null || session.pause !== null) return null;
    const mark = session.mark();
    const wanted = agents.map((agent) => ({ agent: agent.id, incarnation: this.#incarnation(agent) }));
    return async () => {
      let pasts: Map<number, AgentPast | string>;
      let opened: number | null = null;
      try {
        // Open before anything is waited for: a recording that is stopped gives its file another name.
        const last = this.#last;
        opened = openSync(last?.session === session ? last.path : mark.file, 'r');
        await session.writer.flush();
        pasts = await pastsUntil({ ...mark, file: opened }, session.writer.writtenBytes, wanted);
      } catch (error) {
        const reason = `its recording cannot be read: ${(error as Error).message}`.slice(0, 500);
        return new Map(wanted.map(({ agent }) => [agent, reason]));
      } finally {
        if (opened !== null) closeSync(opened);
      }
      // What it had kept for itself in the life before is not in what it did since.
      for (const { agent, incarnation } of wanted)
        if (incarnation > 0) pasts.set(agent, 'it had been started anew');
      return pasts;
    };
  }

  /** Part of the current or latest recording, as existing clients know it. */
  async view(range: ViewRange): Promise<ViewEntry[]> {
    const session = this.#session;
    if (session !== null) {
      await session.writer.flush().catch(() => {});
      return readView(session.writer.partialPath, session.writer.writtenBytes, range);
    }
    const last = this.#last;
    if (last === null) return [];
    return readView(last.path, last.id === null ? last.session.writer.writtenBytes : null, range);
  }

  // ---- what the dispatcher and the supervisor tell

  begin(request: WireRequest, caller: Caller, agent: Agent | null): boolean {
    const session = this.#session;
    if (session?.isChosen(caller.id, agent?.name ?? '') === true) {
      session.callBegan(request, caller, this.#incarnationOf(caller, agent));
    }
    return false;
  }

  answered(request: WireRequest, payload: string | Uint8Array, delivered: boolean): boolean {
    this.#session?.callEnded(request, payload, delivered);
    return true;
  }

  agentStarted(agent: Agent): void {
    this.#starts.set(agent, (this.#starts.get(agent) ?? 0) + 1);
    this.#session?.agentStarted(agent, this.#incarnation(agent), true);
  }

  agentEnded(agent: Agent): void {
    this.#session?.agentEnded(agent, this.#incarnation(agent));
  }

  /** From 0. */
  #incarnation(agent: Agent): number {
    return Math.max(0, (this.#starts.get(agent) ?? 0) - 1);
  }

  #detach(): void {
    this.#session = null;
    this.#options.attach(null);
  }

  #incarnationOf(caller: Caller, agent: Agent | null): number {
    if (agent === null) return 0;
    let incarnation = this.#incarnations.get(caller);
    if (incarnation === undefined) {
      incarnation = this.#incarnation(agent);
      this.#incarnations.set(caller, incarnation);
    }
    return incarnation;
  }
}
