import { CloveError } from '../../errors/index.ts';
import { callOptions, waitFields } from './arguments.ts';
import { EvidenceClient } from './evidence-client.ts';
import { FIRST_CLIENT_ID } from './syscall-client.ts';
import type { CallOptions, SyscallRequest, SyscallResponse, Target, WaitOptions } from './types.ts';

/** A piece of work as the kernel keeps it. */
export type Task = SyscallResponse<'TASK_STATUS'>['task'];

/** `world`: shared by all in the caller's world, which is what `global` means there. */
export type StateScope = 'global' | 'agent' | 'session' | 'world';

/** State and tasks. */
export class StateClient extends EvidenceClient {
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
      this.untilClosed(() =>
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
}
