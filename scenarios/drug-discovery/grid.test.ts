/** Whole grids through the bench, as `clove bench run drug-discovery` does it. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runBench } from '../../bench/run.ts';
import type { RunResults, TrialOutcome } from '../../bench/types.ts';
import { DATASETS } from './data/sources.ts';
import drugDiscovery from './scenario.ts';

const REAL_DATA = process.env.CLOVE_DATA ?? resolve(import.meta.dirname, '../../../shared/data');
const hasRealData = Object.values(DATASETS).every(({ file }) => existsSync(join(REAL_DATA, file)));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'clove-grid-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const places = () => ({ runsDirectory: join(folder, 'runs'), cacheDirectory: join(folder, 'cache') });

function test(trial: TrialOutcome): { aucRoc: number; averagePrecision: number } {
  return trial.metrics?.test as unknown as { aucRoc: number; averagePrecision: number };
}

function bestAuc(results: RunResults, dataset: string): number {
  return Math.max(
    ...results.trials.filter((trial) => trial.params.dataset === dataset).map((trial) => test(trial).aucRoc),
  );
}

describe('the quick grid on built-in data', () => {
  it('completes under the kernel while trials crash and leak, with the figures of a plain process', {
    timeout: 480_000,
  }, async () => {
    const options = {
      ...places(),
      scenario: drugDiscovery,
      quick: true,
      dataDirectory: 'built-in',
      parallel: 2,
      maxAttempts: 12,
    };
    const faulty = await runBench({
      ...options,
      runtimes: ['clove'],
      faults: { crash: 0.25, leak: 0.25 },
      timeoutMs: 60_000,
    });
    expect(faulty.results.verdict).toMatchObject({ kind: 'pass', coverage: 1 });
    const ends = new Set(
      faulty.results.trials.flatMap((trial) => trial.attempts.map((attempt) => attempt.end)),
    );
    expect([...ends]).toEqual(expect.arrayContaining(['completed', 'crashed', 'oom']));
    expect(faulty.results.isolation.length).toBeGreaterThan(0);

    const plain = await runBench({ ...options, runtimes: ['process'] });
    expect(plain.results.preparations.map(({ name, from }) => `${name} ${from}`)).toEqual([
      'hERG cache',
      'AMES cache',
    ]);
    const metrics = (results: RunResults) => results.trials.map((trial) => trial.metrics);
    expect(metrics(plain.results)).toEqual(metrics(faulty.results));
    // The trials above were forked from one process; here each is a program of its own.
    const apart = await runBench({ ...options, runtimes: ['clove'], zygote: false });
    expect(metrics(apart.results)).toEqual(metrics(faulty.results));
    if (process.geteuid?.() !== 0) return;
    const forked = /^Runtime clove forks trials from a template/;
    expect(faulty.results.notices).toContainEqual(expect.stringMatching(forked));
    expect(apart.results.notices).not.toContainEqual(expect.stringMatching(forked));
  });
});

describe('the whole grid on measured data', () => {
  it('finds what the literature expects of these models', { timeout: 480_000 }, async (context) => {
    if (!hasRealData) return context.skip(`no measured data in ${REAL_DATA}`);
    const { results } = await runBench({
      ...places(),
      scenario: drugDiscovery,
      runtimes: ['process'],
      parallel: 2,
      dataDirectory: REAL_DATA,
    });
    expect(results.verdict).toMatchObject({
      kind: 'pass',
      reason: '48 of 48 experiments completed under process.',
    });
    const aucOf = (dataset: string, features: string, model: string) => {
      const found = results.trials.find(
        ({ params }) => params.dataset === dataset && params.features === features && params.model === model,
      );
      return found === undefined ? Number.NaN : test(found).aucRoc;
    };
    const ames = [aucOf('AMES', 'morgan', 'random_forest'), aucOf('AMES', 'morgan', 'svm')];
    expect(Math.max(...ames)).toBeGreaterThanOrEqual(0.85);
    expect(bestAuc(results, 'hERG')).toBeGreaterThanOrEqual(0.8);
    expect(bestAuc(results, 'BBBP')).toBeGreaterThanOrEqual(0.88);
    for (const trial of results.trials) {
      const { trainSamples, validSamples, testSamples } = trial.facts as Record<string, number>;
      const all = Number(trainSamples) + Number(validSamples) + Number(testSamples);
      expect(Number(trainSamples) / all).toBeCloseTo(0.7, 2);
      expect(Number(testSamples) / all).toBeCloseTo(0.2, 2);
      expect(test(trial).aucRoc).toBeGreaterThan(0.5);
    }
    expect(results.provenance.every((source) => source.kind === 'measured')).toBe(true);
  });
});
