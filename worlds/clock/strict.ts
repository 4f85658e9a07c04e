// What programs of a strict world are told at their start, so that nothing in them is left to chance or to the machine.
import { writeFileSync } from 'node:fs';
import path from 'node:path';

const PRELOAD = 'node-strict.cjs';

/** What no library that is loaded first can order or seed. */
export const NOT_REPEATED: readonly string[] = [
  'addresses in memory, and with them the order of Python objects by id()',
  'process ids outside of a pid namespace',
  '/dev/urandom and /dev/random read as files',
  'random numbers of OpenSSL: keys, TLS',
  'the order of threads of one agent that run at the same time',
];
/** Agents of a virtual world are processes of the host: only their calls are the world's. */
export const NOT_REPEATED_IN_CALLS: readonly string[] = [
  'whatever agents do by themselves, without a call to the kernel: their own clock, random numbers, threads',
];

/** Environment of an agent's programs. `world`: the folder with {@link writeNodePreload}'s file, as the agent sees it. */
export function strictEnvironment(world: string, seed: number): Record<string, string> {
  return {
    // The order of Python's sets and dictionaries of strings.
    PYTHONHASHSEED: String(1 + (seed % 4_294_967_294)),
    // One thread for files and names: requests are answered in the order in which they were made.
    UV_THREADPOOL_SIZE: '1',
    NODE_OPTIONS: `--require=${world}/${PRELOAD}`,
    CLOVE_STRICT_SEED: String(1 + (seed % 2_147_483_646)),
  };
}

/** Writes what Node loads first: its random numbers come from within its binary, where no library reaches. */
export function writeNodePreload(folder: string): void {
  writeFileSync(path.join(folder, PRELOAD), NODE_PRELOAD, { mode: 0o644 });
}

const NODE_PRELOAD = `'use strict';
const seed = Number(process.env.CLOVE_STRICT_SEED);
require('node:v8').setFlagsFromString('--random-seed=' + seed);
const crypto = require('node:crypto');
const { syncBuiltinESMExports } = require('node:module');
// SplitMix32: every number depends on its place in the sequence alone.
let state = (seed ^ (require('node:worker_threads').threadId * 0x9e3779b9)) >>> 0;
function next() {
  state = (state + 0x9e3779b9) >>> 0;
  let z = state;
  z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
  return (z ^ (z >>> 15)) >>> 0;
}
function fill(view, offset = 0, size) {
  const bytes = ArrayBuffer.isView(view) ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength) : new Uint8Array(view);
  const unit = view.BYTES_PER_ELEMENT || 1;
  const from = offset * unit, to = size === undefined ? bytes.length : from + size * unit;
  for (let i = from; i < to; i++) bytes[i] = next();
  return view;
}
const later = (callback, value) => process.nextTick(callback, null, value);
crypto.randomFillSync = fill;
crypto.randomFill = (view, ...rest) => {
  const callback = rest.pop();
  later(callback, fill(view, ...rest));
};
crypto.randomBytes = crypto.pseudoRandomBytes = (size, callback) => {
  const bytes = fill(Buffer.alloc(size));
  if (callback === undefined) return bytes;
  later(callback, bytes);
};
crypto.randomInt = (min, max, callback) => {
  if (max === undefined || typeof max === 'function') [min, max, callback] = [0, min, max];
  const number = min + Math.floor(((next() * 0x200000 + (next() >>> 11)) / 2 ** 53) * (max - min));
  if (callback === undefined) return number;
  later(callback, number);
};
crypto.randomUUID = () => {
  const bytes = fill(Buffer.alloc(16));
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
};
const web = Object.getPrototypeOf(crypto.webcrypto);
for (const [name, own] of [['getRandomValues', fill], ['randomUUID', crypto.randomUUID]])
  Object.defineProperty(web, name, { value(...args) { return own(...args); }, configurable: true, writable: true });
syncBuiltinESMExports();
`;
