import { CloveError } from '../../../errors/index.ts';
import type { FeatureMatrix } from '../ml/types.ts';
import type { Molecule } from './rdkit.ts';

export const FEATURE_SET_NAMES = ['morgan', 'maccs', 'descriptors'] as const;

export type FeatureSetName = (typeof FEATURE_SET_NAMES)[number];

/** Goes up whenever a definition below changes: stored features of another version are not used. */
export const FEATURE_DEFINITION_VERSION = 1;

export interface FeatureSetDefinition {
  readonly name: FeatureSetName;
  readonly kind: FeatureMatrix['kind'];
  readonly columns: number;
  readonly description: string;
}

export const FEATURE_SETS: Readonly<Record<FeatureSetName, FeatureSetDefinition>> = {
  morgan: {
    name: 'morgan',
    kind: 'bits',
    columns: 1024,
    description: 'Morgan fingerprint, radius 2, 1024 bits',
  },
  maccs: { name: 'maccs', kind: 'bits', columns: 167, description: '166 MACCS keys, bit 0 unused' },
  descriptors: { name: 'descriptors', kind: 'dense', columns: 9, description: '9 descriptors, unscaled' },
};

/** The names in the data and in RDKit's descriptor object, in the order of the columns. */
export const DESCRIPTORS = [
  ['MolWt', 'amw'],
  ['MolLogP', 'CrippenClogP'],
  ['NumHDonors', 'NumHBD'],
  ['NumHAcceptors', 'NumHBA'],
  ['TPSA', 'tpsa'],
  ['NumRotatableBonds', 'NumRotatableBonds'],
  ['NumAromaticRings', 'NumAromaticRings'],
  ['HeavyAtomCount', 'NumHeavyAtoms'],
  ['FractionCSP3', 'FractionCSP3'],
] as const;

export type DescriptorName = (typeof DESCRIPTORS)[number][0];

const MORGAN_DETAILS = JSON.stringify({ radius: 2, nBits: FEATURE_SETS.morgan.columns });

export function isFeatureSetName(value: unknown): value is FeatureSetName {
  return typeof value === 'string' && Object.hasOwn(FEATURE_SETS, value);
}

/** A matrix of zeros for `rows` molecules. */
export function allocateFeatures(name: FeatureSetName, rows: number): FeatureMatrix {
  const { kind, columns } = FEATURE_SETS[name];
  return kind === 'bits'
    ? { kind, rows, columns, words: new Uint32Array(rows * Math.ceil(columns / 32)) }
    : { kind, rows, columns, values: new Float64Array(rows * columns) };
}

/** A copy with the rows `kept`, in their order. */
export function selectRows(matrix: FeatureMatrix, kept: readonly number[]): FeatureMatrix {
  const rows = kept.length;
  if (matrix.kind === 'bits') {
    const stride = Math.ceil(matrix.columns / 32);
    const words = new Uint32Array(rows * stride);
    kept.forEach((row, index) => {
      words.set(matrix.words.subarray(row * stride, (row + 1) * stride), index * stride);
    });
    return { ...matrix, rows, words };
  }
  const { columns } = matrix;
  const values = new Float64Array(rows * columns);
  kept.forEach((row, index) => {
    values.set(matrix.values.subarray(row * columns, (row + 1) * columns), index * columns);
  });
  return { ...matrix, rows, values };
}

/** Computes one feature set of one molecule into row `row`. Throws INTERNAL if RDKit's answer has another form. */
export function writeFeatures(
  name: FeatureSetName,
  molecule: Molecule,
  matrix: FeatureMatrix,
  row: number,
): void {
  if (matrix.kind === 'bits') {
    const bytes: Uint8Array =
      name === 'morgan'
        ? molecule.get_morgan_fp_as_uint8array(MORGAN_DETAILS)
        : molecule.get_maccs_fp_as_uint8array();
    if (bytes.length !== Math.ceil(matrix.columns / 8)) {
      throw new CloveError('INTERNAL', `RDKit gave ${bytes.length} bytes for a ${name} fingerprint`);
    }
    // Bit c of the fingerprint is bit c & 7 of byte c >>> 3, which on a little-endian machine (all that Clove runs
    // on) is bit c & 31 of word c >>> 5.
    const stride = Math.ceil(matrix.columns / 32);
    new Uint8Array(matrix.words.buffer, matrix.words.byteOffset + row * stride * 4, stride * 4).set(bytes);
  } else {
    matrix.values.set(descriptorValues(molecule), row * matrix.columns);
  }
}

/** The nine descriptors, in the order of `DESCRIPTORS`. Throws INTERNAL if one is missing. */
export function descriptorValues(molecule: Molecule): number[] {
  const all = JSON.parse(molecule.get_descriptors()) as Record<string, number>;
  return DESCRIPTORS.map(([name, key]) => {
    const value = all[key];
    if (typeof value !== 'number')
      throw new CloveError('INTERNAL', `RDKit gave no value for the descriptor ${name}`);
    return value;
  });
}
