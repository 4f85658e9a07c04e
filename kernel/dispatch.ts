import { CloveError } from '../errors/index.ts';
import type { WirePeer, WireRequest } from '../native/types.ts';
import type { AsyncOutcome } from './async/tasks.ts';
import type { Outcome } from './audit/draft.ts';
import { OpenRecords } from './audit/open-records.ts';
import { type Connection, Connections } from './connections.ts';
import { ErrorAnswers, hexByte } from './error-answers.ts';
import { toSortedJson } from './json.ts';
import type { Kernel } from './kernel.ts';
import { decisionOf, forbidden, refusalText } from './permissions/refusal.ts';
import type { CallTap } from './recording/tap.ts';
import { RequestForms } from './request-forms.ts';
import type { SyscallContext, SyscallDefinition } from './syscalls/define.ts';
import type { CallObserver } from './telemetry/observer.ts';
import { Turns } from './turns.ts';

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
  readonly #forms: RequestForms;
  readonly #connections: Connections;
  readonly #errors: ErrorAnswers;
  /** Audit records of calls that have not ended; most calls have none. */
  readonly #records = new OpenRecords();
  /** Calls of agents in worlds that are not answered yet, and do not only wait: the world's time is not skipped meanwhile. */
  readonly #served = new Map<WireRequest, Disposable>();
  /** Calls that are served in place of others: whoever looks on knows those. */
  readonly #resumed = new WeakMap<WireRequest, WireRequest>();
  readonly #turns = new Turns<WireRequest>({
    serve: (request) => this.#serveSafely(request),
    pauseMs: (callerId) => this.#kernel.quotas.pauseMs(callerId),
  });

  constructor(options: DispatcherOptions) {
    this.#getKernel = options.kernel;
    this.#checkAnswers = options.checkAnswers;
    for (const [opcode, definition] of options.table) this.#definitions[opcode] = definition;
    this.#forms = new RequestForms(options.table);
    this.#connections = new Connections(options.kernel);
    this.#errors = new ErrorAnswers(options.kernel, this.counters);
  }

  get #kernel(): Kernel {
    return this.#getKernel();
  }

  open(connection: number, principal: number, peer: WirePeer): void {
    this.#connections.open(connection, principal, peer);
  }

  close(connection: number): void {
    this.#connections.close(connection);
  }

  closeAll(): void {
    this.#connections.closeAll();
  }

  /** Brings the counters of one agent up to date with what the wire server answered by itself. */
  collectNativeCountsOf(agentId: number): void {
    this.#connections.collectNativeCountsOf(agentId);
  }

  /** The same for all of them. */
  collectNativeCounts(): void {
    this.#connections.collectNativeCounts();
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
      if (definition.permission.startsWith('metrics.'))
        this.#connections.collectNativeCountsFor(connection.caller);
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
      input = this.#forms.parse(definition, request);
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
    const answer = this.#errors.answerTo(connection, request.opcode, definition, error);
    if (definition !== undefined) void this.#endRecord(request, definition, answer.code);
    this.observer?.ended(request, answer.code, null);
    this.#respond(connection, request, toSortedJson(answer));
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
      const answer = this.#errors.answerTo(connection, opcode, definition, error);
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
      const { code } = this.#errors.answerTo(connection, opcode, definition, error);
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
