import { CloveError } from '../../errors/index.ts';
import type { RandomStream } from '../luck/streams.ts';
import { PathPatterns } from './path-patterns.ts';
import type { ActiveFileFault, FileFaultSpec, FileFaults } from './types.ts';

interface Live {
  readonly handle: string;
  readonly spec: FileFaultSpec;
  readonly patterns: PathPatterns;
  hits: number;
}

type Kind = FileFaultSpec['kind'];
type SpecOf<K extends Kind> = Extract<FileFaultSpec, { readonly kind: K }>;

/** What is wrong with the files at present. */
export class FileFaultBoard implements FileFaults {
  readonly #live = new Map<string, Live>();
  readonly #random: (purpose: string) => RandomStream;
  #last = 0;

  constructor(random: (purpose: string) => RandomStream) {
    this.#random = random;
  }

  set(spec: FileFaultSpec): string {
    this.#last += 1;
    const handle = `file-fault-${this.#last}`;
    this.restoreOne(handle, spec);
    return handle;
  }

  /** Under the handle it had. */
  restoreOne(handle: string, spec: FileFaultSpec): void {
    this.#last = Math.max(this.#last, Number(/\d+$/.exec(handle)?.[0] ?? 0));
    this.#live.set(handle, { handle, spec, patterns: new PathPatterns([spec.path ?? '**']), hits: 0 });
  }

  clear(handle: string): boolean {
    return this.#live.delete(handle);
  }

  list(): readonly ActiveFileFault[] {
    return [...this.#live.values()].map(({ handle, spec, hits }) => ({ handle, spec, hits }));
  }

  /** The fault of this kind that strikes now; null = none. */
  strike<K extends Kind>(kind: K, path: string): SpecOf<K> | null {
    for (const live of this.#live.values()) {
      if (live.spec.kind !== kind || !live.patterns.matches(path)) continue;
      const probability = 'probability' in live.spec ? (live.spec.probability ?? 1) : 1;
      if (probability < 1 && !this.#random(`files/${live.handle}`).chance(probability)) continue;
      live.hits += 1;
      return live.spec as SpecOf<K>;
    }
    return null;
  }

  /** How long an operation takes longer. */
  delayMs(path: string): number {
    let total = 0;
    for (const live of this.#live.values()) {
      if (live.spec.kind !== 'slow' || !live.patterns.matches(path)) continue;
      live.hits += 1;
      const { ms, jitterMs = 0 } = live.spec;
      const jitter = jitterMs === 0 ? 0 : (this.#random(`files/${live.handle}`).next() * 2 - 1) * jitterMs;
      total += Math.max(0, ms + jitter);
    }
    return total;
  }

  /** @throws IO, with words existing clients know */
  assertReadable(path: string): void {
    if (this.strike('read_failure', path) !== null) {
      throw new CloveError('IO', 'Simulated read failure (chaos)', {
        details: { fault: 'read_failure', errno: 'EIO' },
      });
    }
  }

  /** @throws IO, with words existing clients know */
  assertWritable(path: string): void {
    for (const [kind, errno] of WRITE_FAULTS) {
      if (this.strike(kind, path) === null) continue;
      throw new CloveError('IO', 'Simulated write failure (chaos)', { details: { fault: kind, errno } });
    }
  }
}

const WRITE_FAULTS = [
  ['write_failure', 'EIO'],
  ['full', 'ENOSPC'],
  ['readonly', 'EROFS'],
] as const;
