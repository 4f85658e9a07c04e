import { CloveError } from '../../errors/index.ts';

const BYTE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 2 ** 10,
  kb: 2 ** 10,
  kib: 2 ** 10,
  m: 2 ** 20,
  mb: 2 ** 20,
  mib: 2 ** 20,
  g: 2 ** 30,
  gb: 2 ** 30,
  gib: 2 ** 30,
  t: 2 ** 40,
  tb: 2 ** 40,
  tib: 2 ** 40,
};
const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  '': 1000,
  m: 60_000,
  h: 3_600_000,
};

function scaled(text: string, units: Readonly<Record<string, number>>): number | null {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  if (!match) return null;
  const factor = units[(match[2] ?? '').toLowerCase()];
  if (factor === undefined) return null;
  const value = Math.round(Number(match[1]) * factor);
  return Number.isSafeInteger(value) ? value : null;
}

/** "256M", "1.5GiB", "4096". Units are binary. Throws USAGE. */
export function parseBytes(text: string, option: string): number {
  const bytes = scaled(text, BYTE_UNITS);
  if (bytes === null || bytes <= 0) {
    throw new CloveError('USAGE', `${option}: '${text}' is not a size`, {
      hint: 'write for example 256M or 1.5G',
    });
  }
  return bytes;
}

/** "10s", "500ms", "2m"; a bare number is seconds. Returns ms. Throws USAGE. */
export function parseDuration(text: string, option: string): number {
  const ms = scaled(text, DURATION_UNITS);
  if (ms === null || ms <= 0) {
    throw new CloveError('USAGE', `${option}: '${text}' is not a duration`, {
      hint: 'write for example 10s, 500ms or 2m',
    });
  }
  return ms;
}

/** A whole number of at least `minimum`. Throws USAGE. */
export function parseCount(text: string, option: string, minimum = 1): number {
  const value = Number(text);
  if (!/^-?\d+$/.test(text) || !Number.isSafeInteger(value) || value < minimum) {
    throw new CloveError('USAGE', `${option}: '${text}' is not a whole number of at least ${minimum}`);
  }
  return value;
}

/** A positive number, such as cores. Throws USAGE. */
export function parsePositive(text: string, option: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value <= 0) {
    throw new CloveError('USAGE', `${option}: '${text}' is not a positive number`);
  }
  return value;
}

/** "a,b, c" → its parts; empty parts are refused. Throws USAGE. */
export function parseList(text: string, option: string): string[] {
  const parts = text.split(',').map((part) => part.trim());
  if (parts.some((part) => part === '')) throw new CloveError('USAGE', `${option}: empty name in '${text}'`);
  return parts;
}
