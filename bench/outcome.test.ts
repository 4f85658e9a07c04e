import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mayTryAgain, outcomesOf, statusOf, verdictOf } from './outcome.ts';
import { makeAttempt, makeTrial } from './testing/attempts.ts';
import type { AttemptEnd } from './types.ts';

const attempts = (...ends: AttemptEnd[]) =>
  ends.map((end, index) => makeAttempt({ trialId: 'exp_001', attempt: index + 1, end }));

describe('mayTryAgain', () => {
  it.each<[boolean, AttemptEnd[]]>([
    [true, []],
    [true, ['crashed']],
    [true, ['timeout', 'oom']],
    [false, ['crashed', 'timeout', 'oom']],
    [false, ['crashed', 'completed']],
    [true, ['error']],
    [false, ['error', 'error']],
    [true, ['interrupted', 'interrupted', 'interrupted', 'crashed', 'crashed']],
    [false, ['collateral', 'infrastructure', 'collateral']],
  ])('is %s after %j', (expected, ends) => {
    expect(mayTryAgain(attempts(...ends), 3)).toBe(expected);
  });
});

describe('statusOf', () => {
  it('passes a trial with any completed attempt', () => {
    expect(statusOf(attempts('crashed', 'interrupted', 'completed'), 3)).toBe('passed');
  });
  it('fails a trial whose every attempt ended by its own doing', () => {
    expect(statusOf(attempts('crashed', 'timeout', 'oom'), 3)).toBe('failed');
    expect(statusOf(attempts('error', 'interrupted', 'error'), 3)).toBe('failed');
  });
  it('calls a trial not measured that did not get all its chances', () => {
    expect(statusOf([], 3)).toBe('not_measured');
    expect(statusOf(attempts('crashed'), 3)).toBe('not_measured');
    expect(statusOf(attempts('crashed', 'collateral', 'crashed'), 3)).toBe('not_measured');
    expect(statusOf(attempts('infrastructure', 'infrastructure', 'infrastructure'), 3)).toBe('not_measured');
  });
});

describe('outcomesOf', () => {
  it('does not depend on the order in which attempts came', () => {
    const ends = fc.array(
      fc.constantFrom<AttemptEnd>(
        'crashed',
        'error',
        'timeout',
        'oom',
        'collateral',
        'interrupted',
        'completed',
      ),
      { maxLength: 4 },
    );
    fc.assert(
      fc.property(
        fc.array(ends, { minLength: 1, maxLength: 6 }),
        fc.infiniteStream(fc.nat()),
        (all, order) => {
          const trials = all.map((_, index) => makeTrial(index + 1));
          const made = all.flatMap((own, index) =>
            own.map((end, at) => makeAttempt({ trialId: trials[index]?.id ?? '', attempt: at + 1, end })),
          );
          const shuffled = made
            .map((attempt) => ({ attempt, place: order.next().value as number }))
            .sort((a, b) => a.place - b.place)
            .map(({ attempt }) => attempt);
          expect(outcomesOf(trials, ['process'], shuffled, 3)).toEqual(
            outcomesOf(trials, ['process'], made, 3),
          );
        },
      ),
    );
  });
});

describe('verdictOf', () => {
  const run = (...ends: AttemptEnd[][]) => {
    const trials = ends.map((_, index) => makeTrial(index + 1));
    const made = ends.flatMap((own, index) =>
      own.map((end, at) => makeAttempt({ trialId: trials[index]?.id ?? '', attempt: at + 1, end })),
    );
    return outcomesOf(trials, ['process'], made, 3);
  };

  it('passes when everything completed', () => {
    expect(verdictOf(run(['completed'], ['crashed', 'completed']), 'process', 0.95, true)).toMatchObject({
      kind: 'pass',
      coverage: 1,
      reason: '2 of 2 experiments completed under process.',
    });
  });
  it('fails when a trial failed', () => {
    expect(verdictOf(run(['completed'], ['error', 'error']), 'process', 0.95, true).kind).toBe('fail');
  });
  it('says nothing below the coverage floor: what was not measured is no zero', () => {
    const lost: AttemptEnd[] = ['infrastructure', 'infrastructure', 'infrastructure'];
    const verdict = verdictOf(run(['completed'], lost), 'process', 0.95, true);
    expect(verdict).toMatchObject({ kind: 'no_verdict', coverage: 0.5 });
  });
  it('says nothing about a run that is not finished', () => {
    expect(verdictOf(run(['completed']), 'process', 0.95, false).kind).toBe('no_verdict');
  });
});
