import type { StoreOperation } from '../store/schema.ts';

/** Numbers reserved on disk at a time: one write more for so many changes, and a gap of at most so many after a crash. */
const BLOCK = 10_000;

/**
 * Numbers for changes of state and the like, each higher than all that were ever given out, also by kernels that were killed: a number is
 * given out only together with the write that reserves it, so whoever holds a version knows nothing newer has the same.
 */
export class Versions {
  readonly #counter: string;
  #last: number;
  #reserved: number;

  /** @param used Everything up to here may have been given out. @param counter What the counter is called on disk */
  constructor(used: number, counter = 'state_version') {
    this.#counter = counter;
    this.#last = used;
    this.#reserved = used;
  }

  get last(): number {
    return this.#last;
  }

  next(): number {
    this.#last += 1;
    return this.#last;
  }

  /** What has to be written along with the change of a version, and what undoes it when that could not be written. */
  reserve(version: number): { readonly operations: readonly StoreOperation[]; readonly undo: () => void } {
    if (version <= this.#reserved) return NOTHING;
    const before = this.#reserved;
    this.#reserved = version + BLOCK;
    return {
      operations: [['counter.put', this.#counter, this.#reserved]],
      undo: () => {
        this.#reserved = before;
      },
    };
  }
}

const NOTHING = { operations: [], undo: () => {} } as const;
