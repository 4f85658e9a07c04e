import type { Logger } from 'pino';
import type { Agent, AgentExit } from '../agents/agent.ts';
import { exitedData, exitedDetails, lifecycleData } from '../agents/events.ts';
import type { EventBus, EventType } from '../events/event-bus.ts';

/** Tells the event bus, and with it the audit log, what becomes of agents. */
export class Announcer {
  readonly #events: EventBus;
  readonly #log: Logger;

  constructor(events: EventBus, log: Logger) {
    this.#events = events;
    this.#log = log;
  }

  say(type: EventType, data: Readonly<Record<string, unknown>>): void {
    this.#events.publish(type, data, 0);
    this.#log.debug({ event: type, ...data }, 'agent');
  }

  /** Everybody is told of the end, operators also what was used and printed. */
  exited(agent: Agent, exit: AgentExit, stoppedBy: number | null): void {
    const data = exitedData(agent, exit, stoppedBy);
    this.#events.publish('AGENT_EXITED', { ...data, ...exitedDetails(agent, exit) }, 0, 'operators');
    this.#events.publish('AGENT_EXITED', data, 0, 'agents');
    this.#log.debug({ event: 'AGENT_EXITED', ...data }, 'agent');
  }

  spawned(agent: Agent): void {
    this.say('AGENT_SPAWNED', {
      ...lifecycleData(agent),
      pid: agent.pid,
      parent_id: agent.parentId,
      restart_count: agent.restart.count,
    });
  }

  /** `exit`: what the restart follows; null = nothing that this kernel has seen. */
  restarting(agent: Agent, exit: AgentExit | null, reason: string, delayMs: number): void {
    this.say('AGENT_RESTARTING', {
      ...lifecycleData(agent),
      agent_name: agent.name,
      restart_count: agent.restart.count,
      exit_code: exit?.exitCode ?? null,
      signal: exit?.signal ?? null,
      reason,
      delay_ms: delayMs,
    });
  }

  escalated(agent: Agent, exit: AgentExit | null): void {
    const data = {
      ...lifecycleData(agent),
      agent_name: agent.name,
      restart_count: agent.restart.count,
      exit_code: exit?.exitCode ?? null,
      signal: exit?.signal ?? null,
      reason: exit?.reason ?? 'setup',
    };
    this.say('AGENT_ESCALATED', data);
    this.#log.warn(data, 'agent given up: too many restarts');
  }
}
