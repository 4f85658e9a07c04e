import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { defaultCacheDirectory } from '../../../bench/options.ts';
import { runBench } from '../../../bench/run.ts';
import type { MetricTree, RunResults, RuntimeName, TrialOutcome } from '../../../bench/types.ts';
import { errorToData } from '../../../errors/index.ts';
import drugDiscovery from '../scenario.ts';
import { ensureEnvironment, environmentFolder, interpreterOf } from './environment.ts';

/** The one of users: it takes a minute to install. */
const cacheDirectory = defaultCacheDirectory();
let folder: string;
let whyNot: string | null = null;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'clove-python-'));
  await ensureEnvironment(environmentFolder(cacheDirectory)).catch((error) => {
    whyNot = errorToData(error).message;
  });
}, 600_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function needPython(context: TestContext): void {
  if (whyNot !== null) context.skip(whyNot);
}

async function run(
  runtimes: readonly RuntimeName[],
  set: Record<string, string>,
  more: Partial<Parameters<typeof runBench>[0]> = {},
): Promise<RunResults> {
  const { results } = await runBench({
    scenario: drugDiscovery,
    dataDirectory: 'built-in',
    runtimes,
    blocks: 1,
    parallel: 2,
    runsDirectory: join(folder, 'runs'),
    cacheDirectory,
    set: { datasets: 'hERG', ...set },
    ...more,
  });
  return results;
}

function testAuc(trial: TrialOutcome): number {
  const { test } = trial.metrics as { readonly test: { readonly aucRoc: number } };
  return test.aucRoc;
}

/** How far two implementations of a model may lie apart on the 131 test molecules; the first two solve the same convex problem. */
const CLOSE: Readonly<Record<string, number>> = {
  logistic_regression: 0.005,
  svm: 0.01,
  gradient_boosting: 0.05,
  random_forest: 0.05,
};

/** The worker's models beside the library's own, on bits and on numbers: a line of JSON, how far their answers lie apart. */
const COMPARE_MODELS = `
import json, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import SVC
import worker

luck = np.random.default_rng(7)
y = np.arange(120) % 2
rows = {
    "bits": (luck.random((120, 40)) < 0.2 + 0.3 * y[:, None]).astype(np.uint8),
    "few": (luck.random((120, 40)) < 0.02 + 0.1 * y[:, None]).astype(np.uint8),
    "numbers": luck.random((120, 9)) * 3 + y[:, None],
    "constant": np.full((120, 9), 2.0),
    # Columns with a one in a hundred are counted by lists: none but those, and beside others.
    "rare": (luck.random((120, 400)) < 0.01).astype(np.uint8),
    "mixed": (luck.random((120, 300)) < np.where(np.arange(300) < 30, 0.2 + 0.2 * y[:, None], 0.01)).astype(np.uint8),
}
assert worker.common_columns(rows["mixed"]).sum() in range(30, 300) and not worker.common_columns(rows["rare"]).all()

def decide(x, given):
    model = worker.create("svm", given, 1)
    model.fit(x, y)
    return model.machine.decide(x)

found = []
for name, x in rows.items():
    for gamma in ("scale", "auto", 0.3):
        own = decide(x, {"c": 3, "gamma": gamma, "tol": 1e-6})
        library = SVC(C=3, gamma=gamma, tol=1e-6).fit(x, y).decision_function(x)
        plain = decide(x, {"c": 3, "tol": 1e-6})
        found.append([name, gamma, float(np.abs(own - library).max()), float(np.abs(own - plain).max())])
refused = []
for given in ({"degree": 2}, {"gamma": "wide"}, {"gamma": 0}, {"gamma": float("inf")}):
    try:
        worker.create("svm", given, 1)
    except (TypeError, ValueError) as error:
        refused.append(str(error))
forests = []
for name, x in rows.items():
    forest = worker.create("random_forest", {}, 1)
    forest.fit(x, y)
    library = RandomForestClassifier(random_state=1).fit(x.astype(np.float32), y).predict_proba(x.astype(np.float32))[:, 1]
    parts = worker.predict_each(forest, {"one": x[:50], "other": x[50:]})
    own = np.concatenate([parts["one"][1], parts["other"][1]])
    forests.append([name, float(np.abs(own - library).max())])
print(json.dumps({"found": found, "refused": refused, "forests": forests}))
`;

interface Compared {
  readonly found: readonly (readonly [rows: string, gamma: string | number, apart: number, moved: number])[];
  readonly refused: readonly string[];
  readonly forests: readonly (readonly [rows: string, apart: number])[];
}

describe('the Python worker of drug-discovery', { timeout: 240_000 }, () => {
  it('agrees closely with the TypeScript one: the same experiments, splits and measures', async (context) => {
    needPython(context);
    const features = 'maccs,descriptors';
    const ours = await run(['process'], { features });
    const theirs = await run(['python-pool'], { features, worker: 'python' });
    expect(theirs.trials.length).toBe(8);
    expect(theirs.trials.map(({ status }) => status)).toEqual(Array(8).fill('passed'));
    for (const [index, own] of ours.trials.entries()) {
      const other = theirs.trials[index] as TrialOutcome;
      expect([other.id, other.params]).toEqual([own.id, own.params]);
      expect(other.key).not.toBe(own.key);
      for (const count of ['trainSamples', 'validSamples', 'testSamples', 'nFeatures'])
        expect(other.facts?.[count]).toBe(own.facts?.[count]);
      expect(Object.keys(other.metrics?.test as MetricTree)).toEqual(
        Object.keys(own.metrics?.test as MetricTree),
      );
      const model = String(own.params.model);
      const apart = Math.abs(testAuc(own) - testAuc(other));
      expect(apart, `${own.id} ${JSON.stringify(own.params)}`).toBeLessThan(CLOSE[model] as number);
    }
  });

  it('has the models of the library: the same forests, and support vectors with the parameters asked for', async (context) => {
    needPython(context);
    const { stdout } = await promisify(execFile)(
      interpreterOf(environmentFolder(cacheDirectory)),
      ['-B', '-c', COMPARE_MODELS, import.meta.dirname],
      { timeout: 200_000 },
    );
    const { found, refused, forests } = JSON.parse(stdout) as Compared;
    expect(found).toHaveLength(18);
    for (const [rows, gamma, apart, moved] of found) {
      const what = `${rows}, gamma ${gamma}`;
      // Of bits the kernel is in single precision.
      expect(apart, what).toBeLessThan(1e-3);
      if (gamma !== 'scale' && rows !== 'constant') expect(moved, what).toBeGreaterThan(0.05);
    }
    expect(refused).toHaveLength(4);
    expect(refused[0]).toContain('degree');
    for (const error of refused.slice(1)) expect(error).toContain('gamma must be');
    for (const [rows, apart] of forests) expect(apart, rows).toBe(0);
  });

  it('gives the same figures in sandboxes, in processes and in a pool', async (context) => {
    needPython(context);
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    const runtimes = ['clove', 'process', 'python-pool'] as const;
    const { trials } = await run(runtimes, { features: 'morgan,descriptors', worker: 'python' });
    const [own = [], ...others] = runtimes.map((name) => trials.filter(({ runtime }) => runtime === name));
    expect(own.map(({ status }) => status)).toEqual(Array(8).fill('passed'));
    const figures = (of: readonly TrialOutcome[]) => of.map(({ id, metrics }) => [id, metrics]);
    for (const other of others) expect(figures(other)).toEqual(figures(own));
  });

  it('runs in sandboxes, and computes there with RDKit what was prepared without it', async (context) => {
    needPython(context);
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    const set = { features: 'maccs', models: 'logistic_regression', worker: 'python' };
    const prepared = await run(['clove', 'process'], set);
    expect(prepared.trials.map(({ runtime, status }) => [runtime, status])).toEqual([
      ['clove', 'passed'],
      ['process', 'passed'],
    ]);
    expect(prepared.trials[0]?.metrics).toEqual(prepared.trials[1]?.metrics);
    const computed = await run(['clove'], { ...set, featurize: 'worker' });
    expect(computed.trials[0]?.metrics).toEqual(prepared.trials[0]?.metrics);
    expect(computed.trials[0]?.facts?.featurizeMs).toBeGreaterThan(0);
  });

  it('loses everything that a broken pool had in hand, and nothing for good', async (context) => {
    needPython(context);
    const set = { features: 'maccs', models: 'logistic_regression', worker: 'python' };
    const results = await run(['python-pool'], set, {
      size: 4,
      faults: { crash: 0.3 },
      maxAttempts: 20,
      seed: 3,
    });
    expect(results.runtimes[0]).toMatchObject({
      passed: 4,
      hostCrashes: 1,
      faultsInjected: { crash: 1, hang: 0, leak: 0 },
    });
  });
});

describe('runtimes and workers', () => {
  it('fit together, or are refused before anything runs', async () => {
    await expect(run(['python-pool'], {})).rejects.toMatchObject({ code: 'USAGE' });
    await expect(run(['thread'], { worker: 'python' })).rejects.toMatchObject({ code: 'USAGE' });
    await expect(run(['process'], { featurize: 'worker' })).rejects.toMatchObject({ code: 'USAGE' });
    await expect(run(['process'], { worker: 'cobol' })).rejects.toMatchObject({ code: 'USAGE' });
  });
});
