/**
 * A value that is JSON text already: it goes out as it is, unread. For what callers leave with the kernel (messages, state,
 * events), which may be large and is nobody's business; its members keep the order they were given in.
 */
export class JsonText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/**
 * Plain data as compact JSON with object keys in ascending order, nested ones too: what existing clients are used to, and
 * the same bytes for the same content, which recordings and tests rest on. Members that are undefined are left out.
 */
export function toSortedJson(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value);
    case 'number':
      return Number.isFinite(value) ? String(value) : 'null';
    case 'boolean':
      return value ? 'true' : 'false';
    case 'undefined':
      return 'null';
    case 'object':
      if (value === null) return 'null';
      if (value instanceof JsonText) return value.text;
      return Array.isArray(value) ? arrayToJson(value) : objectToJson(value as Record<string, unknown>);
    default:
      throw new TypeError(`cannot be written as JSON: ${typeof value}`);
  }
}

function arrayToJson(items: readonly unknown[]): string {
  if (items.length === 0) return '[]';
  let text = '';
  for (const item of items) text += `,${toSortedJson(item)}`;
  return `[${text.slice(1)}]`;
}

function objectToJson(object: Record<string, unknown>): string {
  const keys = Object.keys(object);
  if (!isAscending(keys)) keys.sort();
  let text = '';
  for (const key of keys) {
    const member = object[key];
    if (member !== undefined) text += `,${JSON.stringify(key)}:${toSortedJson(member)}`;
  }
  return text === '' ? '{}' : `{${text.slice(1)}}`;
}

function isAscending(keys: readonly string[]): boolean {
  for (let index = 1; index < keys.length; index += 1) {
    if ((keys[index - 1] as string) > (keys[index] as string)) return false;
  }
  return true;
}
