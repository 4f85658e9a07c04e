import type { DatasetRow, DroppedRow } from './load.ts';

type NumberedRow = DatasetRow & { readonly line: number };

/**
 * Finds molecules that occur more than once, by canonical SMILES. Equal labels: the first row is kept. Different labels: none is.
 * A copy on both sides of a split would otherwise answer its own question.
 */
export class DistinctMolecules {
  readonly rows: NumberedRow[] = [];
  readonly dropped: DroppedRow[] = [];
  readonly #indexOf = new Map<string, number>();
  readonly #contradictory = new Set<number>();

  /** The index of a molecule that is new, undefined for one that is dropped. */
  add(row: NumberedRow, canonicalSmiles: string): number | undefined {
    const first = this.#indexOf.get(canonicalSmiles);
    if (first === undefined) {
      this.#indexOf.set(canonicalSmiles, this.rows.length);
      return this.rows.push(row) - 1;
    }
    if (this.rows[first]!.label !== row.label && !this.#contradictory.has(first)) {
      this.#contradictory.add(first);
      this.#drop(this.rows[first]!, 'contradictory');
    }
    this.#drop(row, this.#contradictory.has(first) ? 'contradictory' : 'repeated');
    return undefined;
  }

  /** Ascending indices of the molecules whose label is not in doubt. */
  keptIndices(): number[] {
    return [...this.rows.keys()].filter((index) => !this.#contradictory.has(index));
  }

  #drop({ line, id }: NumberedRow, reason: DroppedRow['reason']): void {
    this.dropped.push({ line, id, reason });
  }
}
