import { describe, expect, it } from 'vitest';
import { runFleet } from '../../bench/fleet/testing.ts';
import { resultsSchema } from '../../reports/schema.ts';
import faultIsolation from './scenario.ts';

describe('fault-isolation', () => {
  it('holds in sandboxes, and not without: its checks are worth something', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    const { results, checks, explain } = await runFleet(faultIsolation, { runtimes: ['clove', 'process'] });
    const held = checks('clove');
    expect(
      Object.values(held).map(({ id, status }) => [id, status]),
      explain('clove'),
    ).toEqual([
      ['memory-hog-killed', 'passed'],
      ['cpu-hog-throttled', 'passed'],
      ['healthy-unaffected', 'passed'],
      ['walls', 'passed'],
    ]);
    expect(held['memory-hog-killed']?.layer).toBe('mem');
    expect(held['cpu-hog-throttled']?.layer).toBe('cpu');
    const open = checks('process');
    for (const id of ['memory-hog-killed', 'cpu-hog-throttled', 'walls'])
      expect(open[id]?.status, explain('process')).toBe('failed');
    expect(results.verdict).toMatchObject({ kind: 'pass', reason: '4 of 4 checks hold under clove.' });
    expect(results.trials.map(({ runtime, status }) => [runtime, status])).toEqual([
      ['clove', 'passed'],
      ['process', 'failed'],
    ]);
    expect(resultsSchema.safeParse(JSON.parse(JSON.stringify(results))).error).toBeUndefined();
    const agents = results.trials[0]?.attempts[0]?.result?.fleet?.agents ?? [];
    expect(agents.find(({ name }) => name === 'memory-hog')?.lives).toMatchObject([{ reason: 'oom' }]);
    expect(agents.find(({ name }) => name === 'healthy')).toMatchObject({ restarts: 0, escalated: false });
  }, 240_000);
});
