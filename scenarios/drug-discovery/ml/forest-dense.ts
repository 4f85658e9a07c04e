import { EQUAL_WITHIN, type RankedColumns, rankColumns, thresholdBetween } from './dense-columns.ts';
import type { Node, Samples, Splitter } from './forest-splitter.ts';
import { identity, type Random } from './random.ts';
import type { FeatureMatrix } from './types.ts';

/**
 * Splits on numbers through their ranks: a histogram over the ranks where the column has few distinct values for the
 * size of the node, else the node's ranks sorted.
 */
export class DenseSplitter implements Splitter {
  column = -1;
  threshold = 0;
  leftWeight = 0;
  leftPositive = 0;
  private leftCode = 0;
  private best = -1;
  private readonly ranked: RankedColumns;
  private readonly tries: number;
  private readonly minSamplesLeaf: number;
  private readonly order: Int32Array;
  private readonly spare: Int32Array;
  private readonly keys: Float64Array;
  /** Per rank of the column in hand: weight, positives and rows; all zero between two searches. */
  private readonly histogram: Int32Array;

  constructor(
    x: Extract<FeatureMatrix, { kind: 'dense' }>,
    trainRows: Int32Array,
    tries: number,
    minSamplesLeaf: number,
  ) {
    this.ranked = rankColumns(x, trainRows);
    this.tries = tries;
    this.minSamplesLeaf = minSamplesLeaf;
    this.order = identity(x.columns);
    this.spare = new Int32Array(3 * trainRows.length);
    this.keys = new Float64Array(trainRows.length);
    this.histogram = new Int32Array(3 * trainRows.length);
  }

  search(samples: Samples, node: Node, random: Random): boolean {
    const { order } = this;
    const columns = order.length;
    let found = false;
    this.best = -1;
    for (let tried = 0; tried < columns && (tried < this.tries || !found); tried++) {
      const pick = tried + random.below(columns - tried);
      const column = order[pick]!;
      order[pick] = order[tried]!;
      order[tried] = column;
      const distinct = this.ranked.distinct[column]!.length;
      if (distinct === 1) continue;
      const varies =
        distinct <= 2 * (node.end - node.start)
          ? this.searchByHistogram(samples, node, column)
          : this.searchBySorting(samples, node, column);
      if (varies) found = true;
    }
    return this.best >= 0;
  }

  partition(samples: Samples, node: Node): number {
    const { positions, weights, positives } = samples;
    const { codes, rows } = this.ranked;
    const { spare, leftCode } = this;
    const base = this.column * rows;
    let left = node.start;
    let right = 0;
    for (let at = node.start; at < node.end; at++) {
      const position = positions[at]!;
      if (codes[base + position]! > leftCode) {
        spare[right] = position;
        spare[rows + right] = weights[at]!;
        spare[2 * rows + right] = positives[at]!;
        right++;
      } else {
        positions[left] = position;
        weights[left] = weights[at]!;
        positives[left] = positives[at]!;
        left++;
      }
    }
    for (let i = 0; i < right; i++) {
      positions[left + i] = spare[i]!;
      weights[left + i] = spare[rows + i]!;
      positives[left + i] = spare[2 * rows + i]!;
    }
    return left;
  }

  private searchByHistogram(samples: Samples, node: Node, column: number): boolean {
    const { positions, weights, positives } = samples;
    const { codes, rows } = this.ranked;
    const { histogram } = this;
    const base = column * rows;
    for (let at = node.start; at < node.end; at++) {
      const slot = 3 * codes[base + positions[at]!]!;
      histogram[slot]! += weights[at]!;
      histogram[slot + 1]! += positives[at]!;
      histogram[slot + 2]!++;
    }
    const distinct = this.ranked.distinct[column]!;
    let leftWeight = 0;
    let leftPositive = 0;
    let leftRows = 0;
    let previous = -1;
    let varies = false;
    for (let code = 0; code < distinct.length; code++) {
      const slot = 3 * code;
      const count = histogram[slot + 2]!;
      if (count === 0) continue;
      if (previous >= 0 && distinct[code]! > distinct[previous]! + EQUAL_WITHIN) {
        varies = true;
        this.consider(node, column, previous, code, leftWeight, leftPositive, leftRows);
      }
      leftWeight += histogram[slot]!;
      leftPositive += histogram[slot + 1]!;
      leftRows += count;
      previous = code;
      histogram[slot] = 0;
      histogram[slot + 1] = 0;
      histogram[slot + 2] = 0;
    }
    return varies;
  }

  private searchBySorting(samples: Samples, node: Node, column: number): boolean {
    const { positions, weights, positives } = samples;
    const { codes, rows } = this.ranked;
    const { keys } = this;
    const base = column * rows;
    const size = node.end - node.start;
    // Rank and place in one exactly representable number: sorting needs no comparison function.
    for (let i = 0; i < size; i++) keys[i] = codes[base + positions[node.start + i]!]! * 2 ** 26 + i;
    sortKeys(keys, size);
    const distinct = this.ranked.distinct[column]!;
    let leftWeight = 0;
    let leftPositive = 0;
    let previous = -1;
    let varies = false;
    for (let i = 0; i < size; i++) {
      const key = keys[i]!;
      const code = Math.floor(key / 2 ** 26);
      if (previous >= 0 && code > previous && distinct[code]! > distinct[previous]! + EQUAL_WITHIN) {
        varies = true;
        this.consider(node, column, previous, code, leftWeight, leftPositive, i);
      }
      const at = node.start + (key - code * 2 ** 26);
      leftWeight += weights[at]!;
      leftPositive += positives[at]!;
      previous = code;
    }
    return varies;
  }

  private consider(
    node: Node,
    column: number,
    leftCode: number,
    rightCode: number,
    leftWeight: number,
    leftPositive: number,
    leftRows: number,
  ): void {
    if (leftRows < this.minSamplesLeaf || node.end - node.start - leftRows < this.minSamplesLeaf) return;
    const leftNegative = leftWeight - leftPositive;
    const rightWeight = node.weight - leftWeight;
    const rightPositive = node.positive - leftPositive;
    const rightNegative = rightWeight - rightPositive;
    const score =
      (leftPositive * leftPositive + leftNegative * leftNegative) / leftWeight +
      (rightPositive * rightPositive + rightNegative * rightNegative) / rightWeight;
    if (score <= this.best) return;
    const distinct = this.ranked.distinct[column]!;
    this.best = score;
    this.column = column;
    this.leftCode = leftCode;
    this.threshold = thresholdBetween(distinct[leftCode]!, distinct[rightCode]!);
    this.leftWeight = leftWeight;
    this.leftPositive = leftPositive;
  }
}

/** Sorts the first `size` keys: by insertion when there are few, which most nodes are. */
function sortKeys(keys: Float64Array, size: number): void {
  if (size > 32) {
    keys.subarray(0, size).sort();
    return;
  }
  for (let i = 1; i < size; i++) {
    const key = keys[i]!;
    let at = i;
    for (; at > 0 && keys[at - 1]! > key; at--) keys[at] = keys[at - 1]!;
    keys[at] = key;
  }
}
