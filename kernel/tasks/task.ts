export const TASK_STATES = ['pending', 'assigned', 'completed', 'failed', 'expired'] as const;
export type TaskState = (typeof TASK_STATES)[number];

/** A piece of work that somebody wants done. Never changed, replaced whole. */
export interface Task {
  readonly id: number;
  /** What workers choose by. */
  readonly kind: string;
  readonly title: string;
  /** JSON. */
  readonly payload: string;
  readonly state: TaskState;
  /** Caller id; 0 = an operator's client of an earlier kernel. */
  readonly creatorId: number;
  /** Who works on it, or did last; null = nobody yet. */
  readonly assigneeId: number | null;
  /** How often it was given to somebody. */
  readonly attempts: number;
  readonly maxAttempts: number;
  readonly leaseMs: number;
  /** When it goes back unless it is done or renewed; null = it is not assigned. */
  readonly leaseWallMs: number | null;
  /** Higher ones first. */
  readonly priority: number;
  /** Tasks that must be completed before. */
  readonly dependsOn: readonly number[];
  /** When it is no longer worth doing; null = always is. */
  readonly deadlineWallMs: number | null;
  /** JSON; null = there is none. */
  readonly result: string | null;
  readonly error: string | null;
  readonly createdWallMs: number;
  readonly changedWallMs: number;
}

export function isOver({ state }: Task): boolean {
  return state !== 'pending' && state !== 'assigned';
}

export interface TaskLimits {
  /** Of payload, result or error. */
  readonly textBytes: number;
  readonly dependencies: number;
  /** Not over, of one creator. */
  readonly creatorTasks: number;
  /** Of all. */
  readonly tasks: number;
  readonly totalBytes: number;
  /** Over, and kept to be asked about. */
  readonly keptOver: number;
  /** Waiting claims of one caller. */
  readonly callerClaims: number;
}

export const TASK_LIMITS: TaskLimits = {
  textBytes: 256 * 2 ** 10,
  dependencies: 256,
  creatorTasks: 10_000,
  tasks: 100_000,
  totalBytes: 256 * 2 ** 20,
  keptOver: 10_000,
  callerClaims: 64,
};

export function bytesOf({ payload, result, error, title, kind }: Task): number {
  return (
    (payload.length + (result?.length ?? 0) + (error?.length ?? 0) + title.length + kind.length) * 2 + 512
  );
}
