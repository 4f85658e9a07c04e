const UNPRINTABLE = /[^\x20-\x7e]/;
const EACH_UNPRINTABLE = /[^\x20-\x7e]/g;

/** Up to this length a look at each character is cheaper than an encoder. */
const PLAIN_CHARS = 128;

function isPlain(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit < 0x20 || unit > 0x7e || unit === 0x22 || unit === 0x5c) return false;
  }
  return true;
}

/**
 * A string as JSON in printable ASCII: everything else is an escape, control characters and lone surrogates too. One record is
 * one line wherever it is shown, and nothing in it acts on a terminal.
 */
export function canonicalString(text: string): string {
  if (text.length <= PLAIN_CHARS && isPlain(text)) return `"${text}"`;
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
