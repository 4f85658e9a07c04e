import { describe, expect, it } from 'vitest';
import { runFleet } from '../../bench/fleet/testing.ts';
import supervisor from './scenario.ts';

describe('supervisor', () => {
  it('restarts, backs off, gives up, and lets nobody harm a neighbour; without walls the neighbour dies', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    const { checks, explain, results } = await runFleet(supervisor, { runtimes: ['clove', 'process'] });
    const held = Object.values(checks('clove'));
    expect(
      held.map(({ id, status }) => [id, status]),
      explain('clove'),
    ).toEqual(
      [
        'flaky-recovers',
        'mail-survives',
        'hopeless-escalates',
        'backoff',
        'finished-stays',
        'steady-untouched',
      ].map((id) => [id, 'passed']),
    );
    expect(checks('clove')['steady-untouched']?.layer).toBe('pidns');
    expect(checks('process')['steady-untouched']?.status, explain('process')).toBe('failed');
    // Supervision itself does not hang on sandboxes.
    expect(checks('process')['hopeless-escalates']?.status, explain('process')).toBe('passed');
    const agents = results.trials[0]?.attempts[0]?.result?.fleet?.agents ?? [];
    expect(agents.find(({ name }) => name === 'hopeless')).toMatchObject({ restarts: 3, escalated: true });
    expect(results.trials[0]?.metrics).toMatchObject({ escalations: 1 });
  }, 240_000);
});
