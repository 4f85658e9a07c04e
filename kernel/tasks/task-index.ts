import { CloveError } from '../../errors/index.ts';
import { ReadyQueue } from './ready-queue.ts';
import { bytesOf, isOver, type Task } from './task.ts';

/** The tasks there are, by what is asked about them: which is next, who waits for which, how many somebody has open. */
export class TaskIndex {
  readonly #tasks = new Map<number, Task>();
  readonly #ready = new ReadyQueue();
  /** Who waits for a task to be completed. */
  readonly #dependents = new Map<number, Set<number>>();
  readonly #openOf = new Map<number, number>();
  readonly #over = new Set<number>();
  #bytes = 0;

  get size(): number {
    return this.#tasks.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(id: number): Task | undefined {
    return this.#tasks.get(id);
  }

  /** @throws NOT_FOUND */
  existing(id: number): Task {
    const task = this.#tasks.get(id);
    if (task === undefined) throw new CloveError('NOT_FOUND', `task not found: ${id}`);
    return task;
  }

  /** In order of their ids. */
  list(): IterableIterator<Task> {
    return this.#tasks.values();
  }

  /** Not over, of one creator. */
  openOf(creatorId: number): number {
    return this.#openOf.get(creatorId) ?? 0;
  }

  /** The next of some kinds that can be begun; null = of any. */
  nextReady(kinds: ReadonlySet<string> | null): Task | undefined {
    return this.#ready.first(kinds);
  }

  /** Whether all that it depends on is done. */
  isReady({ dependsOn }: Task): boolean {
    return dependsOn.every((id) => this.#tasks.get(id)?.state === 'completed' || !this.#tasks.has(id));
  }

  /** Not over, and in need of this one. */
  waitingFor(id: number): Task[] {
    return [...(this.#dependents.get(id) ?? [])]
      .map((each) => this.#tasks.get(each))
      .filter((each): each is Task => each !== undefined && !isOver(each));
  }

  /** Those that ended first, beyond so many. Nothing waits for them: it would have begun or failed with them. */
  oldestOver(kept: number): Task[] {
    const surplus = Math.max(0, this.#over.size - kept);
    return this.#over
      .values()
      .take(surplus)
      .map((id) => this.existing(id))
      .toArray();
  }

  /** null before = it is new. */
  set(before: Task | null, after: Task): void {
    if (before !== null) this.#unindex(before);
    this.#tasks.set(after.id, after);
    this.#index(after);
    if (after.state === 'completed') this.#wakeDependents(after.id);
  }

  /** Takes `set` back. */
  unset(before: Task | null, after: Task): void {
    this.#unindex(after);
    if (after.state === 'completed') this.#holdDependents(after.id);
    if (before === null) this.#tasks.delete(after.id);
    else {
      this.#tasks.set(before.id, before);
      this.#index(before);
    }
  }

  delete(task: Task): void {
    this.#unindex(task);
    this.#tasks.delete(task.id);
  }

  #wakeDependents(id: number): void {
    for (const each of this.#dependents.get(id) ?? []) {
      const task = this.#tasks.get(each);
      if (task?.state === 'pending' && this.isReady(task)) {
        this.#ready.remove(task);
        this.#ready.add(task);
      }
    }
  }

  #holdDependents(id: number): void {
    for (const each of this.#dependents.get(id) ?? []) {
      const task = this.#tasks.get(each);
      if (task !== undefined) this.#ready.remove(task);
    }
  }

  #index(task: Task): void {
    this.#bytes += bytesOf(task);
    if (isOver(task)) this.#over.add(task.id);
    else this.#openOf.set(task.creatorId, (this.#openOf.get(task.creatorId) ?? 0) + 1);
    for (const id of task.dependsOn) this.#dependents.getOrInsertComputed(id, () => new Set()).add(task.id);
    if (task.state === 'pending' && this.isReady(task)) this.#ready.add(task);
  }

  #unindex(task: Task): void {
    this.#bytes -= bytesOf(task);
    this.#over.delete(task.id);
    this.#ready.remove(task);
    for (const id of task.dependsOn) {
      const dependents = this.#dependents.get(id);
      dependents?.delete(task.id);
      if (dependents?.size === 0) this.#dependents.delete(id);
    }
    if (isOver(task)) return;
    const open = (this.#openOf.get(task.creatorId) ?? 1) - 1;
    if (open === 0) this.#openOf.delete(task.creatorId);
    else this.#openOf.set(task.creatorId, open);
  }
}
