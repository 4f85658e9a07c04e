import { Random } from '../random.ts';
import type { FeatureMatrix } from '../types.ts';

/** Synthetic inputs that make_golden.py derives too, number for number: keep the two in step. */
export interface Input {
  readonly x: FeatureMatrix;
  readonly y: Uint8Array;
}

const ROWS = 600;
const TRAIN = 400;

export const TRAIN_ROWS = Int32Array.from({ length: TRAIN }, (_, row) => row);
export const TEST_ROWS = Int32Array.from({ length: ROWS - TRAIN }, (_, row) => TRAIN + row);

export function inputOf(kind: 'dense' | 'bits'): Input {
  return kind === 'dense' ? denseInput(11, ROWS) : bitInput(12, ROWS);
}

export function labelsOf(y: Uint8Array, rows: Int32Array): Uint8Array {
  return Uint8Array.from(rows, (row) => y[row]!);
}

function unit(random: Random): number {
  return random.uint32() / 2 ** 32;
}

function denseInput(seed: number, rows: number): Input {
  const random = new Random(seed);
  const scale = [300, 6, 1, 120, 0.01, 40];
  const offset = [150, -1, 0, 20, 5, 10];
  const values = new Float64Array(rows * 6);
  const y = new Uint8Array(rows);
  for (let row = 0; row < rows; row++) {
    const u = scale.map(() => unit(random)) as [number, number, number, number, number, number];
    const noise = unit(random) + unit(random) - 1;
    const score = u[0] - 0.8 * u[1] + 2 * (u[2] - 0.5) * (u[3] - 0.5) + 0.4 * u[4] - 0.3 + 0.7 * noise;
    for (let column = 0; column < 6; column++) {
      values[row * 6 + column] = u[column]! * scale[column]! + offset[column]!;
    }
    y[row] = score > 0 ? 1 : 0;
  }
  return { x: { kind: 'dense', rows, columns: 6, values }, y };
}

function bitInput(seed: number, rows: number): Input {
  const random = new Random(seed);
  const words = new Uint32Array(rows * 3);
  const y = new Uint8Array(rows);
  for (let row = 0; row < rows; row++) {
    const b = (column: number) => (words[row * 3 + (column >>> 5)]! >>> (column & 31)) & 1;
    for (let column = 0; column < 96; column++) {
      if (unit(random) < 0.02 + 0.58 * (column / 95) * (column / 95)) {
        words[row * 3 + (column >>> 5)]! |= 1 << (column & 31);
      }
    }
    const noise = unit(random) + unit(random) - 1;
    const score =
      b(90) - b(80) + 1.5 * b(70) * b(85) - b(95) * b(75) + 0.8 * b(60) - 0.5 * b(93) + 1.2 * noise;
    y[row] = score > 0 ? 1 : 0;
  }
  return { x: { kind: 'bits', rows, columns: 96, words }, y };
}

/** The same bits as a dense matrix of zeros and ones. */
export function asDense(x: FeatureMatrix): FeatureMatrix {
  if (x.kind === 'dense') return x;
  const stride = Math.ceil(x.columns / 32);
  const values = new Float64Array(x.rows * x.columns);
  for (let at = 0; at < values.length; at++) {
    const row = Math.floor(at / x.columns);
    const column = at % x.columns;
    values[at] = (x.words[row * stride + (column >>> 5)]! >>> (column & 31)) & 1;
  }
  return { kind: 'dense', rows: x.rows, columns: x.columns, values };
}
