import { BitGrower } from './boosting-bits.ts';
import { DenseGrower } from './boosting-dense.ts';
import { type BoostingGrower, type GrowLimits, Stage } from './boosting-stage.ts';
import { identity, Random } from './random.ts';
import { gatherLabels } from './training-set.ts';
import { addPredictions, type Tree } from './tree.ts';
import type { Classifier, FeatureMatrix, GradientBoostingParameters, Prediction } from './types.ts';

/**
 * Boosted regression trees on the gradient of the log loss, starting from the log-odds of the training rows; every leaf
 * takes one Newton step. The seed decides between equally good columns and draws the rows when subsample < 1.
 */
export class GradientBoosting implements Classifier {
  readonly warnings: readonly string[] = [];
  private readonly parameters: GradientBoostingParameters;
  private readonly seed: number;
  private prior = 0;
  private trees: Tree[] = [];

  constructor(parameters: GradientBoostingParameters, seed: number) {
    this.parameters = parameters;
    this.seed = seed;
  }

  fit(x: FeatureMatrix, y: Uint8Array, trainRows: Int32Array): void {
    const labels = gatherLabels(y, trainRows);
    const { nEstimators, learningRate, subsample } = this.parameters;
    const rows = labels.length;
    const limits: GrowLimits = this.parameters;
    const grower: BoostingGrower =
      x.kind === 'bits' ? new BitGrower(x, trainRows, limits) : new DenseGrower(x, trainRows, limits);
    let positives = 0;
    for (const label of labels) positives += label;
    this.prior = Math.log(positives / (rows - positives));
    const raw = new Float64Array(rows).fill(this.prior);
    const columns = identity(x.columns);
    const drawn = identity(rows);
    const bagSize = Math.max(1, Math.floor(subsample * rows));
    const stage = new Stage(rows);
    this.trees = [];
    for (let number = 0; number < nEstimators; number++) {
      const random = new Random(this.seed, number);
      for (let i = 0; i < rows; i++) {
        const probability = 1 / (1 + Math.exp(-raw[i]!));
        stage.residual[i] = labels[i]! - probability;
        stage.curvature[i] = probability * (1 - probability);
      }
      if (bagSize < rows) random.shuffle(drawn);
      random.shuffle(columns);
      // Ascending rows keep the sums in one order whatever was drawn.
      const bag = bagSize < rows ? drawn.slice(0, bagSize).sort() : drawn;
      const tree = grower.grow(stage, bag, columns);
      this.trees.push(tree);
      if (bagSize < rows) addPredictions(tree, x, trainRows, learningRate, raw);
      else for (let i = 0; i < rows; i++) raw[i]! += learningRate * tree.value[stage.leaf[i]!]!;
    }
  }

  predictProbability(x: FeatureMatrix, rows: Int32Array): Float64Array {
    return this.rawScores(x, rows).map((raw) => 1 / (1 + Math.exp(-raw)));
  }

  predict(x: FeatureMatrix, rows: Int32Array): Prediction {
    const raw = this.rawScores(x, rows);
    return {
      probability: raw.map((score) => 1 / (1 + Math.exp(-score))),
      predicted: Uint8Array.from(raw, (score) => (score >= 0 ? 1 : 0)),
    };
  }

  private rawScores(x: FeatureMatrix, rows: Int32Array): Float64Array {
    const raw = new Float64Array(rows.length).fill(this.prior);
    for (const tree of this.trees) addPredictions(tree, x, rows, this.parameters.learningRate, raw);
    return raw;
  }
}
