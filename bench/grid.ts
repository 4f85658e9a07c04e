import { CloveError } from '../errors/index.ts';
import { contentKey } from './keys.ts';
import type { ParameterValue, Trial, TrialParameters } from './types.ts';

/** The dimensions of a grid in order: the first changes slowest. */
export type GridAxes = Readonly<Record<string, readonly ParameterValue[]>>;

/** Every combination of the axes, the first axis slowest: the order in which trials are numbered. */
export function expandGrid(axes: GridAxes): TrialParameters[] {
  let rows: Record<string, ParameterValue>[] = [{}];
  for (const [name, values] of Object.entries(axes)) {
    if (values.length === 0) throw new CloveError('CONFIG', `the grid's axis "${name}" has no values`);
    if (new Set(values).size !== values.length)
      throw new CloveError('CONFIG', `the grid's axis "${name}" names a value twice: ${values.join(', ')}`);
    rows = rows.flatMap((row) => values.map((value) => ({ ...row, [name]: value })));
  }
  return rows;
}

/** A cell before it has a number and a key. */
export interface Cell {
  readonly params: TrialParameters;
  readonly seed: number;
  readonly costEstimate: number;
  readonly input: Readonly<Record<string, unknown>>;
}

/**
 * Widens cells to `size`: the cells themselves first, then variant 1 of each, variant 2 …, the last round cut off at `size`.
 * A smaller size takes the first cells.
 */
export function widenCells(
  cells: readonly Cell[],
  size: number,
  vary: (cell: Cell, variant: number) => Cell,
): Cell[] {
  if (!Number.isInteger(size) || size < 1)
    throw new CloveError('USAGE', `the size of a grid is a whole number from 1, not ${size}`);
  return Array.from({ length: size }, (_, index) => {
    const cell = cells[index % cells.length] as Cell;
    const variant = Math.floor(index / cells.length);
    return variant === 0 ? cell : vary(cell, variant);
  });
}

/**
 * Numbers cells as `exp_001` … and gives each its key. `basisOf` gives what else decides a cell's result:
 * the scenario's name and version, the key of its prepared input, the split. Two equal cells are a mistake of the scenario: CONFIG.
 */
export function makeTrials(cells: readonly Cell[], basisOf: (cell: Cell) => unknown): Trial[] {
  const digits = Math.max(3, String(cells.length).length);
  const seen = new Map<string, string>();
  return cells.map((cell, index) => {
    const id = `exp_${String(index + 1).padStart(digits, '0')}`;
    const key = contentKey({ basis: basisOf(cell), params: cell.params, seed: cell.seed });
    const twin = seen.get(key);
    if (twin !== undefined) throw new CloveError('CONFIG', `trials ${twin} and ${id} are the same trial`);
    seen.set(key, id);
    return { id, key, ...cell };
  });
}
