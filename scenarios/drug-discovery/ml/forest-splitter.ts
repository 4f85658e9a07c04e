import type { Random } from './random.ts';

/**
 * The samples of one tree, grouped so that those of a node are neighbours. `weights` counts how often the bootstrap
 * drew a row; `positives` is the same for rows of class 1 and 0 for the others.
 */
export interface Samples {
  readonly positions: Int32Array;
  readonly weights: Int32Array;
  readonly positives: Int32Array;
}

export interface Node {
  readonly start: number;
  readonly end: number;
  /** Sums of weights and positives from start to end. */
  readonly weight: number;
  readonly positive: number;
}

/** Finds the split of a node among columns drawn at random, and can put the samples of the left child first. */
export interface Splitter {
  /** Whether a split was found; it then stands in the fields below. */
  search(samples: Samples, node: Node, random: Random): boolean;
  readonly column: number;
  readonly threshold: number;
  readonly leftWeight: number;
  readonly leftPositive: number;
  /** Returns where the right child starts. */
  partition(samples: Samples, node: Node): number;
}
