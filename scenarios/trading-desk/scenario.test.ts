import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { runFleet } from '../../bench/fleet/testing.ts';
import { liveUntil, newDesk, place } from '../../worlds/catalog/trading-desk/broker.ts';
import { planSession } from '../../worlds/catalog/trading-desk/session.ts';
import { drawdownOf, judgeSession, sharpeOf } from './judge.ts';
import tradingDesk from './scenario.ts';

describe('judging a session', () => {
  it('knows drawdowns and Sharpe ratios', () => {
    expect(drawdownOf([100, 120, 90, 110, 80, 130])).toBe(40);
    expect(drawdownOf([1, 2, 3])).toBe(0);
    // Changes 1, 2, 3: mean 2, deviation 1.
    expect(sharpeOf([0, 1, 3, 6])).toBeCloseTo(2 * Math.sqrt(3), 10);
    expect(sharpeOf([5, 5, 5])).toBeNull();
  });

  it('counts from the shock until the stop that covers it, and stops without a shock as needless', () => {
    const plan = planSession(5, { only: 'gap' });
    const state = newDesk(5, plan);
    state.startedMs = 0;
    place(state, 0, { account: 'me', clientId: '', symbol: 'ACME', side: 'buy', quantity: 100, limit: null });
    liveUntil(state, plan.durationMs);
    const [shock] = plan.shocks;
    if (shock === undefined) throw new Error('no shock');
    const stop = (fromMs: number, untilMs: number) => ({ fromMs, untilMs, by: 'risk-officer', reason: '' });
    expect(judgeSession(plan, state, 'me').metrics).toMatchObject({ stopDelayS: 20, needlessStops: 0 });
    state.stops.push(stop(shock.startMs + 4000, shock.startMs + 60_000), stop(1000, 2000));
    expect(judgeSession(plan, state, 'me').metrics).toMatchObject({
      stopDelayS: 4,
      needlessStops: 1,
      filledOrders: 1,
    });
  });
});

describe('trading-desk', () => {
  it('shows what a risk officer is worth, and the same seed gives the same books', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    if (!existsSync('/usr/bin/python3')) context.skip('no python3 in the system folders');
    const some = {
      ...tradingDesk,
      variants: { trader: ['reckless', 'market-maker'], officer: ['on', 'off'] },
    };
    const first = await runFleet(some, { set: { session: '5m' } });
    expect(
      first.results.trials.map(({ status }) => status),
      first.explain('clove'),
    ).toEqual(['passed', 'passed', 'passed', 'passed']);
    const [guarded, alone, maker] = first.results.trials.map(({ metrics }) => metrics);
    expect(Number(guarded?.breachSeconds)).toBeLessThan(Number(alone?.breachSeconds));
    expect(Number(guarded?.drawdownEuro)).toBeLessThan(Number(alone?.drawdownEuro));
    expect(maker?.breachSeconds).toBe(0);
    const again = await runFleet(
      { ...some, variants: { trader: ['reckless'], officer: ['on', 'off'] } },
      { set: { session: '5m' } },
    );
    const hashes = [first, again].map(({ results }) =>
      results.trials.slice(0, 2).map(({ facts }) => facts?.bookHash),
    );
    expect(hashes[0]?.every((hash) => /^[0-9a-f]{64}$/.test(String(hash)))).toBe(true);
    expect(hashes[1]).toEqual(hashes[0]);
  }, 300_000);
});
