import type { SandboxExit } from '../../native/types.ts';
import type { Agent } from './agent.ts';
import type { Plan } from './plan.ts';

/** The supervisor's own knowledge of a live agent. */
export interface Life {
  readonly agent: Agent;
  readonly end: PromiseWithResolvers<void>;
  /** Who told it to end; null = nobody. */
  stoppedBy: number | null;
  startedMonotonicMs: number;
  restartTimer: NodeJS.Timeout | null;
  timeoutTimer: NodeJS.Timeout | null;
  graceTimer: NodeJS.Timeout | null;
  /** Makes the plan of an agent of the last kernel, once; null = it has one. */
  prepare: (() => Promise<Plan>) | null;
  /** Is told of the end of an incarnation while the agent gets new code, in place of the restart policy; null = it does not. */
  handover: ((exit: SandboxExit) => void) | null;
}

export function clearTimers(life: Life): void {
  for (const timer of [life.restartTimer, life.timeoutTimer, life.graceTimer]) {
    if (timer !== null) clearTimeout(timer);
  }
  life.restartTimer = null;
  life.timeoutTimer = null;
  life.graceTimer = null;
}
