import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RawClient, textOf } from '../kernel/wire/testing.ts';
import { shouldPass } from './fuzz/json-oracle.ts';
import type { WireServer } from './types.ts';
import { createWireServer } from './wire.ts';

/** Any opcode whose payload is JSON. */
const OPCODE = 0x30;

let folder: string;
let server: WireServer;
let client: RawClient;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-guard-'));
  server = createWireServer({
    onOpen() {},
    onRequests(requests) {
      for (const { connection, sequence, opcode, payload, refused } of requests) {
        server.respond(connection, sequence, opcode, JSON.stringify({ payload, refused }));
      }
    },
    onClose() {},
  });
  const listenOptions = {
    principal: 0,
    mode: 0o600,
    uid: null,
    gid: null,
    allowUids: null,
    maxConnections: 1,
  };
  server.listen(path.join(folder, 'guard.sock'), listenOptions);
  client = await RawClient.connect(path.join(folder, 'guard.sock'));
});

afterAll(async () => {
  await client.close();
  server.close();
  rmSync(folder, { recursive: true });
});

interface Verdict {
  readonly payload: string;
  readonly refused: string | null;
}

async function guard(payload: string | Uint8Array): Promise<Verdict> {
  return JSON.parse(textOf(await client.call({ opcode: OPCODE, payload })));
}

const refusalOf = async (payload: string | Uint8Array): Promise<string | null> =>
  (await guard(payload)).refused;

async function agrees(bytes: Uint8Array): Promise<void> {
  const { refused, payload } = await guard(bytes);
  expect({ passes: refused === null, refused }).toEqual({ passes: shouldPass(bytes), refused });
  expect(payload).toBe(refused === null ? Buffer.from(bytes).toString() : '');
}

const FRAGMENTS = [
  ...['{', '}', '[', ']', ',', ':', ' ', '\n', '\t', '{"a":1}', '[[]]', '"a":', '"b":', '"\\u0061":'],
  ...[
    '"a"',
    '"\\u0061"',
    '""',
    '"é"',
    '"\\""',
    '"\\ud83d\\ude00"',
    '"\\ud800"',
    '"\\udc00"',
    '"\\ud800\\u0041"',
  ],
  ...[
    '"__proto__":',
    '"constructor":',
    '"prototype":',
    '"\\u005f_proto__":',
    '"\\/\\b\\f\\n\\r\\t"',
    '"\\x"',
    '"\\u00g0"',
  ],
  ...[
    '0',
    '-0',
    '1',
    '-',
    '01',
    '1.',
    '.5',
    '1.5',
    '1e5',
    '1E+5',
    '1e-5',
    '1e',
    '1e999',
    '-1e999',
    '1e-999',
    '0e999',
  ],
  ...['1.7976931348623157e308', '1.7976931348623159e308', `1${'0'.repeat(309)}`, `0.${'0'.repeat(400)}1e400`],
  ...[
    'true',
    'false',
    'null',
    'nul',
    'tru',
    'True',
    'NaN',
    'Infinity',
    "'a'",
    '\u2028',
    '\ufeff',
    '\0',
    '"\u0001"',
    '/**/',
  ],
];

const mutation = fc.record({
  at: fc.nat(),
  kind: fc.constantFrom('replace', 'insert', 'remove', 'double'),
  byte: fc.integer({ min: 0, max: 255 }),
});

function mutate(
  bytes: Uint8Array,
  mutations: readonly { at: number; kind: string; byte: number }[],
): Uint8Array {
  const list = [...bytes];
  for (const { at, kind, byte } of mutations) {
    const index = at % (list.length + 1);
    if (kind === 'replace') list[index] = byte;
    else if (kind === 'insert') list.splice(index, 0, byte);
    else if (kind === 'remove') list.splice(index, 1 + (byte % 4));
    else list.splice(index, 0, ...list.slice(index, index + byte));
  }
  return Uint8Array.from(list);
}

describe('the JSON guard agrees with JSON.parse and its own rules', () => {
  const key = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('a', 'b', '__proto__', 'constructor', 'x'.repeat(20)),
  );

  it('on any JSON', async () => {
    const json = fc.json({ stringUnit: 'binary', maxDepth: 5 });
    await fc.assert(
      fc.asyncProperty(json, (text) => agrees(Buffer.from(text))),
      { numRuns: 2000 },
    );
  });

  it('on objects of many keys, some of them twice', async () => {
    const keys = fc.array(key, { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(keys, (names) =>
        agrees(Buffer.from(`{${names.map((name) => `${JSON.stringify(name)}:{"a":0}`).join(',')}}`)),
      ),
      { numRuns: 1000 },
    );
  });

  it('on fragments of JSON in any sequence', async () => {
    const fragments = fc.array(fc.constantFrom(...FRAGMENTS), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(fragments, (parts) => agrees(Buffer.from(parts.join('')))),
      { numRuns: 3000 },
    );
    const members = fc.array(fc.constantFrom(...FRAGMENTS), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(members, (parts) => agrees(Buffer.from(`[${parts.join(',')}]`))),
      { numRuns: 2000 },
    );
  });

  it('on JSON with a few bytes changed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.json(), fc.array(mutation, { minLength: 1, maxLength: 4 }), (text, mutations) =>
        agrees(mutate(Buffer.from(text), mutations)),
      ),
      { numRuns: 3000 },
    );
  });

  it('on arbitrary bytes inside a string', async () => {
    const bytes = fc.uint8Array({ maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(bytes, (inside) =>
        agrees(Buffer.concat([Buffer.from('"'), inside, Buffer.from('"')])),
      ),
      { numRuns: 3000 },
    );
  });

  it('on every two-byte and every boundary multi-byte sequence', async () => {
    const sequences: number[][] = [];
    for (const first of [
      0x7f, 0x80, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff,
    ]) {
      for (const second of [0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0]) {
        sequences.push(
          [first, second],
          [first, second, 0x80],
          [first, second, 0xbf, 0x80],
          [first, second, 0x80, 0xc0],
        );
      }
    }
    for (const sequence of sequences) await agrees(Uint8Array.from([0x22, ...sequence, 0x22]));
  });
});

describe('the JSON guard says why', () => {
  it.each([
    ['text', 'x', /^invalid JSON: unexpected character at byte 0$/],
    ['blank', ' ', /^invalid JSON: unexpected end/],
    ['cut', '{"a":', /^invalid JSON: unexpected end/],
    ['two values', '1 2', /^invalid JSON: text after the value/],
    ['a control character', '"\n"', /^invalid JSON: control character/],
    ['a byte order mark', '\ufeff{}', /^invalid JSON/],
    ['bytes that are no text', Buffer.from([0xff]), /^invalid UTF-8$/],
    ['an overlong form', Buffer.from([0x22, 0xc0, 0xaf, 0x22]), /^invalid UTF-8$/],
    ['an encoded surrogate', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), /^invalid UTF-8$/],
    ['an escaped lone surrogate', '"\\ud800"', /^lone surrogate/],
    ['a repeated key', '{"a":1,"b":2,"a":3}', /^duplicate key/],
    ['a key repeated through an escape', '{"a":1,"\\u0061":3}', /^duplicate key/],
    ['__proto__', '{"x":[{"__proto__":{}}]}', /^forbidden key/],
    ['constructor, escaped', '{"c\\u006fnstructor":{}}', /^forbidden key/],
    ['a number that becomes infinite', '[1e999]', /^number overflows/],
    ['depth', '['.repeat(65) + ']'.repeat(65), /^JSON is deeper than 64 levels/],
    ['number of values', `[${'0,'.repeat(100_000)}0]`, /^JSON has more than 100000 values/],
  ])('%s', async (_, payload, reason) => {
    expect(await refusalOf(payload)).toMatch(reason);
  });

  it('and takes what is just within the bounds', async () => {
    expect(await refusalOf('['.repeat(64) + ']'.repeat(64))).toBeNull();
    expect(await refusalOf(`[${'0,'.repeat(99_998)}0]`)).toBeNull();
    expect(await refusalOf('')).toBeNull();
    expect(await refusalOf('{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}')).toBeNull();
  });

  it('of a large object, whether its keys differ or not', async () => {
    const names = Array.from({ length: 40_000 }, (_, i) => `"k${i}"`);
    const object = (keys: string[]): string => `{${keys.map((name) => `${name}:0`).join(',')}}`;
    expect(await refusalOf(object(names))).toBeNull();
    expect(await refusalOf(object([...names, '"k\\u0030"']))).toMatch(/^duplicate key/);
    expect(await refusalOf(object(names))).toBeNull();
  });
});
