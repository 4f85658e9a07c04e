import { CloveError } from '../../../errors/index.ts';

export interface TsvRow {
  /** 1-based line on which the row starts, for messages. */
  readonly line: number;
  readonly fields: readonly string[];
}

/**
 * Tab-separated values with optional double quotes around a field, a doubled quote inside meaning one quote, and LF or
 * CRLF ends: the form in which Dataverse delivers tables. A quoted field may hold tabs and line ends.
 * Blank lines are left out. Throws DATA_CORRUPT, with the line, on an open quote or on text after a closing quote.
 */
export function parseTsv(text: string): TsvRow[] {
  const rows: TsvRow[] = [];
  let fields: string[] = [];
  let line = 1;
  let rowLine = 1;
  let position = text.charCodeAt(0) === 0xfeff ? 1 : 0;
  const endRow = (): void => {
    if (fields.length > 1 || fields[0] !== '') rows.push({ line: rowLine, fields });
    fields = [];
    rowLine = line;
  };
  while (position < text.length) {
    let field: string;
    if (text[position] === '"') {
      const start = position + 1;
      let end = text.indexOf('"', start);
      while (end !== -1 && text[end + 1] === '"') end = text.indexOf('"', end + 2);
      if (end === -1) throw new CloveError('DATA_CORRUPT', `line ${line}: a quoted field is never closed`);
      field = text.slice(start, end).replaceAll('""', '"');
      for (let at = text.indexOf('\n', start); at !== -1 && at < end; at = text.indexOf('\n', at + 1)) line++;
      position = end + 1;
    } else {
      let end = position;
      while (end < text.length && text[end] !== '\t' && text[end] !== '\n') end++;
      field = text.slice(position, end);
      if (field.endsWith('\r') && text[end] !== '\t') field = field.slice(0, -1);
      position = end;
    }
    fields.push(field);
    if (text[position] === '\r' && text[position + 1] === '\n') position++;
    const separator = text[position];
    if (separator === '\t') {
      position++;
      // A tab at the very end still opens one more, empty, field.
      if (position === text.length) fields.push('');
    } else if (separator === '\n' || separator === undefined) {
      position++;
      line++;
      endRow();
    } else {
      throw new CloveError('DATA_CORRUPT', `line ${line}: text after a closing quote`);
    }
  }
  if (fields.length > 0) endRow();
  return rows;
}
