import { z } from 'zod';

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const PART = /(\d+(?:\.\d+)?)(ms|s|m|h|d)/g;
const DURATION = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/;
/** 250 years: sums of two stay exact in a double, and in nanoseconds in 64 bits. */
const MAX_MS = 250 * 365 * UNIT_MS.d;

/** "1h30m", "250ms", "8h" as milliseconds; null when the text is not a duration. */
export function parseDurationMs(text: string): number | null {
  if (!DURATION.test(text)) return null;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(PART))
    total += Number(amount) * UNIT_MS[unit as keyof typeof UNIT_MS];
  return total <= MAX_MS ? total : null;
}

/** A duration in a definition: a number of milliseconds, or text with units (ms, s, m, h, d). Becomes milliseconds. */
export const durationSchema = z.union([
  z.number().min(0).max(MAX_MS),
  z.string().transform((text, context) => {
    const parsed = parseDurationMs(text);
    if (parsed !== null) return parsed;
    context.addIssue({
      code: 'custom',
      message: 'expected a duration such as 250ms, 30s or 1h30m (units ms, s, m, h, d)',
    });
    return z.NEVER;
  }),
]);
