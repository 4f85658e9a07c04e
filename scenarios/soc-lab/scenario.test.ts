import { describe, expect, it } from 'vitest';
import { runFleet } from '../../bench/fleet/testing.ts';
import socLab from './scenario.ts';

const CHECKS = [
  'severity-model',
  'detected',
  'remediated',
  'nobody-innocent',
  'book-is-true',
  'least-privilege',
  'safety',
  'alive',
];

describe('SOC lab', () => {
  it('finds and stops every attack, touches nobody else, and the same seed gives the same book', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    const options = { runtimes: ['clove'], set: { clock: 'strict' } } as const;
    const first = await runFleet(socLab, options);
    const again = await runFleet(socLab, options);
    for (const { checks, explain, results } of [first, again]) {
      expect(
        results.trials.map(({ status }) => status),
        explain('clove'),
      ).toEqual(['passed']);
      expect(Object.keys(checks('clove'))).toEqual(CHECKS);
      expect(results.trials[0]?.metrics).toMatchObject({
        detected: 1,
        remediated: 1,
        wronglyBlocked: 0,
        events: 55,
      });
    }
    const [one, two] = [first, again].map(({ results }) => results.trials[0]?.facts?.bookHash);
    expect(one).toMatch(/^[0-9a-f]{64}$/);
    expect(two).toBe(one);
  }, 300_000);
});
