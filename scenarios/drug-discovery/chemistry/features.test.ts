import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FeatureMatrix } from '../ml/types.ts';
import {
  allocateFeatures,
  DESCRIPTORS,
  FEATURE_SET_NAMES,
  FEATURE_SETS,
  isFeatureSetName,
  selectRows,
  writeFeatures,
} from './features.ts';
import { readGolden } from './fixture-golden.ts';
import { loadRdkit, type Molecule, parseSmiles, type Rdkit } from './rdkit.ts';

const golden = readGolden();
let rdkit: Rdkit;
const molecules: Molecule[] = [];

beforeAll(async () => {
  rdkit = await loadRdkit();
  for (const { smiles } of golden.molecules) molecules.push(parseSmiles(rdkit, smiles)!);
});

afterAll(() => {
  for (const molecule of molecules) molecule.delete();
});

function bitsOf(matrix: FeatureMatrix, row: number): number[] {
  if (matrix.kind !== 'bits') throw new Error('not bits');
  const stride = Math.ceil(matrix.columns / 32);
  const set: number[] = [];
  for (let column = 0; column < stride * 32; column++) {
    if (((matrix.words[row * stride + (column >>> 5)]! >>> (column & 31)) & 1) === 1) set.push(column);
  }
  return set;
}

describe('feature sets', () => {
  it('are those of the benchmark, with its lengths', () => {
    expect(FEATURE_SET_NAMES.map((name) => [name, FEATURE_SETS[name].columns])).toEqual([
      ['morgan', 1024],
      ['maccs', 167],
      ['descriptors', 9],
    ]);
    expect(DESCRIPTORS.map(([name]) => name)).toEqual([
      'MolWt',
      'MolLogP',
      'NumHDonors',
      'NumHAcceptors',
      'TPSA',
      'NumRotatableBonds',
      'NumAromaticRings',
      'HeavyAtomCount',
      'FractionCSP3',
    ]);
    expect(isFeatureSetName('maccs')).toBe(true);
    expect(isFeatureSetName('constructor')).toBe(false);
  });

  it.each(['morgan', 'maccs'] as const)('%s bits equal those of Python RDKit', (name) => {
    const matrix = allocateFeatures(name, molecules.length);
    // Backwards, so that a row that writes over its neighbour is found out.
    for (let row = molecules.length - 1; row >= 0; row--) writeFeatures(name, molecules[row]!, matrix, row);
    const ours = golden.molecules.map((molecule, row) => ({
      molecule: molecule.name,
      bits: bitsOf(matrix, row),
    }));
    expect(ours).toEqual(
      golden.molecules.map((molecule) => ({ molecule: molecule.name, bits: molecule[name] })),
    );
  });

  it('descriptors equal those of Python RDKit, in the order of the columns', () => {
    const matrix = allocateFeatures('descriptors', molecules.length);
    for (let row = molecules.length - 1; row >= 0; row--)
      writeFeatures('descriptors', molecules[row]!, matrix, row);
    if (matrix.kind !== 'dense') throw new Error('not dense');
    golden.molecules.forEach((molecule, row) => {
      molecule.descriptors.forEach((expected, column) => {
        expect(matrix.values[row * 9 + column], `${molecule.name}, ${DESCRIPTORS[column]![0]}`).toBeCloseTo(
          expected,
          9,
        );
      });
    });
  });

  it('never set bits beyond the columns, nor the unused MACCS bit 0', () => {
    const matrix = allocateFeatures('maccs', molecules.length);
    for (const [row, molecule] of molecules.entries()) writeFeatures('maccs', molecule, matrix, row);
    const seen = new Set(molecules.flatMap((_, row) => bitsOf(matrix, row)));
    expect(seen.has(0)).toBe(false);
    expect(Math.max(...seen)).toBeLessThan(167);
  });

  it('keeps the rows that are selected, and only those', () => {
    for (const name of FEATURE_SET_NAMES) {
      const all = allocateFeatures(name, molecules.length);
      for (const [row, molecule] of molecules.entries()) writeFeatures(name, molecule, all, row);
      const kept = [60, 3, 14];
      const selected = selectRows(all, kept);
      const expected = allocateFeatures(name, kept.length);
      for (const [index, row] of kept.entries()) writeFeatures(name, molecules[row]!, expected, index);
      expect(selected, name).toEqual(expected);
    }
  });
});
