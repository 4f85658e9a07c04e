import { describe, expect, it } from 'vitest';
import { inputOf, labelsOf, TEST_ROWS, TRAIN_ROWS } from './golden/inputs.ts';
import { createClassifier, evaluate, MODEL_NAMES } from './index.ts';

const refused = (message: string) =>
  expect.objectContaining({ code: 'CONFIG', message: expect.stringContaining(message) });

describe.each(MODEL_NAMES)('%s', (name) => {
  describe.each(['dense', 'bits'] as const)('on %s features', (kind) => {
    const { x, y } = inputOf(kind);

    it('gives the same bits for the same seed, also from an instance that was fitted before', () => {
      const first = createClassifier(name, {}, 42);
      first.fit(x, y, TRAIN_ROWS);
      const expected = first.predict(x, TEST_ROWS);
      const other = createClassifier(name, {}, 42);
      other.fit(x, y, TEST_ROWS);
      other.fit(x, y, TRAIN_ROWS);
      expect(other.predict(x, TEST_ROWS)).toEqual(expected);
      expect(other.predictProbability(x, TEST_ROWS)).toEqual(expected.probability);
    });

    it('learns from the training rows alone', () => {
      const model = createClassifier(name, {}, 42);
      model.fit(x, y, TRAIN_ROWS);
      const changed = y.slice();
      for (const row of TEST_ROWS) changed[row] = 1 - changed[row]!;
      const other = createClassifier(name, {}, 42);
      other.fit(x, changed, TRAIN_ROWS);
      expect(other.predictProbability(x, TEST_ROWS)).toEqual(model.predictProbability(x, TEST_ROWS));
    });

    it('predicts a row the same whichever rows are asked for with it', () => {
      const model = createClassifier(name, {}, 42);
      model.fit(x, y, TRAIN_ROWS);
      const all = model.predictProbability(x, TEST_ROWS);
      const reversed = model.predictProbability(x, TEST_ROWS.slice().reverse());
      expect(reversed.reverse()).toEqual(all);
      expect(model.predictProbability(x, new Int32Array(0))).toHaveLength(0);
    });

    it('gives probabilities that rank unseen rows better than chance', () => {
      const model = createClassifier(name, {}, 42);
      model.fit(x, y, TRAIN_ROWS);
      const { probability, predicted } = model.predict(x, TEST_ROWS);
      for (const p of probability) expect(p >= 0 && p <= 1).toBe(true);
      expect(evaluate(labelsOf(y, TEST_ROWS), probability, predicted).aucRoc).toBeGreaterThan(0.7);
    });
  });

  it('refuses rows of one class, rows that are not there and labels that are not classes', () => {
    const { x, y } = inputOf('bits');
    const model = createClassifier(name, {}, 1);
    const ones = Int32Array.from(y.keys()).filter((row) => y[row] === 1);
    expect(() => model.fit(x, y, ones)).toThrow(refused('one class'));
    expect(() => model.fit(x, y, Int32Array.of(0, 600))).toThrow(refused('row 600'));
    expect(() => model.fit(x, y.slice(1), TRAIN_ROWS)).toThrow(refused('599 labels'));
    expect(() =>
      model.fit(
        x,
        y.map((label) => 2 * label),
        TRAIN_ROWS,
      ),
    ).toThrow(refused('not 0 or 1'));
  });

  it('refuses to predict before it was fitted, or what it was not fitted to', () => {
    const { x, y } = inputOf('bits');
    const model = createClassifier(name, {}, 1);
    expect(() => model.predict(x, TEST_ROWS)).toThrow(refused('not fitted'));
    model.fit(x, y, TRAIN_ROWS);
    expect(() => model.predict(inputOf('dense').x, TEST_ROWS)).toThrow(refused('6 columns of dense'));
    expect(() => model.predictProbability(x, Int32Array.of(-1))).toThrow(refused('row -1'));
  });

  it('refuses a matrix that is shorter than it says and bits beyond its columns', () => {
    const y = Uint8Array.of(0, 1);
    const rows = Int32Array.of(0, 1);
    const model = createClassifier(name, {}, 1);
    const short = { kind: 'bits', rows: 2, columns: 33, words: new Uint32Array(3) } as const;
    expect(() => model.fit(short, y, rows)).toThrow(refused('2 × 2 entries'));
    const stray = { kind: 'bits', rows: 2, columns: 33, words: Uint32Array.of(0, 1, 0, 2) } as const;
    expect(() => model.fit(stray, y, rows)).toThrow(refused('row 1 has bits beyond its 33 columns'));
  });

  it('refuses numbers that are not finite', () => {
    const values = Float64Array.of(1, 2, Number.NaN, 4);
    const x = { kind: 'dense', rows: 2, columns: 2, values } as const;
    const model = createClassifier(name, {}, 1);
    expect(() => model.fit(x, Uint8Array.of(0, 1), Int32Array.of(0, 1))).toThrow(refused('row 1, column 0'));
  });
});

describe('createClassifier', () => {
  it('refuses a parameter the model has not, and names those it has', () => {
    expect(() => createClassifier('svm', { nEstimators: 5 }, 1)).toThrow(
      expect.objectContaining({ code: 'CONFIG', hint: 'It takes c, gamma, tol.' }),
    );
  });

  it.each([
    ['random_forest', { nEstimators: 0 }],
    ['random_forest', { maxFeatures: 1.5 }],
    ['random_forest', { maxDepth: 0 }],
    ['gradient_boosting', { maxDepth: null }],
    ['gradient_boosting', { subsample: 0 }],
    ['gradient_boosting', { minSamplesSplit: 1 }],
    ['logistic_regression', { c: -1 }],
    ['logistic_regression', { maxIter: 2.5 }],
    ['svm', { gamma: Number.POSITIVE_INFINITY }],
  ] as const)('refuses %s with %j', (model, parameters) => {
    expect(() => createClassifier(model, parameters, 1)).toThrow(refused('must be'));
  });

  it('takes an absent value for the default', () => {
    const { x, y } = inputOf('dense');
    const [given, empty] = [{ maxDepth: null }, {}].map((parameters) => {
      const model = createClassifier('random_forest', parameters, 9);
      model.fit(x, y, TRAIN_ROWS);
      return model.predictProbability(x, TEST_ROWS);
    });
    expect(given).toEqual(empty);
  });
});
