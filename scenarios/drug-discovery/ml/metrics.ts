import { CloveError } from '../../../errors/index.ts';

/** Full precision, scikit-learn's definitions; a quotient by zero is 0, a ranking measure of one class is null. */
export interface ClassificationMetrics {
  readonly accuracy: number;
  /** Mean recall of the classes that occur. */
  readonly balancedAccuracy: number;
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
  readonly mcc: number;
  readonly aucRoc: number | null;
  readonly averagePrecision: number | null;
}

export interface ConfusionMatrix {
  readonly truePositives: number;
  readonly falsePositives: number;
  readonly trueNegatives: number;
  readonly falseNegatives: number;
}

/**
 * Scores predictions against the labels `y`, all in the same order. Without `predicted`, a row is of class 1 when its
 * probability is above 0.5. Throws CONFIG for no rows, different lengths or a probability that is NaN.
 */
export function evaluate(
  y: Uint8Array,
  probability: Float64Array,
  predicted: Uint8Array = Uint8Array.from(probability, (p) => (p > 0.5 ? 1 : 0)),
): ClassificationMetrics {
  if (y.length === 0) throw new CloveError('CONFIG', 'no rows to evaluate');
  if (probability.length !== y.length || predicted.length !== y.length) {
    throw new CloveError(
      'CONFIG',
      `${y.length} labels, ${probability.length} probabilities and ${predicted.length} predictions`,
    );
  }
  const confusion = confusionMatrix(y, predicted);
  const { truePositives, falsePositives, trueNegatives, falseNegatives } = confusion;
  const positives = truePositives + falseNegatives;
  const negatives = trueNegatives + falsePositives;
  const recall = ratio(truePositives, positives);
  const specificity = ratio(trueNegatives, negatives);
  const ranking = rankingMeasures(y, probability);
  return {
    accuracy: (truePositives + trueNegatives) / y.length,
    balancedAccuracy: positives === 0 ? specificity : negatives === 0 ? recall : (recall + specificity) / 2,
    precision: ratio(truePositives, truePositives + falsePositives),
    recall,
    f1: ratio(2 * truePositives, 2 * truePositives + falsePositives + falseNegatives),
    mcc: matthewsCorrelation(confusion),
    aucRoc: ranking === null ? null : ranking.aucRoc,
    averagePrecision: ranking === null ? null : ranking.averagePrecision,
  };
}

export function confusionMatrix(y: Uint8Array, predicted: Uint8Array): ConfusionMatrix {
  let truePositives = 0;
  let falsePositives = 0;
  let trueNegatives = 0;
  let falseNegatives = 0;
  for (let i = 0; i < y.length; i++) {
    if (predicted[i] === 1) {
      if (y[i] === 1) truePositives++;
      else falsePositives++;
    } else if (y[i] === 1) falseNegatives++;
    else trueNegatives++;
  }
  return { truePositives, falsePositives, trueNegatives, falseNegatives };
}

/** Share of the negatives that were told as such; 0 without any. */
export function specificity({ trueNegatives, falsePositives }: ConfusionMatrix): number {
  return ratio(trueNegatives, trueNegatives + falsePositives);
}

function matthewsCorrelation(confusion: ConfusionMatrix): number {
  const { truePositives: tp, falsePositives: fp, trueNegatives: tn, falseNegatives: fn } = confusion;
  // Two roots: the product of all four sums would leave the exact integers.
  const scale = Math.sqrt((tp + fp) * (tn + fn)) * Math.sqrt((tp + fn) * (tn + fp));
  // Rounding may lead past ±1 by an ulp.
  return scale === 0 ? 0 : Math.max(-1, Math.min(1, (tp * tn - fp * fn) / scale));
}

/**
 * Area under the ROC curve, with draws counted by half, and average precision, in which rows of equal probability enter
 * together: Σ (recall step) × precision.
 */
function rankingMeasures(
  y: Uint8Array,
  probability: Float64Array,
): { aucRoc: number; averagePrecision: number } | null {
  let positives = 0;
  for (let i = 0; i < y.length; i++) {
    positives += y[i]!;
    if (Number.isNaN(probability[i])) throw new CloveError('CONFIG', `the probability of row ${i} is NaN`);
  }
  const negatives = y.length - positives;
  if (positives === 0 || negatives === 0) return null;
  const order = Int32Array.from(probability.keys()).sort((a, b) => probability[b]! - probability[a]!);
  let above = 0;
  let truePositives = 0;
  let twiceWins = 0;
  let precisionSum = 0;
  for (let start = 0; start < order.length; ) {
    const value = probability[order[start]!]!;
    let end = start;
    let tiedPositives = 0;
    for (; end < order.length && probability[order[end]!] === value; end++) tiedPositives += y[order[end]!]!;
    const tiedNegatives = end - start - tiedPositives;
    twiceWins += tiedNegatives * (2 * truePositives + tiedPositives);
    truePositives += tiedPositives;
    above += end - start;
    precisionSum += tiedPositives * (truePositives / above);
    start = end;
  }
  return { aucRoc: twiceWins / (2 * positives * negatives), averagePrecision: precisionSum / positives };
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
