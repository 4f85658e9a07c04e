import { expect, it } from 'vitest';
import { describeMemory } from './memory.ts';
import { fuzzProtocol } from './protocol-fuzz.ts';

/** docs/fuzzing.md tells of longer runs. */
const SECONDS = Number(process.env.CLOVE_FUZZ_SECONDS ?? 9);
const SEED = Number(process.env.CLOVE_FUZZ_SEED ?? Date.now() % 1e9);
const CONNECTIONS = 8;

it(
  'a kernel answers whatever is asked in whatever order, in kind, and does not grow',
  async () => {
    console.log(`CLOVE_FUZZ_SEED=${SEED} CLOVE_FUZZ_SECONDS=${SECONDS}`);
    const report = await fuzzProtocol({ seed: SEED, seconds: SECONDS, connections: CONNECTIONS });
    console.log(
      `${report.calls} calls, ${report.succeeded.size} syscalls with success, ${JSON.stringify(report.codes)}; at rest: ` +
        report.atRest.map(describeMemory).join('; '),
    );
    expect(report.findings.slice(0, 20)).toEqual([]);
    expect(report.calls).toBeGreaterThan(50);
    expect(report.atRest.length).toBe(3);
  },
  SECONDS * 1000 + 180_000,
);
