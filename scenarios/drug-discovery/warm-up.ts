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

/**
 * Fits and scores every learner on small made-up data, so that a process that was prepared with it runs its first experiment on
 * code that is optimised already. Leaves nothing behind.
 */
export function warmUp(): void {
  const random = draws();
  const scaffolds = Int32Array.from({ length: ROWS }, (_, row) => row);
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const matrix of [bits(random), dense(random)]) {
      const labels = Uint8Array.from({ length: ROWS }, (_, row) =>
        (matrix.kind === 'bits' ? (matrix.words[row * 32]! & 7) < 3 : matrix.values[row * 40]! > 40) ===
        random() < 0.9
          ? 1
          : 0,
      );
      const split = splitRows({ method: 'stratified', seed: round, labels, scaffolds });
      for (const model of MODEL_NAMES) {
        const classifier = createClassifier(model, {}, round);
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
  }
}
