import type { TrialFunction, TrialResult } from '../../bench/types.ts';
import { readFeatures } from './data/features-file.ts';
import { type SplitMethod, splitRows } from './data/split.ts';
import { createClassifier, evaluate, type ModelName, type ModelParameters } from './ml/index.ts';

export { warmUp } from './warm-up.ts';

/** What a trial is given besides its parameters. */
export interface ExperimentInput {
  /** Features file of the data set and feature set. */
  readonly featuresFile: string;
  readonly split: SplitMethod;
  readonly splitSeed: number;
  readonly modelSeed: number;
  readonly modelParameters: ModelParameters;
  /** For the Python worker: the rows of each part. */
  readonly splitFile?: string;
  /** For the Python worker, where it computes the features itself. */
  readonly moleculesFile?: string;
}

/**
 * One experiment: fit on train alone, then score the three parts. Nothing is chosen by looking at valid or test; the test part is
 * touched once, here, for its score.
 */
export const run: TrialFunction = ({ trial, log }): TrialResult => {
  const input = trial.input as unknown as ExperimentInput;
  const model = trial.params.model as ModelName;
  const { matrix, labels, scaffolds, header } = readFeatures(input.featuresFile);
  const split = splitRows({ method: input.split, seed: input.splitSeed, labels, scaffolds });
  const classifier = createClassifier(model, input.modelParameters, input.modelSeed);
  const fitStartMs = performance.now();
  classifier.fit(matrix, labels, split.train);
  const fitMs = performance.now() - fitStartMs;
  log(
    `${trial.id}: ${model} on ${header.dataset}/${header.featureSet}, ${split.train.length} of ${matrix.rows} rows, fitted in ${Math.round(fitMs)} ms`,
  );
  const score = (rows: Int32Array) => {
    const { probability, predicted } = classifier.predict(matrix, rows);
    return {
      ...evaluate(
        Uint8Array.from(rows, (row) => labels[row] as number),
        probability,
        predicted,
      ),
    };
  };
  return {
    metrics: { train: score(split.train), valid: score(split.valid), test: score(split.test) },
    facts: {
      trainSamples: split.train.length,
      validSamples: split.valid.length,
      testSamples: split.test.length,
      nFeatures: matrix.columns,
      fitMs: Math.round(fitMs),
    },
  };
};
