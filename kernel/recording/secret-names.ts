const SECRET_WORDS: ReadonlySet<string> = new Set([
  'auth',
  'authorization',
  'cookie',
  'cookies',
  'credential',
  'credentials',
  'passwd',
  'password',
  'passwords',
  'passphrase',
  'pwd',
  'secret',
  'secrets',
  'token',
  'apikey',
]);
const SECRET_PAIRS: ReadonlySet<string> = new Set(
  ['api', 'access', 'auth', 'encryption', 'private', 'secret', 'session', 'signing'].map(
    (word) => `${word} key`,
  ),
);
/** Written in one word, such as PGPASSWORD or accesstoken. */
const SECRET_ENDINGS = ['password', 'passwd', 'passphrase', 'secret', 'token', 'apikey', 'privatekey'];
/** A number of tokens is no token. */
const HARMLESS_AFTER_TOKEN: ReadonlySet<string> = new Set([
  'count',
  'limit',
  'budget',
  'usage',
  'type',
  'id',
]);

const MAX_NAME_LENGTH = 256;
const MAX_REMEMBERED = 4096;

/** Says of names (members of JSON, variables, headers) whether what they stand for is a secret. */
export class SecretNames {
  readonly #patterns: readonly string[][];
  readonly #known = new Map<string, boolean>();

  /** Further names; `*` stands for any text. Case does not matter. */
  constructor(patterns: readonly string[] = []) {
    this.#patterns = patterns.map((pattern) => pattern.toLowerCase().split('*'));
  }

  has(name: string): boolean {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    // Names come from agents.
    if (this.#known.size >= MAX_REMEMBERED) this.#known.clear();
    const is = this.#decide(name.slice(0, MAX_NAME_LENGTH));
    if (name.length <= MAX_NAME_LENGTH) this.#known.set(name, is);
    return is;
  }

  #decide(name: string): boolean {
    const words = wordsOf(name);
    return (
      words.some((word, index) => isSecretWord(word, words[index + 1])) ||
      this.#patterns.some((parts) => matches(name.toLowerCase(), parts))
    );
  }
}

function isSecretWord(word: string, next: string | undefined): boolean {
  if (word === 'token' && next !== undefined && HARMLESS_AFTER_TOKEN.has(next)) return false;
  if (SECRET_WORDS.has(word) || SECRET_ENDINGS.some((ending) => word.endsWith(ending))) return true;
  return next !== undefined && SECRET_PAIRS.has(`${word} ${next}`);
}

/** "OPENAI_API_KEY", "apiKey" and "X-Api-Key" all hold the words api and key. */
function wordsOf(name: string): string[] {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .replace(/([A-Z])([A-Z][a-z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== '');
}

/** The parts between the stars, in order: no expression that could be made to run for ever. */
function matches(name: string, parts: readonly string[]): boolean {
  const first = parts[0] ?? '';
  if (parts.length === 1) return name === first;
  const last = parts.at(-1) ?? '';
  if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last))
    return false;
  let from = first.length;
  const end = name.length - last.length;
  for (const part of parts.slice(1, -1)) {
    const at = name.indexOf(part, from);
    if (at < 0 || at + part.length > end) return false;
    from = at + part.length;
  }
  return true;
}
