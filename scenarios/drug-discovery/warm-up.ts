import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeFeatures, type Features, readFeatures } from './data/features-file.ts';
import { splitRows } from './data/split.ts';
import { createClassifier, evaluate, type FeatureMatrix, MODEL_NAMES } from './ml/index.ts';

const ROWS = 200;
const ROUNDS = 6;

/** Draws that are the same everywhere: nothing depends on them but which code gets hot. */
function draws(): () => number {
  let state = 42;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function bits(random: () => number): FeatureMatrix {
  const columns = 1024;
  const stride = columns / 32;
  const words = new Uint32Array(ROWS * stride);
  // As sparse as fingerprints of molecules are.
  for (let i = 0; i < ROWS * 45; i += 1) {
    const row = i % ROWS;
    const column = Math.floor(random() ** 2 * columns);
    words[row * stride + (column >>> 5)]! |= 1 << (column & 31);
  }
  return { kind: 'bits', rows: ROWS, columns, words };
}

function dense(random: () => number): FeatureMatrix {
  const columns = 40;
  const values = Float64Array.from({ length: ROWS * columns }, (_, i) =>
    i % 3 === 0 ? Math.floor(random() * 8) : random() * 100,
  );
  return { kind: 'dense', rows: ROWS, columns, values };
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
      for (const made of [bits(random), dense(random)]) {
        const truth = Uint8Array.from({ length: ROWS }, (_, row) =>
          (made.kind === 'bits' ? (made.words[row * 32]! & 7) < 3 : made.values[row * 40]! > 40) ===
          random() < 0.9
            ? 1
            : 0,
        );
        experiment(throughFile(folder, made, truth, scaffolds), round);
      }
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
