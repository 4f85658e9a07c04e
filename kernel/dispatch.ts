import { CloveError, type ErrorCode, errorToData, isCloveError } from '../errors/index.ts';
import type { WirePeer, WireRequest } from '../native/types.ts';
import type { Agent } from './agents/agent.ts';
import { AGENT_CONNECTIONS } from './agents/launcher.ts';
import type { AsyncOutcome } from './async/tasks.ts';
import type { Outcome } from './audit/draft.ts';
import { OpenRecords } from './audit/open-records.ts';
import { type Caller, FIRST_REMOTE_ID } from './identity.ts';
import { toSortedJson } from './json.ts';
import type { Kernel } from './kernel.ts';
import type { Decision } from './permissions/decision.ts';
import { decisionOf, forbidden, refusalText } from './permissions/refusal.ts';
import type { CallTap } from './recording/tap.ts';
import type { SyscallContext, SyscallDefinition } from './syscalls/define.ts';
import type { CallObserver } from './telemetry/observer.ts';
import { Turns } from './turns.ts';

const BLOCKED_LOG_INTERVAL_MS = 1000;

/** One connection: who it is, and what its requests are given. */
class Connection implements SyscallContext {
  readonly kernel: Kernel;
  readonly caller: Caller;
  /** Whose counters its requests go to; null for operators. */
  readonly agent: Agent | null;
  /** End of the last ordered request, while there is one. */
  tail: Promise<void> | null = null;
  closed = false;
  blockedLoggedAtMs = Number.NEGATIVE_INFINITY;
  blockedUnlogged = 0;
  #abort: AbortController | null = null;

  constructor(kernel: Kernel, caller: Caller, agent: Agent | null) {
    this.kernel = kernel;
    this.caller = caller;
    this.agent = agent;
  }

  /** As it is known to others; '' = it has no name. */
  get name(): string {
    return this.agent?.name ?? this.kernel.mailboxes.nameOf(this.caller.id);
  }

  /** Made when first asked for: most requests never wait for anything. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.closed) this.#abort.abort();
    return this.#abort.signal;
  }

  close(): void {
    this.closed = true;
    this.#abort?.abort();
  }
}

export interface CallCounters {
  served: number;
  failed: number;
  blocked: number;
}

export interface DispatcherOptions {
  /** Asked for when the first connection comes: the kernel holds its dispatcher, too. */
  readonly kernel: () => Kernel;
  readonly table: ReadonlyMap<number, SyscallDefinition>;
  /** Check every answer against its schema too (tests). */
  readonly checkAnswers: boolean;
}

/**
 * From a guarded frame to its answer: permission, form, handler. Whatever happens on the way, exactly one answer leaves.
 * Requests of a connection start in their order; those marked `ordered` also wait for the ordered ones before them.
 */
export class Dispatcher {
  readonly counters: CallCounters = { served: 0, failed: 0, blocked: 0 };
  /** A recording or a replay; null = nobody looks, and it costs nothing. */
  tap: CallTap | null = null;
  /** Agents that live again through what they did before; null = none does. */
  reliving: CallTap | null = null;
  /** Counts and times calls; null = nobody does, and it costs nothing. */
  observer: CallObserver | null = null;
  readonly #getKernel: () => Kernel;
  readonly #checkAnswers: boolean;
  readonly #definitions: (SyscallDefinition | undefined)[] = [];
  /** Syscalls that take no request: a payload that is not JSON is as good as none. */
  readonly #needNothing: boolean[] = [];
  readonly #connections = new Map<number, Connection>();
  /** Audit records of calls that have not ended; most calls have none. */
  readonly #records = new OpenRecords();
  /** Calls of agents in worlds that are not answered yet, and do not only wait: the world's time is not skipped meanwhile. */
  readonly #served = new Map<WireRequest, Disposable>();
  readonly #ofAgent = new Map<number, Set<Connection>>();
  /** Calls that are served in place of others: whoever looks on knows those. */
  readonly #resumed = new WeakMap<WireRequest, WireRequest>();
  readonly #turns = new Turns<WireRequest>({
    serve: (request) => this.#serveSafely(request),
    pauseMs: (callerId) => this.#kernel.quotas.pauseMs(callerId),
  });

  constructor(options: DispatcherOptions) {
    this.#getKernel = options.kernel;
    this.#checkAnswers = options.checkAnswers;
    for (const [opcode, definition] of options.table) {
      this.#definitions[opcode] = definition;
      this.#needNothing[opcode] = definition.request.safeParse(undefined).success;
    }
  }

  get #kernel(): Kernel {
    return this.#getKernel();
  }

  open(connection: number, principal: number, peer: WirePeer): void {
    const kind = principal === 0 ? 'operator' : principal < FIRST_REMOTE_ID ? 'agent' : 'remote';
    if (
      (kind === 'agent' && this.#kernel.agents.get(principal) === undefined) ||
      (kind === 'remote' && !this.#kernel.remotes.open(principal))
    ) {
      // Accepted just before its agent was gone.
      this.#kernel.wire.closeConnection(connection);
      return;
    }
    const caller: Caller = { id: principal === 0 ? connection : principal, kind, connection, peer };
    const agent = kind === 'agent' ? (this.#kernel.agents.get(principal) ?? null) : null;
    const state = new Connection(this.#kernel, caller, agent);
    this.#connections.set(connection, state);
    if (kind === 'agent') {
      const all = this.#ofAgent.getOrInsertComputed(caller.id, () => new Set());
      all.add(state);
      if (all.size >= AGENT_CONNECTIONS) this.#kernel.limits.connectionsFull(caller.id, AGENT_CONNECTIONS);
    }
    if (kind === 'operator') this.#kernel.mailboxes.open(caller.id);
  }

  close(connection: number): void {
    const state = this.#connections.get(connection);
    if (state === undefined) return;
    this.#takeNativeCounts(state);
    this.#connections.delete(connection);
    this.#forgetOfAgent(state);
    state.close();
    if (state.caller.kind !== 'agent') this.#kernel.release(state.caller.id);
  }

  #forgetOfAgent(state: Connection): void {
    const connections = this.#ofAgent.get(state.caller.id);
    connections?.delete(state);
    if (connections?.size === 0) this.#ofAgent.delete(state.caller.id);
  }

  closeAll(): void {
    for (const connection of [...this.#connections.keys()]) this.close(connection);
  }

  serve(requests: readonly WireRequest[]): void {
    // The usual case: one request, and nothing waits before it.
    const only = requests.length === 1 ? requests[0] : undefined;
    const by = only === undefined ? undefined : this.#connections.get(only.connection)?.caller;
    if (only !== undefined && by !== undefined && this.#turns.serveNow(by.id, by.kind === 'operator', only))
      return;
    for (const request of requests) {
      const caller = this.#connections.get(request.connection)?.caller;
      if (caller !== undefined) this.#turns.add(caller.id, caller.kind === 'operator', request);
    }
    this.#turns.run();
  }

  #serveSafely(request: WireRequest): void {
    const connection = this.#connections.get(request.connection);
    if (connection === undefined) return;
    try {
      this.#serveOne(connection, request);
    } catch (error) {
      // Not even the error could be answered. Whatever it was, it must not take the kernel along.
      this.#kernel.log.error({ err: error, opcode: request.opcode }, 'fault in dispatch');
      this.#kernel.wire.closeConnection(request.connection);
    }
  }

  /** Brings the counters of agents up to date with what the wire server answered by itself; an agent sees only its own. */
  #collectNativeCounts(caller: Caller): void {
    const connections = caller.kind === 'agent' ? this.#ofAgent.get(caller.id) : this.#connections.values();
    for (const connection of connections ?? []) this.#takeNativeCounts(connection);
  }

  /** Brings the counters of one agent up to date with what the wire server answered by itself. */
  collectNativeCountsOf(agentId: number): void {
    for (const connection of this.#ofAgent.get(agentId) ?? []) this.#takeNativeCounts(connection);
  }

  /** The same for all of them. */
  collectNativeCounts(): void {
    for (const connection of this.#connections.values()) this.#takeNativeCounts(connection);
  }

  #takeNativeCounts(connection: Connection): void {
    if (connection.agent === null) return;
    connection.agent.counters.syscalls += this.#kernel.wire.takeNativeCounts(connection.caller.connection);
  }

  #serveOne(connection: Connection, request: WireRequest): void {
    this.counters.served += 1;
    if (connection.agent !== null) connection.agent.counters.syscalls += 1;
    if (this.tap?.begin(request, connection.caller, connection.agent) === true) return;
    if (this.reliving?.begin(request, connection.caller, connection.agent) === true) return;
    this.#perform(connection, request);
  }

  #perform(connection: Connection, request: WireRequest): void {
    const definition = this.#definitions[request.opcode];
    this.observer?.begin(request, {
      context: connection,
      definition,
      opcode: request.opcode,
      isLater: false,
    });
    try {
      if (definition === undefined) {
        this.#kernel.audit.unknownSyscall(connection, request.opcode);
        throw new CloveError('UNKNOWN_SYSCALL', `unknown opcode 0x${hexByte(request.opcode)}`);
      }
      if (connection.agent?.state === 'stopped' || connection.agent?.state === 'failed') {
        throw new CloveError('CANCELLED', 'the agent has ended');
      }
      const input = this.#admit(connection, definition, request);
      this.observer?.admitted(request, input);
      // Figures of agents include what the wire server answered by itself.
      if (definition.permission.startsWith('metrics.')) this.#collectNativeCounts(connection.caller);
      if (definition.ordered === true) {
        this.#serveOrdered(connection, request, definition, input);
        return;
      }
      const answer = this.#handle(connection, request, definition, input);
      if (answer instanceof Promise) this.#answerLater(connection, request, definition, answer);
      else this.#answer(connection, request, definition, answer);
    } catch (error) {
      this.#answerError(connection, request, definition, error);
    }
  }

  /** The request of a caller that may make it, within its quotas. @throws FORBIDDEN, OVERLOAD, BAD_REQUEST */
  #admit(connection: Connection, definition: SyscallDefinition, request: WireRequest): unknown {
    const { caller } = connection;
    const { quotas } = this.#kernel;
    const isCharged = caller.kind !== 'operator';
    if (isCharged) quotas.chargeSyscall(caller.id);
    let input: unknown;
    try {
      input = this.#parse(definition, request);
    } catch (error) {
      // Who may not call this at all is told so, whatever the form of the request.
      this.#authorise(connection, request, definition, undefined);
      throw error;
    }
    this.#authorise(connection, request, definition, input);
    if (isCharged) quotas.chargeFor(caller.id, definition.name, input);
    return input;
  }

  #authorise(
    connection: Connection,
    request: WireRequest,
    definition: SyscallDefinition,
    input: unknown,
  ): void {
    const decision = this.#kernel.permissions.decide(connection.caller, definition, input);
    if (decision.allowed) {
      const record = this.#kernel.audit.begin(connection, definition, decision, input);
      if (record !== null) this.#records.set(request, record);
      return;
    }
    throw forbidden(decision, refusalText(definition.name, decision.ruleId));
  }

  #handle(
    connection: Connection,
    request: WireRequest,
    definition: SyscallDefinition,
    input: unknown,
  ): unknown {
    const record = this.#records.get(request);
    if (record === null) return definition.handle(input, connection);
    return this.#kernel.audit.during(record, () => definition.handle(input, connection));
  }

  /** The call's record gets its outcome. Returns what the answer has to wait for; null = nothing. */
  #endRecord(request: WireRequest, definition: SyscallDefinition, outcome: Outcome): Promise<void> | null {
    const record = this.#records.take(request);
    return record === null ? null : this.#kernel.audit.end(record, definition, outcome);
  }

  /** Refused by dispatch or, where it takes a look at the world, by the handler: nobody needs to ask which. */
  #reportBlocked(
    connection: Connection,
    definition: SyscallDefinition,
    { ruleId, object }: Decision,
    error: string,
  ): void {
    const { caller } = connection;
    this.counters.blocked += 1;
    const data = {
      agent_id: caller.id,
      name: connection.agent?.name ?? '',
      syscall: definition.name,
      opcode: definition.opcode,
      permission: definition.permission,
      rule: ruleId,
      object,
      error,
    };
    this.#kernel.events.publish('SYSCALL_BLOCKED', data, caller.id, 'operators');
    this.#logBlocked(connection, data);
  }

  /** An agent that tries for ever must not fill the operator's disk: at most one line in a while, with a count. */
  #logBlocked(connection: Connection, data: Readonly<Record<string, unknown>>): void {
    const now = performance.now();
    if (now - connection.blockedLoggedAtMs < BLOCKED_LOG_INTERVAL_MS) {
      connection.blockedUnlogged += 1;
      return;
    }
    this.#kernel.log.warn({ ...data, unlogged: connection.blockedUnlogged }, 'syscall blocked');
    connection.blockedLoggedAtMs = now;
    connection.blockedUnlogged = 0;
  }

  #parse(definition: SyscallDefinition, request: WireRequest): unknown {
    if (definition.raw === true) return request.payload;
    const parsed = definition.request.safeParse(this.#parseJson(definition, request));
    if (parsed.success) return parsed.data;
    throw new CloveError('BAD_REQUEST', `invalid request: ${describeIssues(parsed.error.issues)}`);
  }

  #parseJson({ malformed }: SyscallDefinition, { opcode, payload, refused }: WireRequest): unknown {
    let reason = refused ?? (payload === '' ? 'the payload is empty' : null);
    if (reason === null) {
      try {
        return JSON.parse(payload);
      } catch (error) {
        reason = (error as Error).message;
      }
    }
    const isNothing = malformed === undefined || (payload === '' && refused === null);
    if (this.#needNothing[opcode] === true && isNothing) return undefined;
    const words = malformed ?? 'invalid request';
    // "invalid JSON: invalid JSON: …" says nothing more.
    throw new CloveError('BAD_REQUEST', reason.startsWith(words) ? reason : `${words}: ${reason}`);
  }

  /** Effects on files must not overtake each other, though each of them is asynchronous. */
  #serveOrdered(
    connection: Connection,
    request: WireRequest,
    definition: SyscallDefinition,
    input: unknown,
  ): void {
    const before = connection.tail ?? Promise.resolve();
    const answer = before.then(() => this.#handle(connection, request, definition, input));
    const tail = answer.then(
      () => {},
      () => {},
    );
    connection.tail = tail;
    void tail.then(() => {
      if (connection.tail === tail) connection.tail = null;
    });
    this.#answerLater(connection, request, definition, answer);
  }

  #answerLater(
    connection: Connection,
    request: WireRequest,
    definition: SyscallDefinition,
    answer: Promise<unknown>,
  ): void {
    this.#serveLonger(connection, request);
    answer.then(
      (value) => {
        try {
          this.#answer(connection, request, definition, value);
        } catch (error) {
          this.#answerError(connection, request, definition, error);
        }
      },
      (error: unknown) => this.#answerError(connection, request, definition, error),
    );
  }

  #answer(connection: Connection, request: WireRequest, definition: SyscallDefinition, value: unknown): void {
    const isRaw = definition.raw === true;
    if (!isRaw && this.#checkAnswers) definition.response.parse(value);
    const payload = isRaw ? (value as string | Uint8Array) : toSortedJson(value);
    const recorded = this.#endRecord(request, definition, 'OK');
    if (recorded === null) {
      this.#respondOk(connection, request, payload, value);
      return;
    }
    this.#serveLonger(connection, request);
    recorded.then(
      () => this.#respondOk(connection, request, payload, value),
      (error: unknown) => this.#answerError(connection, request, definition, error),
    );
  }

  /** The answer needs more than this turn of the event loop. */
  #serveLonger({ caller }: Connection, request: WireRequest): void {
    if (caller.kind !== 'agent' || this.#served.has(request)) return;
    const served = this.#kernel.worlds?.joinedBy(caller.id)?.serves(caller.id);
    if (served != null) this.#served.set(request, served);
  }

  #respondOk(
    connection: Connection,
    request: WireRequest,
    payload: string | Uint8Array,
    value: unknown,
  ): void {
    this.observer?.ended(request, 'OK', value);
    this.#respond(connection, request, payload);
  }

  #answerError(
    connection: Connection,
    request: WireRequest,
    definition: SyscallDefinition | undefined,
    error: unknown,
  ): void {
    // One record of one decision: where a handler refused, what was first allowed was not the last word.
    if (decisionOf(error) !== null && definition !== undefined) this.#records.take(request);
    const answer = this.#errorAnswer(connection, request.opcode, definition, error);
    if (definition !== undefined) void this.#endRecord(request, definition, answer.code);
    this.observer?.ended(request, answer.code, null);
    this.#respond(connection, request, toSortedJson(answer));
  }

  /** What an error is answered with; a refusal is reported, and so is a fault. */
  #errorAnswer(
    connection: Connection,
    opcode: number,
    definition: SyscallDefinition | undefined,
    error: unknown,
  ): { readonly success: false; readonly error: string; readonly code: ErrorCode } {
    this.counters.failed += 1;
    const isOperator = connection.caller.kind === 'operator';
    const { code, message, hint, details } = errorToData(error);
    const refusal = decisionOf(error);
    if (code === 'OVERLOAD' && connection.agent !== null) {
      this.#kernel.limits.overloaded(connection.agent.id, definition?.name ?? '', details);
    }
    if (refusal !== null && definition !== undefined) {
      this.#kernel.audit.denied(connection, definition, refusal, undefined);
      this.#reportBlocked(connection, definition, refusal, message);
    }
    if (!isCloveError(error)) {
      const syscall = definition?.name ?? `0x${hexByte(opcode)}`;
      this.#kernel.log.error({ err: error, syscall, caller: connection.caller.id }, 'fault in a syscall');
    }
    const { answer: fields, ...rest } = details ?? {};
    const shown = Object.keys(rest).length === 0 ? undefined : rest;
    const answer = {
      ...definition?.errorShape,
      ...(fields as Readonly<Record<string, unknown>> | undefined),
      success: false as const,
      // A fault's own words may tell an agent about the host.
      error: code === 'INTERNAL' && !isOperator ? 'internal error' : message,
      code,
      hint,
      // Which rule stood in its way an agent may know; the rest is the operator's.
      details: isOperator ? shown : details?.rule === undefined ? undefined : { rule: details.rule },
    };
    return answer;
  }

  /** How a call ends that was accepted to be answered later: in the same words as if it had been waited for. Never rejects. */
  async outcomeOf(
    context: SyscallContext,
    opcode: number,
    work: () => Promise<unknown>,
    input: unknown = undefined,
  ): Promise<AsyncOutcome> {
    const connection = context as Connection;
    const definition = this.#definitions[opcode];
    const key = {};
    this.observer?.begin(key, { context, definition, opcode, isLater: true });
    this.observer?.admitted(key, input);
    try {
      const value = (await work()) as { readonly success?: unknown; readonly error?: unknown };
      if (this.#checkAnswers) definition?.response.parse(value);
      const error = typeof value.error === 'string' ? value.error : null;
      this.observer?.ended(key, 'OK', value);
      return { text: toSortedJson(value), success: value.success === true, error };
    } catch (error) {
      const answer = this.#errorAnswer(connection, opcode, definition, error);
      this.observer?.ended(key, answer.code, null);
      return { text: toSortedJson(answer), success: false, error: answer.error };
    }
  }

  /** One call on behalf of a caller, as if it had sent it just now: checked and audited like any. @throws what it is refused with */
  async perform(context: SyscallContext, opcode: number, payload: string): Promise<unknown> {
    const connection = context as Connection;
    const definition = this.#definitions[opcode];
    if (definition === undefined) {
      throw new CloveError('UNKNOWN_SYSCALL', `unknown opcode 0x${hexByte(opcode)}`);
    }
    const request = { connection: connection.caller.connection, sequence: 0, opcode, payload, refused: null };
    try {
      const input = this.#admit(connection, definition, request);
      const answer = await this.#handle(connection, request, definition, input);
      await this.#endRecord(request, definition, 'OK');
      return answer;
    } catch (error) {
      if (decisionOf(error) !== null) this.#records.take(request);
      const { code } = this.#errorAnswer(connection, opcode, definition, error);
      void this.#endRecord(request, definition, code);
      throw error;
    }
  }

  /** null = no such syscall. */
  nameOf(opcode: number): string | null {
    return this.#definitions[opcode]?.name ?? null;
  }

  /** The answer of a tap to a call it took. `isKnown: false`: whoever records has not been told of it. */
  deliver(request: WireRequest, payload: string, { isKnown } = { isKnown: true }): void {
    const { connection, sequence, opcode } = request;
    const isHeard = this.#connections.get(connection)?.closed === false;
    if (!isKnown) this.tap?.answered(request, payload, isHeard);
    if (isHeard) this.#kernel.wire.respond(connection, sequence, opcode, payload);
  }

  /** A call that a tap took is served after all, or another of the same connection and number in its place. */
  resume(taken: WireRequest, request = taken): void {
    const connection = this.#connections.get(taken.connection);
    if (connection?.closed !== false) return;
    if (request !== taken) this.#resumed.set(request, taken);
    this.#perform(connection, request);
  }

  #respond(connection: Connection, request: WireRequest, payload: string | Uint8Array): void {
    // Given back when the answer is on its way: this thread is seen to be at work until then.
    using _served = this.#takeServed(request);
    if (this.tap?.answered(this.#resumed.get(request) ?? request, payload, !connection.closed) === false)
      return;
    if (this.reliving?.answered(request, payload, !connection.closed) === false) return;
    if (connection.closed) return;
    this.#kernel.wire.respond(request.connection, request.sequence, request.opcode, payload);
  }

  #takeServed(request: WireRequest): Disposable | null {
    if (this.#served.size === 0) return null;
    const served = this.#served.get(request) ?? null;
    this.#served.delete(request);
    return served;
  }
}

function hexByte(byte: number): string {
  return byte.toString(16).toUpperCase().padStart(2, '0');
}

interface Issue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** "limits.memory: expected number, received string"; the first three suffice. */
function describeIssues(issues: readonly Issue[]): string {
  return issues
    .slice(0, 3)
    .map(({ path, message }) => (path.length === 0 ? message : `${path.join('.')}: ${message}`))
    .join('; ')
    .slice(0, 500);
}
