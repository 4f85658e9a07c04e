import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expandGrid, makeTrials, widenCells } from './grid.ts';
import { canonicalJson, contentKey } from './keys.ts';

const cell = (params: Record<string, string | number>) => ({ params, seed: 1, costEstimate: 1, input: {} });

describe('expandGrid', () => {
  it('lists combinations with the first axis slowest', () => {
    expect(expandGrid({ a: ['x', 'y'], b: [1, 2] })).toEqual([
      { a: 'x', b: 1 },
      { a: 'x', b: 2 },
      { a: 'y', b: 1 },
      { a: 'y', b: 2 },
    ]);
  });

  it('refuses an axis that is empty or names a value twice', () => {
    expect(() => expandGrid({ a: [] })).toThrow(expect.objectContaining({ code: 'CONFIG' }));
    expect(() => expandGrid({ a: [1, 1] })).toThrow(expect.objectContaining({ code: 'CONFIG' }));
  });
});

describe('widenCells', () => {
  it('keeps the cells themselves first and varies whole rounds after them', () => {
    const cells = [cell({ a: 1 }), cell({ a: 2 })];
    const wide = widenCells(cells, 5, (base, variant) => ({ ...base, seed: base.seed + variant }));
    expect(wide.map((one) => [one.params.a, one.seed])).toEqual([
      [1, 1],
      [2, 1],
      [1, 2],
      [2, 2],
      [1, 3],
    ]);
  });
});

describe('makeTrials', () => {
  it('numbers trials from exp_001 and pads to the size of the grid', () => {
    const few = makeTrials([cell({ a: 1 }), cell({ a: 2 })], () => ({}));
    expect(few.map((trial) => trial.id)).toEqual(['exp_001', 'exp_002']);
    const many = makeTrials(
      Array.from({ length: 1000 }, (_, i) => cell({ i })),
      () => ({}),
    );
    expect(many[0]?.id).toBe('exp_0001');
    expect(new Set(many.map((trial) => trial.key)).size).toBe(1000);
  });

  it('gives a key that depends on basis, parameters and seed alone', () => {
    const key = (basis: unknown, params: Record<string, number>, seed = 1) =>
      makeTrials([{ ...cell(params), seed, costEstimate: seed * 3 }], () => basis)[0]?.key;
    expect(key({ v: 1 }, { a: 1, b: 2 })).toBe(key({ v: 1 }, { b: 2, a: 1 }));
    expect(key({ v: 1 }, { a: 1 })).not.toBe(key({ v: 2 }, { a: 1 }));
    expect(key({ v: 1 }, { a: 1 })).not.toBe(key({ v: 1 }, { a: 2 }));
    expect(key({ v: 1 }, { a: 1 }, 1)).not.toBe(key({ v: 1 }, { a: 1 }, 2));
  });

  it('refuses two trials that are the same', () => {
    expect(() => makeTrials([cell({ a: 1 }), cell({ a: 1 })], () => ({}))).toThrow(
      expect.objectContaining({ code: 'CONFIG' }),
    );
  });
});

describe('contentKey', () => {
  it('is the same for the same JSON, whatever the order of properties', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (record) => {
        const turned = Object.fromEntries(Object.entries(record).reverse());
        expect(contentKey(turned)).toBe(contentKey(record));
        expect(JSON.parse(canonicalJson(record))).toEqual(JSON.parse(JSON.stringify(record)));
      }),
    );
  });

  it('refuses what has no place in a key', () => {
    expect(() => contentKey(Number.NaN)).toThrow(RangeError);
    expect(() => contentKey(() => 1)).toThrow(TypeError);
  });
});
