/** From the kernel's events to the lives of agents and the marks of the timeline. Pure. */
import type { AgentLife, FleetAgentRecord, FleetMark } from './record.ts';
import type { CgroupFigures, FleetEvent } from './types.ts';

export type AgentHistory = Pick<
  FleetAgentRecord,
  'lives' | 'restarts' | 'escalated' | 'cpuMs' | 'throttledMs' | 'memoryPeakBytes'
>;

interface Usage {
  readonly cpu_user_us: number;
  readonly cpu_system_us: number;
  readonly cpu_throttled_us: number;
  readonly memory_peak_bytes: number;
}

/** What the events say about one agent; `live`: counters of an incarnation that runs still. */
export function historyOf(
  agent: string,
  events: readonly FleetEvent[],
  live: CgroupFigures | null = null,
): AgentHistory {
  const lives: AgentLife[] = [];
  let restarts = 0;
  let escalated = false;
  const usages: Usage[] = [];
  for (const event of events) {
    if (event.agent !== agent) continue;
    const { data } = event;
    if (event.type === 'AGENT_SPAWNED')
      lives.push({ fromMs: event.atMs, toMs: null, reason: null, exitCode: null, signal: null });
    else if (event.type === 'AGENT_EXITED') {
      const life = lives.at(-1);
      // The end of a restart that never ran has no beginning.
      if (life === undefined || life.toMs !== null) continue;
      lives[lives.length - 1] = {
        fromMs: life.fromMs,
        toMs: event.atMs,
        reason: String(data.reason),
        exitCode: typeof data.exit_code === 'number' ? data.exit_code : null,
        signal: typeof data.signal === 'string' ? data.signal : null,
      };
      if (typeof data.usage === 'object' && data.usage !== null) usages.push(data.usage as Usage);
    } else if (event.type === 'AGENT_RESTARTING') restarts++;
    else if (event.type === 'AGENT_ESCALATED') escalated = true;
  }
  if (live !== null && lives.at(-1)?.toMs === null)
    usages.push({
      cpu_user_us: live.cpu.usage_usec,
      cpu_system_us: 0,
      cpu_throttled_us: live.cpu.throttled_usec,
      memory_peak_bytes: live.memory.peak,
    });
  const sum = (of: (usage: Usage) => number) =>
    usages.length === 0 ? null : usages.reduce((total, usage) => total + of(usage), 0);
  return {
    lives,
    restarts,
    escalated,
    cpuMs: sum((usage) => (usage.cpu_user_us + usage.cpu_system_us) / 1000),
    throttledMs: sum((usage) => usage.cpu_throttled_us / 1000),
    memoryPeakBytes: usages.length === 0 ? null : Math.max(...usages.map((usage) => usage.memory_peak_bytes)),
  };
}

/** Marks that the kernel's events make by themselves. */
export function marksOf(events: readonly FleetEvent[]): FleetMark[] {
  return events.flatMap((event): FleetMark[] => {
    const { agent, data, atMs } = event;
    switch (event.type) {
      case 'RESOURCE_WARNING':
        return [{ atMs, agent, kind: 'limit', text: `limit of ${data.resource} hit ${data.count} times` }];
      case 'AGENT_RESTARTING':
        return [
          {
            atMs,
            agent,
            kind: 'restart',
            text: `restart ${data.restart_count} in ${data.delay_ms} ms, after ${endText(data)}`,
          },
        ];
      case 'AGENT_ESCALATED':
        return [{ atMs, agent, kind: 'escalated', text: `given up after ${data.restart_count} restarts` }];
      case 'SYSCALL_BLOCKED':
        return [
          { atMs, agent, kind: 'refused', text: `refused: ${data.syscall ?? data.syscall_name ?? 'a call'}` },
        ];
      default:
        return [];
    }
  });
}

/** How an incarnation ended, in words. */
export function endText(data: Readonly<Record<string, unknown>>): string {
  if (data.reason === 'oom') return 'its memory limit';
  if (data.signal) return String(data.signal);
  return data.exit_code === null || data.exit_code === undefined
    ? String(data.reason)
    : `exit ${data.exit_code}`;
}
