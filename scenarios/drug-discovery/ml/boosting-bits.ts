import {
  type BoostingGrower,
  type GrowLimits,
  leafValue,
  PURE_BELOW,
  type Stage,
  splitGain,
} from './boosting-stage.ts';
import { type ColumnBits, columnBits, type RowLists, rowLists } from './training-set.ts';
import { type Tree, TreeBuilder } from './tree.ts';
import type { FeatureMatrix } from './types.ts';

/** Per column: sum of the residuals and number of the node's rows in which the bit is set. */
interface Histogram {
  readonly sums: Float64Array;
  readonly counts: Int32Array;
}

interface Totals {
  sum: number;
  squares: number;
  curvature: number;
}

/**
 * Trees on bits. A node's histogram over all columns costs one addition per set bit, and only the smaller child of a
 * split is counted: the larger one is its parent minus its sibling.
 */
export class BitGrower implements BoostingGrower {
  private readonly lists: RowLists;
  private readonly bits: ColumnBits;
  private readonly columns: number;
  private readonly limits: GrowLimits;
  private readonly rows: Int32Array;
  private readonly spare: Int32Array;
  private readonly free: Histogram[] = [];

  constructor(x: Extract<FeatureMatrix, { kind: 'bits' }>, trainRows: Int32Array, limits: GrowLimits) {
    this.lists = rowLists(x, trainRows);
    this.bits = columnBits(x, trainRows);
    this.columns = x.columns;
    this.limits = limits;
    this.rows = new Int32Array(trainRows.length);
    this.spare = new Int32Array(trainRows.length);
  }

  grow(stage: Stage, bag: Int32Array, columns: Int32Array): Tree {
    this.rows.set(bag);
    const builder = new TreeBuilder();
    let histogram: Histogram | null = null;
    if (this.maySplit(0, bag.length)) {
      histogram = this.takeHistogram();
      this.count(histogram, stage, 0, bag.length);
    }
    this.growNode(builder, stage, columns, builder.addLeaf(0), 0, 0, bag.length, histogram);
    return builder.finish();
  }

  private growNode(
    builder: TreeBuilder,
    stage: Stage,
    columns: Int32Array,
    node: number,
    depth: number,
    start: number,
    end: number,
    histogram: Histogram | null,
  ): void {
    const totals = this.total(stage, start, end);
    const split = histogram === null ? -1 : this.findSplit(histogram, totals, end - start, columns);
    if (histogram === null || split < 0) {
      if (histogram !== null) this.free.push(histogram);
      builder.setValue(node, leafValue(totals.sum, totals.curvature));
      for (let at = start; at < end; at++) stage.leaf[this.rows[at]!] = node;
      return;
    }
    const middle = this.partition(start, end, split);
    const left = builder.split(node, split, 0.5);
    const leftSmaller = middle - start <= end - middle;
    const wantsLeft = this.maySplit(depth + 1, middle - start);
    const wantsRight = this.maySplit(depth + 1, end - middle);
    let smaller: Histogram | null = null;
    let larger: Histogram | null = null;
    if (wantsLeft || wantsRight) {
      smaller = this.takeHistogram();
      if (leftSmaller) this.count(smaller, stage, start, middle);
      else this.count(smaller, stage, middle, end);
      larger = histogram;
      for (let column = 0; column < this.columns; column++) {
        larger.sums[column]! -= smaller.sums[column]!;
        larger.counts[column]! -= smaller.counts[column]!;
      }
    } else this.free.push(histogram);
    const leftHistogram = leftSmaller ? smaller : larger;
    const rightHistogram = leftSmaller ? larger : smaller;
    this.growNode(
      builder,
      stage,
      columns,
      left,
      depth + 1,
      start,
      middle,
      this.keepIf(wantsLeft, leftHistogram),
    );
    this.growNode(
      builder,
      stage,
      columns,
      left + 1,
      depth + 1,
      middle,
      end,
      this.keepIf(wantsRight, rightHistogram),
    );
  }

  private maySplit(depth: number, rows: number): boolean {
    const { maxDepth, minSamplesSplit, minSamplesLeaf } = this.limits;
    return depth < maxDepth && rows >= minSamplesSplit && rows >= 2 * minSamplesLeaf;
  }

  private keepIf(wanted: boolean, histogram: Histogram | null): Histogram | null {
    if (wanted || histogram === null) return histogram;
    this.free.push(histogram);
    return null;
  }

  private findSplit(histogram: Histogram, totals: Totals, rows: number, columns: Int32Array): number {
    const mean = totals.sum / rows;
    if (totals.squares / rows - mean * mean <= PURE_BELOW) return -1;
    const { sums, counts } = histogram;
    const least = this.limits.minSamplesLeaf;
    let best = Number.NEGATIVE_INFINITY;
    let found = -1;
    for (let i = 0; i < columns.length; i++) {
      const column = columns[i]!;
      const set = counts[column]!;
      if (set < least || rows - set < least) continue;
      const gain = splitGain(sums[column]!, set, totals.sum, rows);
      if (gain > best) {
        best = gain;
        found = column;
      }
    }
    return found;
  }

  private total(stage: Stage, start: number, end: number): Totals {
    const totals = { sum: 0, squares: 0, curvature: 0 };
    for (let at = start; at < end; at++) {
      const row = this.rows[at]!;
      const residual = stage.residual[row]!;
      totals.sum += residual;
      totals.squares += residual * residual;
      totals.curvature += stage.curvature[row]!;
    }
    return totals;
  }

  private count(histogram: Histogram, stage: Stage, start: number, end: number): void {
    const { sums, counts } = histogram;
    const { offsets, columns } = this.lists;
    sums.fill(0);
    counts.fill(0);
    for (let at = start; at < end; at++) {
      const row = this.rows[at]!;
      const residual = stage.residual[row]!;
      for (let bit = offsets[row]!, last = offsets[row + 1]!; bit < last; bit++) {
        const column = columns[bit]!;
        sums[column]! += residual;
        counts[column]!++;
      }
    }
  }

  private partition(start: number, end: number, column: number): number {
    const { rows, spare } = this;
    const { words, stride } = this.bits;
    const base = column * stride;
    let left = start;
    let right = 0;
    for (let at = start; at < end; at++) {
      const row = rows[at]!;
      if ((words[base + (row >>> 5)]! >>> (row & 31)) & 1) spare[right++] = row;
      else rows[left++] = row;
    }
    for (let i = 0; i < right; i++) rows[left + i] = spare[i]!;
    return left;
  }

  private takeHistogram(): Histogram {
    return this.free.pop() ?? { sums: new Float64Array(this.columns), counts: new Int32Array(this.columns) };
  }
}
