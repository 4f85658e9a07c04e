import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseTsv } from './tsv.ts';

const fieldsOf = (text: string): (readonly string[])[] => parseTsv(text).map(({ fields }) => fields);

describe('tab-separated values', () => {
  it('are read with and without quotes, LF and CRLF, with and without a last line end', () => {
    const expected = [
      ['a', 'b'],
      ['c', ''],
    ];
    expect(fieldsOf('a\tb\nc\t\n')).toEqual(expected);
    expect(fieldsOf('a\t"b"\r\n"c"\t')).toEqual(expected);
    expect(fieldsOf('\ufeffa\tb\r\nc\t""')).toEqual(expected);
  });

  it('keep tabs, line ends and doubled quotes of quoted fields, and count their lines', () => {
    expect(parseTsv('"a\tb"\t"c\nd"\n"say ""hi"""\tx')).toEqual([
      { line: 1, fields: ['a\tb', 'c\nd'] },
      { line: 3, fields: ['say "hi"', 'x'] },
    ]);
  });

  it("keep backslashes of SMILES, and read Dataverse's quotes after a backslash", () => {
    expect(fieldsOf('"F/C=C\\F"\t"\\1,1-ethane\\\\"\\""\t1')).toEqual([
      ['F/C=C\\F', '\\1,1-ethane\\""', '1'],
    ]);
  });

  it('leave out blank lines but not empty fields', () => {
    expect(parseTsv('\n\na\n\n\tb\n')).toEqual([
      { line: 3, fields: ['a'] },
      { line: 5, fields: ['', 'b'] },
    ]);
    expect(parseTsv('')).toEqual([]);
  });

  it.each([
    ['a\t"b', 'line 1: a quoted field is never closed'],
    ['a\n"b"c\n', 'line 2: text after a closing quote'],
  ])('with quotes that do not match are refused: %j', (text, message) => {
    expect(() => parseTsv(text)).toThrow(expect.objectContaining({ code: 'DATA_CORRUPT', message }));
  });

  it('survive writing and reading', () => {
    const field = fc.string({ unit: fc.constantFrom('a', ' ', '"', '\t', '\n', '\r', 'é', '\u2028') });
    const table = fc.array(fc.array(field, { minLength: 2, maxLength: 4 }), { maxLength: 5 });
    fc.assert(
      fc.property(table, fc.constantFrom('\n', '\r\n'), (rows, lineEnd) => {
        const text = rows
          .map((row) => row.map((value) => `"${value.replaceAll('"', '""')}"`).join('\t') + lineEnd)
          .join('');
        expect(fieldsOf(text)).toEqual(rows);
      }),
    );
  });
});
