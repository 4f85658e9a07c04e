/**
 * Text made by agents, worlds or files may try to drive the operator's terminal: colours, cursor moves, clipboard and title
 * sequences, 8-bit controls, bidirectional overrides. Everything that is not plain text is made visible instead.
 */
const UNSAFE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]|[\ud800-\udfff]/gu;

/** Keeps line feeds and tabs; everything else that could act on a terminal becomes `\x1b`, `\u{202e}` … */
export function escapeText(text: string): string {
  return text.replace(UNSAFE, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
  });
}

/** For a name or message inside one line: line feeds and tabs are made visible too. */
export function escapeLine(text: string): string {
  return escapeText(text).replaceAll('\n', '\\n').replaceAll('\t', '\\t');
}
