import { clip, visibleLine, visibleLines } from './visible.ts';

const LINE_LIMIT = 1000;

/** Untrusted text inside a Markdown paragraph, list item or table cell: shown literally by CommonMark and GFM. */
export function escapeMarkdown(text: string): string {
  return (
    visibleLine(clip(text, LINE_LIMIT))
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('>', '&gt;')
      .replace(/[\\`*[\]|~$]/g, '\\$&')
      // Inside a word an underscore is only an underscore.
      .replace(/(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])/g, '\\_')
      // GFM links bare addresses by itself; a broken prefix stays text.
      .replace(/:(?=\/\/)/g, '\\:')
      .replace(/\b(www|mailto|xmpp)([.:])/gi, '$1\\$2')
      .replace(/@(?=\w)/g, '&#64;')
      .replace(/^(\s*)([-+=#])/, '$1\\$2')
      .replace(/^(\s*\d+)([.)])(?=\s|$)/, '$1\\$2')
  );
}

/** Untrusted text as a code block; the fence is longer than any run of backticks inside. */
export function codeBlock(text: string, language = ''): string {
  const body = visibleLines(text);
  const longest = Math.max(0, ...(body.match(/`+/g) ?? []).map((run) => run.length));
  const fence = '`'.repeat(Math.max(3, longest + 1));
  return `${fence}${language}\n${body}\n${fence}`;
}

export type Alignment = 'left' | 'right';
export interface MarkdownColumn {
  readonly title: string;
  readonly align?: Alignment;
}

/** A GFM table; titles and cells are escaped here. */
export function table(columns: readonly MarkdownColumn[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [
    line(columns.map((column) => escapeMarkdown(column.title))),
    line(columns.map((column) => (column.align === 'right' ? '---:' : '---'))),
    ...rows.map((row) => line(row.map(escapeMarkdown))),
  ].join('\n');
}
