import { describe, expect, it } from 'vitest';
import { runFleet } from '../../bench/fleet/testing.ts';
import llmContention from './scenario.ts';

describe('llm-contention', () => {
  it('shares the model evenly and lets nobody past the kernel; without walls one gets past', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    const { checks, explain, results } = await runFleet(llmContention, { runtimes: ['clove', 'process'] });
    expect(
      Object.values(checks('clove')).map(({ id, status }) => [id, status]),
      explain('clove'),
    ).toEqual(['quota', 'fair-shares', 'no-bypass', 'accounts'].map((id) => [id, 'passed']));
    expect(checks('clove')['no-bypass']?.layer).toBe('netns');
    expect(checks('process')['no-bypass']?.status, explain('process')).toBe('failed');
    expect(checks('process').quota?.status, explain('process')).toBe('passed');
    const fairness = results.trials[0]?.metrics?.fairness as number;
    expect(fairness).toBeGreaterThan(0.9);
    expect(fairness).toBeLessThanOrEqual(1);
  }, 240_000);
});
