import { rowLists } from './training-set.ts';
import type { FeatureMatrix } from './types.ts';

/** The training rows as a linear map, with a column of ones (the intercept) after the features. */
export interface Design {
  /** Feature j enters as (x_j − centre_j) / scale_j. */
  readonly centre: Float64Array;
  readonly scale: Float64Array;
  /** out = X · weights, one per row. */
  multiply(weights: Float64Array, out: Float64Array): void;
  /** out += Xᵀ · perRow, one per column. */
  addTransposed(perRow: Float64Array, out: Float64Array): void;
  /** out += (X ∘ X)ᵀ · perRow. */
  addSquaresTransposed(perRow: Float64Array, out: Float64Array): void;
}

export function designOf(x: FeatureMatrix, rows: Int32Array): Design {
  return x.kind === 'bits' ? new BitDesign(x, rows) : new DenseDesign(x, rows);
}

class BitDesign implements Design {
  readonly centre: Float64Array;
  readonly scale: Float64Array;
  private readonly offsets: Int32Array;
  private readonly columns: Int32Array;

  constructor(x: Extract<FeatureMatrix, { kind: 'bits' }>, rows: Int32Array) {
    this.centre = new Float64Array(x.columns);
    this.scale = new Float64Array(x.columns).fill(1);
    ({ offsets: this.offsets, columns: this.columns } = rowLists(x, rows));
  }

  multiply(weights: Float64Array, out: Float64Array): void {
    const { offsets, columns } = this;
    const intercept = weights[this.scale.length]!;
    for (let i = 0, at = 0; i < out.length; i++) {
      let sum = intercept;
      for (const end = offsets[i + 1]!; at < end; at++) sum += weights[columns[at]!]!;
      out[i] = sum;
    }
  }

  addTransposed(perRow: Float64Array, out: Float64Array): void {
    const { offsets, columns } = this;
    const intercept = this.scale.length;
    for (let i = 0, at = 0; i < perRow.length; i++) {
      const value = perRow[i]!;
      for (const end = offsets[i + 1]!; at < end; at++) out[columns[at]!]! += value;
      out[intercept]! += value;
    }
  }

  addSquaresTransposed(perRow: Float64Array, out: Float64Array): void {
    this.addTransposed(perRow, out);
  }
}

/** Dense features are centred and scaled to unit variance inside, or steps on unscaled ones would be long in coming. */
class DenseDesign implements Design {
  readonly centre: Float64Array;
  readonly scale: Float64Array;
  private readonly values: Float64Array;

  constructor(x: Extract<FeatureMatrix, { kind: 'dense' }>, rows: Int32Array) {
    const { columns } = x;
    this.centre = new Float64Array(columns);
    this.scale = new Float64Array(columns);
    this.values = new Float64Array(rows.length * columns);
    for (let column = 0; column < columns; column++) {
      let sum = 0;
      for (const row of rows) sum += x.values[row * columns + column]!;
      const centre = sum / rows.length;
      let squares = 0;
      for (const row of rows) squares += (x.values[row * columns + column]! - centre) ** 2;
      const deviation = Math.sqrt(squares / rows.length);
      // A constant column would become rounding noise of unit variance.
      const scale = deviation > 1e-12 * Math.max(1, Math.abs(centre)) ? deviation : 1;
      this.centre[column] = centre;
      this.scale[column] = scale;
      for (let i = 0; i < rows.length; i++) {
        this.values[i * columns + column] = (x.values[rows[i]! * columns + column]! - centre) / scale;
      }
    }
  }

  multiply(weights: Float64Array, out: Float64Array): void {
    const { values } = this;
    const columns = this.scale.length;
    for (let i = 0, at = 0; i < out.length; i++) {
      let sum = weights[columns]!;
      for (let column = 0; column < columns; column++) sum += weights[column]! * values[at++]!;
      out[i] = sum;
    }
  }

  addTransposed(perRow: Float64Array, out: Float64Array): void {
    const { values } = this;
    const columns = this.scale.length;
    for (let i = 0, at = 0; i < perRow.length; i++) {
      const value = perRow[i]!;
      for (let column = 0; column < columns; column++) out[column]! += value * values[at++]!;
      out[columns]! += value;
    }
  }

  addSquaresTransposed(perRow: Float64Array, out: Float64Array): void {
    const { values } = this;
    const columns = this.scale.length;
    for (let i = 0, at = 0; i < perRow.length; i++) {
      const value = perRow[i]!;
      for (let column = 0; column < columns; column++) out[column]! += value * values[at++]! ** 2;
      out[columns]! += value;
    }
  }
}
