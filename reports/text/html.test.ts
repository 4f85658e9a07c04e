import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { escapeHtml, html, identifier, markup, multiline, scriptJson } from './html.ts';
import { clip } from './visible.ts';

const CORPUS = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' onmouseover='alert(1)",
  '` onfocus=`alert(1)',
  '</script><script>alert(1)</script>',
  '<!--<script>',
  ']]><svg/onload=alert(1)>',
  '&lt;script&gt;',
  'javascript:alert(1)',
];

describe('html', () => {
  it.each(CORPUS)('keeps %j as text in content and in a quoted attribute', (text) => {
    const source = html`<p title="${text}">${text}</p>`.source;
    const inside = source.slice('<p title="'.length, -'</p>'.length);
    const [attribute, content] = inside.split('">') as [string, string];
    for (const part of [attribute, content]) expect(part).not.toMatch(/[<>"'`]/);
    expect(part(attribute)).toBe(text);
    expect(part(content)).toBe(text);
  });

  it('escapes every string, whatever it holds, and never makes a tag', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(escapeHtml(text)).not.toMatch(/[<>"'`]|&(?!(?:amp|lt|gt|quot|#39|#96);)/);
      }),
    );
  });

  it('draws nothing for null, undefined and booleans, joins arrays, and leaves its own markup alone', () => {
    expect(html`a${null}${undefined}${true}${false}b`.source).toBe('ab');
    expect(html`${[html`<b>${'<'}</b>`, 1, ['&']]}`.source).toBe('<b>&lt;</b>1&amp;');
    expect(html`${markup('<i>')}`.source).toBe('<i>');
  });

  it('shows control characters instead of sending them', () => {
    expect(html`${'a\u001b]8;;http://x\u0007b\u202ec\u009bd\u200de\u2028f\ud800g'}`.source).toBe(
      'a⟨U+001B⟩]8;;http://x⟨U+0007⟩b⟨U+202E⟩c⟨U+009B⟩d⟨U+200D⟩e⟨U+2028⟩f⟨U+D800⟩g',
    );
  });

  it('keeps line breaks of logs and shows carriage returns that would overwrite a line', () => {
    expect(multiline('a\r\nb\tc\rd').source).toBe('a\nb\tc⟨U+000D⟩d');
    expect(multiline('\nfirst').source).toBe('\n\nfirst');
  });
});

describe('clip', () => {
  it('says how much is missing and never splits a pair', () => {
    expect(clip('abc', 3)).toBe('abc');
    expect(clip('abcdef', 4)).toBe('abcd… (2 more characters)');
    expect(clip('a😀b', 2)).toBe('a… (3 more characters)');
  });
});

describe('scriptJson', () => {
  it('cannot end or change its script element, and reads back the same', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(...CORPUS, '\u2028\u2029'), (value, hostile) => {
        const data = { value, hostile };
        const source = scriptJson(data).source;
        expect(source).not.toMatch(/[<>&\u2028\u2029]/);
        expect(JSON.parse(source)).toEqual(JSON.parse(JSON.stringify(data)));
      }),
    );
  });
});

describe('identifier', () => {
  it('holds only letters that are safe in ids and fragments, and keeps different texts apart', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(identifier(text)).toMatch(/^[A-Za-z0-9_.-]*$/);
      }),
    );
    expect(identifier('exp_014')).toBe('exp_014');
    expect(identifier('a b')).not.toBe(identifier('a"b'));
  });
});

/** Entities back to text, as a browser reads them. */
function part(source: string): string {
  const entities: Record<string, string> = { lt: '<', gt: '>', quot: '"', '#39': "'", '#96': '`', amp: '&' };
  return source.replace(/&(\w+|#\d+);/g, (_, name: string) => entities[name] ?? '?');
}
