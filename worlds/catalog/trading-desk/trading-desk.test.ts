import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  accountOf,
  CAPITAL,
  cancelOrders,
  type DeskState,
  LIMITS,
  liveUntil,
  newDesk,
  paperOf,
  place,
  standing,
} from './broker.ts';
import { middle } from './market.ts';
import { PAPERS, type PaperSymbol, planSession, SHOCK_KINDS, type ShockKind } from './session.ts';

function open(seed: number, only: ShockKind | null = null): DeskState {
  const state = newDesk(seed, planSession(seed, { only }));
  state.startedMs = 0;
  return state;
}
const order = (symbol: PaperSymbol, quantity: number, limit: number | null = null) =>
  ({
    account: 'me',
    clientId: '1',
    symbol,
    side: quantity > 0 ? 'buy' : 'sell',
    quantity: Math.abs(quantity),
    limit,
  }) as const;

describe('a session', () => {
  it('has every shock once, one after the other, the same for the same seed', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (seed) => {
        const { shocks, durationMs } = planSession(seed);
        expect(planSession(seed)).toEqual({ shocks, durationMs });
        expect(shocks.map(({ kind }) => kind).sort()).toEqual([...SHOCK_KINDS].sort());
        for (const [index, { startMs, endMs }] of shocks.entries()) {
          expect(endMs).toBeGreaterThan(startMs);
          expect(endMs).toBeLessThanOrEqual(shocks[index + 1]?.startMs ?? durationMs);
        }
      }),
      { numRuns: 50 },
    );
  });

  it('goes its way whoever looks how often', () => {
    const often = open(7);
    const once = open(7);
    for (let ms = 0; ms <= 900_000; ms += 333) liveUntil(often, ms);
    liveUntil(once, 900_000);
    liveUntil(often, 900_000);
    expect(often).toEqual(once);
  });
});

describe('shocks', () => {
  const during = (kind: ShockKind) => {
    const state = open(11, kind);
    const [shock] = state.plan.shocks;
    if (shock === undefined) throw new Error('no shock');
    const paper = () =>
      state.papers.find(({ symbol }) => symbol === shock.symbol) as DeskState['papers'][number];
    liveUntil(state, shock.startMs - 1000);
    return { state, shock, paper, before: middle(paper().true) };
  };

  it('gap: the price jumps within a second', () => {
    const { state, shock, paper, before } = during('gap');
    liveUntil(state, shock.startMs);
    expect(Math.abs(middle(paper().true) / before - 1)).toBeGreaterThan(0.03);
  });

  it('flash crash: down by a tenth, thin, and back', () => {
    const { state, shock, paper, before } = during('flash_crash');
    liveUntil(state, shock.startMs + 20_000);
    expect(middle(paper().true) / before).toBeLessThan(0.92);
    expect(paper().true.size).toBeLessThan(500);
    liveUntil(state, shock.endMs + 1000);
    expect(middle(paper().true) / before).toBeGreaterThan(0.93);
  });

  it('halt: no order is taken', () => {
    const { state, shock } = during('halt');
    liveUntil(state, shock.startMs + 2000);
    expect(place(state, shock.startMs + 2000, order(shock.symbol, 10)).reason).toBe('trading is halted');
  });

  it('stale feed: what is shown stays, what holds moves', () => {
    const { state, shock, paper } = during('stale_feed');
    const { shown } = paper();
    liveUntil(state, shock.endMs - 1000);
    expect(paper().shown).toEqual(shown);
    expect(Math.abs(middle(paper().true) / middle(shown) - 1)).toBeGreaterThan(0.02);
  });

  it('fat finger: the feed is wrong, fills are not', () => {
    const { state, shock, paper, before } = during('fat_finger');
    liveUntil(state, shock.startMs + 2000);
    expect(Math.abs(middle(paper().shown) / before - 1)).toBeGreaterThan(0.8);
    const { order: filled } = place(state, shock.startMs + 2000, order(shock.symbol, 10));
    expect(Math.abs(filled.paid / 10 / before - 1)).toBeLessThan(0.05);
    expect(state.fooled).toBe(1);
  });

  it('lost confirmation: filled, and nobody is told', () => {
    const { state, shock } = during('lost_confirmation');
    liveUntil(state, shock.startMs + 2000);
    const { order: filled, isConfirmed } = place(state, shock.startMs + 2000, order(shock.symbol, 10));
    expect({ isConfirmed, filled: filled.filled }).toEqual({ isConfirmed: false, filled: 10 });
    expect(accountOf(state, 'me').positions[shock.symbol]).toBe(10);
  });
});

describe('the broker', () => {
  const symbols = PAPERS.map(({ symbol }) => symbol);

  it('keeps books in which nothing is lost: cash and positions are what the fills add up to', () => {
    const trade = fc.record({
      symbol: fc.constantFrom(...symbols),
      quantity: fc.integer({ min: -3000, max: 3000 }).filter((quantity) => quantity !== 0),
      offset: fc.option(fc.integer({ min: -50, max: 50 })),
      waitMs: fc.integer({ min: 0, max: 20_000 }),
    });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1000 }), fc.array(trade, { maxLength: 40 }), (seed, trades) => {
        const state = open(seed);
        let now = 0;
        for (const { symbol, quantity, offset, waitMs } of trades) {
          now += waitMs;
          liveUntil(state, now);
          const price = Math.round(middle(paperOf(state, symbol).true));
          place(state, now, order(symbol, quantity, offset === null ? null : price + offset));
        }
        liveUntil(state, now + 30_000);
        const account = accountOf(state, 'me');
        let cash = CAPITAL - account.fees;
        const held: Record<string, number> = {};
        for (const { symbol, side, quantity, price } of state.fills) {
          const signed = side === 'buy' ? quantity : -quantity;
          cash -= signed * price;
          held[symbol] = (held[symbol] ?? 0) + signed;
        }
        expect(account.cash).toBe(cash);
        for (const symbol of symbols) expect(account.positions[symbol] ?? 0).toBe(held[symbol] ?? 0);
        for (const { filled, quantity } of state.orders) expect(filled).toBeLessThanOrEqual(quantity);
      }),
      { numRuns: 40 },
    );
  });

  it('counts how long a limit is broken, and lets a halted account only out', () => {
    const state = open(3);
    liveUntil(state, 10_000);
    const price = PAPERS[0].cents;
    const shares = Math.ceil((LIMITS.position * 1.5) / price);
    place(state, 10_000, order('ACME', shares));
    liveUntil(state, 15_000);
    const account = accountOf(state, 'me');
    expect(account.longestBreach).toBe(5);
    account.halted = true;
    expect(place(state, 15_000, order('ACME', 10)).reason).toBe('the desk is stopped');
    expect(place(state, 15_000, order('ACME', -shares)).reason).toBeNull();
    liveUntil(state, 20_000);
    expect(account.longestBreach).toBe(5);
    expect(standing(state, account).gross).toBe(0);
  });

  it('fills waiting orders when the market comes to them, at their own price, until they are cancelled', () => {
    const state = open(5, 'flash_crash');
    const [shock] = state.plan.shocks;
    if (shock === undefined) throw new Error('no shock');
    liveUntil(state, shock.startMs - 1000);
    const paper = state.papers.find(({ symbol }) => symbol === shock.symbol);
    const limit = Math.round((paper?.true.bid ?? 0) * 0.95);
    const { order: waiting } = place(state, shock.startMs - 1000, order(shock.symbol, 50, limit));
    const { order: cancelled } = place(state, shock.startMs - 1000, order(shock.symbol, 50, limit));
    cancelOrders(state, ({ id }) => id === cancelled.id);
    liveUntil(state, shock.startMs + 21_000);
    expect([waiting.status, waiting.paid]).toEqual(['filled', 50 * limit]);
    expect([cancelled.status, cancelled.filled]).toEqual(['cancelled', 0]);
  });
});
