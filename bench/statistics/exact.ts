/** Exact tests on counts. */

/** P(X ≤ k), X binomial(n, ½); summed in logarithms, so that n may be thousands. */
function binomialHalfCdf(k: number, n: number): number {
  let logTerm = -n * Math.LN2;
  let total = Math.exp(logTerm);
  for (let i = 1; i <= k; i++) {
    logTerm += Math.log(n - i + 1) - Math.log(i);
    total += Math.exp(logTerm);
  }
  return Math.min(1, total);
}

/**
 * Two-sided exact sign test: how surprising it is that of `ups + downs` pairs that differ, so many go one way. Exact McNemar's test
 * is this one, on the discordant pairs. No pair that differs gives 1.
 */
export function signTest(ups: number, downs: number): number {
  const n = ups + downs;
  if (n === 0) return 1;
  return Math.min(1, 2 * binomialHalfCdf(Math.min(ups, downs), n));
}

/**
 * Holm's step-down correction: p-values that may be compared with one significance level although there are many. Same order as
 * given; never smaller than what went in; monotone.
 */
export function holm(pValues: readonly number[]): number[] {
  const order = pValues.map((p, index) => ({ p, index })).sort((a, b) => a.p - b.p);
  const adjusted = new Array<number>(pValues.length).fill(1);
  let largest = 0;
  order.forEach(({ p, index }, rank) => {
    largest = Math.max(largest, Math.min(1, p * (pValues.length - rank)));
    adjusted[index] = largest;
  });
  return adjusted;
}
