import { CloveError, isCloveError } from '../../errors/index.ts';
import { FIRST_CLIENT_ID } from './syscall-client.ts';
import { TunnelClient } from './tunnel-client.ts';
import type {
  CallOptions,
  ClientOptions,
  ReceivedEvent,
  ReceivedMessage,
  SyscallRequest,
  SyscallResponse,
  Target,
  WaitOptions,
} from './types.ts';

type Level = NonNullable<SyscallRequest<'SET_PERMS'>['level']>;
/** How a command ended. */
export type ExecResult = Extract<SyscallResponse<'EXEC'>, { exit_code: number }>;
/** What a server answered. */
export type HttpResult = Extract<SyscallResponse<'HTTP'>, { status_code: number }>;
/** What a model answered. */
export type ThinkResult = Extract<SyscallResponse<'THINK'>, { content: string }>;
type Accepted = Extract<SyscallResponse<'EXEC'>, { async: true }>;
/** An answer to a call that was submitted. */
export type AsyncResult = SyscallResponse<'ASYNC_POLL'>['results'][number];

/** A piece of work as the kernel keeps it. */
export type Task = SyscallResponse<'TASK_STATUS'>['task'];

/** `world`: shared by all in the caller's world, which is what `global` means there. */
export type StateScope = 'global' | 'agent' | 'session' | 'world';

/** Messages or events taken per round trip by the iterators. */
const ITERATOR_BATCH = 64;

/**
 * A client of the kernel. Arguments are plain, answers carry the fields of docs/syscalls.md, failures are CloveErrors.
 * Safe to use from many places at once; keeps the process alive only while a call waits for its answer.
 */
export class CloveClient extends TunnelClient {
  /** Taken from the mailbox but not asked for yet: an iteration that was left early. */
  #messages: ReceivedMessage[] = [];
  #events: ReceivedEvent[] = [];

  /** Another client of the same kernel, with a connection of its own. */
  clone(options: ClientOptions = {}): CloveClient {
    return new CloveClient({ ...this.options, socketPath: this.socketPath, ...options });
  }

  // ---- core

  hello(options?: CallOptions): Promise<SyscallResponse<'HELLO'>> {
    return this.call('HELLO', {}, options);
  }

  /** Comes back as it is. */
  async echo(text: string, options?: CallOptions): Promise<string> {
    return String(await this.call('NOOP', text, options));
  }

  /** The kernel's farewell, "goodbye". Ends nothing: close() does. */
  async exit(options?: CallOptions): Promise<string> {
    return String(await this.call('EXIT', undefined, options));
  }

  // ---- agents

  spawn(request: SyscallRequest<'SPAWN'>, options?: CallOptions): Promise<SyscallResponse<'SPAWN'>> {
    return this.call('SPAWN', request, options);
  }

  /** Ends an agent for good: SIGTERM, then SIGKILL to all it started. @throws NOT_FOUND */
  async kill(target: Target, options: CallOptions & { readonly graceMs?: number } = {}): Promise<void> {
    const { graceMs, ...call } = options;
    await this.call(
      'KILL',
      { ...toTarget(target), ...(graceMs === undefined ? {} : { grace_ms: graceMs }) },
      call,
    );
  }

  async pause(target: Target, options?: CallOptions): Promise<void> {
    await this.call('PAUSE', toTarget(target), options);
  }

  async resume(target: Target, options?: CallOptions): Promise<void> {
    await this.call('RESUME', toTarget(target), options);
  }

  /** Waits until an agent has ended for good. @throws NOT_FOUND, TIMEOUT */
  wait(target: Target, options: CallOptions = {}): Promise<SyscallResponse<'WAIT'>> {
    const { timeoutMs, signal } = options;
    const limit = timeoutMs === undefined || timeoutMs === null ? {} : { timeout_ms: Math.ceil(timeoutMs) };
    return this.call('WAIT', { ...toTarget(target), ...limit }, { signal });
  }

  /**
   * New code for an agent (default: what lies at its path now) under its id, name, mailbox and state. `reloaded` tells
   * whether it came up; where not, the old code runs again. @throws NOT_FOUND, CONFLICT, FORBIDDEN
   */
  reload(
    target: Target,
    request: Omit<SyscallRequest<'RELOAD'>, 'id' | 'agent_id' | 'name'> = {},
    options?: CallOptions,
  ): Promise<SyscallResponse<'RELOAD'>> {
    return this.call('RELOAD', { ...request, ...toTarget(target) }, options);
  }

  /** Waits until an agent is ready. @throws NOT_FOUND, TIMEOUT, CONFLICT when it ends for good before that */
  waitReady(target: Target, options: CallOptions = {}): Promise<SyscallResponse<'WAIT_READY'>> {
    const { timeoutMs, signal } = options;
    const limit = timeoutMs === undefined || timeoutMs === null ? {} : { timeout_ms: Math.ceil(timeoutMs) };
    return this.call('WAIT_READY', { ...toTarget(target), ...limit }, { signal });
  }

  /**
   * An agent speaks about itself to its supervisor; whatever it says counts as a heartbeat. Returns whether `pong` was the one
   * that is waited for.
   */
  async notify(
    note: { readonly ready?: boolean; readonly status?: string; readonly pong?: string },
    options?: CallOptions,
  ): Promise<boolean> {
    return (await this.call('NOTIFY', note, options)).answered;
  }

  /** A new group of a supervision tree, or other rules for one. @throws FORBIDDEN, NOT_FOUND, BAD_REQUEST */
  async setGroup(
    request: SyscallRequest<'GROUP_SET'>,
    options?: CallOptions,
  ): Promise<SyscallResponse<'GROUP_SET'>['group']> {
    return (await this.call('GROUP_SET', request, options)).group;
  }

  async groups(options?: CallOptions): Promise<SyscallResponse<'GROUP_LIST'>['groups']> {
    return (await this.call('GROUP_LIST', {}, options)).groups;
  }

  /** Ends what is in a group, from the last to the first, and the group. Returns the ids of the agents. @throws NOT_FOUND */
  async removeGroup(
    name: string,
    options: CallOptions & { readonly graceMs?: number } = {},
  ): Promise<readonly number[]> {
    const { graceMs, ...call } = options;
    const grace = graceMs === undefined ? {} : { grace_ms: graceMs };
    return (await this.call('GROUP_REMOVE', { name, ...grace }, call)).killed;
  }

  /** The last output of an agent: untrusted text. */
  logs(
    target: Target,
    options: CallOptions & { readonly maxBytes?: number } = {},
  ): Promise<SyscallResponse<'LOGS'>> {
    const { maxBytes, ...call } = options;
    return this.call(
      'LOGS',
      { ...toTarget(target), ...(maxBytes === undefined ? {} : { max_bytes: maxBytes }) },
      call,
    );
  }

  list(options: CallOptions & { readonly all?: boolean } = {}): Promise<SyscallResponse<'LIST'>> {
    const { all = false, ...call } = options;
    return this.call('LIST', { all }, call);
  }

  // ---- files and commands, inside the caller's sandbox

  async exec(
    command: string,
    request: Omit<SyscallRequest<'EXEC'>, 'command' | 'async' | 'request_id'> = {},
    options?: CallOptions,
  ): Promise<ExecResult> {
    return (await this.call('EXEC', { ...request, command }, options)) as ExecResult;
  }

  /** @throws PATH_REFUSED, NOT_FOUND, FORBIDDEN, IO; DATA_CORRUPT when it is not UTF-8 text */
  async readFile(path: string, options?: CallOptions): Promise<string> {
    const { content, encoding } = await this.call('READ', { path }, options);
    if (encoding === undefined) return content;
    throw new CloveError('DATA_CORRUPT', `${path} is not UTF-8 text`, { hint: 'Read it with readBytes().' });
  }

  async readBytes(path: string, options?: CallOptions): Promise<Uint8Array> {
    const { content, encoding } = await this.call('READ', { path }, options);
    return Buffer.from(content, encoding ?? 'utf8');
  }

  /** Returns the bytes written. @throws PATH_REFUSED, NOT_FOUND, FORBIDDEN, IO */
  async writeFile(
    path: string,
    content: string | Uint8Array,
    options: CallOptions & { readonly mode?: 'write' | 'append' } = {},
  ): Promise<number> {
    const { mode = 'write', ...call } = options;
    const data =
      typeof content === 'string'
        ? { content }
        : { content: Buffer.from(content).toString('base64'), encoding: 'base64' as const };
    return (await this.call('WRITE', { path, ...data, mode }, call)).bytes_written;
  }

  // ---- HTTP, by the kernel

  /** Any response is a result, also 404. @throws FORBIDDEN, TIMEOUT, PAYLOAD_TOO_LARGE, OVERLOAD, IO */
  async http(
    url: string,
    request: Omit<SyscallRequest<'HTTP'>, 'url' | 'async' | 'request_id'> = {},
    options?: CallOptions,
  ): Promise<HttpResult> {
    return (await this.call('HTTP', { ...request, url }, options)) as HttpResult;
  }

  /** Into a file of the caller. @throws IO when the server has it not, DATA_CORRUPT when it is another; and as http() and writeFile() */
  download(
    url: string,
    path: string,
    request: Omit<SyscallRequest<'DOWNLOAD'>, 'url' | 'path'> = {},
    options?: CallOptions,
  ): Promise<SyscallResponse<'DOWNLOAD'>> {
    return this.call('DOWNLOAD', { ...request, url, path }, options);
  }

  // ---- models

  /** Asks the kernel's model, and waits for its turn and the answer. @throws NOT_FOUND when it has none, FORBIDDEN, OVERLOAD, TIMEOUT, IO */
  async think(
    prompt: string,
    request: Omit<NonNullable<SyscallRequest<'THINK'>>, 'prompt' | 'async' | 'request_id'> = {},
    options?: CallOptions,
  ): Promise<ThinkResult> {
    return (await this.call('THINK', { ...request, prompt, async: false }, options)) as ThinkResult;
  }

  /** Tells the kernel what this caller has used of a model of its own. Returns false when that is more than its quota. */
  async reportTokens(tokens: number, options?: CallOptions): Promise<boolean> {
    return (await this.call('LLM_REPORT', { tokens, success: true }, options)).success;
  }

  // ---- calls that are answered later

  /** Starts a call and returns the id that its answer will have. @throws OVERLOAD when too many are not polled */
  async submit<Name extends 'EXEC' | 'HTTP' | 'THINK'>(
    name: Name,
    request: Omit<SyscallRequest<Name>, 'async'>,
    options?: CallOptions,
  ): Promise<number> {
    const call = { ...request, async: true } as SyscallRequest<'EXEC'> &
      SyscallRequest<'HTTP'> &
      SyscallRequest<'THINK'>;
    return ((await this.call<'EXEC' | 'HTTP' | 'THINK'>(name, call, options)) as Accepted).request_id;
  }

  /** Answers of submitted calls, each once, in the order in which they ended; those of a lost connection are lost. */
  async pollAsync(options: WaitOptions & { readonly requestId?: number } = {}): Promise<AsyncResult[]> {
    const { max = 10, requestId, ...wait } = options;
    const request = {
      max,
      ...(requestId === undefined ? {} : { request_id: requestId }),
      ...waitFields(wait),
    };
    return (await this.call('ASYNC_POLL', request, callOptions(wait))).results;
  }

  // ---- messages

  /** To an id or a name; `parent` is whoever spawned this agent. Returns the receiver's id. @throws NOT_FOUND, OVERLOAD */
  async send(to: Target, message: unknown, options?: CallOptions): Promise<number> {
    const target = typeof to === 'number' ? { to } : { to_name: to };
    return (await this.call('SEND', { ...target, message }, options)).delivered_to;
  }

  /** Oldest first; empty when there are none, or none came in time. A message is delivered at most once. */
  async receive(options: WaitOptions = {}): Promise<ReceivedMessage[]> {
    const { max = 10, ...wait } = options;
    if (this.#messages.length > 0) return this.#messages.splice(0, max);
    const { messages } = await this.call('RECV', { max, ...waitFields(wait) }, callOptions(wait));
    return messages;
  }

  /** Messages as they come, for ever; goes on after a reconnect and ends with close(). Leaving the loop loses none. */
  async *messages(
    options: { readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<ReceivedMessage, void, void> {
    for (;;) {
      for (let next = this.#messages.shift(); next !== undefined; next = this.#messages.shift()) yield next;
      const received = await this.#untilClosed(() =>
        this.receive({ ...options, wait: true, max: ITERATOR_BATCH }),
      );
      if (received === null) return;
      this.#messages.push(...received);
    }
  }

  broadcast(
    message: unknown,
    options: CallOptions & { readonly includeSelf?: boolean } = {},
  ): Promise<SyscallResponse<'BROADCAST'>> {
    const { includeSelf = false, ...call } = options;
    return this.call('BROADCAST', { message, include_self: includeSelf }, call);
  }

  /** Taken again after a reconnect. @throws CONFLICT when another has it */
  async register(name: string, options?: CallOptions): Promise<void> {
    await this.call('REGISTER', { name }, options);
    this.names.add(name);
  }

  // ---- state

  /** Answered when it is durable, where the kernel keeps state on disk and the scope is global (the default). */
  async store(
    key: string,
    value: unknown,
    options: CallOptions & { readonly scope?: StateScope; readonly ttlSeconds?: number } = {},
  ): Promise<void> {
    const { scope = 'global', ttlSeconds, ...call } = options;
    await this.call(
      'STORE',
      { key, value, scope, ...(ttlSeconds === undefined ? {} : { ttl: ttlSeconds }) },
      call,
    );
  }

  /** undefined when there is none. Without a scope: session, then agent, then global. */
  async fetch<Value = unknown>(
    key: string,
    options: CallOptions & { readonly scope?: StateScope } = {},
  ): Promise<Value | undefined> {
    const { scope, ...call } = options;
    const answer = await this.call('FETCH', { key, ...(scope === undefined ? {} : { scope }) }, call);
    return answer.found ? (answer.value as Value) : undefined;
  }

  /** Deletes what fetch() would find; false when there was nothing. */
  async delete(key: string, options: CallOptions & { readonly scope?: StateScope } = {}): Promise<boolean> {
    const { scope, ...call } = options;
    return (await this.call('DELETE', { key, ...(scope === undefined ? {} : { scope }) }, call)).deleted;
  }

  /** All of them, sorted; asks as often as it takes. */
  async keys(prefix = '', options: CallOptions & { readonly scope?: StateScope } = {}): Promise<string[]> {
    const { scope, ...call } = options;
    const found: string[] = [];
    for (let after = ''; ; after = found.at(-1) as string) {
      const request = { prefix, after, ...(scope === undefined ? {} : { scope }) };
      const { keys, more } = await this.call('KEYS', request, call);
      found.push(...keys);
      if (!more) return found;
    }
  }

  /**
   * Stores a value if the key holds `expected` (compared as JSON; undefined = the key must not exist), or has
   * `expectedVersion` (0 = must not exist). Returns what it holds then. Looking and storing are one step.
   */
  cas(
    key: string,
    expected: unknown,
    value: unknown,
    options: CallOptions & {
      readonly scope?: StateScope;
      readonly ttlSeconds?: number;
      readonly expectedVersion?: number;
    } = {},
  ): Promise<SyscallResponse<'CAS'>> {
    const { scope = 'global', ttlSeconds, expectedVersion, ...call } = options;
    const request = {
      key,
      value,
      scope,
      ...(expected === undefined ? {} : { expected }),
      ...(expectedVersion === undefined ? {} : { expected_version: expectedVersion }),
      ...(ttlSeconds === undefined ? {} : { ttl: ttlSeconds }),
    };
    return this.call('CAS', request, call);
  }

  /**
   * Changes of some keys, or of all with a prefix, as they come and for ever; none is left out while this runs, also over a
   * reconnect. A batch with `resync` tells of keys as they are: what came between is not known any more. Ends with close().
   */
  async *watch(
    what: readonly string[] | { readonly prefix: string },
    options: {
      readonly scope?: StateScope;
      /** Changes behind this version; default: from now on. */
      readonly sinceVersion?: number;
      readonly signal?: AbortSignal;
    } = {},
  ): AsyncGenerator<SyscallResponse<'WATCH'>, void, void> {
    const { scope = 'global', sinceVersion, signal } = options;
    const keys = 'prefix' in what ? { prefix: what.prefix } : { keys: [...what] };
    await this.connect();
    if (scope !== 'global' && this.agentId >= FIRST_CLIENT_ID) {
      throw new CloveError(
        'BAD_REQUEST',
        'a client has private keys on each of its connections: only agents watch them',
      );
    }
    // Where to begin is fixed before anything is waited for: what changes after this line is not missed.
    const ask = (since: number | undefined, timeoutMs?: number) =>
      this.#untilClosed(() =>
        this.call(
          'WATCH',
          {
            ...keys,
            scope,
            ...(since === undefined ? {} : { since_version: since }),
            ...(timeoutMs === undefined ? {} : { timeout_ms: timeoutMs }),
          },
          { signal },
        ),
      );
    let since = sinceVersion ?? (await ask(undefined, 0))?.version;
    while (since !== undefined) {
      const answer: SyscallResponse<'WATCH'> | null = await ask(since);
      if (answer === null) return;
      since = answer.version;
      if (answer.count > 0 || answer.resync) yield answer;
    }
  }

  // ---- worlds

  /** Makes a world of a definition, or of a world of the catalogue. `world_id` is what the other calls take. */
  createWorld(
    request: SyscallRequest<'WORLD_CREATE'>,
    options?: CallOptions,
  ): Promise<SyscallResponse<'WORLD_CREATE'>> {
    return this.call('WORLD_CREATE', request, options);
  }

  /** `force`: also with members in it. @throws NOT_FOUND, CONFLICT */
  async destroyWorld(
    worldId: string,
    options: CallOptions & { readonly force?: boolean } = {},
  ): Promise<void> {
    const { force = false, ...call } = options;
    await this.call('WORLD_DESTROY', { world_id: worldId, force }, call);
  }

  async worlds(options?: CallOptions): Promise<SyscallResponse<'WORLD_LIST'>['worlds']> {
    return (await this.call('WORLD_LIST', {}, options)).worlds;
  }

  /** This caller's files, commands, requests and shared state are the world's from now on. @throws NOT_FOUND, CONFLICT */
  async joinWorld(worldId: string, options?: CallOptions): Promise<SyscallResponse<'WORLD_JOIN'>['world']> {
    return (await this.call('WORLD_JOIN', { world_id: worldId }, options)).world;
  }

  /** Returns the id of the world that was left. @throws NOT_FOUND, FORBIDDEN */
  async leaveWorld(options?: CallOptions): Promise<string> {
    return (await this.call('WORLD_LEAVE', {}, options)).world_id;
  }

  /** Lets something happen there, such as disk_full; `clear` ends what lasts. @throws NOT_FOUND, BAD_REQUEST */
  worldEvent(
    worldId: string,
    eventType: string,
    params: Readonly<Record<string, unknown>> = {},
    options?: CallOptions,
  ): Promise<SyscallResponse<'WORLD_EVENT'>> {
    return this.call('WORLD_EVENT', { world_id: worldId, event_type: eventType, params }, options);
  }

  async worldState(worldId: string, options?: CallOptions): Promise<SyscallResponse<'WORLD_STATE'>['state']> {
    return (await this.call('WORLD_STATE', { world_id: worldId }, options)).state;
  }

  /** As data for restoreWorld(), or with `path` into a file of the host. */
  snapshotWorld(
    worldId: string,
    options: CallOptions & { readonly path?: string } = {},
  ): Promise<SyscallResponse<'WORLD_SNAPSHOT'>> {
    const { path, ...call } = options;
    return this.call('WORLD_SNAPSHOT', { world_id: worldId, ...(path === undefined ? {} : { path }) }, call);
  }

  /** Makes a world from a snapshot, or from a file of the host that has one. @throws DATA_CORRUPT, CONFLICT */
  restoreWorld(
    from: Readonly<Record<string, unknown>> | { readonly path: string },
    options: CallOptions & { readonly newWorldId?: string } = {},
  ): Promise<SyscallResponse<'WORLD_RESTORE'>> {
    const { newWorldId, ...call } = options;
    const isFile = Object.keys(from).length === 1 && typeof from.path === 'string';
    const source = isFile ? { snapshot_path: from.path as string } : { snapshot: { ...from } };
    return this.call(
      'WORLD_RESTORE',
      { ...source, ...(newWorldId === undefined ? {} : { new_world_id: newWorldId }) },
      call,
    );
  }

  /** What has become of its files since it was made. */
  async diffWorld(worldId: string, options?: CallOptions): Promise<SyscallResponse<'WORLD_DIFF'>['changes']> {
    return (await this.call('WORLD_DIFF', { world_id: worldId }, options)).changes;
  }

  /** Worlds that begin as this one is now. Returns their ids. */
  async branchWorld(worldId: string, count = 1, options?: CallOptions): Promise<string[]> {
    return (await this.call('WORLD_BRANCH', { world_id: worldId, count }, options)).world_ids;
  }

  /** Moves its clock; returns the time since its start, ms. @throws NOT_FOUND, CONFLICT */
  /** Waits on the clock of the world the caller is in. `untilMs`: ms after the world's start. */
  waitInWorld(
    time: { readonly ms: number } | { readonly untilMs: number },
    options: CallOptions = {},
  ): Promise<SyscallResponse<'WORLD_WAIT'>> {
    const request = 'ms' in time ? { ms: time.ms } : { until_ms: time.untilMs };
    // How long that is in real time, nobody knows.
    return this.call('WORLD_WAIT', request, { timeoutMs: null, ...options });
  }

  async advanceWorld(worldId: string, ms: number, options?: CallOptions): Promise<number> {
    return (await this.call('WORLD_ADVANCE', { world_id: worldId, ms }, options)).monotonic_ms;
  }

  // ---- tasks

  /** Leaves a piece of work for whoever takes it, or for an assignee; durable when this resolves. Returns the task. */
  async createTask(
    request: SyscallRequest<'TASK_CREATE'> = {},
    options?: CallOptions,
  ): Promise<SyscallResponse<'TASK_CREATE'>['task']> {
    return (await this.call('TASK_CREATE', request, options)).task;
  }

  /** Gives a task to somebody (default: this caller), or more time to who works on it. @throws NOT_FOUND, CONFLICT, FORBIDDEN */
  async assignTask(
    taskId: number,
    assignee?: Target,
    options: CallOptions & { readonly leaseMs?: number } = {},
  ): Promise<Task> {
    const { leaseMs, ...call } = options;
    const request = {
      task_id: taskId,
      ...(assignee === undefined ? {} : { assignee }),
      ...(leaseMs === undefined ? {} : { lease_ms: leaseMs }),
    };
    return (await this.call('TASK_ASSIGN', request, call)).task as Task;
  }

  /** The next task, of some kinds or any; null when there is none, or none came in time. It is this caller's for its lease. */
  async takeTask(
    options: Omit<WaitOptions, 'max'> & {
      readonly kinds?: readonly string[];
      readonly leaseMs?: number;
    } = {},
  ): Promise<Task | null> {
    const { kinds, leaseMs, ...wait } = options;
    const request = {
      ...(kinds === undefined ? {} : { kinds: [...kinds] }),
      ...(leaseMs === undefined ? {} : { lease_ms: leaseMs }),
      ...waitFields(wait),
    };
    return (await this.call('TASK_ASSIGN', request, callOptions(wait))).task;
  }

  async task(taskId: number, options?: CallOptions): Promise<Task> {
    return (await this.call('TASK_STATUS', { task_id: taskId }, options)).task;
  }

  /** How a task ended; told twice it is no error. @throws CONFLICT when it is another's by now */
  async completeTask(
    taskId: number,
    outcome: Omit<SyscallRequest<'TASK_COMPLETE'>, 'task_id'> = {},
    options?: CallOptions,
  ): Promise<Task> {
    return (await this.call('TASK_COMPLETE', { ...outcome, task_id: taskId }, options)).task;
  }

  /** Tasks that this caller has made or works on; asks as often as it takes. */
  async tasks(
    filter: Omit<SyscallRequest<'TASK_LIST'>, 'after' | 'limit'> = {},
    options?: CallOptions,
  ): Promise<Task[]> {
    const found: Task[] = [];
    for (;;) {
      const request = { ...filter, after: found.at(-1)?.task_id ?? 0 };
      const { tasks, more } = await this.call('TASK_LIST', request, options);
      found.push(...tasks);
      if (!more) return found;
    }
  }

  // ---- events

  /** Returns all subscriptions. Renewed after a reconnect. */
  async subscribe(types: readonly string[], options?: CallOptions): Promise<string[]> {
    const answer = await this.call('SUBSCRIBE', { event_types: [...types] }, options);
    this.subscriptions = answer.subscriptions;
    return answer.subscriptions;
  }

  /** Returns what remains. */
  async unsubscribe(types: readonly string[] | 'all', options?: CallOptions): Promise<string[]> {
    const request = types === 'all' ? { all: true } : { event_types: [...types] };
    const { subscribed } = await this.call('UNSUBSCRIBE', request, options);
    this.subscriptions = subscribed;
    return subscribed;
  }

  /** `dropped` counts events that were lost because nobody polled for too long. */
  async pollEvents(options: WaitOptions = {}): Promise<{ events: ReceivedEvent[]; dropped: number }> {
    const { max = 100, ...wait } = options;
    if (this.#events.length > 0) return { events: this.#events.splice(0, max), dropped: 0 };
    const answer = await this.call('POLL_EVENTS', { max, ...waitFields(wait) }, callOptions(wait));
    return { events: answer.events, dropped: answer.dropped };
  }

  /** Events as they come, for ever; goes on after a reconnect and ends with close(). Dropped ones cause a warning. */
  async *events(options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<ReceivedEvent, void, void> {
    for (;;) {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) yield next;
      const polled = await this.#untilClosed(() =>
        this.pollEvents({ ...options, wait: true, max: ITERATOR_BATCH }),
      );
      if (polled === null) return;
      if (polled.dropped > 0) this.warn(new CloveError('OVERLOAD', `${polled.dropped} events were dropped`));
      this.#events.push(...polled.events);
    }
  }

  /** A custom event. Returns how many subscribers it reached. @throws FORBIDDEN for names of the kernel's own */
  async emit(type: string, data: unknown = {}, options?: CallOptions): Promise<number> {
    return (await this.call('EMIT', { event_type: type, data }, options)).delivered_to;
  }

  // ---- permissions and quotas

  /** What an agent may do; default: this caller itself. @throws FORBIDDEN, NOT_FOUND */
  permissions(agentId = 0, options?: CallOptions): Promise<SyscallResponse<'GET_PERMS'>> {
    return this.call('GET_PERMS', { agent_id: agentId }, options);
  }

  /** Sets what an agent may do, by a level or an object. An agent can only give up its own, and give what it has to its children. @throws FORBIDDEN */
  setPermissions(
    wanted: Level | NonNullable<SyscallRequest<'SET_PERMS'>['permissions']>,
    agentId = 0,
    options?: CallOptions,
  ): Promise<SyscallResponse<'SET_PERMS'>> {
    const what = typeof wanted === 'string' ? { level: wanted } : { permissions: wanted };
    return this.call('SET_PERMS', { agent_id: agentId, ...what }, options);
  }

  /** Limits of an agent with its children, and what they have used; default: this agent itself. */
  quota(agentId = 0, options?: CallOptions): Promise<SyscallResponse<'GET_QUOTA'>> {
    return this.call('GET_QUOTA', { agent_id: agentId }, options);
  }

  /** What is not named stays; null = no limit. Calls beyond a limit reject with OVERLOAD. @throws FORBIDDEN */
  setQuota(
    quotas: NonNullable<SyscallRequest<'SET_QUOTA'>['quotas']>,
    agentId = 0,
    options?: CallOptions,
  ): Promise<SyscallResponse<'SET_QUOTA'>> {
    return this.call('SET_QUOTA', { agent_id: agentId, quotas }, options);
  }

  // ---- audit, for operators

  /** The newest records that match, oldest first; as existing clients know them. */
  async auditLog(
    request: SyscallRequest<'GET_AUDIT_LOG'> = {},
    options?: CallOptions,
  ): Promise<SyscallResponse<'GET_AUDIT_LOG'>['entries']> {
    return (await this.call('GET_AUDIT_LOG', request, options)).entries;
  }

  /** Returns the whole configuration; with no change, what it is. */
  async setAuditConfig(
    change: SyscallRequest<'SET_AUDIT_CONFIG'>,
    options?: CallOptions,
  ): Promise<SyscallResponse<'SET_AUDIT_CONFIG'>['config']> {
    return (await this.call('SET_AUDIT_CONFIG', change, options)).config;
  }

  /** Whole records with their hashes, oldest first. */
  auditQuery(
    request: SyscallRequest<'AUDIT_QUERY'> = {},
    options?: CallOptions,
  ): Promise<SyscallResponse<'AUDIT_QUERY'>> {
    return this.call('AUDIT_QUERY', request, options);
  }

  /** Checks the whole log; may take seconds. */
  auditVerify(options: CallOptions = {}): Promise<SyscallResponse<'AUDIT_VERIFY'>> {
    return this.call('AUDIT_VERIFY', {}, { timeoutMs: null, ...options });
  }

  // ---- recording and replay, for operators

  /** @throws CONFLICT when one runs already, FORBIDDEN, IO */
  startRecording(
    request: SyscallRequest<'RECORD_START'> = {},
    options?: CallOptions,
  ): Promise<SyscallResponse<'RECORD_START'>> {
    return this.call('RECORD_START', request, options);
  }

  /** Answers with the finished file. @throws CONFLICT when none runs, IO */
  stopRecording(options?: CallOptions): Promise<SyscallResponse<'RECORD_STOP'>> {
    return this.call('RECORD_STOP', {}, options);
  }

  /** With `export` the entries come along as JSON text. */
  recordingStatus(
    request: SyscallRequest<'RECORD_STATUS'> = {},
    options?: CallOptions,
  ): Promise<SyscallResponse<'RECORD_STATUS'>> {
    return this.call('RECORD_STATUS', request, options);
  }

  /** Makes the calls of an exported recording again that change state, messages and names. @throws CONFLICT, BAD_REQUEST */
  startReplay(
    recording: string | readonly unknown[],
    options?: CallOptions,
  ): Promise<SyscallResponse<'REPLAY_START'>> {
    return this.call('REPLAY_START', { recording }, options);
  }

  replayStatus(options?: CallOptions): Promise<SyscallResponse<'REPLAY_STATUS'>> {
    return this.call('REPLAY_STATUS', {}, options);
  }

  // ---- metrics

  async systemMetrics(options?: CallOptions): Promise<SyscallResponse<'METRICS_SYSTEM'>['metrics']> {
    return (await this.call('METRICS_SYSTEM', {}, options)).metrics;
  }

  /** Default: of this agent itself. */
  async agentMetrics(
    agentId = 0,
    options?: CallOptions,
  ): Promise<SyscallResponse<'METRICS_AGENT'>['metrics']> {
    return (await this.call('METRICS_AGENT', { agent_id: agentId }, options)).metrics;
  }

  async allAgentMetrics(options?: CallOptions): Promise<SyscallResponse<'METRICS_ALL_AGENTS'>['agents']> {
    return (await this.call('METRICS_ALL_AGENTS', {}, options)).agents;
  }

  /** By agent id (default: this agent itself) or by the path that an agent's metrics name. */
  async cgroupMetrics(
    of: Target = 0,
    options?: CallOptions,
  ): Promise<SyscallResponse<'METRICS_CGROUP'>['metrics']> {
    const request = typeof of === 'number' ? { agent_id: of } : { cgroup_path: of };
    return (await this.call('METRICS_CGROUP', request, options)).metrics;
  }

  /** null when this client was closed; after a lost connection it tries again. */
  async #untilClosed<Result>(attempt: () => Promise<Result>): Promise<Result | null> {
    for (;;) {
      try {
        return await attempt();
      } catch (error) {
        if (this.closed) return null;
        if (!isCloveError(error) || error.code !== 'DISCONNECTED' || this.options.reconnect === false)
          throw error;
      }
    }
  }
}

/** Connects with the defaults of ClientOptions, or to one socket. @throws UNREACHABLE */
export function connect(to: string | ClientOptions = {}): Promise<CloveClient> {
  return new CloveClient(typeof to === 'string' ? { socketPath: to } : to).connect();
}

function toTarget(target: Target): { id: number } | { name: string } {
  return typeof target === 'number' ? { id: target } : { name: target };
}

/** The kernel keeps the time: the end of a wait is an answer, not an error. */
function waitFields(options: WaitOptions): { wait?: boolean; timeout_ms?: number } {
  if (options.wait !== true) return {};
  const { timeoutMs } = options;
  return timeoutMs === undefined || timeoutMs === null
    ? { wait: true }
    : { wait: true, timeout_ms: Math.max(0, Math.ceil(timeoutMs)) };
}

function callOptions({ wait, timeoutMs, signal }: WaitOptions): CallOptions {
  return wait === true || timeoutMs === undefined ? { signal } : { signal, timeoutMs };
}
