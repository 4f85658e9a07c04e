import {
  type BoostingGrower,
  type GrowLimits,
  leafValue,
  PURE_BELOW,
  type Stage,
  splitGain,
} from './boosting-stage.ts';
import { EQUAL_WITHIN, type RankedColumns, rankColumns, thresholdBetween } from './dense-columns.ts';
import { type Tree, TreeBuilder } from './tree.ts';
import type { FeatureMatrix } from './types.ts';

/** The nodes of one level that may still split, each with what the scan of a column knows of it and its best split. */
class Level {
  readonly node: Int32Array;
  readonly rows: Int32Array;
  readonly sum: Float64Array;
  readonly leftRows: Int32Array;
  readonly leftSum: Float64Array;
  readonly lastCode: Int32Array;
  readonly gain: Float64Array;
  readonly column: Int32Array;
  /** Rows with a rank up to this one go left. */
  readonly leftCode: Int32Array;
  readonly rightCode: Int32Array;

  constructor(nodes: number[]) {
    this.node = Int32Array.from(nodes);
    this.rows = new Int32Array(nodes.length);
    this.sum = new Float64Array(nodes.length);
    this.leftRows = new Int32Array(nodes.length);
    this.leftSum = new Float64Array(nodes.length);
    this.lastCode = new Int32Array(nodes.length);
    this.gain = new Float64Array(nodes.length).fill(Number.NEGATIVE_INFINITY);
    this.column = new Int32Array(nodes.length).fill(-1);
    this.leftCode = new Int32Array(nodes.length);
    this.rightCode = new Int32Array(nodes.length);
  }
}

/** Trees on numbers: the rows are sorted by every column once, and a level of the tree is one scan of each column. */
export class DenseGrower implements BoostingGrower {
  private readonly ranked: RankedColumns;
  private readonly limits: GrowLimits;
  /** Per column the training positions in ascending order of their value. */
  private readonly sorted: Int32Array;
  /** Slot of the row's node in the current level, -1 when the row is out of the bag or in a leaf. */
  private readonly slot: Int32Array;

  constructor(x: Extract<FeatureMatrix, { kind: 'dense' }>, trainRows: Int32Array, limits: GrowLimits) {
    this.ranked = rankColumns(x, trainRows);
    this.limits = limits;
    this.slot = new Int32Array(trainRows.length);
    this.sorted = sortRows(this.ranked);
  }

  grow(stage: Stage, bag: Int32Array, columns: Int32Array): Tree {
    const { slot } = this;
    const { maxDepth } = this.limits;
    const builder = new TreeBuilder();
    let level = new Level([builder.addLeaf(0)]);
    slot.fill(-1);
    for (let i = 0; i < bag.length; i++) {
      const row = bag[i]!;
      slot[row] = 0;
      stage.leaf[row] = level.node[0]!;
    }
    for (let depth = 0; depth < maxDepth && level.node.length > 0; depth++) {
      this.closePureNodes(level, stage, bag);
      for (const column of columns) this.scan(level, stage, column);
      level = this.splitLevel(level, stage, bag, builder);
    }
    this.setLeafValues(builder, stage, bag);
    return builder.finish();
  }

  /** Sums up each node; the rows of one that may not split take no further part. */
  private closePureNodes(level: Level, stage: Stage, bag: Int32Array): void {
    const { slot } = this;
    const { minSamplesSplit, minSamplesLeaf } = this.limits;
    const squares = new Float64Array(level.node.length);
    for (let i = 0; i < bag.length; i++) {
      const row = bag[i]!;
      const at = slot[row]!;
      if (at < 0) continue;
      const residual = stage.residual[row]!;
      level.rows[at]!++;
      level.sum[at]! += residual;
      squares[at]! += residual * residual;
    }
    const closed = squares.map((square, at) => {
      const rows = level.rows[at]!;
      const mean = level.sum[at]! / rows;
      const small = rows < minSamplesSplit || rows < 2 * minSamplesLeaf;
      return small || square / rows - mean * mean <= PURE_BELOW ? 1 : 0;
    });
    for (let i = 0; i < bag.length; i++) {
      const row = bag[i]!;
      const at = slot[row]!;
      if (at >= 0 && closed[at] === 1) slot[row] = -1;
    }
  }

  private scan(level: Level, stage: Stage, column: number): void {
    const { slot, sorted } = this;
    const { rows: total, codes } = this.ranked;
    const distinct = this.ranked.distinct[column]!;
    if (distinct.length === 1) return;
    const { leftRows, leftSum, lastCode, rows, sum, gain } = level;
    const { residual } = stage;
    const least = this.limits.minSamplesLeaf;
    const base = column * total;
    leftRows.fill(0);
    leftSum.fill(0);
    for (let i = base; i < base + total; i++) {
      const row = sorted[i]!;
      const at = slot[row]!;
      if (at < 0) continue;
      const code = codes[base + row]!;
      const left = leftRows[at]!;
      const last = lastCode[at]!;
      if (left >= least && code !== last && rows[at]! - left >= least) {
        const improvement = splitGain(leftSum[at]!, left, sum[at]!, rows[at]!);
        if (improvement > gain[at]! && distinct[code]! > distinct[last]! + EQUAL_WITHIN) {
          gain[at] = improvement;
          level.column[at] = column;
          level.leftCode[at] = last;
          level.rightCode[at] = code;
        }
      }
      leftRows[at] = left + 1;
      leftSum[at]! += residual[row]!;
      lastCode[at] = code;
    }
  }

  private splitLevel(level: Level, stage: Stage, bag: Int32Array, builder: TreeBuilder): Level {
    const { slot } = this;
    const { rows: total, codes } = this.ranked;
    const next: number[] = [];
    const firstSlot = new Int32Array(level.node.length);
    for (let at = 0; at < level.node.length; at++) {
      const column = level.column[at]!;
      if (column < 0) continue;
      const distinct = this.ranked.distinct[column]!;
      const threshold = thresholdBetween(distinct[level.leftCode[at]!]!, distinct[level.rightCode[at]!]!);
      const left = builder.split(level.node[at]!, column, threshold);
      firstSlot[at] = next.length;
      next.push(left, left + 1);
    }
    for (let i = 0; i < bag.length; i++) {
      const row = bag[i]!;
      const at = slot[row]!;
      if (at < 0) continue;
      const column = level.column[at]!;
      if (column < 0) {
        slot[row] = -1;
        continue;
      }
      const side = codes[column * total + row]! > level.leftCode[at]! ? 1 : 0;
      slot[row] = firstSlot[at]! + side;
      stage.leaf[row] = next[firstSlot[at]! + side]!;
    }
    return new Level(next);
  }

  private setLeafValues(builder: TreeBuilder, stage: Stage, bag: Int32Array): void {
    const residual = new Float64Array(builder.nodes);
    const curvature = new Float64Array(builder.nodes);
    const rows = new Int32Array(builder.nodes);
    for (let i = 0; i < bag.length; i++) {
      const row = bag[i]!;
      const leaf = stage.leaf[row]!;
      residual[leaf]! += stage.residual[row]!;
      curvature[leaf]! += stage.curvature[row]!;
      rows[leaf]!++;
    }
    for (let leaf = 0; leaf < rows.length; leaf++)
      if (rows[leaf]! > 0) builder.setValue(leaf, leafValue(residual[leaf]!, curvature[leaf]!));
  }
}

/** Per column the rows in ascending order of their rank, equal ones in their own order (a counting sort). */
function sortRows({ rows, codes, distinct }: RankedColumns): Int32Array {
  const sorted = new Int32Array(codes.length);
  for (let column = 0; column < distinct.length; column++) {
    const base = column * rows;
    const next = new Int32Array(distinct[column]!.length + 1);
    for (let row = 0; row < rows; row++) next[codes[base + row]! + 1]!++;
    for (let code = 1; code < next.length; code++) next[code]! += next[code - 1]!;
    for (let row = 0; row < rows; row++) sorted[base + next[codes[base + row]!]!++] = row;
  }
  return sorted;
}
