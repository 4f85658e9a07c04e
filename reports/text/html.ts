import { clip, visibleLine, visibleLines } from './visible.ts';

/** Markup that is safe to send as it is. Made only by `html`, `markup` and `join`. */
export class Html {
  readonly source: string;
  constructor(source: string) {
    this.source = source;
  }
  toString(): string {
    return this.source;
  }
}

export type HtmlValue = Html | string | number | boolean | null | undefined | readonly HtmlValue[];

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
  '`': '&#96;',
};

function escapeMarkup(text: string): string {
  return text.replace(/[&<>"'`]/g, (character) => ENTITIES[character] ?? character);
}

/** Longer than any honest name, message or address; a megabyte of text must not drown a page. */
const LINE_LIMIT = 4000;

/** Text for element content and for quoted attributes, on one line. */
export function escapeHtml(text: string): string {
  return escapeMarkup(visibleLine(clip(text, LINE_LIMIT)));
}

function render(value: HtmlValue): string {
  if (value instanceof Html) return value.source;
  if (value === null || value === undefined || value === false || value === true) return '';
  if (typeof value === 'number') return String(value);
  if (typeof value === 'string') return escapeHtml(value);
  let rendered = '';
  for (const item of value) rendered += render(item);
  return rendered;
}

/**
 * The only way markup is written in reports: everything interpolated is escaped unless it is `Html` already.
 * Attribute values must be quoted in the template. Booleans, null and undefined draw nothing; arrays are joined.
 */
export function html(strings: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  let source = strings[0] ?? '';
  for (let index = 0; index < values.length; index++) {
    source += render(values[index]) + (strings[index + 1] ?? '');
  }
  return new Html(source);
}

/** Untrusted text that keeps its line breaks; for <pre>. */
export function multiline(text: string): Html {
  // A leading newline directly after <pre> would be swallowed by the parser.
  const escaped = escapeMarkup(visibleLines(text));
  return new Html(escaped.startsWith('\n') ? `\n${escaped}` : escaped);
}

/** Markup from our own code or from a renderer that escapes (vega's SVG); never from data. */
export function markup(source: string): Html {
  return new Html(source);
}

/**
 * A value as JSON that can stand inside <script type="application/json">: no `<`, `>`, `&`, U+2028 or U+2029 survives,
 * so neither `</script>` nor `<!--` can end or change the block.
 */
export function scriptJson(value: unknown): Html {
  const json = JSON.stringify(value) ?? 'null';
  return new Html(
    json.replace(
      /[<>&\u2028\u2029]/g,
      (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
    ),
  );
}

/** An id or fragment from untrusted text: what is not [A-Za-z0-9_.-] becomes "_xx_" with its hexadecimal code. */
export function identifier(text: string): string {
  return text.replace(/[^A-Za-z0-9_.-]/gu, (c) => `_${(c.codePointAt(0) ?? 0).toString(16)}_`);
}
