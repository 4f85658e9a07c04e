import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dryRun, estimateFrom } from './dry-run.ts';
import type { BenchOptions } from './options.ts';
import { runBench } from './run.ts';
import { findScenarios, loadScenarioFile } from './scenarios.ts';
import { makeRunId, runIdForm } from './store/runs.ts';
import { tinyScenario } from './testing/tiny-scenario.ts';
import type { RunResults } from './types.ts';

let folder: string;
let options: BenchOptions;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'clove-dry-run-'));
  options = {
    scenario: tinyScenario,
    runtimes: ['sequential'],
    parallel: 2,
    runsDirectory: join(folder, 'runs'),
    cacheDirectory: join(folder, 'cache'),
  };
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const codeOf = (code: string) => expect.objectContaining({ code });

describe('dryRun', () => {
  it('names the trials that a run would have, and makes nothing', async () => {
    const plan = await dryRun({ ...options, set: { trials: '3' }, faults: { crash: 0.1 } });
    expect(plan.trials.map(({ id, params }) => [id, params.index])).toEqual([
      ['exp_001', 0],
      ['exp_002', 1],
      ['exp_003', 2],
    ]);
    expect(plan).toMatchObject({
      scenario: { name: 'tiny', version: '1' },
      runtimes: ['sequential'],
      faults: { crash: 0.1 },
      estimatedWallMs: null,
      runDirForm: join(folder, 'runs', 'YYYYMMDD-HHMMSS-tiny-xxxx'),
    });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('goes by the latest complete run of the same scenario, for each runtime', async () => {
    const set = { trials: '3' };
    const { results } = await runBench({ ...options, set });
    expect(results.status).toBe('complete');
    const [only] = results.runtimes;
    const same = await dryRun({ ...options, set });
    expect(same.trials.map(({ key }) => key)).toEqual(results.trials.map(({ key }) => key));
    expect(same.estimates).toEqual([
      {
        runtime: 'sequential',
        wallMs: Math.round(only?.wallMs ?? 0),
        fromRun: results.runId,
        knownTrials: 3,
      },
    ]);
    expect(same.estimatedWallMs).toBe(same.estimates[0]?.wallMs);
    const more = await dryRun({ ...options, set: { trials: '6' }, runtimes: ['sequential', 'process'] });
    expect(more.estimates).toMatchObject([{ knownTrials: 3 }, { runtime: 'process', wallMs: null }]);
    expect(more.estimatedWallMs).toBeNull();
    const other = { ...tinyScenario, version: '2' };
    expect((await dryRun({ ...options, set, scenario: other })).estimates).toMatchObject([{ wallMs: null }]);
  });

  it('refuses what a run would refuse, in the same words', async () => {
    const wrong: Partial<BenchOptions>[] = [
      { runtimes: ['moon' as never] },
      { runtimes: ['python-pool'] },
      { set: { colour: 'red' } },
      { parallel: 0 },
      { set: { trials: '0' } },
      { set: { trials: '2' }, shard: { index: 3, count: 3 } },
    ];
    for (const each of wrong) {
      const [described, run] = await Promise.all(
        [dryRun, runBench].map((begin) =>
          begin({ ...options, ...each }).then(
            () => 'no error',
            (error) => ({ code: error.code, message: error.message, hint: error.hint }),
          ),
        ),
      );
      expect(described).toEqual(run);
      expect(described).toEqual(codeOf(each.set?.trials === '0' ? 'CONFIG' : 'USAGE'));
    }
  });

  it.each(findScenarios().map((found) => [found.name, found] as const))(
    'describes %s without preparing its inputs',
    async (_name, found) => {
      const scenario = await loadScenarioFile(found);
      const plan = await dryRun({ ...options, runtimes: ['process'], scenario, dataDirectory: 'built-in' });
      expect(plan.trials.length).toBeGreaterThan(0);
      expect(readdirSync(folder)).toEqual([]);
    },
  );

  it('describes drug-discovery with the Python worker, whose environment is not there yet', async () => {
    const found = findScenarios().find(({ name }) => name === 'drug-discovery');
    if (found === undefined) throw new Error('no drug-discovery');
    const plan = await dryRun({
      ...options,
      scenario: await loadScenarioFile(found),
      runtimes: ['process'],
      dataDirectory: 'built-in',
      set: { worker: 'python' },
    });
    expect(plan.trials.length).toBe(48);
    expect(plan.prepare).toContainEqual({
      name: 'Python environment',
      cached: false,
      announcement: expect.stringContaining('installing'),
    });
    expect(plan.data.map(({ kind }) => kind)).toEqual(Array(4).fill('synthetic'));
    expect(existsSync(join(folder, 'cache'))).toBe(false);
  });
});

describe('an estimate', () => {
  const earlier = (walls: readonly number[], parallel: number, wallMs: number) =>
    ({
      runId: 'earlier',
      runtimes: [{ runtime: 'process', parallel, wallMs }],
      trials: walls.map((wall, index) => ({
        key: `key${index}`,
        runtime: 'process',
        attempts: [{ usage: { wallMs: wall } }],
      })),
    }) as unknown as RunResults;
  const keys = (...numbers: number[]) => numbers.map((number) => ({ key: `key${number}` }));
  const msOf = (...given: Parameters<typeof estimateFrom>) => estimateFrom(...given)?.wallMs;

  it('is what the same trials took at the same width', () => {
    expect(msOf(earlier([1000, 3000, 2000], 2, 3300), 'process', keys(0, 1, 2), 2)).toBe(3300);
  });
  it('is their share where there are fewer, and more by the mean where there are unknown ones', () => {
    expect(msOf(earlier([1000, 3000, 2000], 1, 6000), 'process', keys(0, 2), 1)).toBe(3000);
    expect(msOf(earlier([1000, 3000, 2000], 1, 6000), 'process', keys(0, 1, 2, 8), 1)).toBe(8000);
  });
  it('is never below the longest trial', () => {
    expect(msOf(earlier([1000, 3000, 2000], 1, 6000), 'process', keys(0, 1, 2), 8)).toBe(3000);
  });
  it('cannot be had from a runtime that did not run', () => {
    expect(estimateFrom(earlier([1], 1, 1), 'thread', keys(0), 1)).toBeNull();
  });
});

it('names the form that ids of runs have', () => {
  const pattern = runIdForm('soc-lab')
    .replace(/[YMDHS]/g, '\\d')
    .replace(/xxxx$/, '[0-9a-f]{4}');
  expect(makeRunId('soc-lab', new Date())).toMatch(new RegExp(`^${pattern}$`));
});
