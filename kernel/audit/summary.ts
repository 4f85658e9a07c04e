import { canonicalJson, canonicalString } from './canonical.ts';

/** Canonical JSON of one request's summary. */
export const MAX_DETAIL_CHARS = 4096;
const MAX_STRING_CHARS = 256;
const MAX_ITEMS = 16;
const MAX_DEPTH = 4;

const REDACTED = '[redacted]';
/** Names of members that hold secrets. */
const SECRET_NAME =
  /pass(?:word|wd|phrase)|^pwd$|secret|token$|^auth|authorization|cookie|credential|api[-_]?key|private[-_]?key|access[-_]?key|bearer|signature/i;
/** What a caller left with the kernel: its size is recorded, never its content. */
const CONTENT_NAME =
  /^(?:value|expected|message|content|data|body|stdin|code|prompt|system_instruction|messages|payload|recording(?:_data)?|snapshot)$/;
/** Secrets inside of text: options, headers, URLs with a user, keys of well-known forms. */
const SECRET_TEXT =
  /((?:pass(?:word|wd|phrase)?|secret|token|api[-_]?key|access[-_]?key|authorization)["']?\s*[=:]\s*["']?(?:bearer\s+|basic\s+)?)[^\s"'&,;]+|(\bbearer\s+)[\w.~+/-]{8,}=*|(\w:\/\/[^\s/:@]*:)[^\s/@]+(?=@)|\b(?:sk|pk|rk|ghp|gho|ghs|github_pat|glpat|xox[abpr])[-_][\w-]{12,}|\bAKIA[0-9A-Z]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/gi;
/** Cheap: whether the expression above is worth a try. */
const MAYBE_SECRET = /[=:@]|bearer|[-_]\w{12}|AKIA|-----/i;

/** The text without what looks like a secret in it. */
export function redactText(text: string): string {
  if (!MAYBE_SECRET.test(text)) return text;
  return text.replace(
    SECRET_TEXT,
    (_match, option = '', bearer = '', url = '') => `${option}${bearer}${url}${REDACTED}`,
  );
}

/** Redacted and of bounded length; what was cut off is counted. */
export function boundText(text: string, maxChars = MAX_STRING_CHARS): string {
  // Before it is cut, or half of a secret would not be recognised. What is much longer is cut first: time is bounded, too.
  const whole = redactText(text.length > 16 * maxChars ? text.slice(0, 16 * maxChars) : text);
  if (text.length <= maxChars && whole.length <= maxChars) return whole;
  return `${whole.slice(0, maxChars)}…(${text.length} characters)`;
}

/** A request as its record tells it: who asked for what, without contents and secrets. Canonical JSON of bounded length. */
export function summarise(input: unknown): string {
  if (input === undefined || input === null) return '{}';
  if (typeof input !== 'object') return `{"input":${scalar(input)}}`;
  const text = summariseObject(input as Record<string, unknown>, 0);
  if (text.length <= MAX_DETAIL_CHARS) return text;
  return canonicalJson({
    fields: Object.keys(input)
      .slice(0, MAX_ITEMS)
      .map((name) => boundText(name, 64)),
    omitted: 'too large',
    size: text.length,
  });
}

function summariseObject(object: Readonly<Record<string, unknown>>, depth: number): string {
  const keys = Object.keys(object);
  const shown = keys.length > MAX_ITEMS ? keys.slice(0, MAX_ITEMS) : keys;
  const members: [string, string][] = [];
  for (const key of shown) {
    const value = object[key];
    if (value !== undefined) members.push([boundText(key, 64), summariseMember(key, value, depth)]);
  }
  if (keys.length > shown.length) members.push(['...', String(keys.length - shown.length)]);
  members.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  let text = '';
  let previous: string | null = null;
  for (const [key, value] of members) {
    // Two long names may have become one.
    if (key !== previous) text += `${text === '' ? '' : ','}${canonicalString(key)}:${value}`;
    previous = key;
  }
  return `{${text}}`;
}

function summariseMember(name: string, value: unknown, depth: number): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'number') return scalar(value);
  if (SECRET_NAME.test(name)) return `"${REDACTED}"`;
  if (CONTENT_NAME.test(name)) return `{"omitted":"content","size":${sizeOf(value)}}`;
  // Variables of an environment are as often secrets as not: their names say what was set.
  if (name === 'env' && typeof value === 'object' && !Array.isArray(value))
    return canonicalJson(
      Object.keys(value)
        .slice(0, MAX_ITEMS)
        .map((key) => boundText(key, 64)),
    );
  return summariseValue(value, depth + 1);
}

function summariseValue(value: unknown, depth: number): string {
  if (typeof value !== 'object' || value === null) return scalar(value);
  if (depth >= MAX_DEPTH) return '"..."';
  if (!Array.isArray(value)) return summariseObject(value as Record<string, unknown>, depth);
  const items = value.slice(0, MAX_ITEMS).map((item, index) => {
    // `--password hunter2`: the secret is the next argument.
    const before: unknown = value[index - 1];
    if (
      typeof item === 'string' &&
      typeof before === 'string' &&
      /^--?[\w-]+$/.test(before) &&
      SECRET_NAME.test(before.replace(/^-+/, ''))
    )
      return `"${REDACTED}"`;
    return summariseValue(item, depth + 1);
  });
  if (value.length > MAX_ITEMS) items.push(canonicalString(`…(${value.length} items)`));
  return `[${items.join(',')}]`;
}

function scalar(value: unknown): string {
  return typeof value === 'string' ? canonicalString(boundText(value)) : canonicalJson(value);
}

/** Characters of a text, members of anything else: what can be told without walking through it. */
function sizeOf(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (typeof value === 'object' && value !== null) return Object.keys(value).length;
  return String(value).length;
}
