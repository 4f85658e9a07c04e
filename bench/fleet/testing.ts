/** Runs a scenario of fleets for a test, in folders of its own, and gives what its checks said. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runBench } from '../run.ts';
import type { CheckResult, RunResults, RuntimeName } from '../types.ts';
import { fleetAsScenario } from './as-scenario.ts';
import type { FleetScenario } from './types.ts';

export interface FleetOutcome {
  readonly results: RunResults;
  /** Of the first trial under a runtime, by id. */
  checks(runtime: RuntimeName): Readonly<Record<string, CheckResult>>;
  /** What happened, for the messages of tests. */
  explain(runtime: RuntimeName): string;
}

export async function runFleet<Facts>(
  scenario: FleetScenario<Facts>,
  options: {
    readonly runtimes?: readonly RuntimeName[];
    readonly set?: Record<string, string>;
    readonly size?: number;
  } = {},
): Promise<FleetOutcome> {
  const folder = mkdtempSync(join(tmpdir(), 'clove-fleet-'));
  try {
    const { results } = await runBench({
      scenario: fleetAsScenario(scenario as FleetScenario),
      runtimes: options.runtimes ?? ['clove'],
      blocks: 1,
      maxAttempts: 1,
      size: options.size ?? null,
      set: options.set ?? {},
      runsDirectory: join(folder, 'runs'),
      cacheDirectory: join(folder, 'cache'),
    });
    const attemptOf = (runtime: RuntimeName) =>
      results.trials.find((trial) => trial.runtime === runtime)?.attempts.at(-1);
    return {
      results,
      checks: (runtime) =>
        Object.fromEntries(
          (attemptOf(runtime)?.result?.fleet?.checks ?? []).map((check) => [check.id, check]),
        ),
      explain: (runtime) =>
        `${attemptOf(runtime)?.error?.message ?? ''}\n${attemptOf(runtime)?.logTail ?? 'no attempt'}`,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
