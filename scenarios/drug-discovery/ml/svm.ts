import { CloveError } from '../../../errors/index.ts';
import { applySigmoid, fitSigmoid, type Sigmoid } from './platt.ts';
import { identity, Random } from './random.ts';
import { type RbfKernel, rbfKernel, scaledGamma } from './rbf-kernel.ts';
import { type SmoSolution, solveSmo } from './smo.ts';
import { gatherLabels } from './training-set.ts';
import type { Classifier, FeatureMatrix, Prediction, SvmParameters } from './types.ts';

/** The whole kernel matrix is kept in memory; beyond this it is refused rather than swapped. */
const MAX_KERNEL_BYTES = 400 * 2 ** 20;

const FOLDS = 5;

/**
 * C-SVC with an RBF kernel and Platt probabilities. The class is the sign of the decision function and may contradict
 * the probability near 0.5, as in scikit-learn. The seed draws the folds of Platt's cross-validation; all six fits share
 * one kernel matrix.
 */
export class SupportVectorMachine implements Classifier {
  warnings: readonly string[] = [];
  gamma = 0;
  bias = 0;
  supportRows = new Int32Array(0);
  /** Per support vector: its multiplier with the sign of its class. */
  signedAlpha = new Float64Array(0);
  sigmoid: Sigmoid = { slope: 0, offset: 0 };
  private kernel: RbfKernel | undefined;
  private readonly parameters: SvmParameters;
  private readonly seed: number;

  constructor(parameters: SvmParameters, seed: number) {
    this.parameters = parameters;
    this.seed = seed;
  }

  /** Throws CONFIG when the kernel matrix of the rows would not fit 400 MiB. */
  fit(x: FeatureMatrix, y: Uint8Array, trainRows: Int32Array): void {
    const labels = gatherLabels(y, trainRows);
    const kernelBytes = 4 * trainRows.length ** 2;
    if (kernelBytes > MAX_KERNEL_BYTES) {
      throw new CloveError(
        'CONFIG',
        `svm: the kernel of ${trainRows.length} rows takes ${kernelBytes} bytes`,
        {
          hint: `Train on at most ${Math.floor(Math.sqrt(MAX_KERNEL_BYTES / 4))} rows.`,
        },
      );
    }
    const { gamma } = this.parameters;
    this.gamma = gamma === 'scale' ? scaledGamma(x, trainRows) : gamma === 'auto' ? 1 / x.columns : gamma;
    const kernel = rbfKernel(x, trainRows, this.gamma).gram();
    const solution = this.solve(kernel, labels);
    this.sigmoid = fitSigmoid(this.crossValidate(kernel, labels), labels);
    this.bias = solution.bias;
    const support = identity(labels.length).filter((row) => solution.signedAlpha[row] !== 0);
    this.supportRows = support.map((position) => trainRows[position]!);
    this.signedAlpha = Float64Array.from(support, (position) => solution.signedAlpha[position]!);
    this.kernel = rbfKernel(x, this.supportRows, this.gamma);
    this.warnings = solution.converged ? [] : [`svm stopped after ${solution.steps} steps, not converged`];
  }

  predictProbability(x: FeatureMatrix, rows: Int32Array): Float64Array {
    return this.predict(x, rows).probability;
  }

  predict(x: FeatureMatrix, rows: Int32Array): Prediction {
    const decision = this.decisionFunction(x, rows);
    return {
      probability: decision.map((value) => applySigmoid(this.sigmoid, value)),
      predicted: Uint8Array.from(decision, (value) => (value >= 0 ? 1 : 0)),
    };
  }

  /** Signed distance-like score of each row: above 0 is class 1. */
  decisionFunction(x: FeatureMatrix, rows: Int32Array): Float64Array {
    const { kernel, signedAlpha } = this;
    if (kernel === undefined) throw new CloveError('INTERNAL', 'svm: predict before fit');
    const similarity = new Float64Array(kernel.size);
    const decision = new Float64Array(rows.length);
    for (let i = 0; i < rows.length; i++) {
      kernel.fill(x, rows[i]!, similarity);
      let sum = this.bias;
      for (let s = 0; s < similarity.length; s++) sum += signedAlpha[s]! * similarity[s]!;
      decision[i] = sum;
    }
    return decision;
  }

  /** Decision value of every row by a machine that has not seen its fold. */
  private crossValidate(kernel: Float32Array, labels: Uint8Array): Float64Array {
    const order = identity(labels.length);
    new Random(this.seed).shuffle(order);
    const values = new Float64Array(labels.length);
    for (let fold = 0; fold < FOLDS; fold++) {
      const start = Math.floor((fold * labels.length) / FOLDS);
      const end = Math.floor(((fold + 1) * labels.length) / FOLDS);
      const heldOut = new Uint8Array(labels.length);
      for (let at = start; at < end; at++) heldOut[order[at]!] = 1;
      let positives = 0;
      let negatives = 0;
      for (let row = 0; row < labels.length; row++) {
        if (heldOut[row] === 1) continue;
        if (labels[row] === 1) positives++;
        else negatives++;
      }
      // With one class left there is nothing to separate: its sign is all that is known.
      const decision =
        positives > 0 && negatives > 0
          ? this.solve(kernel, labels, heldOut).decision
          : new Float64Array(labels.length).fill(Math.sign(positives - negatives));
      for (let at = start; at < end; at++) values[order[at]!] = decision[order[at]!]!;
    }
    return values;
  }

  private solve(kernel: Float32Array, labels: Uint8Array, heldOut?: Uint8Array): SmoSolution {
    const { c, tol } = this.parameters;
    return solveSmo({ kernel, labels, c, tol, ...(heldOut === undefined ? {} : { heldOut }) });
  }
}
