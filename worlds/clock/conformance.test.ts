// The conformance table: timed waits and clocks of four kinds of program, each for a time that is known beforehand.
// Virtual time is real time plus what was skipped, so the real time of a case (from /proc/uptime) is the slack it has.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ClockFixture, type Finished, unifiedMount } from './testing.ts';

const PROGRAMS = path.join(import.meta.dirname, 'conformance');
/** What the issue allows, and what a tick of /proc/uptime hides. */
const ALLOWED_S = 0.05 + 0.02;
/** Event loops count whole milliseconds. */
const EARLY_S = 0.002;

interface Case {
  readonly name: string;
  readonly expectedS: number;
  readonly elapsedS: number;
  readonly realS: number;
}

function casesOf({ stdout }: Finished): Case[] {
  return stdout
    .trim()
    .split('\n')
    .map((line) => {
      const [name = '', expected, elapsed, real] = line.split(' ');
      return { name, expectedS: Number(expected), elapsedS: Number(elapsed), realS: Number(real) };
    });
}

let folder: string;
let compiled: string;
const hasGroups = unifiedMount() !== null && process.geteuid?.() === 0;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-conformance-'));
  compiled = path.join(folder, 'primitives');
  const source = path.join(PROGRAMS, 'primitives.cc');
  execFileSync(process.env.CXX ?? 'g++', ['-std=c++20', '-O1', '-pthread', '-o', compiled, source]);
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('timed waits under a clock that skips', () => {
  const table: [kind: string, cases: number, argv: () => string[]][] = [
    ['C', 47, () => [compiled]],
    ['CPython', 29, () => ['python3', path.join(PROGRAMS, 'primitives.py')]],
    ['Node', 13, () => [process.execPath, path.join(PROGRAMS, 'primitives.mjs')]],
    ['Bash, coreutils and curl', 11, () => ['bash', path.join(PROGRAMS, 'primitives.sh')]],
  ];

  it.for(table)(
    '%s: all take exactly as long as they say',
    { timeout: 60_000 },
    async ([, least, argv], context) => {
      if (!hasGroups) return context.skip('needs root and a version 2 control group hierarchy');
      const fixture = new ClockFixture({ mode: 'skip' });
      try {
        const startMs = fixture.world.clock.monotonicMs();
        const finished = await fixture.run(argv());
        const status = fixture.world.clock.status();
        const cases = casesOf(finished);
        const wrong = cases.filter(
          ({ expectedS, elapsedS, realS }) =>
            elapsedS < expectedS - EARLY_S || elapsedS > expectedS + realS + ALLOWED_S,
        );
        expect(wrong, JSON.stringify(wrong)).toEqual([]);
        expect(finished.code, finished.stderr).toBe(0);
        expect(cases.length).toBeGreaterThanOrEqual(least);
        // It was skipped, not slept: what was waited for and did not pass really.
        const waitedMs = cases.reduce((sum, { expectedS }) => sum + expectedS * 1000, 0);
        expect(status.skippedMs).toBeGreaterThan(waitedMs - finished.realMs);
        expect(status.monotonicMs - startMs).toBeLessThanOrEqual(status.skippedMs + finished.realMs + 1000);
        expect(status.degradations).toEqual([]);
      } finally {
        await fixture.close();
      }
    },
  );
});
