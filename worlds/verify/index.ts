import type { WorldDefinition } from '../definition.ts';
import { BlockStore } from '../filesystem/blocks.ts';
import type { ResolvedDefinition } from '../resolve.ts';
import { type Comparison, compareRuns } from './compare.ts';
import { RunWatch } from './evidence.ts';

export type { Aspect, Comparison, Difference } from './compare.ts';
export type { RunWatch } from './evidence.ts';

/** Of both runs together. */
const HELD_BYTES = 4 * 2 ** 30;

/**
 * The same world twice. In mode `strict` and `step` virtual time follows from the definition alone: events are compared in one order
 * and with their times. In the other modes real work takes real time: events are compared by source, in the order of each, without.
 */
export class Verification<Resolved extends ResolvedDefinition> {
  readonly blocks = new BlockStore(HELD_BYTES);
  /** To make each run's world of: it begins at one moment both times. */
  readonly resolved: Resolved;
  readonly #exact: boolean;
  readonly #form: WorldDefinition['form'];
  readonly #watches: RunWatch[] = [];

  constructor(resolved: Resolved, form: WorldDefinition['form']) {
    const { definition } = resolved;
    const { mode, start } = definition.clock;
    this.#form = form;
    this.#exact = mode === 'strict' || mode === 'step';
    this.resolved = {
      ...resolved,
      definition: { ...definition, clock: { ...definition.clock, start: start ?? Date.now() } },
    };
  }

  watch(): RunWatch {
    const watch = new RunWatch(this.#exact, this.blocks);
    this.#watches.push(watch);
    return watch;
  }

  /** The first run against the last. */
  compare(): Comparison {
    const [first, last] = [this.#watches[0], this.#watches.at(-1)];
    if (first === undefined || last === undefined || first === last)
      throw new RangeError('two runs are compared');
    return compareRuns(first.evidence, last.evidence, {
      exact: this.#exact,
      // Those of mounted files are the host's, told in the world's time.
      fileTimes: this.#exact && this.#form === 'virtual',
      content: (hash) => this.blocks.get(hash),
    });
  }
}
