import { describe, expect, it } from 'vitest';
import { asDense, inputOf, labelsOf, TEST_ROWS, TRAIN_ROWS } from './golden/inputs.ts';
import { greatestDifference, syntheticGolden } from './golden/load.ts';
import { evaluate } from './metrics.ts';
import { resolveParameters } from './parameters.ts';
import { applySigmoid, fitSigmoid } from './platt.ts';
import { Random } from './random.ts';
import { rbfKernel, scaledGamma } from './rbf-kernel.ts';
import { SupportVectorMachine } from './svm.ts';
import type { ModelParameters } from './types.ts';

function fitted(kind: 'dense' | 'bits', parameters: ModelParameters, seed = 1): SupportVectorMachine {
  const { x, y } = inputOf(kind);
  const model = new SupportVectorMachine(resolveParameters('svm', parameters), seed);
  model.fit(x, y, TRAIN_ROWS);
  return model;
}

describe.each(['dense', 'bits'] as const)('SupportVectorMachine on %s features', (kind) => {
  const { x, y } = inputOf(kind);

  describe.each(syntheticGolden()[kind].svm)('with C = $c and gamma = $gamma', (golden) => {
    const { c, gamma } = golden;

    it('finds the machine that scikit-learn finds', () => {
      const model = fitted(kind, { c, gamma, tol: 1e-6 });
      expect(model.warnings).toEqual([]);
      expect(Math.abs(model.gamma / golden.resolvedGamma - 1)).toBeLessThan(1e-9);
      expect(model.supportRows).toHaveLength(golden.support);
      expect(Math.abs(model.bias - golden.bias)).toBeLessThan(1e-4);
      const decision = model.decisionFunction(x, TEST_ROWS);
      expect(greatestDifference(decision, golden.decision)).toBeLessThan(1e-4);
      const { aucRoc } = evaluate(labelsOf(y, TEST_ROWS), decision);
      expect(Math.abs(aucRoc! - golden.aucRoc)).toBeLessThan(1e-3);
    });

    it('stays within the default tolerance of it', () => {
      const decision = fitted(kind, { c, gamma }).decisionFunction(x, TEST_ROWS);
      expect(greatestDifference(decision, golden.defaultTolDecision)).toBeLessThan(1e-2);
    });

    it('gives probabilities near those that scikit-learn gives with folds of its own', () => {
      const probability = fitted(kind, { c, gamma }).predictProbability(x, TEST_ROWS);
      expect(greatestDifference(probability, golden.probability)).toBeLessThan(0.1);
    });
  });

  it('takes the class from the sign of the decision function', () => {
    const model = fitted(kind, {});
    const decision = model.decisionFunction(x, TEST_ROWS);
    const { predicted } = model.predict(x, TEST_ROWS);
    expect(Array.from(predicted)).toEqual(Array.from(decision, (value) => (value >= 0 ? 1 : 0)));
  });

  it('keeps the multipliers within their box and balanced between the classes', () => {
    const model = fitted(kind, { c: 2 });
    let sum = 0;
    model.signedAlpha.forEach((alpha, s) => {
      sum += alpha;
      const side = y[model.supportRows[s]!] === 1 ? 1 : -1;
      expect(alpha * side).toBeGreaterThan(0);
      expect(alpha * side).toBeLessThanOrEqual(2);
    });
    expect(Math.abs(sum)).toBeLessThan(1e-9);
  });
});

describe('rbfKernel', () => {
  const { x } = inputOf('bits');
  const dense = asDense(x);

  it('gives bits the kernel of the same zeros and ones as numbers', () => {
    const gamma = scaledGamma(x, TRAIN_ROWS);
    expect(Math.abs(gamma / scaledGamma(dense, TRAIN_ROWS) - 1)).toBeLessThan(1e-12);
    const ofBits = rbfKernel(x, TRAIN_ROWS, gamma);
    const ofNumbers = rbfKernel(dense, TRAIN_ROWS, gamma);
    expect(greatestDifference(ofBits.gram(), ofNumbers.gram())).toBeLessThan(1e-6);
    const found = new Float64Array(TRAIN_ROWS.length);
    const expected = new Float64Array(TRAIN_ROWS.length);
    for (const row of TEST_ROWS) {
      ofBits.fill(x, row, found);
      ofNumbers.fill(dense, row, expected);
      expect(greatestDifference(found, expected)).toBeLessThan(1e-12);
    }
  });

  it('is symmetric with ones on the diagonal', () => {
    const rows = TRAIN_ROWS.slice(0, 70);
    const gram = rbfKernel(x, rows, 0.05).gram();
    for (let i = 0; i < rows.length; i++) {
      expect(gram[i * rows.length + i]).toBe(1);
      for (let j = 0; j < i; j++) expect(gram[i * rows.length + j]).toBe(gram[j * rows.length + i]);
    }
  });
});

describe('fitSigmoid', () => {
  it('agrees with scikit-learn', () => {
    const random = new Random(5);
    const unit = () => random.uint32() / 2 ** 32;
    const decision = new Float64Array(200);
    const y = new Uint8Array(200);
    for (let i = 0; i < 200; i++) {
      decision[i] = 4 * unit() - 2;
      y[i] = decision[i]! + 2 * (unit() + unit() - 1) > 0.3 ? 1 : 0;
    }
    const { slope, offset } = fitSigmoid(decision, y);
    const golden = syntheticGolden().sigmoid;
    expect(Math.abs(slope - golden.slope)).toBeLessThan(1e-4);
    expect(Math.abs(offset - golden.offset)).toBeLessThan(1e-4);
  });

  it('stays finite where the decision separates the classes', () => {
    const sigmoid = fitSigmoid(Float64Array.of(-900, -900, 900, 900), Uint8Array.of(0, 0, 1, 1));
    const probability = [-900, 900].map((decision) => applySigmoid(sigmoid, decision));
    expect(probability[0]).toBeCloseTo(0.25, 3);
    expect(probability[1]).toBeCloseTo(0.75, 3);
  });
});

it('refuses more rows than its kernel matrix may have', () => {
  const rows = 11_000;
  const model = new SupportVectorMachine(resolveParameters('svm', {}), 1);
  const y = Uint8Array.from({ length: rows }, (_, row) => row % 2);
  const x = { kind: 'bits', rows, columns: 1, words: new Uint32Array(rows) } as const;
  expect(() => model.fit(x, y, Int32Array.from(y.keys()))).toThrow(
    expect.objectContaining({ code: 'CONFIG', hint: expect.stringContaining('10240') }),
  );
});
