import { statfsSync } from 'node:fs';
import { CloveError } from '../../../errors/index.ts';
import type { WorldTree } from '../../../native/index.ts';
import type { ActiveFileFault, FileFaultSpec, FileFaults, FileLimits } from '../types.ts';

/** Room that is found when none is left: less than any file takes. */
const NOTHING_BYTES = 4096;

/**
 * What can be wrong with a real disk without a file system of our own: it is full. Processes meet ENOSPC from the kernel
 * itself. The other kinds would need each of their calls to be seen.
 */
export class MountedFaults implements FileFaults {
  readonly #tree: WorldTree;
  readonly #limits: FileLimits;
  readonly #live = new Map<string, FileFaultSpec>();
  #last = 0;

  constructor(tree: WorldTree, limits: FileLimits) {
    this.#tree = tree;
    this.#limits = limits;
  }

  set(spec: FileFaultSpec): string {
    if (spec.kind !== 'full' || spec.path !== undefined) {
      throw new CloveError(
        'BAD_REQUEST',
        `a mounted world cannot have the file fault ${spec.kind}${spec.path === undefined ? '' : ' of some paths'}`,
        {
          hint: 'Mounted worlds can be full as a whole, and their files can be corrupted; virtual worlds have all kinds.',
        },
      );
    }
    this.#last += 1;
    const handle = `file-fault-${this.#last}`;
    this.#live.set(handle, spec);
    this.#apply();
    return handle;
  }

  clear(handle: string): boolean {
    const was = this.#live.delete(handle);
    if (was) this.#apply();
    return was;
  }

  list(): readonly ActiveFileFault[] {
    return [...this.#live].map(([handle, spec]) => ({ handle, spec, hits: 0 }));
  }

  #apply(): void {
    if (this.#live.size === 0) {
      this.#tree.resize(Math.max(this.#limits.bytes, NOTHING_BYTES), 0);
      return;
    }
    // Members go on writing meanwhile: the store cannot be made smaller than what is in it.
    for (let attempt = 0; ; attempt += 1) {
      const { bsize, blocks, bfree } = statfsSync(`/proc/self/fd/${this.#tree.upperFd}`);
      try {
        this.#tree.resize(Math.max((blocks - bfree) * bsize, NOTHING_BYTES), 0);
        return;
      } catch (error) {
        if (attempt === 100) throw error;
      }
    }
  }
}
