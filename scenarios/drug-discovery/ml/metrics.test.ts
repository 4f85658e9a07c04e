import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { metricsGolden } from './golden/load.ts';
import { type ClassificationMetrics, confusionMatrix, evaluate, specificity } from './metrics.ts';

const NAMES = [
  'accuracy',
  'balancedAccuracy',
  'precision',
  'recall',
  'f1',
  'mcc',
  'aucRoc',
  'averagePrecision',
] as const satisfies readonly (keyof ClassificationMetrics)[];

/** Labels with probabilities on a coarse grid, so that draws are common. */
const scored = fc
  .array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 12 })), { minLength: 1, maxLength: 60 })
  .map((rows) => ({
    y: Uint8Array.from(rows, ([label]) => (label ? 1 : 0)),
    probability: Float64Array.from(rows, ([, level]) => level / 12),
  }));

describe('evaluate', () => {
  it.each(metricsGolden().cases.map((golden, number) => ({ number, golden })))(
    'agrees with scikit-learn to 1e-12 in case $number',
    ({ golden }) => {
      const found = evaluate(
        Uint8Array.from(golden.y),
        Float64Array.from(golden.probability),
        Uint8Array.from(golden.predicted),
      );
      for (const name of NAMES) {
        const expected = golden.expected[name];
        if (expected === null) expect(found[name], name).toBeNull();
        else expect(Math.abs(found[name]! - expected), name).toBeLessThan(1e-12);
      }
    },
  );

  it('takes the class from a probability above one half when no classes are given', () => {
    const y = Uint8Array.of(0, 1, 1);
    const probability = Float64Array.of(0.5, 0.51, 0.5);
    expect(evaluate(y, probability)).toEqual(evaluate(y, probability, Uint8Array.of(0, 1, 0)));
  });

  it('keeps every measure within its bounds', () => {
    fc.assert(
      fc.property(scored, ({ y, probability }) => {
        const found = evaluate(y, probability);
        for (const name of NAMES) {
          const value = found[name];
          if (value === null) continue;
          expect(value).toBeGreaterThanOrEqual(name === 'mcc' ? -1 : 0);
          expect(value).toBeLessThanOrEqual(1);
        }
      }),
    );
  });

  it('measures the AUC as the share of pairs ranked rightly, draws by half', () => {
    fc.assert(
      fc.property(scored, ({ y, probability }) => {
        let pairs = 0;
        let won = 0;
        for (let i = 0; i < y.length; i++) {
          for (let j = 0; j < y.length; j++) {
            if (y[i] !== 1 || y[j] !== 0) continue;
            pairs++;
            won += probability[i]! > probability[j]! ? 1 : probability[i] === probability[j] ? 0.5 : 0;
          }
        }
        const { aucRoc } = evaluate(y, probability);
        if (pairs === 0) expect(aucRoc).toBeNull();
        else expect(aucRoc).toBeCloseTo(won / pairs, 12);
      }),
    );
  });

  it('ranks the same under any increasing map of the probabilities and any order of the rows', () => {
    fc.assert(
      fc.property(scored, fc.integer({ min: 0, max: 1000 }), ({ y, probability }, turn) => {
        const { aucRoc, averagePrecision } = evaluate(y, probability);
        const mapped = evaluate(
          y,
          probability.map((p) => p ** 3 / 2 + 0.1),
        );
        expect(mapped).toMatchObject({ aucRoc, averagePrecision });
        const at = (i: number) => (i + turn) % y.length;
        const rotated = evaluate(
          y.map((_, i) => y[at(i)]!),
          probability.map((_, i) => probability[at(i)]!),
        );
        expect(rotated).toEqual(evaluate(y, probability));
      }),
    );
  });

  it('is symmetric when labels, classes and probabilities are flipped', () => {
    fc.assert(
      fc.property(scored, ({ y, probability }) => {
        const predicted = Uint8Array.from(probability, (p) => (p > 0.5 ? 1 : 0));
        const found = evaluate(y, probability, predicted);
        const flipped = evaluate(
          y.map((label) => 1 - label),
          probability.map((p) => 1 - p),
          predicted.map((label) => 1 - label),
        );
        expect(flipped.accuracy).toBe(found.accuracy);
        expect(flipped.balancedAccuracy).toBeCloseTo(found.balancedAccuracy, 12);
        expect(flipped.mcc).toBeCloseTo(found.mcc, 12);
        if (found.aucRoc === null) expect(flipped.aucRoc).toBeNull();
        else expect(flipped.aucRoc).toBeCloseTo(found.aucRoc, 12);
      }),
    );
  });

  it('gives one minus the AUC when only the labels are flipped', () => {
    fc.assert(
      fc.property(scored, ({ y, probability }) => {
        const { aucRoc } = evaluate(y, probability);
        const flipped = evaluate(
          y.map((label) => 1 - label),
          probability,
        ).aucRoc;
        if (aucRoc === null) expect(flipped).toBeNull();
        else expect(flipped).toBeCloseTo(1 - aucRoc, 12);
      }),
    );
  });

  it('refuses no rows, different lengths and NaN', () => {
    const refused = expect.objectContaining({ code: 'CONFIG' });
    expect(() => evaluate(new Uint8Array(0), new Float64Array(0))).toThrow(refused);
    expect(() => evaluate(Uint8Array.of(0, 1), Float64Array.of(0.5))).toThrow(refused);
    expect(() => evaluate(Uint8Array.of(0, 1), Float64Array.of(0.5, Number.NaN))).toThrow(refused);
  });
});

describe('confusionMatrix', () => {
  it('counts each kind, from which specificity follows', () => {
    const confusion = confusionMatrix(Uint8Array.of(1, 1, 0, 0, 0, 1), Uint8Array.of(1, 0, 0, 1, 0, 1));
    expect(confusion).toEqual({ truePositives: 2, falsePositives: 1, trueNegatives: 2, falseNegatives: 1 });
    expect(specificity(confusion)).toBe(2 / 3);
    expect(specificity(confusionMatrix(Uint8Array.of(1), Uint8Array.of(1)))).toBe(0);
  });
});
