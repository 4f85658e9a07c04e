import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ScenarioOptions } from '../../bench/scenario.ts';
import { BUILT_IN } from './data/resolve.ts';
import drugDiscovery from './scenario.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'clove-dd-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function plan(given: Partial<ScenarioOptions> = {}) {
  const planned = await drugDiscovery.plan({
    quick: false,
    size: null,
    seed: 42,
    dataDirectory: BUILT_IN,
    cacheDirectory: folder,
    set: {},
    ...given,
  });
  return { ...planned, trials: await planned.trials() };
}

const name = (params: Readonly<Record<string, unknown>>) =>
  `${params.dataset}/${params.features}/${params.model}`;
const code = (expected: string) => expect.objectContaining({ code: expected });

describe('the grid', () => {
  it('is 48 experiments, data sets first, then features, then models', async () => {
    const { trials } = await plan();
    expect(trials.length).toBe(48);
    expect(trials.map((trial) => trial.id).slice(0, 2)).toEqual(['exp_001', 'exp_002']);
    expect(trials.map((trial) => name(trial.params)).slice(0, 6)).toEqual([
      'hERG/morgan/random_forest',
      'hERG/morgan/gradient_boosting',
      'hERG/morgan/logistic_regression',
      'hERG/morgan/svm',
      'hERG/maccs/random_forest',
      'hERG/maccs/gradient_boosting',
    ]);
    expect(name(trials[47]?.params ?? {})).toBe('ClinTox/descriptors/svm');
    expect(trials.map((trial) => trial.seed)).toEqual(trials.map(() => 42));
  });

  it('is 8 with --quick', async () => {
    const { trials } = await plan({ quick: true });
    expect(trials.map((trial) => name(trial.params))).toEqual([
      'hERG/morgan/random_forest',
      'hERG/morgan/logistic_regression',
      'hERG/maccs/random_forest',
      'hERG/maccs/logistic_regression',
      'AMES/morgan/random_forest',
      'AMES/morgan/logistic_regression',
      'AMES/maccs/random_forest',
      'AMES/maccs/logistic_regression',
    ]);
  });

  it('widens to 2000 different experiments, of which the first 48 are those of the grid', async () => {
    const [base, wide] = [await plan(), await plan({ size: 2000 })];
    expect(new Set(wide.trials.map((trial) => trial.key)).size).toBe(2000);
    expect(wide.trials.slice(0, 48).map((trial) => trial.key)).toEqual(base.trials.map((trial) => trial.key));
    expect(wide.trials[48]?.params).toMatchObject({ dataset: 'hERG', model: 'random_forest', variant: 1 });
    expect(wide.trials[48]?.seed).not.toBe(42);
  });

  it('gives an experiment the same key in any selection, and another one for another seed or split', async () => {
    const keyOf = async (given: Partial<ScenarioOptions>) =>
      (await plan(given)).trials.find((trial) => name(trial.params) === 'AMES/maccs/svm')?.key;
    const whole = await keyOf({});
    expect(await keyOf({ set: { datasets: 'ames', models: 'svm,random_forest' } })).toBe(whole);
    expect(await keyOf({ seed: 43 })).not.toBe(whole);
    expect(await keyOf({ set: { split: 'scaffold' } })).not.toBe(whole);
  });

  it('uses one split for all models and features of a data set', async () => {
    const { trials } = await plan();
    const splits = new Map<unknown, Set<unknown>>();
    for (const trial of trials) {
      const seeds = splits.get(trial.params.dataset) ?? new Set();
      splits.set(trial.params.dataset, seeds.add(trial.input.splitSeed));
    }
    expect([...splits.values()].map((seeds) => seeds.size)).toEqual([1, 1, 1, 1]);
  });

  it.each([{ datasets: 'HIV' }, { models: 'random_forest,xgboost' }, { features: '' }, { split: 'random' }])(
    'refuses %j as a mistake of the command line',
    async (set) => {
      await expect(plan({ set })).rejects.toEqual(code('USAGE'));
    },
  );

  it('says that the built-in data are synthetic wherever data are named', async () => {
    const { notices, provenance, resolved } = await plan({ quick: true });
    expect(notices.join()).toContain('rule-labelled, synthetic');
    expect(resolved.data).toBe('built-in');
    for (const source of provenance([])) {
      expect(source.kind).toBe('synthetic');
      expect(source.name).toContain('rule-labelled, synthetic');
    }
  });
});
