import type { FeatureMatrix } from './types.ts';

/** A binary tree in arrays. The children of node i are `child[i]` and `child[i] + 1`; a leaf has child -1. */
export interface Tree {
  readonly feature: Int32Array;
  /** Dense features: the left child takes values ≤ threshold. Bits: the left child takes 0; the threshold is unused. */
  readonly threshold: Float64Array;
  readonly child: Int32Array;
  /** What a leaf predicts. */
  readonly value: Float64Array;
}

export class TreeBuilder {
  private feature = new Int32Array(64);
  private threshold = new Float64Array(64);
  private child = new Int32Array(64);
  private value = new Float64Array(64);
  private size = 0;

  /** Adds a leaf (every node begins as one) and returns its number. */
  addLeaf(value: number): number {
    if (this.size === this.child.length) this.grow();
    this.feature[this.size] = 0;
    this.threshold[this.size] = 0;
    this.child[this.size] = -1;
    this.value[this.size] = value;
    return this.size++;
  }

  /** How many there are so far. */
  get nodes(): number {
    return this.size;
  }

  setValue(node: number, value: number): void {
    this.value[node] = value;
  }

  /** Turns a leaf into a split and returns its left child; the right one is the next number. */
  split(node: number, feature: number, threshold: number): number {
    const left = this.addLeaf(0);
    this.addLeaf(0);
    this.feature[node] = feature;
    this.threshold[node] = threshold;
    this.child[node] = left;
    return left;
  }

  /** The tree; the builder can be used for the next one. */
  finish(): Tree {
    const { size } = this;
    this.size = 0;
    return {
      feature: this.feature.slice(0, size),
      threshold: this.threshold.slice(0, size),
      child: this.child.slice(0, size),
      value: this.value.slice(0, size),
    };
  }

  private grow(): void {
    const capacity = this.child.length * 2;
    const enlarge = <T extends Int32Array | Float64Array>(from: T, into: T): T => {
      into.set(from);
      return into;
    };
    this.feature = enlarge(this.feature, new Int32Array(capacity));
    this.threshold = enlarge(this.threshold, new Float64Array(capacity));
    this.child = enlarge(this.child, new Int32Array(capacity));
    this.value = enlarge(this.value, new Float64Array(capacity));
  }
}

/** Adds `scale` × the tree's prediction of each row to `sums`. */
export function addPredictions(
  tree: Tree,
  x: FeatureMatrix,
  rows: Int32Array,
  scale: number,
  sums: Float64Array,
): void {
  const { feature, threshold, child, value } = tree;
  if (x.kind === 'bits') {
    const { words, columns } = x;
    const stride = Math.ceil(columns / 32);
    for (let i = 0; i < rows.length; i++) {
      const base = rows[i]! * stride;
      let node = 0;
      for (let left = child[0]!; left >= 0; left = child[node]!) {
        const column = feature[node]!;
        node = left + ((words[base + (column >>> 5)]! >>> (column & 31)) & 1);
      }
      sums[i]! += scale * value[node]!;
    }
  } else {
    const { values, columns } = x;
    for (let i = 0; i < rows.length; i++) {
      const base = rows[i]! * columns;
      let node = 0;
      for (let left = child[0]!; left >= 0; left = child[node]!) {
        // Trees learn from single-precision features, as scikit-learn's do.
        node = Math.fround(values[base + feature[node]!]!) <= threshold[node]! ? left : left + 1;
      }
      sums[i]! += scale * value[node]!;
    }
  }
}
