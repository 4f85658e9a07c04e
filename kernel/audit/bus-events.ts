import type { Audience, EventType } from '../events/event-bus.ts';
import type { AuditCategory } from '../syscalls/define.ts';
import type { AuditLog } from './audit-log.ts';

/** What happens without anybody's call, or goes on after one. Everything else is recorded as the decision about a call. */
const CATEGORIES: Partial<Readonly<Record<EventType, AuditCategory>>> = {
  AGENT_SPAWNED: 'AGENT_LIFECYCLE',
  AGENT_EXITED: 'AGENT_LIFECYCLE',
  AGENT_PAUSED: 'AGENT_LIFECYCLE',
  AGENT_RESUMED: 'AGENT_LIFECYCLE',
  AGENT_RESTARTING: 'AGENT_LIFECYCLE',
  AGENT_ESCALATED: 'AGENT_LIFECYCLE',
  AGENT_RELOADED: 'AGENT_LIFECYCLE',
  AGENT_READY: 'AGENT_LIFECYCLE',
  AGENT_HEALTH: 'AGENT_LIFECYCLE',
  GROUP_RESTARTING: 'AGENT_LIFECYCLE',
  GROUP_ESCALATED: 'AGENT_LIFECYCLE',
  RESOURCE_WARNING: 'RESOURCE',
  WORLD_CHANGED: 'WORLD',
};

/** An event of the kernel's own, as its record. What is published to several audiences is recorded once, as operators see it. */
export function recordBusEvent(
  audit: AuditLog,
  type: EventType,
  data: unknown,
  sourceId: number,
  onlyTo: Audience | undefined,
): void {
  const category = CATEGORIES[type];
  if (category === undefined || (onlyTo !== undefined && onlyTo !== 'operators')) return;
  if (!audit.isOn(category) || typeof data !== 'object' || data === null) return;
  // An agent's output is its own: it may hold anything.
  const {
    agent_id,
    name,
    agent_name: _,
    log_tail: __,
    ...details
  } = data as Readonly<Record<string, unknown>>;
  const about = {
    category,
    agentId: typeof agent_id === 'number' ? agent_id : sourceId,
    ...(typeof name === 'string' ? { agentName: name } : {}),
  };
  void audit.event({ ...about, type, details });
  const by = details.killed_by;
  if (type === 'AGENT_EXITED' && typeof by === 'number' && by !== 0) {
    void audit.event({ ...about, type: 'AGENT_KILLED', details: { killed_by: by } });
  }
}
