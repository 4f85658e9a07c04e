import type { FeatureMatrix } from './types.ts';

/** Values of one column nearer than this count as equal, as in scikit-learn's trees. */
export const EQUAL_WITHIN = 1e-7;

/**
 * The training rows of dense features, column by column: `codes[c * rows + i]` is the rank of row i's value among the
 * distinct (single-precision) values of column c, which are `distinct[c]`, ascending.
 */
export interface RankedColumns {
  readonly rows: number;
  readonly codes: Int32Array;
  readonly distinct: readonly Float32Array[];
}

export function rankColumns(
  x: Extract<FeatureMatrix, { kind: 'dense' }>,
  trainRows: Int32Array,
): RankedColumns {
  const rows = trainRows.length;
  const codes = new Int32Array(x.columns * rows);
  const distinct: Float32Array[] = [];
  const column = new Float32Array(rows);
  for (let c = 0; c < x.columns; c++) {
    // Adding 0 turns -0 into 0: they are one value.
    for (let i = 0; i < rows; i++) column[i] = x.values[trainRows[i]! * x.columns + c]! + 0;
    const ascending = column.slice().sort();
    let size = 0;
    for (const value of ascending) if (size === 0 || value > ascending[size - 1]!) ascending[size++] = value;
    const values = ascending.slice(0, size);
    for (let i = 0; i < rows; i++) codes[c * rows + i] = rankOf(values, column[i]!);
    distinct.push(values);
  }
  return { rows, codes, distinct };
}

function rankOf(ascending: Float32Array, value: number): number {
  let low = 0;
  let high = ascending.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ascending[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The threshold between two neighbouring values: their middle, or the lower one where rounding would lose the split. */
export function thresholdBetween(lower: number, upper: number): number {
  const middle = lower / 2 + upper / 2;
  return middle === upper || !Number.isFinite(middle) ? lower : middle;
}
