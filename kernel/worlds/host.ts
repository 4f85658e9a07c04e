import type { Attachment } from '../agents/attachment.ts';
import type { Caller } from '../identity.ts';
import type { KeepsByCaller, Kernel } from '../kernel.ts';
import type { AgentPast } from '../recording/past.ts';
import type { StateStore } from '../state/state-store.ts';

/**
 * What the kernel knows of worlds: how to ask for one, and what a member's calls meet. Worlds themselves are built on top of
 * the kernel; whoever starts it hands this in.
 */

/** Who acts in a world. */
export interface Member {
  /** Agent id, or connection id of an operator's client. */
  readonly id: number;
  /** '' = it has none. */
  readonly name: string;
}

export interface WorldCommand {
  /** For the world's shell. */
  readonly script: string;
  readonly cwd: string | null;
  readonly timeoutMs: number;
  /** stderr as a part of stdout. */
  readonly merged: boolean;
  readonly signal: AbortSignal;
}

export interface WorldCommandResult {
  readonly stdout: string;
  readonly stderr: string;
  /** -1 = ended by the time limit. */
  readonly exitCode: number;
  readonly timedOut: boolean;
  readonly truncated: boolean;
  /** On the world's clock. */
  readonly durationMs: number;
}

export interface WorldHttpRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | null;
  readonly timeoutMs: number;
  readonly redirect: 'follow' | 'manual';
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

export interface WorldHttpResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly setCookies: readonly string[];
  readonly body: Buffer;
  readonly url: string;
  readonly redirects: number;
  /** On the world's clock. */
  readonly durationMs: number;
}

/** What an agent wants to be given when it comes back. */
export interface CheckpointState {
  /** JSON. */
  readonly text: string;
  /** On its world's clock, ms since the world's start. */
  readonly atMs: number;
  /** It was given when a snapshot asked, not left some time before. */
  readonly isAsked: boolean;
}

/** One agent of a snapshot. */
export interface KeptAgent {
  readonly name: string;
  /** As for SPAWN; null = it cannot come back. */
  readonly request: Readonly<Record<string, unknown>> | null;
  /** Variables whose values were not kept. */
  readonly withheld: readonly string[];
  readonly checkpoint: CheckpointState | null;
  /** In place of a checkpoint: what it did until the snapshot, of an agent that was recorded. */
  readonly past: AgentPast | null;
  /** Why it cannot come back; null = it can. */
  readonly reason: string | null;
}

/** How an agent of a snapshot came back, or that it did not. */
export interface ReturnedAgent {
  readonly name: string;
  /**
   * `checkpoint`: with the state of the moment of the snapshot; `kept`: with one that it had left before; `replay`: it lived again through
   * what it did until then; `not`: not at all.
   */
  readonly how: 'checkpoint' | 'kept' | 'replay' | 'not';
  /** Of the state, ms of its world's time before the snapshot. */
  readonly behind_ms: number | null;
  readonly agent_id: number | null;
  /** Why not. */
  readonly reason: string | null;
}

export interface RestoredWorld {
  readonly world: WorldInfo;
  readonly agents: readonly KeptAgent[];
  /** World time of the snapshot, ms since the world's start. */
  readonly atMs: number;
  /** No time passes there until it is disposed of. */
  readonly hold: Disposable;
}

/** What a model call has used: its price in the world's time is made of it. */
export interface ThoughtUse {
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** How long it took when it was recorded; absent = the model was asked now. */
  readonly recordedMs?: number | undefined;
}

/** The world a caller is in, as its calls meet it. Errors name the world in `details.answer`. */
export interface JoinedWorld {
  readonly id: string;
  readonly name: string;
  /** Whether files at this path are the world's. */
  interceptsPath(path: string): boolean;
  /** Whether commands run in the world's own shell. */
  readonly interceptsCommands: boolean;
  /** Whether a request to this URL is answered here, and reaches nobody outside. */
  interceptsUrl(url: string): boolean;
  /** @throws NOT_FOUND, IO, PATH_REFUSED, TIMEOUT */
  read(member: Member, path: string): Promise<Buffer>;
  /** Makes folders as needed. @throws FORBIDDEN, IO, OVERLOAD, PATH_REFUSED */
  write(member: Member, path: string, content: Uint8Array, append: boolean): Promise<void>;
  exec(member: Member, command: WorldCommand): Promise<WorldCommandResult>;
  /** @throws UNREACHABLE, TIMEOUT, IO, PAYLOAD_TOO_LARGE, NOT_FOUND */
  http(member: Member, request: WorldHttpRequest): Promise<WorldHttpResponse>;
  /** What its members have in place of the kernel's global scope. */
  readonly state: StateStore;
  memberIds(): readonly number[];
  /** One more call of a member. */
  countCall(): void;
  /** The agent waits, for something that comes in the world's time, until this is disposed of: meanwhile the clock may skip. */
  waits(agentId: number): Disposable;
  /** Something takes real time, of which none is skipped, until this is disposed of. */
  works(reason: string): Disposable;
  /** A call of the agent is being served until this is disposed of: what takes real time must not be skipped. null = no matter. */
  serves(agentId: number): Disposable | null;
  /**
   * Asks a model: it costs the time that the world's definition says. `waits`: the member does nothing else until it is answered.
   * `durationMs` of the answer is the world's. @throws what `ask` throws, CANCELLED
   */
  think<Answer extends ThoughtUse>(
    agentId: number,
    order: { readonly waits: boolean; readonly signal: AbortSignal; readonly ask: () => Promise<Answer> },
  ): Promise<{ readonly answer: Answer; readonly durationMs: number }>;
  /** What agents leave to come back with. */
  readonly checkpoints: {
    keep(agentId: number, text: string): void;
    offer(agentId: number, isOffered: boolean): void;
    wanted(agentId: number, signal: AbortSignal): Promise<number>;
    answer(agentId: number, checkpointId: number, text: string): Promise<void>;
    restoredOf(name: string): CheckpointState | null;
  };
  /** A call of the agent is open that is nobody's work and nobody's wait, until this is disposed of. */
  listens(agentId: number): Disposable;
  /** The time there, ms since the epoch. */
  nowMs(): number;
  /** Calls `fire` after so many ms of the world's time, unless the returned function is called before. For that member. */
  after(memberId: number, ms: number, fire: () => void): () => void;
  /** The member waits in the world's time. Resolves to the time there then: ms since the epoch, and since the world's start. @throws CANCELLED */
  sleep(
    memberId: number,
    until: { readonly forMs: number } | { readonly untilMs: number },
    signal: AbortSignal,
  ): Promise<{ readonly nowMs: number; readonly monotonicMs: number }>;
  /** Why a message cannot reach its receiver at present; null = nothing stands in its way. */
  severs(fromId: number, toId: number): string | null;
}

/** As WORLD_LIST and WORLD_CREATE tell of a world. */
export interface WorldInfo {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly agent_count: number;
  readonly syscall_count: number;
  readonly vfs_enabled: boolean;
  readonly network_mock_enabled: boolean;
  readonly chaos_enabled: boolean;
  /** Seconds since the epoch. */
  readonly created_at: number;
  /** Who made it; 0 = the kernel. */
  readonly owner_id: number;
  readonly seed: number;
  readonly clock_mode: string;
  /** Time in the world, ISO 8601. */
  readonly world_time: string;
}

export interface CreateWorld {
  readonly name: string | null;
  /** A definition, or what existing clients send. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Name of a world of the catalogue; `config` is laid over it. */
  readonly template: string | null;
  readonly seed: number | null;
  /** A world file on the host, in place of a template; operators only. */
  readonly path: string | null;
}

export interface CreatedWorld extends WorldInfo {
  /** What of the configuration has no effect, and why. */
  readonly warnings: readonly string[];
}

export interface InjectedEvent {
  /** Ends it before its time. */
  readonly event_id: string;
  readonly event_type: string;
  /** World time at which it is over, ms since the world's start; null = until it is cleared. */
  readonly until_ms: number | null;
}

export interface FileChange {
  readonly path: string;
  readonly change: 'added' | 'changed' | 'deleted';
  readonly kind: 'file' | 'folder' | 'link';
  /** Unified; absent where the content is no text or too large. */
  readonly patch?: string;
  readonly bytes_before: number | null;
  readonly bytes_after: number | null;
}

export interface WorldSnapshotAnswer {
  readonly snapshot_id: string;
  /** Calls of members that had not ended: the snapshot is of before them, or of their midst. */
  readonly calls_under_way: number;
  /** Its agents: how each could come back, or why not. */
  readonly agents: readonly Pick<KeptAgent, 'name' | 'reason'>[];
  readonly snapshot: Readonly<Record<string, unknown>>;
}

/** All worlds of one kernel. Refusals are those of dispatch and these: a caller sees and changes only what is its business. */
export interface WorldHost extends KeepsByCaller {
  /** null = in none. */
  joinedBy(callerId: number): JoinedWorld | null;
  /** @throws CONFIG, OVERLOAD, NOT_FOUND (template) */
  create(request: CreateWorld, caller: Caller): Promise<CreatedWorld>;
  /** @throws NOT_FOUND, CONFLICT */
  destroy(worldId: string, force: boolean, caller: Caller): Promise<void>;
  list(caller: Caller): readonly WorldInfo[];
  /** The caller itself, or an agent that answers to it. @throws NOT_FOUND, CONFLICT */
  join(worldId: string, member: Member, caller: Caller): Promise<WorldInfo>;
  /** Returns the world that was left. @throws NOT_FOUND, FORBIDDEN */
  leave(caller: Caller): string;
  /** @throws NOT_FOUND, BAD_REQUEST */
  inject(
    worldId: string,
    type: string,
    params: Readonly<Record<string, unknown>>,
    caller: Caller,
  ): InjectedEvent;
  /** Ends one event, or all of a world. Returns how many. @throws NOT_FOUND */
  clearEvents(worldId: string, eventId: string | null, caller: Caller): number;
  /** @throws NOT_FOUND */
  state(worldId: string, caller: Caller): Promise<Readonly<Record<string, unknown>>>;
  /** Waits a moment for calls to end. @throws NOT_FOUND, IO, PAYLOAD_TOO_LARGE */
  snapshot(worldId: string, file: string | null, caller: Caller): Promise<WorldSnapshotAnswer>;
  /** @throws DATA_CORRUPT, CONFIG, CONFLICT, OVERLOAD */
  restore(
    source: { readonly snapshot: unknown } | { readonly file: string },
    newWorldId: string | null,
    caller: Caller,
  ): Promise<RestoredWorld>;
  /** @throws NOT_FOUND */
  diff(worldId: string, caller: Caller): Promise<readonly FileChange[]>;
  /** @throws NOT_FOUND, OVERLOAD */
  branch(worldId: string, count: number, caller: Caller): Promise<readonly WorldInfo[]>;
  /** Moves the clock of a world. Returns its time then, ms since its start. @throws NOT_FOUND, CONFLICT */
  advance(worldId: string, ms: number, caller: Caller): Promise<number>;
  memberIdsOf(worldId: string): readonly number[];
  /**
   * Makes a new agent a member before it runs: of `worldId`, or (null) of where its caller is. The answer is what its launch
   * gets of that world; null = nothing: there is none, or it is virtual. @throws NOT_FOUND, FORBIDDEN, SANDBOX_UNAVAILABLE
   */
  attach?(worldId: string | null, agent: Member, caller: Caller): Promise<Attachment | null>;
  /** An agent runs: it is where its parent is. */
  agentStarted(agent: { readonly id: number; readonly name: string; readonly parentId: number }): void;
  close(): Promise<void>;
}

/** Made once per kernel; asks for the kernel only after it has started. */
export type WorldHostFactory = (kernel: () => Kernel) => WorldHost;
