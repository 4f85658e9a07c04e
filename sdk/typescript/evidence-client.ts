import { AgentsClient } from './agents-client.ts';
import type { CallOptions, SyscallRequest, SyscallResponse, Target } from './types.ts';

type Level = NonNullable<SyscallRequest<'SET_PERMS'>['level']>;

/** Who may do what, what was done, and what it takes: permissions, audit, recordings, metrics. */
export class EvidenceClient extends AgentsClient {
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
}
