import type { FeatureMatrix } from './types.ts';

/** The labels of the training rows, in their order. */
export function gatherLabels(y: Uint8Array, trainRows: Int32Array): Uint8Array {
  return Uint8Array.from(trainRows, (row) => y[row]!);
}

/** The columns set in each row: those of row i are `columns[offsets[i] … offsets[i + 1]]`, ascending. */
export interface RowLists {
  readonly offsets: Int32Array;
  readonly columns: Int32Array;
}

type Bits = Extract<FeatureMatrix, { kind: 'bits' }>;

export function rowLists(x: Bits, rows: Int32Array): RowLists {
  const stride = Math.ceil(x.columns / 32);
  const offsets = new Int32Array(rows.length + 1);
  for (let i = 0; i < rows.length; i++) {
    let set = 0;
    const from = rows[i]! * stride;
    for (let at = from; at < from + stride; at++) set += popcount(x.words[at]!);
    offsets[i + 1] = offsets[i]! + set;
  }
  const columns = new Int32Array(offsets[rows.length]!);
  let next = 0;
  for (let i = 0; i < rows.length; i++) {
    const from = rows[i]! * stride;
    for (let word = 0; word < stride; word++) {
      let left = x.words[from + word]!;
      while (left !== 0) {
        const lowest = left & -left;
        columns[next++] = word * 32 + 31 - Math.clz32(lowest);
        left ^= lowest;
      }
    }
  }
  return { offsets, columns };
}

/** One bit string per column over the given rows: row i of column c is bit `i & 31` of word `c * stride + (i >>> 5)`. */
export interface ColumnBits {
  readonly stride: number;
  readonly words: Int32Array;
  /** Rows in which the column is set. */
  readonly counts: Int32Array;
}

export function columnBits(x: Bits, rows: Int32Array): ColumnBits {
  const lists = rowLists(x, rows);
  const stride = Math.ceil(rows.length / 32);
  const words = new Int32Array(x.columns * stride);
  const counts = new Int32Array(x.columns);
  for (let i = 0; i < rows.length; i++) {
    for (let at = lists.offsets[i]!; at < lists.offsets[i + 1]!; at++) {
      const column = lists.columns[at]!;
      words[column * stride + (i >>> 5)]! |= 1 << (i & 31);
      counts[column]!++;
    }
  }
  return { stride, words, counts };
}

export function popcount(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555);
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
