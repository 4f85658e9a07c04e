import type { FileActor, Modification } from './types.ts';

const KEPT_MODIFICATIONS = 1000;

/** What was changed in the files of a world: how often, the latest of it, and who wants to hear of it. */
export class ModificationLog {
  readonly #clock: { nowMs(): number };
  readonly #listeners = new Set<(change: Modification) => void>();
  readonly #kept: Modification[] = [];
  #count = 0;

  constructor(clock: { nowMs(): number }) {
    this.#clock = clock;
  }

  get count(): number {
    return this.#count;
  }

  /** Oldest first. */
  get latest(): readonly Modification[] {
    return this.#kept;
  }

  add(operation: Modification['operation'], file: string, by: FileActor, bytes?: number): void {
    const change = {
      atMs: this.#clock.nowMs(),
      agentId: by.id,
      operation,
      path: file,
      ...(bytes === undefined ? {} : { bytes }),
    };
    this.#count += 1;
    this.#kept.push(change);
    if (this.#kept.length > KEPT_MODIFICATIONS) this.#kept.shift();
    for (const listener of this.#listeners) listener(change);
  }

  onChange(listener: (change: Modification) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#listeners.clear();
  }
}
