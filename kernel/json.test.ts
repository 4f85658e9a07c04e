import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JsonText, toSortedJson } from './json.ts';

describe('toSortedJson', () => {
  it('writes what JSON.parse reads back', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        expect(JSON.parse(toSortedJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
      { numRuns: 500 },
    );
  });

  it('gives the same bytes whatever the order of insertion, keys ascending at every depth', () => {
    expect(toSortedJson({ b: [{ z: 1, a: 2 }], a: { d: null, c: 'x' } })).toBe(
      '{"a":{"c":"x","d":null},"b":[{"a":2,"z":1}]}',
    );
    // Integer-like keys, which JavaScript would put first and in numeric order.
    expect(toSortedJson({ b: 1, 9: 2, 10: 3 })).toBe('{"10":3,"9":2,"b":1}');
  });

  it('leaves out undefined members and makes non-finite numbers null', () => {
    expect(toSortedJson({ a: undefined, b: Number.NaN, c: [undefined, Infinity] })).toBe(
      '{"b":null,"c":[null,null]}',
    );
  });

  it('escapes lone surrogates, so that the answer is valid UTF-8', () => {
    expect(toSortedJson('\ud800')).toBe('"\\ud800"');
  });

  it('lets text that is JSON already through as it is', () => {
    const kept = new JsonText(toSortedJson({ b: 1, a: [2] }));
    expect(toSortedJson({ value: kept, list: [kept] })).toBe(
      '{"list":[{"a":[2],"b":1}],"value":{"a":[2],"b":1}}',
    );
  });

  it('refuses what JSON cannot hold instead of dropping it', () => {
    expect(() => toSortedJson({ a: 1n })).toThrow(TypeError);
  });
});
