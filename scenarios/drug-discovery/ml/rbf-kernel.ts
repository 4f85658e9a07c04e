import { popcount, type RowLists, rowLists } from './training-set.ts';
import type { FeatureMatrix } from './types.ts';

/** exp(−gamma · |a − b|²) between rows of a matrix and fixed base rows. */
export interface RbfKernel {
  /** Base rows. */
  readonly size: number;
  /** out[j] = kernel of row `row` of x with base row j. */
  fill(x: FeatureMatrix, row: number, out: Float64Array): void;
  /** The kernel of all base rows with one another, size × size. */
  gram(): Float32Array;
}

export function rbfKernel(x: FeatureMatrix, baseRows: Int32Array, gamma: number): RbfKernel {
  return x.kind === 'bits' ? new BitKernel(x, baseRows, gamma) : new DenseKernel(x, baseRows, gamma);
}

/** 1 / (columns · variance over all entries of the rows); 1 when nothing varies. */
export function scaledGamma(x: FeatureMatrix, rows: Int32Array): number {
  const entries = rows.length * x.columns;
  let variance = 0;
  if (x.kind === 'bits') {
    const share = rowLists(x, rows).columns.length / entries;
    variance = share * (1 - share);
  } else {
    let sum = 0;
    for (const row of rows) {
      for (let at = row * x.columns; at < (row + 1) * x.columns; at++) sum += x.values[at]!;
    }
    const mean = sum / entries;
    for (const row of rows) {
      for (let at = row * x.columns; at < (row + 1) * x.columns; at++)
        variance += (x.values[at]! - mean) ** 2;
    }
    variance /= entries;
  }
  return variance > 0 ? 1 / (x.columns * variance) : 1;
}

type Bits = Extract<FeatureMatrix, { kind: 'bits' }>;

/** A column set in a larger share of the rows than this costs less as a bit of a counted word than as a list of rows. */
const COMMON_SHARE = 1 / 16;

/**
 * On bits |a − b|² = |a| + |b| − 2 |a ∧ b| is a small integer, so the exponentials are a table. |a ∧ b| is counted by
 * words over the common columns, and by walking lists of base rows over the rare ones.
 */
class BitKernel implements RbfKernel {
  readonly size: number;
  private readonly stride: number;
  private readonly table: Float64Array;
  private readonly ones: Int32Array;
  /** Place of a column among the common ones, or -1. */
  private readonly place: Int32Array;
  private readonly commonWords: number;
  /** `common[w * size + j]`: word w of the common columns of base row j. */
  private readonly common: Int32Array;
  /** Base rows that have a rare column, ascending. */
  private readonly holders: RowLists;
  private readonly shared: Int32Array;
  private readonly packed: Int32Array;

  constructor(x: Bits, baseRows: Int32Array, gamma: number) {
    const size = baseRows.length;
    this.size = size;
    this.stride = Math.ceil(x.columns / 32);
    this.table = Float64Array.from({ length: x.columns + 1 }, (_, distance) => Math.exp(-gamma * distance));
    const { offsets, columns } = rowLists(x, baseRows);
    const counts = new Int32Array(x.columns);
    for (const column of columns) counts[column]!++;
    this.place = new Int32Array(x.columns).fill(-1);
    let commons = 0;
    for (let column = 0; column < x.columns; column++) {
      if (counts[column]! > COMMON_SHARE * size) this.place[column] = commons++;
    }
    this.commonWords = Math.ceil(commons / 32);
    this.common = new Int32Array(this.commonWords * size);
    this.ones = new Int32Array(size);
    const starts = new Int32Array(x.columns + 1);
    for (let column = 0; column < x.columns; column++) {
      starts[column + 1] = starts[column]! + (this.place[column]! < 0 ? counts[column]! : 0);
    }
    const next = starts.slice();
    const rowsOf = new Int32Array(starts[x.columns]!);
    for (let j = 0; j < size; j++) {
      this.ones[j] = offsets[j + 1]! - offsets[j]!;
      for (let at = offsets[j]!; at < offsets[j + 1]!; at++) {
        const column = columns[at]!;
        const place = this.place[column]!;
        if (place < 0) rowsOf[next[column]!++] = j;
        else this.common[(place >>> 5) * size + j]! |= 1 << (place & 31);
      }
    }
    this.holders = { offsets: starts, columns: rowsOf };
    this.shared = new Int32Array(size);
    this.packed = new Int32Array(this.commonWords);
  }

  fill(x: FeatureMatrix, row: number, out: Float64Array): void {
    const { size, stride, shared, packed, ones, table, place } = this;
    const { offsets, columns: holders } = this.holders;
    const words = (x as Bits).words;
    shared.fill(0);
    packed.fill(0);
    let count = 0;
    for (let word = 0; word < stride; word++) {
      for (let left = words[row * stride + word]!; left !== 0; left &= left - 1) {
        const column = word * 32 + 31 - Math.clz32(left & -left);
        const at = place[column]!;
        count++;
        if (at >= 0) packed[at >>> 5]! |= 1 << (at & 31);
        else for (let k = offsets[column]!, end = offsets[column + 1]!; k < end; k++) shared[holders[k]!]!++;
      }
    }
    this.countCommon(packed, 0);
    for (let j = 0; j < size; j++) out[j] = table[count + ones[j]! - 2 * shared[j]!]!;
  }

  gram(): Float32Array {
    const { size, commonWords, common, packed, shared, ones, table } = this;
    const kernel = new Float32Array(size * size);
    const { offsets, columns: holders } = this.holders;
    const rare = rareColumns(this.holders, size);
    // Base rows come in ascending order, so everything before the cursor of a column lies left of the diagonal.
    const cursor = offsets.slice();
    for (let i = 0; i < size; i++) {
      shared.fill(0, i);
      for (let at = rare.offsets[i]!; at < rare.offsets[i + 1]!; at++) {
        const column = rare.columns[at]!;
        for (let k = cursor[column]!, end = offsets[column + 1]!; k < end; k++) shared[holders[k]!]!++;
        cursor[column]!++;
      }
      for (let word = 0; word < commonWords; word++) packed[word] = common[word * size + i]!;
      this.countCommon(packed, i);
      const base = i * size;
      for (let j = i; j < size; j++) kernel[base + j] = table[ones[i]! + ones[j]! - 2 * shared[j]!]!;
    }
    mirror(kernel, size);
    return kernel;
  }

  private countCommon(packed: Int32Array, from: number): void {
    const { size, commonWords, common, shared } = this;
    for (let word = 0; word < commonWords; word++) {
      const mask = packed[word]!;
      if (mask === 0) continue;
      const base = word * size;
      for (let j = from; j < size; j++) shared[j]! += popcount(common[base + j]! & mask);
    }
  }
}

/** Turns lists of rows per column into lists of columns per row. */
function rareColumns(holders: RowLists, rows: number): RowLists {
  const offsets = new Int32Array(rows + 1);
  for (const row of holders.columns) offsets[row + 1]!++;
  for (let row = 0; row < rows; row++) offsets[row + 1]! += offsets[row]!;
  const next = offsets.slice();
  const columns = new Int32Array(holders.columns.length);
  for (let column = 0; column + 1 < holders.offsets.length; column++) {
    for (let at = holders.offsets[column]!; at < holders.offsets[column + 1]!; at++) {
      columns[next[holders.columns[at]!]!++] = column;
    }
  }
  return { offsets, columns };
}

/** Copies the upper triangle to the lower one, in blocks that fit the first-level cache. */
function mirror(square: Float32Array, size: number): void {
  const block = 32;
  for (let top = 0; top < size; top += block) {
    const bottom = Math.min(top + block, size);
    for (let left = top; left < size; left += block) {
      const right = Math.min(left + block, size);
      for (let row = top; row < bottom; row++) {
        for (let column = Math.max(left, row + 1); column < right; column++) {
          square[column * size + row] = square[row * size + column]!;
        }
      }
    }
  }
}

class DenseKernel implements RbfKernel {
  readonly size: number;
  private readonly gamma: number;
  private readonly columns: number;
  private readonly base: Float64Array;

  constructor(x: Extract<FeatureMatrix, { kind: 'dense' }>, baseRows: Int32Array, gamma: number) {
    this.size = baseRows.length;
    this.gamma = gamma;
    this.columns = x.columns;
    this.base = gather(x, baseRows);
  }

  fill(x: FeatureMatrix, row: number, out: Float64Array): void {
    const values = (x as Extract<FeatureMatrix, { kind: 'dense' }>).values;
    for (let j = 0; j < this.size; j++) out[j] = Math.exp(-this.gamma * this.distance(values, row, j));
  }

  gram(): Float32Array {
    const { size, base, gamma } = this;
    const kernel = new Float32Array(size * size);
    for (let i = 0; i < size; i++) {
      for (let j = i; j < size; j++) kernel[i * size + j] = Math.exp(-gamma * this.distance(base, i, j));
    }
    mirror(kernel, size);
    return kernel;
  }

  private distance(values: Float64Array, row: number, j: number): number {
    const { columns, base } = this;
    let sum = 0;
    for (let a = row * columns, b = j * columns, end = a + columns; a < end; a++, b++) {
      const difference = values[a]! - base[b]!;
      sum += difference * difference;
    }
    return sum;
  }
}

function gather(x: Extract<FeatureMatrix, { kind: 'dense' }>, rows: Int32Array): Float64Array {
  const out = new Float64Array(rows.length * x.columns);
  for (let i = 0; i < rows.length; i++) {
    out.set(x.values.subarray(rows[i]! * x.columns, (rows[i]! + 1) * x.columns), i * x.columns);
  }
  return out;
}
