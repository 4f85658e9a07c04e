import type { Task } from './task.ts';

/** Tasks that can be begun, by kind; the most urgent first, and of those the oldest. */
export class ReadyQueue {
  readonly #byKind = new Map<string, Task[]>();

  add(task: Task): void {
    const tasks = this.#byKind.getOrInsertComputed(task.kind, () => []);
    tasks.splice(placeOf(tasks, task), 0, task);
  }

  remove(task: Task): void {
    const tasks = this.#byKind.get(task.kind);
    if (tasks === undefined) return;
    const at = placeOf(tasks, task);
    if (tasks[at]?.id !== task.id) return;
    tasks.splice(at, 1);
    if (tasks.length === 0) this.#byKind.delete(task.kind);
  }

  /** The next of some kinds; null = of any. */
  first(kinds: ReadonlySet<string> | null): Task | undefined {
    let best: Task | undefined;
    for (const kind of kinds ?? this.#byKind.keys()) {
      const task = this.#byKind.get(kind)?.[0];
      if (task !== undefined && (best === undefined || compare(task, best) < 0)) best = task;
    }
    return best;
  }
}

function compare(a: Task, b: Task): number {
  return b.priority - a.priority || a.id - b.id;
}

function placeOf(tasks: readonly Task[], task: Task): number {
  let low = 0;
  let high = tasks.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compare(tasks[middle] as Task, task) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
