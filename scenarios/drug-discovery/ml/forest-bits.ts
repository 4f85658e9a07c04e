import type { Node, Samples, Splitter } from './forest-splitter.ts';
import { identity, type Random } from './random.ts';
import { type ColumnBits, columnBits } from './training-set.ts';
import type { FeatureMatrix } from './types.ts';

/** Splits on bits: one pass over the node's samples with the column's bit string in the first-level cache. */
export class BitSplitter implements Splitter {
  column = -1;
  readonly threshold = 0.5;
  leftWeight = 0;
  leftPositive = 0;
  private readonly bits: ColumnBits;
  private readonly rows: number;
  private readonly tries: number;
  private readonly minSamplesLeaf: number;
  private readonly order: Int32Array;
  private readonly spare: Int32Array;

  constructor(
    x: Extract<FeatureMatrix, { kind: 'bits' }>,
    trainRows: Int32Array,
    tries: number,
    minSamplesLeaf: number,
  ) {
    this.bits = columnBits(x, trainRows);
    this.rows = trainRows.length;
    this.tries = tries;
    this.minSamplesLeaf = minSamplesLeaf;
    this.order = identity(x.columns);
    this.spare = new Int32Array(3 * trainRows.length);
  }

  search(samples: Samples, node: Node, random: Random): boolean {
    const { positions, weights, positives } = samples;
    const { start, end, weight, positive } = node;
    const { stride, words, counts } = this.bits;
    const { order, minSamplesLeaf } = this;
    const columns = order.length;
    let best = -1;
    let found = false;
    // Columns that do not vary here count as tried, but the search goes on until one that varies was seen.
    for (let tried = 0; tried < columns && (tried < this.tries || !found); tried++) {
      const pick = tried + random.below(columns - tried);
      const column = order[pick]!;
      order[pick] = order[tried]!;
      order[tried] = column;
      const count = counts[column]!;
      if (count === 0 || count === this.rows) continue;
      const base = column * stride;
      let setWeight = 0;
      let setPositive = 0;
      for (let at = start; at < end; at++) {
        const position = positions[at]!;
        const mask = -((words[base + (position >>> 5)]! >>> (position & 31)) & 1);
        setWeight += weights[at]! & mask;
        setPositive += positives[at]! & mask;
      }
      if (setWeight === 0 || setWeight === weight) continue;
      found = true;
      const clearWeight = weight - setWeight;
      const clearPositive = positive - setPositive;
      const setNegative = setWeight - setPositive;
      const clearNegative = clearWeight - clearPositive;
      // Lowest weighted Gini impurity = greatest sum of squared class weights over the child's weight.
      const score =
        (setPositive * setPositive + setNegative * setNegative) / setWeight +
        (clearPositive * clearPositive + clearNegative * clearNegative) / clearWeight;
      if (score > best && (minSamplesLeaf === 1 || this.leavesEnough(samples, node, base))) {
        best = score;
        this.column = column;
        this.leftWeight = clearWeight;
        this.leftPositive = clearPositive;
      }
    }
    return best >= 0;
  }

  partition(samples: Samples, node: Node): number {
    const { positions, weights, positives } = samples;
    const { words, stride } = this.bits;
    const { spare, rows } = this;
    const base = this.column * stride;
    let left = node.start;
    let right = 0;
    for (let at = node.start; at < node.end; at++) {
      const position = positions[at]!;
      if ((words[base + (position >>> 5)]! >>> (position & 31)) & 1) {
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

  private leavesEnough(samples: Samples, node: Node, base: number): boolean {
    let set = 0;
    for (let at = node.start; at < node.end; at++) {
      const position = samples.positions[at]!;
      set += (this.bits.words[base + (position >>> 5)]! >>> (position & 31)) & 1;
    }
    return set >= this.minSamplesLeaf && node.end - node.start - set >= this.minSamplesLeaf;
  }
}
