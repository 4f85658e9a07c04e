import { canonicalJson, canonicalString } from './canonical.ts';

/** Canonical JSON of one request's summary. */
export const MAX_DETAIL_CHARS = 4096;
export const MAX_STRING_CHARS = 256;
export const MAX_ITEMS = 16;
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

/** Up to this length a look at each character is cheaper than the expression. */
const GLANCED_CHARS = 128;

/** Cheaper still: whether there is any character that what looks like a secret begins with or turns on. */
function isHarmless(text: string): boolean {
  if (text.length > GLANCED_CHARS) return false;
  for (let at = 0; at < text.length; at += 1) {
    switch (text.charCodeAt(at) | 0x20) {
      case 0x60: // @
      case 0x3d: // =, in its own case and that of the bit
      case 0x3a: // :
      case 0x2d: // -
      case 0x7f: // _
        return false;
      case 0x62: // bearer
        if ((text.charCodeAt(at + 1) | 0x20) === 0x65) return false;
        break;
      case 0x6b: // akia
        if ((text.charCodeAt(at + 1) | 0x20) === 0x69) return false;
        break;
      default:
    }
  }
  return true;
}

/** The text without what looks like a secret in it. */
export function redactText(text: string): string {
  if (isHarmless(text) || !MAYBE_SECRET.test(text)) return text;
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

/** What a member's name says about it. */
export interface MemberName {
  readonly key: string;
  /** With its colon. */
  readonly json: string;
  readonly holds: 'secret' | 'content' | 'variables' | 'anything';
}

/** Names recur: those of the table of syscalls, before all. */
const KNOWN_NAMES = 1024;
const MAX_KNOWN_CHARS = 64;
const knownNames = new Map<string, MemberName>();

export function memberName(name: string): MemberName {
  const known = knownNames.get(name);
  if (known !== undefined) return known;
  const key = boundText(name, 64);
  const holds = SECRET_NAME.test(name)
    ? 'secret'
    : CONTENT_NAME.test(name)
      ? 'content'
      : name === 'env'
        ? 'variables'
        : 'anything';
  const made: MemberName = { key, json: `${canonicalString(key)}:`, holds };
  if (name.length <= MAX_KNOWN_CHARS) {
    if (knownNames.size >= KNOWN_NAMES) knownNames.clear();
    knownNames.set(name, made);
  }
  return made;
}

function summariseObject(object: Readonly<Record<string, unknown>>, depth: number): string {
  const keys = Object.keys(object);
  if (keys.length > MAX_ITEMS) return summariseLarge(object, keys, depth);
  let text = '';
  let previous: string | null = null;
  let isSorted = true;
  for (const name of keys) {
    const value = object[name];
    if (value === undefined) continue;
    const member = memberName(name);
    if (previous !== null && previous >= member.key) {
      isSorted = false;
      break;
    }
    text += (text === '' ? '' : ',') + member.json + summariseMember(member, value, depth);
    previous = member.key;
  }
  return isSorted ? `{${text}}` : summariseLarge(object, keys, depth);
}

/** Of many members, or of some in another order than that of their names. */
function summariseLarge(
  object: Readonly<Record<string, unknown>>,
  keys: readonly string[],
  depth: number,
): string {
  const members: [name: MemberName, value: string][] = [];
  for (const name of keys.slice(0, MAX_ITEMS)) {
    const value = object[name];
    const member = memberName(name);
    if (value !== undefined) members.push([member, summariseMember(member, value, depth)]);
  }
  if (keys.length > MAX_ITEMS) members.push([memberName('...'), String(keys.length - MAX_ITEMS)]);
  members.sort(([a], [b]) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  let text = '';
  let previous: string | null = null;
  for (const [{ key, json }, value] of members) {
    // Two long names may have become one.
    if (key !== previous) text += `${text === '' ? '' : ','}${json}${value}`;
    previous = key;
  }
  return `{${text}}`;
}

/** `depth` is that of the object that it is a member of. */
export function summariseMember({ holds }: MemberName, value: unknown, depth: number): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'number') return scalar(value);
  if (holds === 'secret') return `"${REDACTED}"`;
  if (holds === 'content') return `{"omitted":"content","size":${sizeOf(value)}}`;
  // Variables of an environment are as often secrets as not: their names say what was set.
  if (holds === 'variables' && typeof value === 'object' && !Array.isArray(value))
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
