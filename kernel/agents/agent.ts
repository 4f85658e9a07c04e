import type { Sandbox, SandboxExit, SandboxSpec } from '../../native/types.ts';
import type { SupervisionPlan } from '../supervision/plan.ts';
import type { LogBuffer } from './logs.ts';
import type { RestartState } from './restart-policy.ts';
import type { SpawnRequest } from './spawn-request.ts';
import type { TemplateUse } from './template-plan.ts';

/**
 * starting: being set up, or waiting for its restart (`restartAt` is set then); stopping: told to end, not gone yet;
 * stopped: ended as asked or with status 0; failed: ended otherwise, was given up, or could not be started.
 */
export const AGENT_STATES = ['starting', 'running', 'paused', 'stopping', 'stopped', 'failed'] as const;
export type AgentState = (typeof AGENT_STATES)[number];

/** What one agent did through the kernel since it was spawned; survives restarts. */
export interface AgentCounters {
  syscalls: number;
  messagesSent: number;
  messagesReceived: number;
  bytesRead: number;
  bytesWritten: number;
  llmCalls: number;
  llmTokens: number;
}

/** Everything needed to start the agent again: the sandbox but for what changes with every incarnation. */
export interface LaunchPlan {
  readonly name: string;
  /** What was asked for: a recording starts the agent again from it. null = nobody asked, or the agent has ended. */
  readonly request: SpawnRequest | null;
  /** Its script was copied from another agent: on the host there is none at that path, or another. */
  readonly isScriptOfAgent?: boolean;
  /** argv with its environment, mounts, limits: complete but for uid, instance, socket and stdio. */
  readonly sandbox: Omit<
    SandboxSpec,
    'instance' | 'hostname' | 'uid' | 'gid' | 'socketPath' | 'stdin' | 'stdout' | 'stderr' | 'cgroupParent'
  >;
  /** How it is forked from a template; null or absent = none was asked for. */
  readonly template?: TemplateUse | null;
  /** Text for fd 0, then end of file; null = nothing to read. */
  readonly stdin: string | null;
  /** Wall time after which an incarnation is killed with reason 'timeout'. */
  readonly timeoutMs: number | null;
  /** Capacity of each of the two log buffers. */
  readonly logBytes: number;
}

/** How one incarnation ended, with what it left behind. */
export interface AgentExit extends Omit<SandboxExit, 'reason'> {
  /** unhealthy, unready: the kernel has ended it because it was not well, or not ready in time. */
  readonly reason: SandboxExit['reason'] | 'unhealthy' | 'unready';
  readonly agentId: number;
  readonly name: string;
  /** When it ended, ms since the epoch. */
  readonly endedAt: number;
  readonly restartCount: number;
}

/** One agent: one id and name for all incarnations. The table owns these objects; others read them. */
export interface Agent {
  readonly id: number;
  readonly name: string;
  /** Caller id of who spawned it; 0 = the kernel itself. */
  readonly parentId: number;
  /** What a restart needs; emptied of the request's bulk when the agent is retired. */
  plan: LaunchPlan;
  readonly counters: AgentCounters;
  readonly restart: RestartState;
  readonly supervision: SupervisionPlan;
  readonly stdout: LogBuffer;
  readonly stderr: LogBuffer;
  /** ms since the epoch. */
  readonly spawnedAt: number;
  state: AgentState;
  /** Of whoever started it. */
  labels: Readonly<Record<string, string>>;
  /** What it last said of itself. Untrusted text. */
  status: string;
  /** Its incarnation is there for those that depend on it. */
  ready: boolean;
  /** Whether the latest incarnation came from a template, and why not; null = none was asked for. */
  startedFrom?: { readonly used: boolean; readonly reason: string | null } | null;
  /** The live sandbox; null between incarnations and after the end. */
  sandbox: Sandbox | null;
  /** Host pid of the main process of the latest incarnation; 0 = never started. */
  pid: number;
  /** Start of the latest incarnation, ms since the epoch. */
  startedAt: number;
  /** When the pending restart is due, ms since the epoch; null = none pending. */
  restartAt: number | null;
  /** How the latest incarnation ended; null = has not ended yet. */
  lastExit: AgentExit | null;
}
