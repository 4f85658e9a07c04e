import { z } from 'zod';

const BYTES: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
};
const MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

function scaled(text: string, units: Readonly<Record<string, number>>): number | null {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  const unit = (match?.[2] ?? '').toLowerCase();
  const factor = units[unit] ?? units[unit.replace(/i?b$/, '')];
  if (match === null || factor === undefined) return null;
  const value = Math.round(Number(match[1]) * factor);
  return Number.isSafeInteger(value) ? value : null;
}

/** "256M", "1.5G", or a number of bytes. Units are binary. */
export const size = (min: number) =>
  z
    .union([z.string(), z.number()], { error: 'expected a size such as 256M or 1.5G' })
    .transform((value, context) => {
      const bytes = typeof value === 'number' ? value : scaled(value, BYTES);
      if (bytes !== null && Number.isSafeInteger(bytes) && bytes >= min) return bytes;
      context.addIssue({
        code: 'custom',
        message: `expected a size${min > 0 ? ` of at least ${min} bytes` : ''}, such as 256M or 1.5G`,
      });
      return z.NEVER;
    });

/** "500ms", "10s", "2m", "1h" → ms. A bare number says nothing about its unit and is refused. */
export const duration = (minMs = 0) =>
  z.string({ error: 'expected a duration such as 500ms, 10s or 2m' }).transform((value, context) => {
    const ms = scaled(value, MS);
    if (ms !== null && ms >= minMs && ms <= 2 ** 31 - 1) return ms;
    context.addIssue({
      code: 'custom',
      message: `expected a duration${minMs > 0 ? ` of at least ${minMs} ms` : ''}, such as 500ms, 10s or 2m`,
    });
    return z.NEVER;
  });
