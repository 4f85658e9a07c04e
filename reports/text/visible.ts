/**
 * What agents, data and logs hand us may hold characters that a reader cannot see or that reorder what he sees
 * (escape sequences, NUL, bidirectional overrides, zero-width joiners). Reports show them instead of obeying them.
 */

const NAMED: Readonly<Record<string, string>> = { '\n': '↵', '\t': '⇥' };

// Cc: controls. Cf: bidi, zero-width, tags. Zl/Zp: U+2028/9. Cs: unpaired surrogates. Co/Cn stay: they draw as a box.
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

// Code points in full: fonts rarely have the control pictures of U+2400.
function picture(character: string): string {
  const codePoint = character.codePointAt(0) ?? 0xfffd;
  return NAMED[character] ?? `⟨U+${codePoint.toString(16).toUpperCase().padStart(4, '0')}⟩`;
}

/** One line: every control, format and separator character is drawn as a visible symbol, line breaks included. */
export function visibleLine(text: string): string {
  return text.replace(INVISIBLE, picture);
}

/** Several lines: as visibleLine, but \n and \t keep their meaning and \r\n counts as \n. */
export function visibleLines(text: string): string {
  return text
    .replaceAll('\r\n', '\n')
    .replace(INVISIBLE, (character) =>
      character === '\n' || character === '\t' ? character : picture(character),
    );
}

/** Text cut to a length that a reader can take in, saying how much is missing. Lone halves of a pair are never left. */
export function clip(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const head = text.slice(0, limit).replace(/[\ud800-\udbff]$/, '');
  return `${head}… (${text.length - head.length} more characters)`;
}
