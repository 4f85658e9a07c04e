import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SPLIT_METHODS, type Split, splitRows } from './split.ts';

/** One scaffold with up to 30 % of the rows, the others with few each, so that no part is ever empty. */
const molecules = fc
  .record({
    labels: fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 100, maxLength: 400 }),
    common: fc.double({ min: 0, max: 0.3, noNaN: true }),
    rare: fc.integer({ min: 20, max: 80 }),
  })
  .map(({ labels, common, rare }) => ({
    labels: Uint8Array.from(labels),
    scaffolds: Int32Array.from(labels, (_, row) => (row < labels.length * common ? 0 : 1 + (row % rare))),
  }));

const allRows = ({ train, valid, test }: Split): number[] => [...train, ...valid, ...test];

/** Twenty scaffolds of 5 % each always fit 70/10/20. */
const even = {
  labels: Uint8Array.from({ length: 200 }, (_, row) => (row % 3) & 1),
  scaffolds: Int32Array.from({ length: 200 }, (_, row) => row % 20),
};

describe.each(SPLIT_METHODS)('%s split', (method) => {
  it('gives every row to one part only, ascending, and is the same for the same seed', () => {
    fc.assert(
      fc.property(molecules, fc.integer(), ({ labels, scaffolds }, seed) => {
        const split = splitRows({ method, seed, labels, scaffolds });
        expect(allRows(split).sort((a, b) => a - b)).toEqual([...labels.keys()]);
        for (const part of Object.values(split)) expect([...part]).toEqual([...part].sort((a, b) => a - b));
        expect(splitRows({ method, seed, labels, scaffolds })).toEqual(split);
      }),
      { numRuns: 50 },
    );
  });

  it('differs between seeds', () => {
    const splits = [1, 2, 3].map((seed) => String(splitRows({ method, seed, ...even }).test));
    expect(new Set(splits).size).toBe(3);
  });

  it('has 70, 10 and 20 % of the rows', () => {
    const { train, valid, test } = splitRows({ method, seed: 7, ...even });
    expect([train.length, valid.length, test.length]).toEqual([140, 20, 40]);
  });

  it('refuses data that leaves a part empty', () => {
    const labels = Uint8Array.from([0, 1]);
    expect(() => splitRows({ method, seed: 1, labels, scaffolds: Int32Array.from([0, 0]) })).toThrow(
      expect.objectContaining({ code: 'CONFIG' }),
    );
  });
});

describe('stratified split', () => {
  it('keeps the share of each class in every part, to the nearest row', () => {
    fc.assert(
      fc.property(molecules, fc.integer(), ({ labels, scaffolds }, seed) => {
        const split = splitRows({ method: 'stratified', seed, labels, scaffolds });
        for (const label of [0, 1]) {
          const total = labels.filter((value) => value === label).length;
          const count = (part: Int32Array): number => part.filter((row) => labels[row] === label).length;
          expect(Math.abs(count(split.train) - total * 0.7)).toBeLessThanOrEqual(0.5);
          expect(Math.abs(count(split.valid) - total * 0.1)).toBeLessThanOrEqual(0.5);
          expect(Math.abs(count(split.test) - total * 0.2)).toBeLessThanOrEqual(1);
        }
      }),
      { numRuns: 50 },
    );
  });
});

describe('scaffold split', () => {
  it('never puts one scaffold into two parts, nor more into train than its share', () => {
    fc.assert(
      fc.property(molecules, fc.integer(), ({ labels, scaffolds }, seed) => {
        const { train, valid, test } = splitRows({ method: 'scaffold', seed, labels, scaffolds });
        const groups = [train, valid, test].map((part) => new Set(Array.from(part, (row) => scaffolds[row])));
        expect(groups.reduce((sum, group) => sum + group.size, 0)).toBe(new Set(scaffolds).size);
        expect(train.length).toBeLessThanOrEqual(Math.round(labels.length * 0.7));
        expect(valid.length).toBeLessThanOrEqual(Math.round(labels.length * 0.1));
      }),
      { numRuns: 50 },
    );
  });

  it('gives the common scaffolds to train and the rare ones to test', () => {
    const scaffolds = Int32Array.from({ length: 100 }, (_, row) => (row < 60 ? 0 : row));
    const { train } = splitRows({ method: 'scaffold', seed: 1, labels: new Uint8Array(100), scaffolds });
    expect([...train].slice(0, 60)).toEqual([...Array(60).keys()]);
  });
});
