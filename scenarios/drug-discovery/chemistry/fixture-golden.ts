import { readFileSync } from 'node:fs';

export interface GoldenMolecule {
  readonly name: string;
  readonly smiles: string;
  /** Columns of the bits that are set. */
  readonly morgan: readonly number[];
  readonly maccs: readonly number[];
  readonly descriptors: readonly number[];
  readonly scaffold: string;
}

/** What Python's RDKit says of textbook molecules; written by golden/make.py. */
export function readGolden(): { rdkit: string; molecules: GoldenMolecule[] } {
  return JSON.parse(readFileSync(new URL('golden/molecules.json', import.meta.url), 'utf8'));
}
