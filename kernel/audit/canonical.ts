const UNPRINTABLE = /[^\x20-\x7e]/;
const EACH_UNPRINTABLE = /[^\x20-\x7e]/g;

/**
 * A string as JSON in printable ASCII: everything else is an escape, control characters and lone surrogates too. One record is
 * one line wherever it is shown, and nothing in it acts on a terminal.
 */
export function canonicalString(text: string): string {
  const json = JSON.stringify(text);
  if (!UNPRINTABLE.test(json)) return json;
  return json.replace(EACH_UNPRINTABLE, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/**
 * The one text of a JSON value: object keys in ascending order of code units, no blanks, printable ASCII, numbers as
 * JavaScript writes them. Reading it and writing it again gives the same bytes. Members that are undefined are left out.
 */
export function canonicalJson(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return canonicalString(value);
    case 'number':
      return Number.isFinite(value) ? String(value) : 'null';
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object': {
      if (value === null) return 'null';
      if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
      const object = value as Readonly<Record<string, unknown>>;
      const members: string[] = [];
      for (const key of Object.keys(object).sort()) {
        const member = object[key];
        if (member !== undefined) members.push(`${canonicalString(key)}:${canonicalJson(member)}`);
      }
      return `{${members.join(',')}}`;
    }
    default:
      return 'null';
  }
}
