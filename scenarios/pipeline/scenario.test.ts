import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { runFleet } from '../../bench/fleet/testing.ts';
import pipeline from './scenario.ts';

describe('pipeline', () => {
  it('answers every question although a stage is killed by its limit; without limits it is not', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    if (!existsSync('/usr/bin/python3')) context.skip('no python3 in the system folders');
    const { checks, explain, results } = await runFleet(pipeline, { runtimes: ['clove', 'process'] });
    expect(
      results.trials.map(({ runtime, params, status }) => [runtime, params.inFlight, status]),
      explain('clove'),
    ).toEqual([
      ['clove', 1, 'passed'],
      ['clove', 8, 'passed'],
      ['process', 1, 'failed'],
      ['process', 8, 'failed'],
    ]);
    expect(Object.keys(checks('clove'))).toEqual([
      'answered',
      'poison-contained',
      'others-untouched',
      'route',
    ]);
    expect(checks('clove')['poison-contained']?.layer).toBe('mem');
    expect(checks('process')['poison-contained']?.status, explain('process')).toBe('failed');
    expect(checks('process').answered?.status, explain('process')).toBe('passed');
    for (const trial of results.trials)
      expect(trial.metrics?.latencyMs).toMatchObject({ p50: expect.any(Number) });
  }, 240_000);
});
