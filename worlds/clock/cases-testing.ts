// Programs that say how long each of their waits took: a line per case with its name, the expected, the virtual and the real seconds.
import type { Finished } from './testing.ts';

/** How much later than asked a wait may end, and what a tick of /proc/uptime hides. */
const ALLOWED_S = 0.05 + 0.02;
/** Event loops count whole milliseconds. */
const EARLY_S = 0.002;

export interface Case {
  readonly name: string;
  readonly expectedS: number;
  readonly elapsedS: number;
  readonly realS: number;
}

export function casesOf({ stdout }: Pick<Finished, 'stdout'>): Case[] {
  return stdout
    .trim()
    .split('\n')
    .map((line) => {
      const [name = '', expected, elapsed, real] = line.split(' ');
      return { name, expectedS: Number(expected), elapsedS: Number(elapsed), realS: Number(real) };
    });
}

/** Virtual time is real time plus what was skipped, so the real time of a case (from /proc/uptime) is the slack it has. */
export function wrongOf(cases: readonly Case[]): Case[] {
  return cases.filter(
    ({ expectedS, elapsedS, realS }) =>
      !(elapsedS >= expectedS - EARLY_S && elapsedS <= expectedS + realS + ALLOWED_S),
  );
}
