import { SecretNames } from './secret-names.ts';

export const REDACTED = '[redacted]';

/** Shorter ones would be found in the middle of ordinary words. */
const MIN_LEARNED_LENGTH = 6;
const MAX_LEARNED = 4096;
/** Keys seen in calls and remembered; each is looked for in everything after it, and agents make as many as they like. */
const MAX_SEEN = 64;
/**
 * What agents call a secret is taken out elsewhere, too, but only where it looks like a key: nobody hides a command, a path or
 * a host behind it.
 */
const LOOKS_LIKE_KEY = /^(?=[^0-9]*[0-9])(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9_+=-]{12,4096}$/;
/** JSON in a string in JSON. */
const MAX_NESTING = 4;

/** Members that tell what a sibling holds: `{ "key": "api_token", "value": "…" }`. */
const LABELS = ['key', 'name', 'header', 'path'];
const LABELLED: ReadonlySet<string> = new Set(['value', 'content']);

/** Secrets by their looks. Every expression is bounded or without backtracking. */
const SHAPES: readonly [RegExp, string][] = [
  [/-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,40}-----|$)/g, REDACTED],
  [/\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}/g, REDACTED],
  [/\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}/g, REDACTED],
  [/\bgh[pousr]_[A-Za-z0-9]{20,}/g, REDACTED],
  [/\bgithub_pat_[A-Za-z0-9_]{20,}/g, REDACTED],
  [/\b(?:glpat|xox[abeprs])-[A-Za-z0-9-]{10,}/g, REDACTED],
  [/\b(?:npm|hf)_[A-Za-z0-9]{20,}/g, REDACTED],
  [/\b(?:AKIA|ASIA)[0-9A-Z]{16}\b/g, REDACTED],
  [/\bAIza[0-9A-Za-z_-]{30,}/g, REDACTED],
  [/\b(Bearer\s{1,4})(?=[^\s"']{0,200}\d)[A-Za-z0-9._~+/=-]{8,}/gi, `$1${REDACTED}`],
  [/\b([a-z][a-z0-9+.-]{1,20}:\/\/)[^\s/@:"']{0,256}:[^\s/@"']{1,256}@/gi, `$1${REDACTED}@`],
];

/** `name: value`, `name=value`, `"name": "value"` in running text. */
const ASSIGNMENT =
  /(?<![\w.-])(["']?)([\w.-]{1,128})\1(\s{0,4}[:=]\s{0,4})("(?:[^"\\\n]|\\.){3,4096}"|'[^'\n]{3,4096}'|[^\s"',;&)}\]]{3,4096}\]?)/g;
/** `--name value` in a command line. */
const OPTION =
  /(?<![\w-])(--?([A-Za-z][\w-]{0,63})\s{1,4})(?!-)("[^"\n]{1,4096}"|'[^'\n]{1,4096}'|[^\s"';&|]{3,4096})/g;
/** Headers whose value goes on after a space. */
const HEADER = /\b((?:proxy-)?authorization|(?:set-)?cookie)(\s{0,4}[:=]\s{0,4})[^\r\n"']{1,4096}/gi;

export interface Redaction {
  readonly text: string;
  /** Without what only this recording has learned: the same for the same call in a recording and in its replay. */
  readonly base: string;
  /** How many values were taken out. */
  readonly count: number;
}

/**
 * Takes secrets out of requests and answers before anything is kept of them: members, variables and headers by their names,
 * values by their looks, and values that were named as secrets once, wherever else they turn up. Redacting twice is the same
 * as once: what a replayed agent says, which was given redacted text, is redacted to the same.
 */
export class Redactor {
  readonly #names: SecretNames;
  /** Values of variables: a replayed agent has none of them. */
  readonly #variables = new Set<string>();
  /** What operators named, and keys that were seen under a secret name. */
  readonly #learned = new Set<string>();
  #seen: string[] = [];
  #seenCount = 0;
  #count = 0;

  constructor(names: readonly string[] = []) {
    this.#names = new SecretNames(names);
  }

  /** A value that is a secret wherever it stands. */
  learn(secret: string): void {
    if (secret.length < MIN_LEARNED_LENGTH || secret === REDACTED || this.#learned.size >= MAX_LEARNED)
      return;
    for (const form of formsOf(secret)) this.#learned.add(form);
  }

  /** Learns the values of secret variables. */
  learnEnvironment(env: Readonly<Record<string, string>>): void {
    for (const [name, value] of Object.entries(env)) {
      if (!this.#names.has(name) || value.length < MIN_LEARNED_LENGTH || value === REDACTED) continue;
      if (this.#variables.size < MAX_LEARNED) for (const form of formsOf(value)) this.#variables.add(form);
    }
  }

  /** @param labels a request whose `key`, `name` or `path` may say that the answer holds a secret */
  redact(text: string, labels?: unknown): Redaction {
    this.#count = 0;
    const base = this.#text(text, 0, isLabelled(labels, this.#names));
    for (const secret of this.#seen) {
      if (this.#learned.has(secret) || this.#seenCount >= MAX_SEEN) continue;
      this.#seenCount += 1;
      this.learn(secret);
    }
    this.#seen = [];
    return { text: this.#scrub(base), base, count: this.#count };
  }

  /** A plain JSON value in place of text. */
  redactValue<Value>(value: Value): { readonly value: Value; readonly count: number } {
    const { text, count } = this.redact(JSON.stringify(value));
    return { value: JSON.parse(text) as Value, count };
  }

  /** Takes out what was learned; inside of JSON only in its strings, so that it stays JSON. */
  #scrub(text: string): string {
    const secrets = [...this.#learned];
    if (!secrets.some((secret) => text.includes(secret))) return text;
    this.#count += 1;
    const clean = (part: string) => secrets.reduce((rest, secret) => rest.replaceAll(secret, REDACTED), part);
    try {
      return JSON.stringify(mapStrings(JSON.parse(text), clean));
    } catch {
      return clean(text);
    }
  }

  #text(text: string, nesting: number, labelled: boolean): string {
    const first = text.trimStart()[0];
    if (nesting < MAX_NESTING && (first === '{' || first === '[' || (nesting === 0 && first === '"'))) {
      let value: unknown;
      try {
        value = JSON.parse(text);
      } catch {
        return this.#plain(text);
      }
      const before = this.#count;
      const walked = this.#walk(value, nesting + 1, labelled);
      // Untouched text stays as it was written.
      return this.#count === before ? text : JSON.stringify(walked);
    }
    return this.#plain(text);
  }

  #walk(value: unknown, nesting: number, labelled: boolean): unknown {
    if (typeof value === 'string') return this.#text(value, nesting, false);
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) {
      return value.map((item, index) =>
        this.#isOptionValue(value[index - 1], item) ? this.#takeOut(item) : this.#walk(item, nesting, false),
      );
    }
    const carries = labelled || isLabelled(value, this.#names);
    return Object.fromEntries(
      Object.entries(value).map(([name, member]) => [
        this.#plain(name),
        this.#member(name, member, nesting, carries),
      ]),
    );
  }

  #member(name: string, member: unknown, nesting: number, carries: boolean): unknown {
    const secret = this.#names.has(name) || (carries && LABELLED.has(name));
    const isNothing = member === null || member === '' || member === undefined || typeof member === 'boolean';
    if (!secret || isNothing) return this.#walk(member, nesting, false);
    return this.#takeOut(member);
  }

  #takeOut(secret: unknown): string {
    if (secret !== REDACTED) this.#count += 1;
    if (typeof secret === 'string' && LOOKS_LIKE_KEY.test(secret)) this.#seen.push(secret);
    return REDACTED;
  }

  /** `--password`, and then the password. */
  #isOptionValue(before: unknown, item: unknown): boolean {
    if (typeof before !== 'string' || typeof item !== 'string' || item === '') return false;
    return /^--?[A-Za-z][\w-]{0,63}$/.test(before) && this.#names.has(before);
  }

  /** Text that is no JSON. */
  #plain(text: string): string {
    let result = text;
    for (const secret of this.#variables) {
      if (result.includes(secret)) {
        result = result.replaceAll(secret, REDACTED);
        this.#count += 1;
      }
    }
    if (result.length < MIN_LEARNED_LENGTH) return result;
    for (const [shape, replacement] of SHAPES) result = this.#replace(result, shape, replacement);
    result = this.#replace(result, HEADER, `$1$2${REDACTED}`);
    return this.#assignments(result);
  }

  #replace(text: string, shape: RegExp, replacement: string): string {
    const replaced = text.replace(shape, replacement);
    if (replaced !== text) this.#count += 1;
    return replaced;
  }

  #assignments(text: string): string {
    const replaced = text.replace(ASSIGNMENT, (whole, quote, name, sign, value) => {
      if (!this.#names.has(name)) return whole;
      const mark = value[0] === '"' || value[0] === "'" ? value[0] : '';
      return `${quote}${name}${quote}${sign}${mark}${REDACTED}${mark}`;
    });
    const result = replaced.replace(OPTION, (whole, option, name) =>
      this.#names.has(name) ? `${option}${REDACTED}` : whole,
    );
    if (result !== text) this.#count += 1;
    return result;
  }
}

function isLabelled(value: unknown, names: SecretNames): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const members = value as Record<string, unknown>;
  return LABELS.some((label) => {
    const text = Object.hasOwn(members, label) ? members[label] : undefined;
    return typeof text === 'string' && names.has(text);
  });
}

/** As it is, as JSON in JSON writes it, and as URLs do. */
function formsOf(secret: string): string[] {
  return [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret.toWellFormed())];
}

function mapStrings(value: unknown, map: (text: string) => string): unknown {
  if (typeof value === 'string') return map(value);
  if (typeof value === 'number') return map(String(value)) === String(value) ? value : REDACTED;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => mapStrings(item, map));
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [map(name), mapStrings(member, map)]),
  );
}
