import { type CallBytes, putAscii } from './call-bytes.ts';
import { canonicalString } from './canonical.ts';
import {
  boundText,
  MAX_DETAIL_CHARS,
  MAX_ITEMS,
  MAX_STRING_CHARS,
  type MemberName,
  memberName,
  summarise,
  summariseMember,
} from './summary.ts';

/** Where a request names what it is about, if the decision did not. The first that is there counts. */
const OBJECT_FIELDS = [
  'path',
  'url',
  'key',
  'name',
  'to_name',
  'to',
  'target',
  'id',
  'agent_id',
  'world_id',
  'script',
  'command',
];
const MAX_OBJECT_CHARS = 1024;
const NOT_PLAIN = -1;

/** Characters that say nothing but themselves, to JSON and to who looks for secrets; 2 = the first of a word that may begin one. */
const PLAIN = new Uint8Array(128).fill(1, 0x20, 0x7f);
for (const character of '"\\@=:-_') PLAIN[character.charCodeAt(0)] = 0;
for (const character of 'bBaA') PLAIN[character.charCodeAt(0)] = 2;

/** What is known of requests with members of these names in this order: those of one syscall are mostly alike. */
interface Shape {
  readonly names: readonly string[];
  /** In the order of their names in the record. */
  readonly members: readonly { readonly name: string; readonly known: MemberName }[];
  readonly objectFields: readonly string[];
}

/**
 * Writes what a record tells of a request as bytes: what `summarise` makes of it and what it is about, where the request is as plain as
 * most are without a text in between.
 */
export class SummaryWriter {
  /** By opcode. */
  readonly #shapes: (Shape | undefined)[] = [];

  putDetails(to: CallBytes, opcode: number, input: unknown): void {
    // What is written at once is bounded: a text that is not copied as it is may take up to six times its length.
    to.reserve(MAX_DETAIL_CHARS + 8 * MAX_STRING_CHARS);
    let end = NOT_PLAIN;
    if (typeof input === 'object' && input !== null && !Array.isArray(input)) {
      const shape = this.#shapeOf(opcode, input as Request);
      if (shape !== null) end = putMembers(to, shape, input as Request);
    }
    if (end === NOT_PLAIN) {
      const text = summarise(input);
      to.reserve(text.length);
      end = putAscii(to.bytes, to.end, text);
    }
    to.endDetails(end);
  }

  /** `named` is what the decision was about; '' = nothing in particular. */
  putObject(to: CallBytes, opcode: number, input: unknown, named: string): void {
    const text = named === '' ? this.#objectOf(opcode, input) : named;
    to.reserve(MAX_STRING_CHARS + 2);
    let end = putText(to.bytes, to.end, text);
    if (end === NOT_PLAIN) {
      const json = canonicalString(boundText(text, MAX_OBJECT_CHARS));
      to.reserve(json.length);
      end = putAscii(to.bytes, to.end, json);
    }
    to.endObject(end);
  }

  #objectOf(opcode: number, input: unknown): string {
    if (typeof input !== 'object' || input === null) return '';
    const shape = Array.isArray(input) ? null : this.#shapeOf(opcode, input as Request);
    for (const field of shape?.objectFields ?? OBJECT_FIELDS) {
      const value = (input as Request)[field];
      if (typeof value === 'string' && value !== '') return value;
      if (typeof value === 'number' && value !== 0) return String(value);
      if (Array.isArray(value) && typeof value[0] === 'string') return value[0];
    }
    return '';
  }

  /** null = its members are too many to be known. */
  #shapeOf(opcode: number, input: Request): Shape | null {
    const known = this.#shapes[opcode];
    if (known !== undefined && hasNames(input, known.names)) return known;
    const names = Object.keys(input);
    if (names.length > MAX_ITEMS) return null;
    const members = names
      .map((name) => ({ name, known: memberName(name) }))
      .sort((a, b) => (a.known.key < b.known.key ? -1 : 1));
    // Two long names may have become one.
    if (members.some(({ known: { key } }, at) => members[at + 1]?.known.key === key)) return null;
    const shape = { names, members, objectFields: OBJECT_FIELDS.filter((field) => names.includes(field)) };
    this.#shapes[opcode] = shape;
    return shape;
  }
}

type Request = Readonly<Record<string, unknown>>;

function hasNames(input: Request, names: readonly string[]): boolean {
  let count = 0;
  for (const name in input) {
    if (names[count] !== name) return false;
    count += 1;
  }
  return count === names.length;
}

function putMembers(to: CallBytes, { members }: Shape, input: Request): number {
  const { bytes, end: begin } = to;
  const most = begin + MAX_DETAIL_CHARS;
  let at = begin;
  bytes[at++] = 0x7b; // {
  for (let index = 0; index < members.length; index += 1) {
    const { name, known } = members[index] as Shape['members'][number];
    const value = input[name];
    if (value === undefined) continue;
    if (at > begin + 1) bytes[at++] = 0x2c; // ,
    at = putAscii(bytes, at, known.json);
    let end = NOT_PLAIN;
    if (typeof value === 'number') end = putNumber(bytes, at, value);
    else if (typeof value === 'string' && known.holds === 'anything') end = putText(bytes, at, value);
    if (end === NOT_PLAIN) {
      const text = summariseMember(known, value, 0);
      if (at + text.length >= most) return NOT_PLAIN;
      end = putAscii(bytes, at, text);
    }
    at = end;
    if (at >= most) return NOT_PLAIN;
  }
  bytes[at++] = 0x7d; // }
  return at;
}

/** As a JSON string; NOT_PLAIN where it has to be looked at more closely. Writes at most MAX_STRING_CHARS + 2. */
function putText(bytes: Uint8Array, from: number, text: string): number {
  const { length } = text;
  if (length > MAX_STRING_CHARS) return NOT_PLAIN;
  let at = from;
  bytes[at++] = 0x22; // "
  for (let index = 0; index < length; index += 1) {
    const unit = text.charCodeAt(index);
    const kind = unit < 128 ? PLAIN[unit] : 0;
    if (kind === 0 || (kind === 2 && mayBeginSecret(text, index))) return NOT_PLAIN;
    bytes[at++] = unit;
  }
  bytes[at++] = 0x22;
  return at;
}

/** "bearer" and "AKIA". */
function mayBeginSecret(text: string, at: number): boolean {
  const second = text.charCodeAt(at + 1) | 0x20;
  const third = text.charCodeAt(at + 2) | 0x20;
  return (second === 0x65 && third === 0x61) || (second === 0x6b && third === 0x69);
}

function putNumber(bytes: Uint8Array, from: number, value: number): number {
  if ((value | 0) !== value || value < 0 || Object.is(value, -0)) return NOT_PLAIN;
  let digits = 1;
  for (let rest = value; rest >= 10; rest = (rest / 10) | 0) digits += 1;
  let rest = value;
  for (let at = from + digits - 1; at >= from; at -= 1) {
    bytes[at] = 0x30 + (rest % 10);
    rest = (rest / 10) | 0;
  }
  return from + digits;
}
