import { type Design, designOf } from './design-matrix.ts';
import { gatherLabels } from './training-set.ts';
import type { Classifier, FeatureMatrix, LogisticRegressionParameters, Prediction } from './types.ts';

/**
 * Logistic regression with an L2 penalty: minimises Σ log(1 + exp(−margin)) + |w|² / 2C, intercept free.
 *
 * Newton's method, each step solved by conjugate gradients, ends at the one optimum there is, whatever the scale of the
 * features. scikit-learn's default solver (L-BFGS, tol 1e-4) stops near it, and on unscaled descriptors may stop well
 * short of it; its `newton-cholesky` agrees with what is found here.
 */
export class LogisticRegression implements Classifier {
  warnings: readonly string[] = [];
  /** One per column, in the units of the features. */
  coefficients = new Float64Array(0);
  intercept = 0;
  private readonly parameters: LogisticRegressionParameters;

  constructor(parameters: LogisticRegressionParameters) {
    this.parameters = parameters;
  }

  fit(x: FeatureMatrix, y: Uint8Array, trainRows: Int32Array): void {
    const labels = gatherLabels(y, trainRows);
    const design = designOf(x, trainRows);
    const { weights, gradient, steps } = minimise(design, labels, this.parameters);
    const converged = gradient <= this.parameters.tol;
    this.warnings = converged
      ? []
      : [
          `logistic_regression stopped after ${steps} Newton steps with a gradient of ${gradient.toExponential(1)}`,
        ];
    this.coefficients = weights.slice(0, x.columns);
    this.intercept = weights[x.columns]!;
    for (let column = 0; column < x.columns; column++) {
      this.coefficients[column]! /= design.scale[column]!;
      this.intercept -= this.coefficients[column]! * design.centre[column]!;
    }
  }

  predictProbability(x: FeatureMatrix, rows: Int32Array): Float64Array {
    return this.margins(x, rows).map(sigmoid);
  }

  predict(x: FeatureMatrix, rows: Int32Array): Prediction {
    const margins = this.margins(x, rows);
    return {
      probability: margins.map(sigmoid),
      predicted: Uint8Array.from(margins, (margin) => (margin > 0 ? 1 : 0)),
    };
  }

  private margins(x: FeatureMatrix, rows: Int32Array): Float64Array {
    const margins = new Float64Array(rows.length);
    const { coefficients } = this;
    const stride = x.kind === 'bits' ? Math.ceil(x.columns / 32) : x.columns;
    for (let i = 0; i < rows.length; i++) {
      const base = rows[i]! * stride;
      let margin = this.intercept;
      if (x.kind === 'dense') {
        for (let column = 0; column < stride; column++)
          margin += x.values[base + column]! * coefficients[column]!;
      } else {
        for (let word = 0; word < stride; word++) {
          for (let left = x.words[base + word]!; left !== 0; left &= left - 1) {
            margin += coefficients[word * 32 + 31 - Math.clz32(left & -left)]!;
          }
        }
      }
      margins[i] = margin;
    }
    return margins;
  }
}

function sigmoid(margin: number): number {
  return 1 / (1 + Math.exp(-margin));
}

/** log(1 + exp(−v)) without overflow. */
function logLoss(v: number): number {
  return v > 0 ? Math.log1p(Math.exp(-v)) : -v + Math.log1p(Math.exp(v));
}

interface Minimum {
  /** Columns' weights in the design's units, then the intercept. */
  readonly weights: Float64Array;
  /** Greatest component of the gradient of the mean loss. */
  readonly gradient: number;
  readonly steps: number;
}

/** Truncated Newton with a diagonal preconditioner and a backtracking line search, on the mean loss per row. */
function minimise(design: Design, labels: Uint8Array, parameters: LogisticRegressionParameters): Minimum {
  const rows = labels.length;
  const size = design.scale.length + 1;
  const penalty = new Float64Array(size);
  for (let j = 0; j < size - 1; j++) penalty[j] = 1 / (parameters.c * rows * design.scale[j]! ** 2);
  const weights = new Float64Array(size);
  const margins = new Float64Array(rows);
  const slope = new Float64Array(rows);
  const curvature = new Float64Array(rows);
  const gradient = new Float64Array(size);
  const stepMargins = new Float64Array(rows);
  const objective = (step: number, direction: Float64Array): number => {
    let loss = 0;
    for (let i = 0; i < rows; i++) {
      const margin = margins[i]! + step * stepMargins[i]!;
      loss += logLoss(labels[i] === 1 ? margin : -margin);
    }
    let size2 = 0;
    for (let j = 0; j < size; j++) size2 += penalty[j]! * (weights[j]! + step * direction[j]!) ** 2;
    return loss / rows + size2 / 2;
  };
  for (let steps = 0; ; steps++) {
    for (let i = 0; i < rows; i++) {
      const probability = sigmoid(margins[i]!);
      slope[i] = (probability - labels[i]!) / rows;
      curvature[i] = (probability * (1 - probability)) / rows;
    }
    design.addTransposed(slope, gradient.fill(0));
    let greatest = 0;
    for (let j = 0; j < size; j++) {
      gradient[j]! += penalty[j]! * weights[j]!;
      greatest = Math.max(greatest, Math.abs(gradient[j]!));
    }
    if (greatest <= parameters.tol || steps >= parameters.maxIter)
      return { weights, gradient: greatest, steps };
    const direction = newtonDirection(design, curvature, penalty, gradient);
    design.multiply(direction, stepMargins);
    let descent = 0;
    for (let j = 0; j < size; j++) descent += gradient[j]! * direction[j]!;
    const before = objective(0, direction);
    let step = 1;
    // Near the optimum the decrease drowns in rounding: then the full Newton step is right.
    if (-descent > 1e-13 * Math.abs(before)) {
      while (step > 1e-10 && objective(step, direction) > before + 1e-4 * step * descent) step /= 2;
    }
    for (let j = 0; j < size; j++) weights[j]! += step * direction[j]!;
    for (let i = 0; i < rows; i++) margins[i]! += step * stepMargins[i]!;
  }
}

/** Solves Hessian · direction = −gradient roughly; the nearer the optimum, the more exactly. */
function newtonDirection(
  design: Design,
  curvature: Float64Array,
  penalty: Float64Array,
  gradient: Float64Array,
): Float64Array {
  const size = gradient.length;
  const diagonal = penalty.slice();
  design.addSquaresTransposed(curvature, diagonal);
  const direction = new Float64Array(size);
  const residual = gradient.map((g) => -g);
  const scaled = residual.map((r, j) => r / diagonal[j]!);
  const search = scaled.slice();
  const image = new Float64Array(size);
  const rowsImage = new Float64Array(curvature.length);
  let norm = dot(residual, scaled);
  const start = norm;
  // The forcing term √norm makes the convergence of the outer steps superlinear.
  const target = start * Math.min(0.01, start);
  for (let iteration = 0; iteration < 10 * size && norm > target && norm > 0; iteration++) {
    design.multiply(search, rowsImage);
    for (let i = 0; i < rowsImage.length; i++) rowsImage[i]! *= curvature[i]!;
    for (let j = 0; j < size; j++) image[j] = penalty[j]! * search[j]!;
    design.addTransposed(rowsImage, image);
    const step = norm / dot(search, image);
    if (!Number.isFinite(step)) break;
    for (let j = 0; j < size; j++) {
      direction[j]! += step * search[j]!;
      residual[j]! -= step * image[j]!;
      scaled[j] = residual[j]! / diagonal[j]!;
    }
    const next = dot(residual, scaled);
    const ratio = next / norm;
    for (let j = 0; j < size; j++) search[j] = scaled[j]! + ratio * search[j]!;
    norm = next;
  }
  return direction;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
