// The conformance table: timed waits and clocks of four kinds of program, each for a time that is known beforehand.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { casesOf, wrongOf } from './cases-testing.ts';
import { ClockFixture, unifiedMount } from './testing.ts';

const PROGRAMS = path.join(import.meta.dirname, 'conformance');
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
        const wrong = wrongOf(cases);
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
