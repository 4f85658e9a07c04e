import { describe, expect, it } from 'vitest';
import { metricAt } from '../bench/metric.ts';
import type { RunResults, TrialOutcome } from '../bench/types.ts';
import { makeResults } from './fixture.ts';
import { gridParameters, summarise } from './summary.ts';

function withTrials(change: (trial: TrialOutcome) => TrialOutcome): RunResults {
  const results = makeResults();
  return { ...results, trials: results.trials.map(change) };
}

describe('summarise', () => {
  it('ranks the passed trials of clove by the leading metric, best first', () => {
    const { leaderboard, primary } = summarise(makeResults());
    expect(primary?.runtime).toBe('clove');
    const values = leaderboard.map((ranked) => ranked.value);
    expect(values).toEqual([...values].sort((a, b) => b - a));
    expect(new Set(leaderboard.map((ranked) => ranked.trial.runtime))).toEqual(new Set(['clove']));
    expect(leaderboard).toHaveLength(primary?.passed ?? 0);
  });

  it('turns the ranking round when lower is better', () => {
    const results = makeResults();
    const lower: RunResults = {
      ...results,
      presentation: {
        ...results.presentation,
        primaryMetric: { ...results.presentation.primaryMetric, higherIsBetter: false },
      },
    };
    expect(summarise(lower).best?.trial.id).toBe(summarise(results).leaderboard.at(-1)?.trial.id);
  });

  it('leads with the first runtime where clove took no part', () => {
    expect(summarise(makeResults({ runtimes: ['thread', 'process'] })).primary?.runtime).toBe('thread');
  });

  it('averages over every parameter but the data, and finds the best of each data set', () => {
    const summary = summarise(makeResults());
    expect(summary.dataParameter).toBe('dataset');
    expect(summary.averages.map(({ parameter }) => parameter)).toEqual(['features', 'model']);
    const models = summary.averages[1]?.groups ?? [];
    const ranked = summary.leaderboard.filter(({ trial }) => trial.params.model === models[0]?.value);
    const total = ranked.reduce((sum, { value }) => sum + value, 0);
    expect(models[0]?.mean).toBeCloseTo(total / ranked.length, 12);
    expect(summary.bestPerData.map(({ value }) => value)).toEqual(['AMES', 'BBBP', 'ClinTox', 'hERG']);
    for (const { value, best } of summary.bestPerData) {
      const others = summary.leaderboard.filter(({ trial }) => trial.params.dataset === value);
      expect(best.value).toBe(Math.max(...others.map((other) => other.value)));
    }
  });

  it('lists every attempt that did not complete, those without a result first', () => {
    const results = makeResults();
    const { failures } = summarise(results);
    const expected = results.trials.flatMap((trial) => trial.attempts).filter((a) => a.end !== 'completed');
    expect(failures).toHaveLength(expected.length);
    expect(expected.length).toBeGreaterThan(0);
    const survived = failures.map((failure) => failure.survived);
    expect(survived).toEqual([...survived].sort());
  });

  it('says which trials came out differently on another runtime', () => {
    expect(summarise(makeResults()).agreement).toEqual({ compared: 48, different: [] });
    const changed = withTrials((trial) =>
      trial.id === 'exp_002' && trial.runtime === 'process'
        ? { ...trial, metrics: { test: { aucRoc: 0.5 } } }
        : trial,
    );
    expect(summarise(changed).agreement.different).toEqual(['exp_002']);
  });

  it('does not rank what was not measured', () => {
    const none = withTrials((trial) => ({ ...trial, status: 'not_measured', metrics: null }));
    const summary = summarise(none);
    expect(summary.leaderboard).toEqual([]);
    expect(summary.best).toBeNull();
    expect(summary.agreement.compared).toBe(0);
  });
});

describe('metricAt', () => {
  it('reads own properties only', () => {
    expect(metricAt({ test: { aucRoc: 0.5 } }, 'test.aucRoc')).toBe(0.5);
    expect(metricAt({ test: { aucRoc: null } }, 'test.aucRoc')).toBeNull();
    expect(metricAt({}, 'constructor.length')).toBeNull();
    expect(metricAt({}, '__proto__.x')).toBeNull();
    expect(metricAt({ a: 1 }, 'a.b')).toBeNull();
    expect(metricAt(null, 'a')).toBeNull();
  });
});

describe('gridParameters', () => {
  it('leads with the rows and columns of the heat map and adds the rest', () => {
    expect(gridParameters(makeResults({ trials: 60 }))).toEqual(['dataset', 'features', 'model', 'repeat']);
  });
});
