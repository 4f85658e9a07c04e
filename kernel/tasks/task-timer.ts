import { isOver, type Task } from './task.ts';

/** What has a task end by itself, on the monotonic clock. */
interface Times {
  readonly leaseAtMs: number | null;
  readonly deadlineAtMs: number | null;
}

export interface TaskTimerOptions {
  /** Milliseconds that never go back. */
  readonly monotonicMs: () => number;
  readonly onDue: (id: number, what: 'lease' | 'deadline') => void;
}

const MAX_TIMER_MS = 2 ** 31 - 1;
/** So often at most, also while what is overdue cannot be written down. */
const MIN_TIMER_MS = 20;

/** When leases and tasks are over: one timer for the first of them. */
export class TaskTimer {
  readonly #options: TaskTimerOptions;
  readonly #times = new Map<number, Times>();
  #timer: NodeJS.Timeout | null = null;
  #timerAtMs = Number.POSITIVE_INFINITY;

  constructor(options: TaskTimerOptions) {
    this.#options = options;
  }

  /** Tasks that a lease or a deadline ends. */
  ids(): number[] {
    return [...this.#times.keys()];
  }

  /** In place of what was known of this task. */
  set(task: Task, wallMs: number): void {
    this.#times.delete(task.id);
    if (isOver(task)) return;
    const now = this.#options.monotonicMs();
    // A clock that was set back must not make anything last longer than it was to.
    const { leaseWallMs, leaseMs, deadlineWallMs, createdWallMs } = task;
    const leaseAtMs = leaseWallMs === null ? null : now + Math.min(leaseMs, leaseWallMs - wallMs);
    const deadlineAtMs =
      deadlineWallMs === null
        ? null
        : now + Math.min(deadlineWallMs - createdWallMs, deadlineWallMs - wallMs);
    if (leaseAtMs === null && deadlineAtMs === null) return;
    const times = { leaseAtMs, deadlineAtMs };
    this.#times.set(task.id, times);
    this.#arm(firstOf(times));
  }

  delete(id: number): void {
    this.#times.delete(id);
  }

  /** Tells of all that is due by now. */
  sweep(): void {
    this.#timer = null;
    this.#timerAtMs = Number.POSITIVE_INFINITY;
    const now = this.#options.monotonicMs();
    let next = Number.POSITIVE_INFINITY;
    for (const [id, times] of [...this.#times]) {
      // What ended one of them may have ended this one, too.
      if (!this.#times.has(id)) continue;
      const { leaseAtMs, deadlineAtMs } = times;
      if (deadlineAtMs !== null && deadlineAtMs <= now) this.#options.onDue(id, 'deadline');
      else if (leaseAtMs !== null && leaseAtMs <= now) this.#options.onDue(id, 'lease');
      else next = Math.min(next, firstOf(times));
    }
    if (next < Number.POSITIVE_INFINITY) this.#arm(next);
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #arm(atMs: number): void {
    if (atMs >= this.#timerAtMs) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timerAtMs = atMs;
    const waitMs = Math.min(MAX_TIMER_MS, Math.max(MIN_TIMER_MS, atMs - this.#options.monotonicMs()));
    this.#timer = setTimeout(() => this.sweep(), waitMs).unref();
  }
}

function firstOf({ leaseAtMs, deadlineAtMs }: Times): number {
  return Math.min(leaseAtMs ?? Number.POSITIVE_INFINITY, deadlineAtMs ?? Number.POSITIVE_INFINITY);
}
