import { statfsSync } from 'node:fs';
import { CloveError } from '../../../errors/index.ts';
import type { WorldTree } from '../../../native/index.ts';
import { canNameErrors, type DiskAccess, setReadonly, watchDisk } from '../../../native/world-faults.ts';
import type { RandomStream } from '../../luck/streams.ts';
import { FileFaultBoard } from '../faults.ts';
import type { ActiveFileFault, FileFaultSpec, FileFaults, FileLimits } from '../types.ts';

/** Room that is found when none is left: less than any file takes. */
const NOTHING_BYTES = 4096;

export interface MountedFaultsOptions {
  readonly tree: WorldTree;
  readonly limits: FileLimits;
  readonly clock: { sleep(ms: number, signal?: AbortSignal): Promise<void> };
  readonly random: (purpose: string) => RandomStream;
}

/**
 * What is wrong with a real disk, as its processes meet it from the kernel itself. Full and read-only as a whole are states of the
 * file systems. For the rest each open and each read is asked about while such a fault holds: it comes late, or fails.
 */
export class MountedFaults implements FileFaults {
  readonly #options: MountedFaultsOptions;
  readonly #board: FileFaultBoard;
  #unwatch: (() => void) | null = null;
  /** Aborted when nothing is wrong any more: whoever waits for a slow disk goes on. */
  #slow = new AbortController();
  #isFull = false;
  #isReadonly = false;

  constructor(options: MountedFaultsOptions) {
    this.#options = options;
    this.#board = new FileFaultBoard(options.random);
  }

  set(spec: FileFaultSpec): string {
    assertPossible(spec);
    const handle = this.#board.set(spec);
    try {
      this.#apply();
    } catch (error) {
      this.#board.clear(handle);
      this.#apply();
      throw error;
    }
    return handle;
  }

  /** Under the handle it had. @throws as `set`: a snapshot may say what it likes */
  restoreOne(handle: string, spec: FileFaultSpec): void {
    assertPossible(spec);
    this.#board.restoreOne(handle, spec);
    this.#apply();
  }

  clear(handle: string): boolean {
    const was = this.#board.clear(handle);
    if (was) this.#apply();
    return was;
  }

  list(): readonly ActiveFileFault[] {
    return this.#board.list();
  }

  /** A call that the kernel makes for a member: what comes from its own process is never asked about. @throws IO */
  async meet(operation: 'read' | 'write', path: string): Promise<void> {
    const delayMs = this.#board.delayMs(path);
    if (delayMs > 0) await this.#options.clock.sleep(delayMs, this.#slow.signal).catch(() => {});
    if (operation === 'read') this.#board.assertReadable(path);
    else this.#board.assertWritable(path);
  }

  close(): void {
    this.#slow.abort();
    this.#unwatch?.();
    this.#unwatch = null;
  }

  #apply(): void {
    const specs = this.#board.list().map(({ spec }) => spec);
    const isAsked = specs.some((spec) => !isWhole(spec));
    if (isAsked)
      this.#unwatch ??= watchDisk(this.#options.tree.rootFd, (access) => void this.#decide(access));
    // Those that wait were told to wait by a fault that may be gone.
    this.#slow.abort();
    this.#slow = new AbortController();
    if (!isAsked) {
      this.#unwatch?.();
      this.#unwatch = null;
    }
    const isReadonly = specs.some(({ kind }) => kind === 'readonly');
    if (isReadonly !== this.#isReadonly) {
      setReadonly(this.#options.tree.rootFd, isReadonly);
      this.#isReadonly = isReadonly;
    }
    const isFull = specs.some((spec) => spec.kind === 'full' && isWhole(spec));
    if (isFull || this.#isFull) this.#resize(isFull);
    this.#isFull = isFull;
  }

  async #decide({ kind, path, answer }: DiskAccess): Promise<void> {
    const delayMs = this.#board.delayMs(path);
    if (delayMs > 0) await this.#options.clock.sleep(delayMs, this.#slow.signal).catch(() => {});
    if (kind === 'read' && this.#board.strike('read_failure', path) !== null) answer('EIO');
    else if (kind === 'open-for-writing' && this.#board.strike('write_failure', path) !== null) answer('EIO');
    else if (kind === 'open-for-writing' && this.#board.strike('full', path) !== null) answer('ENOSPC');
    else answer(null);
  }

  #resize(isFull: boolean): void {
    const { tree, limits } = this.#options;
    if (!isFull) {
      tree.resize(Math.max(limits.bytes, NOTHING_BYTES), 0);
      return;
    }
    // Members go on writing meanwhile: the store cannot be made smaller than what is in it.
    for (let attempt = 0; ; attempt += 1) {
      const { bsize, blocks, bfree } = statfsSync(`/proc/self/fd/${tree.upperFd}`);
      try {
        tree.resize(Math.max((blocks - bfree) * bsize, NOTHING_BYTES), 0);
        return;
      } catch (error) {
        if (attempt === 100) throw error;
      }
    }
  }
}

/** @throws BAD_REQUEST, SANDBOX_UNAVAILABLE where such a fault would have no effect, or another */
function assertPossible(spec: FileFaultSpec): void {
  if (!isPossible(spec))
    throw new CloveError(
      'BAD_REQUEST',
      `a mounted world cannot have the file fault ${spec.kind}${'path' in spec ? ' of some paths' : ''}`,
      { hint: 'Its files can be read-only as a whole; file_corruption changes bytes of them for good.' },
    );
  // On an older kernel the access would just go on: an event without effect.
  if (!isWhole(spec) && spec.kind !== 'slow' && !canNameErrors())
    throw new CloveError(
      'SANDBOX_UNAVAILABLE',
      `this kernel cannot let accesses of files fail with an error of one’s choice: ${spec.kind}`,
      { hint: 'It takes Linux 6.14; full and read-only as a whole, and slow, are to be had without.' },
    );
}

/** Bytes of a read cannot be changed on their way, and a file system is read-only as a whole. */
function isPossible(spec: FileFaultSpec): boolean {
  return spec.kind !== 'corrupt_reads' && !(spec.kind === 'readonly' && spec.path !== undefined);
}

/** A state of the file system itself, not something that single accesses meet. */
function isWhole({ kind, path }: FileFaultSpec): boolean {
  return path === undefined && (kind === 'full' || kind === 'readonly');
}
