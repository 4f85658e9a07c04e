import { expect, it } from 'vitest';
import { fuzzProtocol } from './protocol-fuzz.ts';

/** docs/fuzzing.md tells of longer runs. */
const SECONDS = Number(process.env.CLOVE_FUZZ_SECONDS ?? 9);
const SEED = Number(process.env.CLOVE_FUZZ_SEED ?? Date.now() % 1e9);
const CONNECTIONS = 8;
const MIB = 2 ** 20;

it(
  'a kernel answers whatever is asked in whatever order, in kind, and does not grow',
  async () => {
    console.log(`CLOVE_FUZZ_SEED=${SEED} CLOVE_FUZZ_SECONDS=${SECONDS}`);
    const report = await fuzzProtocol({ seed: SEED, seconds: SECONDS, connections: CONNECTIONS });
    console.log(
      `${report.calls} calls, ${report.succeeded.size} syscalls with success, ${JSON.stringify(report.codes)}, at rest ` +
        report.atRest
          .map(
            (each) =>
              `${Math.round(each.residentBytes / MIB)} MiB/${each.descriptors} fds/${each.threads} threads`,
          )
          .join(', '),
    );
    expect(report.findings.slice(0, 20)).toEqual([]);
    expect(report.calls).toBeGreaterThan(50);
    const [first, , last] = report.atRest;
    if (first === undefined || last === undefined) throw new Error('not measured');
    // Descriptors are exact but for what is just being closed; memory is what the collector has not given back yet.
    expect(last.descriptors).toBeLessThanOrEqual(first.descriptors + 24);
    expect(last.threads).toBeLessThanOrEqual(first.threads + 4);
    expect(last.residentBytes).toBeLessThan(
      Math.max(2 * first.residentBytes, first.residentBytes + 256 * MIB),
    );
  },
  SECONDS * 1000 + 180_000,
);
