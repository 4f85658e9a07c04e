import { stripVTControlCharacters } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { escapeLine, escapeText } from './escape.ts';

describe('escaping of agent text', () => {
  it.each([
    ['colour', '\u001b[31mred', '\\x1b[31mred'],
    ['clipboard (OSC 52)', '\u001b]52;c;aGk=\u0007', '\\x1b]52;c;aGk=\\x07'],
    ['8-bit CSI', '\u009b2J', '\\x9b2J'],
    ['carriage return over a line', 'real\rfake', 'real\\x0dfake'],
    ['bidirectional override', 'a\u202eb', 'a\\u{202e}b'],
    ['zero-width joiner', 'a\u200db', 'a\\u{200d}b'],
    ['tag characters', 'a\u{e0041}', 'a\\u{e0041}'],
    ['lone surrogate', 'a\ud800', 'a\\u{d800}'],
  ])('makes a %s visible', (_name, input, expected) => {
    expect(escapeText(input)).toBe(expected);
  });

  it('leaves ordinary text alone, in any script', () => {
    const text = 'naïve café — 日本語 \u{1f600} עברית\n\tindented';
    expect(escapeText(text)).toBe(text);
  });

  it('keeps a line one line', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(escapeLine(text)).not.toMatch(/[\n\r\t]/);
      }),
    );
  });

  it('leaves nothing that a terminal would act on', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const escaped = escapeText(text);
        expect(stripVTControlCharacters(escaped)).toBe(escaped);
        // biome-ignore lint/suspicious/noControlCharactersInRegex: none may be left
        expect(escaped).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/);
      }),
    );
  });
});
