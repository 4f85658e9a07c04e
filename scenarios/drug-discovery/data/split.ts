import { CloveError } from '../../../errors/index.ts';
import { seededRandom, shuffle } from './random.ts';

export const SPLIT_METHODS = ['stratified', 'scaffold'] as const;

export type SplitMethod = (typeof SPLIT_METHODS)[number];

/** Shares of train, valid and test: those of TDC. */
export const SPLIT_SHARES = [0.7, 0.1, 0.2] as const;

/** Row indices, each ascending; together they are every row exactly once. */
export interface Split {
  readonly train: Int32Array;
  readonly valid: Int32Array;
  readonly test: Int32Array;
}

export interface SplitOptions {
  readonly method: SplitMethod;
  readonly seed: number;
  /** One per row, 0 or 1. */
  readonly labels: Uint8Array;
  /** Scaffold group of each row; needed by the scaffold split. */
  readonly scaffolds: Int32Array;
}

/** The same options give the same split on every machine. Throws CONFIG when a part would be empty. */
export function splitRows(options: SplitOptions): Split {
  const { method, seed, labels, scaffolds } = options;
  const split =
    method === 'stratified' ? stratifiedSplit(labels, seed) : scaffoldSplit(scaffolds, labels.length, seed);
  for (const part of ['train', 'valid', 'test'] as const) {
    if (split[part].length === 0) {
      throw new CloveError('CONFIG', `a ${method} split of ${labels.length} rows leaves no rows to ${part}`);
    }
  }
  return split;
}

/** Each class is shuffled and cut 70/10/20 by itself, so that all parts have the class ratio of the whole. */
function stratifiedSplit(labels: Uint8Array, seed: number): Split {
  const random = seededRandom(`stratified split ${seed}`);
  const parts: [number[], number[], number[]] = [[], [], []];
  for (const label of [0, 1]) {
    const rows: number[] = [];
    for (let row = 0; row < labels.length; row++) if (labels[row] === label) rows.push(row);
    shuffle(rows, random);
    const [trainCount, validCount] = partSizes(rows.length);
    for (let index = 0; index < rows.length; index++) {
      const part = index < trainCount ? 0 : index < trainCount + validCount ? 1 : 2;
      parts[part].push(rows[index] as number);
    }
  }
  return toSplit(parts);
}

/**
 * Molecules with one scaffold stay together. Groups go, largest first and in seeded order among equals, to train while it has
 * room, else to valid, else to test: test then holds the rare scaffolds, which is the harder and more honest question.
 */
function scaffoldSplit(scaffolds: Int32Array, rows: number, seed: number): Split {
  if (scaffolds.length !== rows)
    throw new CloveError('CONFIG', 'a scaffold split needs the scaffold group of every row');
  const groups = new Map<number, number[]>();
  for (let row = 0; row < rows; row++) groups.getOrInsertComputed(scaffolds[row]!, () => []).push(row);
  const ordered = shuffle([...groups.values()], seededRandom(`scaffold split ${seed}`));
  ordered.sort((a, b) => b.length - a.length);
  const [trainCount, validCount] = partSizes(rows);
  const parts: [number[], number[], number[]] = [[], [], []];
  for (const group of ordered) {
    const fits = (part: 0 | 1, count: number): boolean => parts[part].length + group.length <= count;
    const part = parts[0].length === 0 || fits(0, trainCount) ? 0 : fits(1, validCount) ? 1 : 2;
    for (const row of group) parts[part].push(row);
  }
  return toSplit(parts);
}

function partSizes(rows: number): [train: number, valid: number] {
  const train = Math.round(rows * SPLIT_SHARES[0]);
  return [train, Math.min(rows - train, Math.round(rows * SPLIT_SHARES[1]))];
}

function toSplit(parts: [number[], number[], number[]]): Split {
  const [train, valid, test] = parts.map((rows) => Int32Array.from(rows).sort()) as [
    Int32Array,
    Int32Array,
    Int32Array,
  ];
  return { train, valid, test };
}
