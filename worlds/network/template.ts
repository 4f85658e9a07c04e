import { randomUUID } from 'node:crypto';
import { CloveError } from '../../errors/index.ts';
import type { PathParams } from './patterns.ts';

/** What `{{…}}` of a body, header or JSON value may name. */
export interface TemplateScope {
  readonly params: PathParams;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  /** Parsed JSON, or the fields of a form, or null. */
  readonly body: unknown;
  readonly text: string;
  readonly method: string;
  readonly url: string;
  readonly host: string;
  readonly path: string;
  readonly agent: string;
  /** Calls of this route so far, with this one. */
  readonly calls: number;
  /** ISO 8601, the world's time. */
  readonly now: string;
  readonly nowMs: number;
  /** Unique and repeatable: from the world's luck. */
  readonly uuid: string;
}

const PLACE = /\{\{\s*([\w.$-]+)\s*\}\}/g;
const ONLY_PLACE = /^\{\{\s*([\w.$-]+)\s*\}\}$/;

/** What the places of one answer may be filled with in all, in characters: a body put in many times over must not fill the memory. */
const ROOM = 64 * 2 ** 20;
/** Beside the scopes and not in them: no place can name it. */
const used = new WeakMap<TemplateScope, number>();

function charged(scope: TemplateScope, text: string): string {
  const total = (used.get(scope) ?? 0) + text.length;
  used.set(scope, total);
  if (total > ROOM)
    throw new CloveError('PAYLOAD_TOO_LARGE', 'the places of the answer are filled with too much');
  return text;
}

function lookUp(scope: TemplateScope, name: string): unknown {
  let value: unknown = scope;
  for (const key of name.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<string, unknown>)[key];
  }
  return value;
}

function asText(value: unknown): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** Text with its places filled; what is not there becomes nothing. */
export function fillText(text: string, scope: TemplateScope): string {
  return text.includes('{{')
    ? text.replace(PLACE, (_, name: string) => charged(scope, asText(lookUp(scope, name))))
    : text;
}

/** JSON with its places filled: a text that is one place alone takes the value with its type. */
export function fillJson(value: unknown, scope: TemplateScope): unknown {
  if (typeof value === 'string') {
    const only = ONLY_PLACE.exec(value)?.[1];
    if (only === undefined) return fillText(value, scope);
    const found = lookUp(scope, only) ?? null;
    charged(scope, asText(found));
    return found;
  }
  if (Array.isArray(value)) return value.map((item) => fillJson(item, scope));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [fillText(key, scope), fillJson(item, scope)]),
  );
}

/** A UUID of version 4 from 128 drawn bits; without luck, a random one. */
export function uuidFrom(words: readonly number[] | null): string {
  if (words === null) return randomUUID();
  const hex = words.map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
  const variant = ((Number.parseInt(hex[16] as string, 16) & 3) | 8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
