/** One part of a grid: every n-th trial, so that parts cost about the same. */
import { CloveError } from '../../errors/index.ts';
import type { Trial } from '../types.ts';

export interface Shard {
  /** 1 … count. */
  readonly index: number;
  readonly count: number;
}

/** "2/4". @throws USAGE */
export function parseShard(text: string): Shard {
  const match = /^(\d{1,4})\/(\d{1,4})$/.exec(text);
  const [index, count] = [Number(match?.[1]), Number(match?.[2])];
  if (match !== null && index >= 1 && count >= 1 && index <= count) return { index, count };
  throw new CloveError('USAGE', `a part of the grid is named like 2/4, not "${text}"`);
}

/** The trials of a part, with the names they have in the whole grid. @throws USAGE when it has none */
export function trialsOfShard(trials: readonly Trial[], shard: Shard | null): readonly Trial[] {
  if (shard === null) return trials;
  const own = trials.filter((_, position) => position % shard.count === shard.index - 1);
  if (own.length > 0) return own;
  throw new CloveError(
    'USAGE',
    `part ${shard.index}/${shard.count} of ${trials.length} trials has none of them`,
  );
}
