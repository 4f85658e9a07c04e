import type { Tree } from './tree.ts';

export interface GrowLimits {
  readonly maxDepth: number;
  readonly minSamplesSplit: number;
  readonly minSamplesLeaf: number;
}

/** What one stage learns from, and where each row ended; all indexed by the row's position in the training set. */
export class Stage {
  /** Label minus probability: what the tree is fitted to. */
  readonly residual: Float64Array;
  /** Second derivative of the loss. */
  readonly curvature: Float64Array;
  /** Set by `grow` for the rows of the bag: the node of the tree in which the row ended. */
  readonly leaf: Int32Array;

  constructor(rows: number) {
    this.residual = new Float64Array(rows);
    this.curvature = new Float64Array(rows);
    this.leaf = new Int32Array(rows);
  }
}

export interface BoostingGrower {
  /** Fits one tree to the residuals of the rows in `bag`; of equally good columns the first in `columns` wins. */
  grow(stage: Stage, bag: Int32Array, columns: Int32Array): Tree;
}

/** One Newton step on the log loss, as far as the leaf's rows have any curvature left. */
export function leafValue(residual: number, curvature: number): number {
  return Math.abs(curvature) < 1e-150 ? 0 : residual / curvature;
}

/**
 * How much a split lowers the squared error, up to a factor that is the same for all splits of a node:
 * (difference of the means)² × n_left n_right, in the form of Friedman's equation 35.
 */
export function splitGain(leftSum: number, leftRows: number, sum: number, rows: number): number {
  const rightRows = rows - leftRows;
  const difference = rightRows * leftSum - leftRows * (sum - leftSum);
  return (difference * difference) / (leftRows * rightRows);
}

/** A node whose residuals vary by no more than this is a leaf (the epsilon of double precision, as in scikit-learn). */
export const PURE_BELOW = Number.EPSILON;
