import { describe, expect, it } from 'vitest';
import { inputOf, TEST_ROWS, TRAIN_ROWS } from './golden/inputs.ts';
import { greatestDifference, syntheticGolden } from './golden/load.ts';
import { LogisticRegression } from './logistic-regression.ts';
import { resolveParameters } from './parameters.ts';

describe.each(['dense', 'bits'] as const)('LogisticRegression on %s features', (kind) => {
  const { x, y } = inputOf(kind);

  it.each(Object.entries(syntheticGolden()[kind].logistic_regression))(
    'finds the optimum that scikit-learn finds with C = %s',
    (c, golden) => {
      const model = new LogisticRegression(resolveParameters('logistic_regression', { c: Number(c) }));
      model.fit(x, y, TRAIN_ROWS);
      expect(model.warnings).toEqual([]);
      const probability = model.predictProbability(x, TEST_ROWS);
      expect(greatestDifference(probability, golden.probability)).toBeLessThan(1e-6);
      expect(greatestDifference(model.coefficients, golden.coefficients)).toBeLessThan(1e-5);
      expect(Math.abs(model.intercept - golden.intercept)).toBeLessThan(1e-4);
    },
  );

  it('says so when it may not take enough steps', () => {
    const model = new LogisticRegression(resolveParameters('logistic_regression', { maxIter: 1 }));
    model.fit(x, y, TRAIN_ROWS);
    expect(model.warnings).toEqual([expect.stringContaining('after 1 Newton steps')]);
  });

  it('predicts class 1 exactly where the probability is above one half', () => {
    const model = new LogisticRegression(resolveParameters('logistic_regression', {}));
    model.fit(x, y, TRAIN_ROWS);
    const { probability, predicted } = model.predict(x, TEST_ROWS);
    expect(Array.from(predicted)).toEqual(Array.from(probability, (p) => (p > 0.5 ? 1 : 0)));
  });
});

it('converges where one feature separates the classes and another is constant', () => {
  const values = new Float64Array(40);
  for (let row = 0; row < 20; row++) values.set([row * 1000, 3], row * 2);
  const y = Uint8Array.from({ length: 20 }, (_, row) => (row < 9 ? 0 : 1));
  const rows = Int32Array.from(y.keys());
  const model = new LogisticRegression(resolveParameters('logistic_regression', { c: 100 }));
  model.fit({ kind: 'dense', rows: 20, columns: 2, values }, y, rows);
  expect(model.warnings).toEqual([]);
  expect(model.coefficients[1]).toBe(0);
  const { predicted } = model.predict({ kind: 'dense', rows: 20, columns: 2, values }, rows);
  expect(predicted).toEqual(y);
});
