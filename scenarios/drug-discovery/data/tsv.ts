import { CloveError } from '../../../errors/index.ts';

export interface TsvRow {
  /** 1-based line on which the row starts, for messages. */
  readonly line: number;
  readonly fields: readonly string[];
}

/**
 * Tab-separated values, LF or CRLF, a field optionally in double quotes, as Dataverse delivers tables. A quoted field may hold tabs and
 * line ends; a quote inside it is doubled or, as Dataverse writes it, follows a backslash (a backslash before anything else,
 * as in SMILES, is itself). Blank lines are left out. Throws DATA_CORRUPT, naming the line, when quotes do not match.
 */
export function parseTsv(text: string): TsvRow[] {
  const rows: TsvRow[] = [];
  let fields: string[] = [];
  let line = 1;
  let rowLine = 1;
  let position = text.charCodeAt(0) === 0xfeff ? 1 : 0;
  while (position < text.length) {
    const quoted = text[position] === '"';
    const end = quoted ? closingQuote(text, position, line) : endOfField(text, position);
    let field = text.slice(quoted ? position + 1 : position, end);
    if (quoted) {
      line += field.split('\n').length - 1;
      field = field.replaceAll(/\\"|""/g, '"');
    }
    fields.push(field);
    position = quoted ? end + 1 : end;
    if (text[position] === '\t') {
      position++;
      // A tab before the end of the text opens one more, empty, field.
      if (position === text.length) fields.push('');
      else continue;
    }
    position += text[position] === '\r' ? 2 : 1;
    line++;
    if (fields.length > 1 || field !== '') rows.push({ line: rowLine, fields });
    fields = [];
    rowLine = line;
  }
  return rows;
}

function endsField(text: string, position: number): boolean {
  const next = text[position];
  return (
    next === undefined || next === '\t' || next === '\n' || (next === '\r' && text[position + 1] === '\n')
  );
}

function endOfField(text: string, start: number): number {
  let end = start;
  while (!endsField(text, end)) end++;
  return end;
}

function closingQuote(text: string, start: number, line: number): number {
  let quote = text.indexOf('"', start + 1);
  while (quote !== -1) {
    if (endsField(text, quote + 1)) return quote;
    const doubled = text[quote + 1] === '"';
    if (text[quote - 1] !== '\\' && !doubled)
      throw new CloveError('DATA_CORRUPT', `line ${line}: text after a closing quote`);
    quote = text.indexOf('"', quote + (text[quote - 1] !== '\\' && doubled ? 2 : 1));
  }
  throw new CloveError('DATA_CORRUPT', `line ${line}: a quoted field is never closed`);
}
