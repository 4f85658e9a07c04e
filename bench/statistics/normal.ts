import { errorFunction, probit } from 'simple-statistics';

/** Φ(z), to about 1e-7. */
export function normalCdf(z: number): number {
  return (1 + errorFunction(z / Math.SQRT2)) / 2;
}

/** Φ⁻¹(p) for 0 < p < 1. The library's closed form is good to 2e-3; two Newton steps bring it to the accuracy of Φ. */
export function normalQuantile(p: number): number {
  if (p <= 0) return Number.NEGATIVE_INFINITY;
  if (p >= 1) return Number.POSITIVE_INFINITY;
  let z = probit(p);
  for (let step = 0; step < 2; step++) {
    const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
    if (density < 1e-12) break;
    z -= (normalCdf(z) - p) / density;
  }
  return z;
}
