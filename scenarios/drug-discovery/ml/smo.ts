/** The dual of a two-class SVM, solved. */
export interface SmoSolution {
  /** Per row: its multiplier with the sign of its class; 0 for rows that are no support vectors. */
  readonly signedAlpha: Float64Array;
  /** The decision function is Σ signedAlpha · kernel + bias. */
  readonly bias: number;
  /** Value of the decision function at every row, held-out ones included. */
  readonly decision: Float64Array;
  readonly converged: boolean;
  readonly steps: number;
}

export interface SmoProblem {
  /** rows × rows, symmetric, 1 on the diagonal. */
  readonly kernel: Float32Array;
  readonly labels: Uint8Array;
  readonly c: number;
  readonly tol: number;
  /** Rows marked 1 take no part, though their decision value is known at the end. */
  readonly heldOut?: Uint8Array;
}

/** Denominator of a step along a direction without curvature. */
const TAU = 1e-12;

/**
 * Sequential minimal optimisation with the second-order choice of the working pair (Fan, Chen and Lin 2005), the rule
 * of libsvm, so both end within the same tolerance of the same optimum.
 *
 * In terms of λ = α · class the constraint is Σ λ = 0 with λ in [0, C] or [−C, 0], and what drives the search is
 * slack = class − Σ λ K: a pair i, j can gain when slack_i > slack_j, λ_i can grow and λ_j can shrink. A held-out row
 * has the box [0, 0]; its slack is kept up like any other's, which yields its decision value without a second pass.
 */
export function solveSmo({ kernel, labels, c, tol, heldOut }: SmoProblem): SmoSolution {
  const rows = labels.length;
  const lambda = new Float64Array(rows);
  const lower = new Float64Array(rows);
  const upper = new Float64Array(rows);
  const slack = new Float64Array(rows);
  // Infinite where the row may not be the growing (or the shrinking) one: spares the loops a look at the box.
  const grow = new Float64Array(rows);
  const shrink = new Float64Array(rows);
  for (let t = 0; t < rows; t++) {
    const positive = labels[t] === 1;
    slack[t] = positive ? 1 : -1;
    if (heldOut?.[t] !== 1) {
      if (positive) upper[t] = c;
      else lower[t] = -c;
    }
    grow[t] = lambda[t]! < upper[t]! ? 0 : Number.NEGATIVE_INFINITY;
    shrink[t] = lambda[t]! > lower[t]! ? 0 : Number.POSITIVE_INFINITY;
  }
  const limit = Math.max(10_000_000, 100 * rows);
  let steps = 0;
  let converged = false;
  let i = -1;
  let highest = Number.NEGATIVE_INFINITY;
  for (let t = 0; t < rows; t++) {
    const value = slack[t]! + grow[t]!;
    if (value > highest) {
      highest = value;
      i = t;
    }
  }
  for (; steps < limit; steps++) {
    if (i < 0) {
      converged = true;
      break;
    }
    let j = -1;
    let lowest = Number.POSITIVE_INFINITY;
    let best = 0;
    const rowI = i * rows;
    for (let t = 0; t < rows; t++) {
      const value = slack[t]! + shrink[t]!;
      if (value < lowest) lowest = value;
      const gap = highest - value;
      if (gap > 0 && value < Number.POSITIVE_INFINITY) {
        const bend = 2 - 2 * kernel[rowI + t]!;
        const gain = (gap * gap) / (bend > 0 ? bend : TAU);
        if (gain > best) {
          best = gain;
          j = t;
        }
      }
    }
    if (j < 0 || highest - lowest < tol) {
      converged = true;
      break;
    }
    const bend = 2 - 2 * kernel[rowI + j]!;
    const wanted = (highest - slack[j]!) / (bend > 0 ? bend : TAU);
    const roomI = upper[i]! - lambda[i]!;
    const roomJ = lambda[j]! - lower[j]!;
    const step = Math.min(wanted, roomI, roomJ);
    // Assigned and not added at the bounds, so that "at the bound" stays exact.
    lambda[i] = step === roomI ? upper[i]! : lambda[i]! + step;
    lambda[j] = step === roomJ ? lower[j]! : lambda[j]! - step;
    // Twice and not in a loop over the two: that would make an array, an iterator and its results in every step.
    grow[i] = lambda[i]! < upper[i]! ? 0 : Number.NEGATIVE_INFINITY;
    shrink[i] = lambda[i]! > lower[i]! ? 0 : Number.POSITIVE_INFINITY;
    grow[j] = lambda[j]! < upper[j]! ? 0 : Number.NEGATIVE_INFINITY;
    shrink[j] = lambda[j]! > lower[j]! ? 0 : Number.POSITIVE_INFINITY;
    const rowJ = j * rows;
    highest = Number.NEGATIVE_INFINITY;
    i = -1;
    for (let t = 0; t < rows; t++) {
      const now = slack[t]! - step * (kernel[rowI + t]! - kernel[rowJ + t]!);
      slack[t] = now;
      const value = now + grow[t]!;
      if (value > highest) {
        highest = value;
        i = t;
      }
    }
  }
  const bias = biasOf(lambda, lower, upper, slack);
  const decision = slack.map((s, t) => (labels[t] === 1 ? 1 : -1) - s + bias);
  return { signedAlpha: lambda, bias, decision, converged, steps };
}

/** Mean slack of the rows strictly inside their box; without any, the middle of what the others allow. */
function biasOf(lambda: Float64Array, lower: Float64Array, upper: Float64Array, slack: Float64Array): number {
  let inside = 0;
  let sum = 0;
  let most = Number.POSITIVE_INFINITY;
  let least = Number.NEGATIVE_INFINITY;
  for (let t = 0; t < lambda.length; t++) {
    if (lower[t] === upper[t]) continue;
    if (lambda[t]! > lower[t]! && lambda[t]! < upper[t]!) {
      inside++;
      sum += slack[t]!;
    } else if (lambda[t] === upper[t]) most = Math.min(most, slack[t]!);
    else least = Math.max(least, slack[t]!);
  }
  return inside > 0 ? sum / inside : (most + least) / 2;
}
