/** What a shell gives a meaning to outside of quotes, and within double ones. */
const NEEDS_SHELL = /[;&|<>()$`\\*?[\]!{}\n\r\0]/;
const NEEDS_SHELL_QUOTED = /[$`\\!\0]/;

/**
 * The words of a command line that means the same with and without a shell, or null: quotes are taken off, and whatever a
 * shell would expand, redirect, chain or run besides is not understood.
 */
export function splitPlainCommand(text: string): string[] | null {
  const words: string[] = [];
  let word: string | null = null;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at] as string;
    if (character === ' ' || character === '\t') {
      if (word !== null) words.push(word);
      word = null;
    } else if (character === "'" || character === '"') {
      const end = text.indexOf(character, at + 1);
      const inside = text.slice(at + 1, end);
      if (end < 0 || (character === '"' && NEEDS_SHELL_QUOTED.test(inside))) return null;
      word = (word ?? '') + inside;
      at = end;
    } else if (NEEDS_SHELL.test(character) || (word === null && /[~#]/.test(character))) return null;
    else word = (word ?? '') + character;
  }
  if (word !== null) words.push(word);
  // `NAME=value program` sets a variable; it does not run a program of that name.
  const [first] = words;
  return first === undefined || first === '' || first.includes('=') ? null : words;
}

/** Read while everybody else waits. */
const MAX_SCRIPT_LENGTH = 16_384;

/** Words behind which a shell expects a command. */
const RESERVED = new Set([
  'if',
  'then',
  'elif',
  'else',
  'while',
  'until',
  'do',
  '{',
  '!',
  'time',
  'fi',
  'done',
  '}',
  'esac',
]);

/**
 * The commands that a shell script would run, each as its words as far as they are written out, or null where the script
 * hides what it runs: a variable or a substitution in the place of a command, a function, a here-document, sheer length.
 * For lists of what is blocked only: a word that cannot be known stays as it is written.
 */
export function commandsOfScript(script: string): string[][] | null {
  if (script.length > MAX_SCRIPT_LENGTH) return null;
  const commands: string[][] = [];
  let words: string[] = [];
  let word: string | null = null;
  let isHidden = false;
  const endWord = (): boolean => {
    if (word === null) return true;
    if (words.length === 0 && RESERVED.has(word)) {
      word = null;
      isHidden = false;
      return true;
    }
    if (words.length === 0 && /^[A-Za-z_]\w*\+?=/.test(word)) {
      word = null;
      isHidden = false;
      return true;
    }
    if (words.length === 0 && isHidden) return false;
    words.push(word);
    word = null;
    isHidden = false;
    return true;
  };
  const endCommand = (): boolean => {
    if (!endWord()) return false;
    if (words.length > 0) commands.push(words);
    words = [];
    return true;
  };
  for (let at = 0; at < script.length; at += 1) {
    const character = script[at] as string;
    const next = script[at + 1];
    if (character === '`' || (character === '$' && next === '(')) return null;
    if (character === '\\') {
      at += 1;
      if (next !== '\n') word = (word ?? '') + (next ?? '');
    } else if (character === "'") {
      const end = script.indexOf("'", at + 1);
      if (end < 0) return null;
      word = (word ?? '') + script.slice(at + 1, end);
      at = end;
    } else if (character === '"') {
      const end = closingQuote(script, at + 1);
      if (end < 0) return null;
      const inside = script.slice(at + 1, end);
      if (/`|\$\(/.test(inside)) return null;
      if (inside.includes('$')) isHidden = true;
      word = (word ?? '') + inside.replace(/\\(["\\$`])/g, '$1');
      at = end;
    } else if (character === '$' || character === '*' || character === '?' || character === '[') {
      isHidden = true;
      word = (word ?? '') + character;
    } else if (character === '#' && word === null) {
      const end = script.indexOf('\n', at);
      at = end < 0 ? script.length : end - 1;
    } else if (character === '(') {
      // A word before it makes this the definition of a function.
      if (word !== null || !endCommand()) return null;
    } else if (character === '<' && (next === '<' || next === '(')) return null;
    else if (character === '>' && next === '(') return null;
    else if (character === '<' || character === '>') {
      if (word !== null && /^\d+$/.test(word)) word = null;
      const target = /^(?:>>|>\||>&|<&|<>|>|<)[ \t]*/.exec(script.slice(at))?.[0] ?? character;
      if (!endWord()) return null;
      at += target.length - 1;
      // Where output goes is no argument.
      const file = /^[^ \t\n;&|<>()]*/.exec(script.slice(at + 1))?.[0] ?? '';
      if (/[`]|\$\(/.test(file)) return null;
      at += file.length;
    } else if (/[;&|)\n\r]/.test(character)) {
      if (!endCommand()) return null;
    } else if (character === ' ' || character === '\t') {
      if (!endWord()) return null;
    } else word = (word ?? '') + character;
  }
  return endCommand() ? commands : null;
}

function closingQuote(script: string, from: number): number {
  for (let at = from; at < script.length; at += 1) {
    if (script[at] === '\\') at += 1;
    else if (script[at] === '"') return at;
  }
  return -1;
}
