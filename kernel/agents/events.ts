import type { Agent, AgentExit } from './agent.ts';

/** Output that goes along with an event. */
const EVENT_LOG_BYTES = 2048;

export function lifecycleData(agent: Agent): { readonly agent_id: number; readonly name: string } {
  return { agent_id: agent.id, name: agent.name };
}

export interface UsageReport {
  readonly cpu_user_us: number;
  readonly cpu_system_us: number;
  readonly cpu_throttled_us: number;
  readonly memory_peak_bytes: number;
  readonly oom_kills: number;
  readonly pids_refused: number;
  readonly wall_us: number;
}

export function usageReport(exit: AgentExit): UsageReport {
  return {
    cpu_user_us: exit.cpuUserUs,
    cpu_system_us: exit.cpuSystemUs,
    cpu_throttled_us: exit.cpuThrottledUs,
    memory_peak_bytes: exit.memoryPeakBytes,
    oom_kills: exit.oomKills,
    pids_refused: exit.pidsRefused,
    wall_us: exit.wallUs,
  };
}

/** What everybody may know about an end. */
export function exitedData(
  agent: Agent,
  exit: AgentExit,
  killedBy: number | null,
): Readonly<Record<string, unknown>> {
  return {
    ...lifecycleData(agent),
    ...(killedBy === null ? {} : { killed_by: killedBy }),
    reason: exit.reason,
    exit_code: exit.exitCode,
    signal: exit.signal,
    restart_count: exit.restartCount,
  };
}

/** What only operators are told besides: an agent's output and use of the machine are no business of other agents. */
export function exitedDetails(agent: Agent, exit: AgentExit): Readonly<Record<string, unknown>> {
  return { usage: usageReport(exit), log_tail: logTail(agent, EVENT_LOG_BYTES) };
}

/** The end of stderr, or of stdout where nothing was written to stderr. Untrusted text. */
export function logTail(agent: Agent, maxBytes: number): string {
  const log = agent.stderr.keptBytes > 0 ? agent.stderr : agent.stdout;
  return log.tail(maxBytes).toString('utf8');
}
