/** probability = 1 / (1 + exp(slope · decision + offset)). */
export interface Sigmoid {
  readonly slope: number;
  readonly offset: number;
}

export function applySigmoid({ slope, offset }: Sigmoid, decision: number): number {
  return 1 / (1 + Math.exp(slope * decision + offset));
}

/**
 * Platt's scaling by maximum likelihood with smoothed targets, in the numerically safe form of Lin, Lin and Weng (2007):
 * Newton's method with backtracking on the two parameters.
 */
export function fitSigmoid(decision: Float64Array, labels: Uint8Array): Sigmoid {
  let positives = 0;
  for (const label of labels) positives += label;
  const negatives = labels.length - positives;
  const high = (positives + 1) / (positives + 2);
  const low = 1 / (negatives + 2);
  let slope = 0;
  let offset = Math.log((negatives + 1) / (positives + 1));
  const loss = (a: number, b: number): number => {
    let sum = 0;
    for (let i = 0; i < labels.length; i++) {
      const target = labels[i] === 1 ? high : low;
      const z = a * decision[i]! + b;
      sum += z >= 0 ? target * z + Math.log1p(Math.exp(-z)) : (target - 1) * z + Math.log1p(Math.exp(z));
    }
    return sum;
  };
  let value = loss(slope, offset);
  for (let iteration = 0; iteration < 100; iteration++) {
    // The ridge keeps the Hessian invertible when every probability has gone to 0 or 1.
    let h11 = 1e-12;
    let h22 = 1e-12;
    let h21 = 0;
    let g1 = 0;
    let g2 = 0;
    for (let i = 0; i < labels.length; i++) {
      const d = decision[i]!;
      const p = applySigmoid({ slope, offset }, d);
      const bend = p * (1 - p);
      const error = (labels[i] === 1 ? high : low) - p;
      h11 += d * d * bend;
      h22 += bend;
      h21 += d * bend;
      g1 += d * error;
      g2 += error;
    }
    if (Math.abs(g1) < 1e-5 && Math.abs(g2) < 1e-5) break;
    const determinant = h11 * h22 - h21 * h21;
    const da = -(h22 * g1 - h21 * g2) / determinant;
    const db = -(h11 * g2 - h21 * g1) / determinant;
    const descent = g1 * da + g2 * db;
    let step = 1;
    let next = loss(slope + da, offset + db);
    while (next >= value + 1e-4 * step * descent && step >= 1e-10) {
      step /= 2;
      next = loss(slope + step * da, offset + step * db);
    }
    if (step < 1e-10) break;
    slope += step * da;
    offset += step * db;
    value = next;
  }
  return { slope, offset };
}
