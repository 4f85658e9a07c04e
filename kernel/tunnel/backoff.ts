/** Longest span out of which a pause before the next attempt is drawn. */
export const LONGEST_SPAN_MS = 60_000;

/**
 * How long to wait before attempt `attempt` (from 0), drawn evenly from a span that doubles: a fleet that lost its relay at
 * one moment does not come back at one moment. `random` is in [0, 1). ms
 */
export function fullJitterMs(attempt: number, baseMs: number, random: () => number): number {
  const spanMs = Math.min(LONGEST_SPAN_MS, baseMs * 2 ** Math.min(attempt, 30));
  return random() * spanMs;
}
