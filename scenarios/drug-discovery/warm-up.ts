import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeFeatures, type Features, readFeatures } from './data/features-file.ts';
import { splitRows } from './data/split.ts';
import { createClassifier, evaluate, type FeatureMatrix, MODEL_NAMES } from './ml/index.ts';

/**
 * Kinds of numbers must be those of real experiments, or V8 drops the code it optimised for others at their sight: a number of rows
 * that neither five nor 32 divides, as many columns as the feature sets have, seeds on both sides of V8's small integers.
 */
const ROWS = 203;
const BIT_COLUMNS = [1024, 167];
const DENSE_COLUMNS = 9;
const SEEDS = [1_642_146_844, 3_827_622_020];
/** Until nothing that an experiment spends time in is left to the lower tiers of the compiler. */
const ROUNDS = 16;

/** Draws that are the same everywhere: nothing depends on them but which code gets hot. */
function draws(): () => number {
  let state = 42;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** As sparse as fingerprints of molecules are. */
function bits(columns: number, random: () => number): FeatureMatrix {
  const stride = Math.ceil(columns / 32);
  const words = new Uint32Array(ROWS * stride);
  for (let i = 0; i < ROWS * 45; i += 1) {
    const row = i % ROWS;
    const column = Math.floor(random() ** 2 * columns);
    words[row * stride + (column >>> 5)]! |= 1 << (column & 31);
  }
  return { kind: 'bits', rows: ROWS, columns, words };
}

function dense(random: () => number): FeatureMatrix {
  const columns = DENSE_COLUMNS;
  const values = Float64Array.from({ length: ROWS * columns }, (_, i) =>
    i % 3 === 0 ? Math.floor(random() * 8) : random() * 100,
  );
  return { kind: 'dense', rows: ROWS, columns, values };
}

/** Something to learn, with some noise. */
function labelsOf(matrix: FeatureMatrix, random: () => number): Uint8Array {
  const leans = (row: number) =>
    matrix.kind === 'bits'
      ? (matrix.words[row * Math.ceil(matrix.columns / 32)]! & 7) < 3
      : matrix.values[row * matrix.columns + 1]! > 40;
  return Uint8Array.from({ length: ROWS }, (_, row) => (leans(row) === random() < 0.9 ? 1 : 0));
}

/** By way of a file, as experiments get theirs. */
function throughFile(
  folder: string,
  matrix: FeatureMatrix,
  labels: Uint8Array,
  scaffolds: Int32Array,
): Features {
  const file = join(folder, matrix.kind);
  const { kind, rows, columns } = matrix;
  const header = {
    ...{ dataset: 'warm-up', featureSet: kind, kind, rows, columns, provenance: 'made up' },
    ...{ sourceDigest: '0'.repeat(64), rdkitVersion: 'none', droppedCounts: {}, dropped: [] },
  };
  writeFileSync(file, Buffer.concat(encodeFeatures({ matrix, labels, scaffolds, header })));
  return readFeatures(file);
}

/**
 * Fits and scores every learner on small made-up data, so that a process that was prepared with it runs its first experiment on
 * code that is optimised already. Leaves nothing behind.
 */
export function warmUp(): void {
  const random = draws();
  const scaffolds = Int32Array.from({ length: ROWS }, (_, row) => row);
  const folder = mkdtempSync(join(tmpdir(), 'warm-up-'));
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      const seed = SEEDS[round % SEEDS.length]! + round;
      for (const made of [...BIT_COLUMNS.map((columns) => bits(columns, random)), dense(random)])
        experiment(throughFile(folder, made, labelsOf(made, random), scaffolds), seed);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function experiment({ matrix, labels, scaffolds }: Features, seed: number): void {
  const split = splitRows({ method: 'stratified', seed, labels, scaffolds });
  for (const model of MODEL_NAMES) {
    const classifier = createClassifier(model, {}, seed);
    classifier.fit(matrix, labels, split.train);
    for (const rows of [split.train, split.valid, split.test]) {
      const { probability, predicted } = classifier.predict(matrix, rows);
      evaluate(
        Uint8Array.from(rows, (row) => labels[row] as number),
        probability,
        predicted,
      );
    }
  }
}
