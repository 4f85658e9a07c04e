import { toTarget } from './arguments.ts';
import { CallsClient } from './calls-client.ts';
import type { CallOptions, SyscallRequest, SyscallResponse, Target } from './types.ts';

/** Agents: start, end, stop, list, wait, new code. */
export class AgentsClient extends CallsClient {
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

  /** The last output of an agent, or what is behind a place in it: untrusted text. */
  logs(
    target: Target,
    options: CallOptions & {
      readonly maxBytes?: number;
      /**
       * Not the last but the first `maxBytes` kept behind this many bytes of each stream; the answer says in `stdout_to` and
       * `stderr_to` where to go on.
       */
      readonly from?: { readonly stdout: number; readonly stderr: number };
      /** With `from`: how long to wait for more where there is none, unless the agent ends. The end of a wait is no error. */
      readonly waitMs?: number;
    } = {},
  ): Promise<SyscallResponse<'LOGS'>> {
    const { maxBytes, from, waitMs, ...call } = options;
    return this.call(
      'LOGS',
      {
        ...toTarget(target),
        ...(maxBytes === undefined ? {} : { max_bytes: maxBytes }),
        ...(from === undefined ? {} : { stdout_from: from.stdout, stderr_from: from.stderr }),
        ...(waitMs === undefined ? {} : { timeout_ms: Math.ceil(waitMs) }),
      },
      call,
    );
  }

  list(options: CallOptions & { readonly all?: boolean } = {}): Promise<SyscallResponse<'LIST'>> {
    const { all = false, ...call } = options;
    return this.call('LIST', { all }, call);
  }
}
