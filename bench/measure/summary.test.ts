import { describe, expect, it } from 'vitest';
import { outcomesOf } from '../outcome.ts';
import { makeAttempt, makeTrial } from '../testing/attempts.ts';
import type { Attempt } from '../types.ts';
import { median, summarise } from './summary.ts';

const usage = (wallMs: number, computeMs: number | null): Attempt['usage'] => ({
  wallMs,
  startupMs: 3,
  computeMs,
  cpuMs: computeMs,
  memoryPeakBytes: 1000 * wallMs,
  memorySource: 'maxrss',
});

/** Two slots; trial 2 crashes first and is made again on slot 1 after a wait for which there was nothing to do. */
const attempts: Attempt[] = [
  makeAttempt({
    trialId: 'exp_001',
    end: 'completed',
    slot: 0,
    startedAtMs: 2,
    queuedMs: 2,
    usage: usage(50, 40),
  }),
  makeAttempt({
    trialId: 'exp_002',
    end: 'crashed',
    slot: 1,
    startedAtMs: 4,
    queuedMs: 4,
    fault: 'crash',
    usage: usage(10, null),
  }),
  makeAttempt({
    trialId: 'exp_002',
    attempt: 2,
    end: 'completed',
    slot: 1,
    startedAtMs: 20,
    queuedMs: 6,
    usage: usage(30, 25),
  }),
];

function summary(given: Partial<Parameters<typeof summarise>[0]> = {}) {
  const trials = [makeTrial(1), makeTrial(2), makeTrial(3)];
  return summarise({
    runtime: 'process',
    parallel: 2,
    cores: 2,
    outcomes: outcomesOf(trials, ['process'], attempts, 3),
    segments: [{ runtime: 'process', block: 0, startedAtMs: 0, lastMs: 60 }],
    samples: [],
    hostCrashes: [],
    ...given,
  });
}

describe('summarise', () => {
  it('counts trials by status and attempts by end', () => {
    expect(summary()).toMatchObject({
      trials: 3,
      passed: 2,
      failed: 0,
      notMeasured: 1,
      attempts: 3,
      retries: 1,
      wallMs: 60,
      computeMsTotal: 65,
      cpuMsTotal: 65,
      lostMs: 10,
      memoryPeakBytes: 50_000,
      startupMsMedian: 3,
      faultsInjected: { crash: 1, hang: 0, leak: 0 },
      collateral: 0,
    });
    expect(summary().completion).toBeCloseTo(2 / 3);
    expect(summary().trialsPerMinute).toBeCloseTo(2 / (60 / 60_000));
  });

  it('counts as overhead what surrounds a trial, but not a slot that had nothing to do', () => {
    // Gaps 2 (slot 0) and 6 (slot 1: free since 14, ready since 14); outside the function 10 and 5.
    expect(summary().harnessMsPerTrial).toBeCloseTo((2 + 6) / 2);
    expect(summary().overheadMsPerTrial).toBeCloseTo((2 + 6) / 2 + (10 + 5) / 2);
    const readyLate = attempts.map((attempt) =>
      attempt.attempt === 2 ? { ...attempt, queuedMs: 1 } : attempt,
    );
    const outcomes = outcomesOf([makeTrial(1), makeTrial(2)], ['process'], readyLate, 3);
    expect(summary({ outcomes }).harnessMsPerTrial).toBeCloseTo((2 + 1) / 2);
  });

  it('says nothing where nothing was measured', () => {
    const outcomes = outcomesOf([makeTrial(1)], ['process'], [], 3);
    expect(summary({ outcomes, segments: [] })).toMatchObject({
      passed: 0,
      wallMs: 0,
      trialsPerMinute: 0,
      cpuUtilisation: null,
      cpuMsTotal: null,
      memoryPeakBytes: null,
      overheadMsPerTrial: null,
      startupMsMedian: null,
    });
  });
});

describe('median', () => {
  it('is the middle, or the mean of the two middles', () => {
    expect(median([])).toBeNull();
    expect(median([5, 1, 3])).toBe(3);
    expect(median([4, 1, 3, 2])).toBe(2.5);
  });
});
