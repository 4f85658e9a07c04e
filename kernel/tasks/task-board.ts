import { CloveError } from '../../errors/index.ts';
import { FIRST_CLIENT_ID } from '../identity.ts';
import type { KeepsByCaller } from '../kernel.ts';
import { Versions } from '../state/versions.ts';
import type { DurableStore } from '../store/durable-store.ts';
import type { StoreOperation } from '../store/schema.ts';
import { type ClaimOptions, Claims } from './claims.ts';
import type { TaskRows } from './rows.ts';
import { isOver, TASK_LIMITS, type Task, type TaskLimits } from './task.ts';
import { TaskIndex } from './task-index.ts';
import { TaskTimer } from './task-timer.ts';

export interface TaskBoardOptions {
  /** null = kept in memory only. */
  readonly store: DurableStore | null;
  readonly rows?: TaskRows;
  /** Whether an agent of the last kernel is wanted by this one: what it works on stays its. */
  readonly outlivesKernel?: (agentId: number) => boolean;
  readonly limits?: Partial<TaskLimits>;
  readonly onChanged?: (task: Task) => void;
  /** Milliseconds that never go back; leases and deadlines are counted on it. */
  readonly monotonicMs?: () => number;
  readonly wallMs?: () => number;
}

export interface NewTask {
  readonly kind: string;
  readonly title: string;
  /** JSON. */
  readonly payload: string;
  readonly priority: number;
  readonly dependsOn: readonly number[];
  readonly leaseMs: number;
  readonly maxAttempts: number;
  /** null = for ever. */
  readonly timeoutMs: number | null;
  /** Who is to do it, from now on; null = whoever takes it. */
  readonly assigneeId: number | null;
}

export interface Outcome {
  /** JSON; null = none. */
  readonly result: string | null;
  /** null = it is done. */
  readonly error: string | null;
  /** After an error: somebody may try again. */
  readonly retry: boolean;
}

/**
 * Work that agents leave for each other, in the durable store. A task is given to one worker at a time, for as long as its
 * lease lasts; a worker that does not finish in time, or is gone, loses it to the next. Every change is visible at once and
 * acknowledged when it is durable; one that cannot be made durable is undone and refused.
 */
export class TaskBoard implements KeepsByCaller {
  readonly #options: TaskBoardOptions;
  readonly #limits: TaskLimits;
  readonly #wallMs: () => number;
  readonly #ids: Versions;
  readonly #tasks = new TaskIndex();
  readonly #timer: TaskTimer;
  readonly #claims: Claims;

  constructor(options: TaskBoardOptions) {
    this.#options = options;
    this.#limits = { ...TASK_LIMITS, ...options.limits };
    this.#wallMs = options.wallMs ?? Date.now;
    this.#ids = new Versions(options.rows?.usedId ?? 0, 'task_id');
    this.#claims = new Claims(this.#limits.callerClaims);
    this.#timer = new TaskTimer({
      monotonicMs: options.monotonicMs ?? (() => performance.now()),
      onDue: (id, what) => this.#endOf(this.#tasks.existing(id), what),
    });
    this.#load(options.rows?.tasks ?? []);
  }

  get size(): number {
    return this.#tasks.size;
  }

  get(id: number): Task | undefined {
    return this.#tasks.get(id);
  }

  /** In order of their ids. */
  list(): IterableIterator<Task> {
    return this.#tasks.list();
  }

  /** @throws OVERLOAD, PAYLOAD_TOO_LARGE, NOT_FOUND (a dependency), IO */
  async create(creatorId: number, wanted: NewTask): Promise<Task> {
    this.#assertText(wanted.payload);
    if (this.#tasks.openOf(creatorId) >= this.#limits.creatorTasks) {
      throw new CloveError('OVERLOAD', `${this.#limits.creatorTasks} tasks of this caller are not done yet`);
    }
    if (this.#tasks.size >= this.#limits.tasks || this.#tasks.bytes > this.#limits.totalBytes) {
      throw new CloveError('OVERLOAD', 'too many tasks');
    }
    for (const id of wanted.dependsOn) {
      const before = this.#tasks.existing(id);
      if (before.state === 'failed' || before.state === 'expired') {
        throw new CloveError('CONFLICT', `task ${id}, which must be completed before, has ${before.state}`);
      }
    }
    const now = this.#wallMs();
    const { timeoutMs, assigneeId, ...rest } = wanted;
    const task: Task = {
      ...rest,
      id: this.#ids.next(),
      state: 'pending',
      creatorId,
      assigneeId: null,
      attempts: 0,
      leaseWallMs: null,
      deadlineWallMs: timeoutMs === null ? null : now + timeoutMs,
      result: null,
      error: null,
      createdWallMs: now,
      changedWallMs: now,
    };
    if (assigneeId !== null) {
      if (!this.#tasks.isReady(task)) {
        throw new CloveError('CONFLICT', 'a task that has to wait for others cannot be assigned yet');
      }
      const assigned = this.#assigned(task, assigneeId, null);
      await this.#change([[null, assigned]]);
      return assigned;
    }
    await this.#change([[null, task]]);
    return this.#tasks.get(task.id) ?? task;
  }

  /** Gives a pending task to somebody, or an assigned one to somebody else. @throws NOT_FOUND, CONFLICT, IO */
  async assign(id: number, assigneeId: number, leaseMs: number | null): Promise<Task> {
    const task = this.#tasks.existing(id);
    if (isOver(task)) throw new CloveError('CONFLICT', `task ${id} is ${task.state}`);
    if (task.state === 'assigned' && task.assigneeId === assigneeId) return this.#renew(task, leaseMs);
    if (!this.#tasks.isReady(task)) throw new CloveError('CONFLICT', `task ${id} has to wait for others`);
    const assigned = this.#assigned(task, assigneeId, leaseMs);
    await this.#change([[task, assigned]]);
    return assigned;
  }

  /** More time for who works on it. */
  async #renew(task: Task, leaseMs: number | null): Promise<Task> {
    const lease = leaseMs ?? task.leaseMs;
    const renewed = { ...task, leaseMs: lease, leaseWallMs: this.#wallMs() + lease };
    await this.#change([[task, renewed]]);
    return renewed;
  }

  /** The next task of some kinds; waits for one where there is none. null = none came in time. @throws CANCELLED, OVERLOAD, IO */
  async claim(
    callerId: number,
    kinds: ReadonlySet<string> | null,
    options: ClaimOptions,
  ): Promise<Task | null> {
    const next = this.#tasks.nextReady(kinds);
    if (next !== undefined) return this.assign(next.id, callerId, options.leaseMs);
    return options.waitMs === 0 ? null : this.#claims.wait(callerId, kinds, options);
  }

  /**
   * How it ended. Told twice by the same worker it is no error; `attempt` names the try that is meant, so that a worker that
   * has lost the task meanwhile is told so. @throws NOT_FOUND, CONFLICT, PAYLOAD_TOO_LARGE, IO
   */
  async complete(
    id: number,
    callerId: number,
    isOperator: boolean,
    attempt: number | null,
    outcome: Outcome,
  ): Promise<{ readonly task: Task; readonly already: boolean }> {
    this.#assertText(outcome.result ?? '');
    this.#assertText(outcome.error ?? '');
    const task = this.#tasks.existing(id);
    const isTheirs = isOperator || task.assigneeId === callerId;
    const isStale = attempt !== null && attempt !== task.attempts;
    if (isTheirs && !isStale && (task.state === 'completed' || task.state === 'failed')) {
      // What was acknowledged before is durable; what was not is waited for.
      await this.#options.store?.settled();
      return { task: this.#tasks.get(id) ?? task, already: true };
    }
    if (!isTheirs || isStale || (task.state !== 'assigned' && !isOperator) || isOver(task)) {
      throw new CloveError('CONFLICT', `task ${id} is not this caller’s any more: it is ${task.state}`, {
        details: { state: task.state, attempts: task.attempts },
      });
    }
    const ended = outcome.error === null ? this.#done(task, outcome) : this.#failedTry(task, outcome);
    await this.#change([[task, ended]]);
    return { task: this.#tasks.get(id) ?? ended, already: false };
  }

  /** Whoever is gone for good finishes nothing. */
  release(callerId: number): void {
    this.#claims.release(callerId);
    if (this.#options.outlivesKernel?.(callerId) === true) return;
    const theirs = this.#timer
      .ids()
      .map((id) => this.#tasks.get(id))
      .filter((task) => task?.state === 'assigned' && task.assigneeId === callerId);
    for (const task of theirs) {
      if (task !== undefined) this.#quietly(task, this.#failedTry(task, GONE));
    }
  }

  /** Ends leases and tasks whose time is over. */
  sweep(): void {
    this.#timer.sweep();
  }

  close(): void {
    this.#timer.close();
    this.#claims.close();
  }

  #load(tasks: readonly Task[]): void {
    const wall = this.#wallMs();
    for (const stored of tasks) {
      const creatorId = stored.creatorId >= FIRST_CLIENT_ID ? 0 : stored.creatorId;
      this.#set(null, { ...stored, creatorId }, wall);
    }
    for (const task of [...this.#tasks.list()]) {
      if (task.state !== 'assigned' || task.assigneeId === null) continue;
      if (this.#options.outlivesKernel?.(task.assigneeId) === true) continue;
      this.#quietly(task, this.#failedTry(task, GONE));
    }
  }

  #assertText(text: string): void {
    if (Buffer.byteLength(text) > this.#limits.textBytes) {
      throw new CloveError('PAYLOAD_TOO_LARGE', `a task carries at most ${this.#limits.textBytes} bytes`);
    }
  }

  #assigned(task: Task, assigneeId: number, leaseMs: number | null): Task {
    const now = this.#wallMs();
    const lease = leaseMs ?? task.leaseMs;
    return {
      ...task,
      state: 'assigned',
      assigneeId,
      attempts: task.attempts + 1,
      leaseMs: lease,
      leaseWallMs: now + lease,
      changedWallMs: now,
    };
  }

  #done(task: Task, { result }: Outcome): Task {
    return {
      ...task,
      state: 'completed',
      result,
      error: null,
      leaseWallMs: null,
      changedWallMs: this.#wallMs(),
    };
  }

  #failedTry(task: Task, { result, error, retry }: Outcome): Task {
    const state = retry && task.attempts < task.maxAttempts ? 'pending' : 'failed';
    return { ...task, state, result, error, leaseWallMs: null, changedWallMs: this.#wallMs() };
  }

  /** Not asked for by anybody, so nobody waits. */
  #quietly(task: Task, next: Task): void {
    this.#change([[task, next]]).catch(() => {});
  }

  /** Makes changes with all that follows from them, in one write. null before = it is new. */
  #change(changes: readonly (readonly [Task | null, Task])[]): Promise<void> {
    const made: (readonly [Task | null, Task])[] = [];
    const operations: StoreOperation[] = [];
    const undo: (() => void)[] = [];
    const queue = [...changes];
    for (let at = 0; at < queue.length; at += 1) {
      const [before, after] = queue[at] as readonly [Task | null, Task];
      const { operations: reserving, undo: unreserve } =
        before === null ? this.#ids.reserve(after.id) : NO_RESERVATION;
      this.#set(before, after, this.#wallMs());
      made.push([before, after]);
      undo.push(() => this.#unset(before, after), unreserve);
      operations.push(...reserving, ['task.put', after.id, JSON.stringify(after)]);
      queue.push(...this.#consequences(after));
    }
    for (const [, after] of made) this.#options.onChanged?.(after);
    const forgotten = this.#forgetOldest(undo);
    for (const id of forgotten) operations.push(['task.delete', id]);
    const durable =
      this.#options.store === null
        ? null
        : this.#options.store.write(operations, () => {
            for (const step of undo.reverse()) step();
          });
    this.#offer();
    return durable ?? Promise.resolve();
  }

  /** What waits for a task that has failed will not be done either. */
  #consequences(task: Task): (readonly [Task, Task])[] {
    if (task.state !== 'failed' && task.state !== 'expired') return [];
    const error = `task ${task.id}, which it needs, has ${task.state}`;
    return this.#tasks.waitingFor(task.id).map((waiting) => {
      const failed: Task = {
        ...waiting,
        state: 'failed',
        error,
        leaseWallMs: null,
        changedWallMs: this.#wallMs(),
      };
      return [waiting, failed] as const;
    });
  }

  /** Ready tasks go to those who wait, first come first served. */
  #offer(): void {
    for (const claim of this.#claims) {
      const task = claim.signal.aborted ? undefined : this.#tasks.nextReady(claim.kinds);
      if (task === undefined) continue;
      this.#claims.delete(claim);
      const assigned = this.#assigned(task, claim.callerId, claim.leaseMs);
      claim.give(assigned, this.#change([[task, assigned]]));
    }
  }

  #set(before: Task | null, after: Task, wall: number): void {
    this.#tasks.set(before, after);
    this.#timer.set(after, wall);
  }

  #unset(before: Task | null, after: Task): void {
    this.#tasks.unset(before, after);
    if (before === null) this.#timer.delete(after.id);
    else this.#timer.set(before, this.#wallMs());
  }

  #forgetOldest(undo: (() => void)[]): number[] {
    return this.#tasks.oldestOver(this.#limits.keptOver).map((task) => {
      this.#tasks.delete(task);
      undo.push(() => this.#tasks.set(null, task));
      return task.id;
    });
  }

  /** Its time is over: that of who works on it, or its own. */
  #endOf(task: Task, what: 'lease' | 'deadline'): void {
    if (what === 'lease') this.#quietly(task, this.#failedTry(task, OVERDUE));
    else {
      const error = 'its time was over';
      const changedWallMs = this.#wallMs();
      this.#quietly(task, { ...task, state: 'expired', error, leaseWallMs: null, changedWallMs });
    }
  }
}

const NO_RESERVATION = { operations: [], undo: () => {} } as const;
const GONE: Outcome = { result: null, error: 'its worker is gone', retry: true };
const OVERDUE: Outcome = { result: null, error: 'its worker did not finish in time', retry: true };
