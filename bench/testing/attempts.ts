import type { Attempt, AttemptEnd, Trial } from '../types.ts';

/** An attempt for tests; what is not given is as in an uneventful one. */
export function makeAttempt(given: Partial<Attempt> & { trialId: string; end: AttemptEnd }): Attempt {
  const completed = given.end === 'completed';
  return {
    runtime: 'process',
    attempt: 1,
    startedAtMs: 0,
    queuedMs: 0,
    slot: 0,
    fault: null,
    exitCode: completed ? 0 : null,
    signal: null,
    error: null,
    usage: {
      wallMs: 10,
      startupMs: 1,
      computeMs: completed ? 8 : null,
      cpuMs: 8,
      memoryPeakBytes: 1_000_000,
      memorySource: 'maxrss',
    },
    logTail: '',
    result: completed ? { metrics: { score: given.attempt ?? 1 }, facts: {} } : null,
    ...given,
  };
}

export function makeTrial(index: number, costEstimate = 1): Trial {
  const id = `exp_${String(index).padStart(3, '0')}`;
  return { id, key: `key-${index}`, params: { index }, seed: index, costEstimate, input: {} };
}
