import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { codeBlock, escapeMarkdown, table } from './markdown.ts';

describe('escapeMarkdown', () => {
  it.each([
    ['<img src=x onerror=alert(1)>', '&lt;img src=x onerror=alert(1)&gt;'],
    ['[click](javascript:alert(1))', '\\[click\\](javascript:alert(1))'],
    ['![x](http://evil/x.png)', '!\\[x\\](http\\://evil/x.png)'],
    ['a | b', 'a \\| b'],
    ['`code` **bold** ~~gone~~ $x$', '\\`code\\` \\*\\*bold\\*\\* \\~\\~gone\\~\\~ \\$x\\$'],
    ['https://evil.example', 'https\\://evil.example'],
    ['www.evil.example', 'www\\.evil.example'],
    ['mailto:a@b.c', 'mailto\\:a&#64;b.c'],
    ['# heading', '\\# heading'],
    ['- item', '\\- item'],
    ['1. item', '1\\. item'],
    ['two\nlines', 'two↵lines'],
    ['&lt;b&gt;', '&amp;lt;b&amp;gt;'],
    ['back\\slash', 'back\\\\slash'],
    ['_it_ snake_case', '\\_it\\_ snake_case'],
  ])('writes %j as %j', (text, expected) => {
    expect(escapeMarkdown(text)).toBe(expected);
  });

  it('leaves plain figures and words as they are', () => {
    for (const text of ['0.924', '53.1 s', '1 min 42 s', '−3.4 %', 'random_forest', '48 / 48']) {
      expect(escapeMarkdown(text)).toBe(text);
    }
  });
});

describe('table', () => {
  it('has as many cells in every row as columns, whatever the cells hold', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.string({ unit: 'binary' }), fc.string()), { maxLength: 5 }),
        (rows) => {
          const lines = table([{ title: 'a|b' }, { title: 'c', align: 'right' }], rows).split('\n');
          expect(lines).toHaveLength(rows.length + 2);
          // Unescaped pipes only: an odd run of backslashes before a pipe escapes it.
          const pipes = (line: string): number =>
            [...line.matchAll(/(\\*)\|/g)].filter(([, slashes]) => (slashes as string).length % 2 === 0)
              .length;
          for (const line of lines) expect(pipes(line)).toBe(3);
        },
      ),
    );
  });
});

describe('codeBlock', () => {
  it('cannot be ended by what it holds', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('`', '```', '\n', 'a', '~~~'), { maxLength: 12 }), (pieces) => {
        const block = codeBlock(pieces.join(''), 'sh').split('\n');
        const fence = block.at(-1) as string;
        expect(block[0]).toBe(`${fence}sh`);
        for (const line of block.slice(1, -1)) expect(line.startsWith(fence)).toBe(false);
      }),
    );
  });
});
