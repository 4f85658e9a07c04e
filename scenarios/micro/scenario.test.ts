import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compare, DEFAULT_COMPARE } from '../../bench/compare/compare.ts';
import { measuredOf } from '../../bench/compare/index.ts';
import { runBench } from '../../bench/run.ts';
import micro from './scenario.ts';

const options = { quick: true, size: null, seed: 1, dataDirectory: null, cacheDirectory: '/nonexistent' };

describe('measurements of Clove itself', () => {
  it('are trials by name and round, in turns; what is not known is refused', async () => {
    const plan = await micro.plan({ ...options, set: { names: 'noop,hello', rounds: '2' } });
    const trials = await plan.trials();
    expect(trials.map(({ params }) => `${params.name} ${params.round}`)).toEqual([
      'noop 1',
      'hello 1',
      'noop 2',
      'hello 2',
    ]);
    for (const set of [{ names: 'nothing' }, { rounds: '0' }, { seconds: 'x' }])
      await expect(
        micro.plan({ ...options, set: set as unknown as Record<string, string> }),
      ).rejects.toMatchObject({ code: 'USAGE' });
  });

  it('leave a run in the store that compares, by ratios, on one machine', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'clove-micro-test-'));
    try {
      const { results } = await runBench({
        scenario: micro,
        runtimes: ['process'],
        parallel: 1,
        set: { names: 'noop', rounds: '2', seconds: '0.05' },
        runsDirectory: join(folder, 'runs'),
        cacheDirectory: join(folder, 'cache'),
      });
      expect(
        results.trials.map(({ status }) => status),
        JSON.stringify(results.trials),
      ).toEqual(['passed', 'passed']);
      for (const { metrics } of results.trials)
        expect(metrics).toMatchObject({
          latencyUs: { p50: expect.any(Number) },
          perSecond: expect.any(Number),
        });
      const side = measuredOf(results);
      const { changes } = compare(side, side, DEFAULT_COMPARE);
      const median = changes.find(({ metric }) => metric.name === 'latencyUs.p50');
      expect(median?.metric).toMatchObject({ scale: 'ratio', machineBound: true, higherIsBetter: false });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }, 180_000);
});
