import type { SandboxExit } from '../../native/types.ts';
import type { Watch } from '../supervision/watch.ts';
import type { Agent } from './agent.ts';
import type { Plan } from './plan.ts';

/** The supervisor's own knowledge of a live agent. */
export interface Life {
  readonly agent: Agent;
  readonly end: PromiseWithResolvers<void>;
  /** Until its first incarnation may start; null = it may, or has been started. */
  go: PromiseWithResolvers<void> | null;
  /** Who told it to end; null = nobody. */
  stoppedBy: number | null;
  /** Its incarnation is ended because of others; it comes back, or is given up with them. */
  isStoppedForGroup: boolean;
  /** Why the kernel has ended its incarnation; null = it has not. */
  fault: 'unhealthy' | 'unready' | null;
  startedMonotonicMs: number;
  /** Between two incarnations. */
  isWaiting: boolean;
  timeoutTimer: NodeJS.Timeout | null;
  graceTimer: NodeJS.Timeout | null;
  /** Of the incarnation that runs. */
  watch: Watch | null;
  /** Who is to be told when it is ready the next time. */
  readonly waitingForReady: (() => void)[];
  /** Makes the plan of an agent of the last kernel, once; null = it has one. */
  prepare: (() => Promise<Plan>) | null;
  /** Is told of the end of an incarnation while the agent gets new code, in place of the restart policy; null = it does not. */
  handover: ((exit: SandboxExit) => void) | null;
}

export function newLife(agent: Agent): Life {
  return {
    agent,
    end: Promise.withResolvers<void>(),
    go: null,
    stoppedBy: null,
    isStoppedForGroup: false,
    fault: null,
    startedMonotonicMs: performance.now(),
    isWaiting: false,
    timeoutTimer: null,
    graceTimer: null,
    watch: null,
    waitingForReady: [],
    prepare: null,
    handover: null,
  };
}

/** The incarnation is over, and so is what was to happen to it. */
export function clearTimers(life: Life): void {
  for (const timer of [life.timeoutTimer, life.graceTimer]) if (timer !== null) clearTimeout(timer);
  life.timeoutTimer = null;
  life.graceTimer = null;
  life.watch?.close();
  life.watch = null;
}
