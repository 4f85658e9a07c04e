import { describe, expect, it } from 'vitest';
import { asDense, inputOf, labelsOf, TEST_ROWS, TRAIN_ROWS } from './golden/inputs.ts';
import { camelCased, greatestDifference, syntheticGolden } from './golden/load.ts';
import { GradientBoosting } from './gradient-boosting.ts';
import { evaluate } from './metrics.ts';
import { resolveParameters } from './parameters.ts';
import { RandomForest } from './random-forest.ts';
import type { Classifier, ModelParameters } from './types.ts';

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

const forest = (parameters: ModelParameters, seed: number) =>
  new RandomForest(resolveParameters('random_forest', parameters), seed);
const boosting = (parameters: ModelParameters, seed: number) =>
  new GradientBoosting(resolveParameters('gradient_boosting', parameters), seed);

function testAuc(model: Classifier, kind: 'dense' | 'bits'): number {
  const { x, y } = inputOf(kind);
  model.fit(x, y, TRAIN_ROWS);
  return evaluate(labelsOf(y, TEST_ROWS), model.predictProbability(x, TEST_ROWS)).aucRoc!;
}

describe.each(['dense', 'bits'] as const)('on %s features', (kind) => {
  const { x, y } = inputOf(kind);
  const golden = syntheticGolden()[kind];

  it('the input is the one the golden figures were made from', () => {
    const dense = asDense(x);
    const sum = dense.kind === 'dense' ? dense.values.reduce((total, value) => total + value, 0) : 0;
    expect(sum).toBeCloseTo(golden.checksum.sum, 4);
    expect(y.reduce((total, label) => total + label, 0)).toBe(golden.checksum.positives);
  });

  describe.each(golden.gradient_boosting.filter(({ unique }) => unique))(
    'GradientBoosting with $parameters',
    ({ parameters, probability }) => {
      it('grows the trees that scikit-learn grows, whatever the seed', () => {
        for (const seed of [0, 7]) {
          const model = boosting(camelCased(parameters), seed);
          model.fit(x, y, TRAIN_ROWS);
          expect(greatestDifference(model.predictProbability(x, TEST_ROWS), probability!)).toBeLessThan(1e-6);
        }
      });
    },
  );

  it.each(golden.gradient_boosting.filter(({ unique }) => !unique))(
    'GradientBoosting with $parameters, where chance decides between columns, ranks as well as scikit-learn',
    ({ parameters, aucRoc }) => {
      const found = Array.from({ length: 10 }, (_, seed) =>
        testAuc(boosting(camelCased(parameters), seed), kind),
      );
      expect(Math.abs(mean(found) - mean(aucRoc))).toBeLessThan(0.02);
    },
  );

  it.each(golden.random_forest)(
    'RandomForest with $parameters has trees of the size, and ranks as well, as scikit-learn',
    ({ parameters, aucRoc, nodes }) => {
      const models = Array.from({ length: 10 }, (_, seed) => forest(camelCased(parameters), seed));
      expect(Math.abs(mean(models.map((model) => testAuc(model, kind))) - aucRoc)).toBeLessThan(0.02);
      const sizes = models.flatMap((model) => model.trees.map((tree) => tree.child.length));
      expect(Math.abs(mean(sizes) / nodes - 1)).toBeLessThan(0.03);
    },
  );

  it('a forest without bootstrap knows its training rows by heart', () => {
    const model = forest({ nEstimators: 5, bootstrap: false }, 3);
    model.fit(x, y, TRAIN_ROWS);
    expect(model.predict(x, TRAIN_ROWS).predicted).toEqual(labelsOf(y, TRAIN_ROWS));
  });

  it('no leaf of a forest is smaller than asked for', () => {
    const model = forest({ nEstimators: 3, bootstrap: false, minSamplesLeaf: 25 }, 3);
    model.fit(x, y, TRAIN_ROWS);
    for (const tree of model.trees) {
      const leaves = tree.child.filter((child) => child < 0).length;
      expect(leaves).toBeGreaterThan(1);
      expect(leaves).toBeLessThanOrEqual(TRAIN_ROWS.length / 25);
    }
  });
});

it('bits and the same zeros and ones as numbers give the same boosted trees', () => {
  const { x, y } = inputOf('bits');
  const dense = asDense(x);
  const ofBits = boosting({ minSamplesLeaf: 15 }, 1);
  const ofNumbers = boosting({ minSamplesLeaf: 15 }, 1);
  ofBits.fit(x, y, TRAIN_ROWS);
  ofNumbers.fit(dense, y, TRAIN_ROWS);
  const found = ofBits.predictProbability(x, TEST_ROWS);
  expect(greatestDifference(found, ofNumbers.predictProbability(dense, TEST_ROWS))).toBeLessThan(1e-9);
});

it('bits and the same zeros and ones as numbers give the same forest', () => {
  const { x, y } = inputOf('bits');
  const dense = asDense(x);
  const ofBits = forest({}, 1);
  const ofNumbers = forest({}, 1);
  ofBits.fit(x, y, TRAIN_ROWS);
  ofNumbers.fit(dense, y, TRAIN_ROWS);
  expect(ofBits.predictProbability(x, TEST_ROWS)).toEqual(ofNumbers.predictProbability(dense, TEST_ROWS));
});

it('rows that differ in nothing but the label end in one leaf with their shares', () => {
  const values = Float64Array.of(1, 2, 1, 2, 1, 2, 5, 6);
  const y = Uint8Array.of(0, 1, 1, 0);
  const rows = Int32Array.of(0, 1, 2, 3);
  const x = { kind: 'dense', rows: 4, columns: 2, values } as const;
  const model = forest({ nEstimators: 4, bootstrap: false }, 1);
  model.fit(x, y, rows);
  const [first, second, third, fourth] = model.predictProbability(x, rows);
  expect([first, second, third]).toEqual([2 / 3, 2 / 3, 2 / 3]);
  expect(fourth).toBe(0);
});
