/** What a session was worth, from the broker's own books and the plan of the seed. Pure. */
import {
  type Account,
  CAPITAL,
  type DeskState,
  LIMITS,
  standing,
} from '../../worlds/catalog/trading-desk/broker.ts';
import { DANGEROUS, type SessionPlan, type Shock } from '../../worlds/catalog/trading-desk/session.ts';

export interface ShockVerdict extends Shock {
  /** ms from its beginning until the desk was stopped; null = it was not. */
  readonly stoppedMs: number | null;
}

export interface SessionVerdict {
  /** Of those after which a desk has to be stopped. */
  readonly shocks: readonly ShockVerdict[];
  readonly metrics: Readonly<Record<string, number | null>>;
}

/** Late by less than this an officer still stopped because of the shock. */
const AFTERWARDS_MS = 10_000;

export function judgeSession(plan: SessionPlan, state: DeskState, trader: string): SessionVerdict {
  const account: Account | undefined = state.accounts[trader];
  const shocks = plan.shocks
    .filter(({ kind }) => DANGEROUS.has(kind))
    .map((shock): ShockVerdict => {
      const covers = ({ fromMs, untilMs }: { fromMs: number; untilMs: number | null }) =>
        fromMs < shock.endMs + AFTERWARDS_MS && (untilMs === null || untilMs > shock.startMs);
      const stop = state.stops.find(covers);
      return { ...shock, stoppedMs: stop === undefined ? null : Math.max(0, stop.fromMs - shock.startMs) };
    });
  const late = shocks.map(({ stoppedMs, startMs, endMs }) => stoppedMs ?? endMs + AFTERWARDS_MS - startMs);
  const needless = state.stops.filter(
    ({ fromMs }) =>
      !plan.shocks.some(({ startMs, endMs }) => startMs <= fromMs && fromMs < endMs + AFTERWARDS_MS),
  );
  const equity = [CAPITAL, ...(account?.equity ?? [])];
  const last = account === undefined ? CAPITAL : standing(state, account).equity;
  const own = state.orders.filter((order) => order.account === trader);
  return {
    shocks,
    metrics: {
      profitEuro: (last - CAPITAL) / 100,
      sharpe: sharpeOf(equity),
      drawdownEuro: drawdownOf([...equity, last]) / 100,
      breachSeconds: account?.breachSeconds ?? 0,
      longestBreachSeconds: account?.longestBreach ?? 0,
      worstUse: account?.worstUse ?? 0,
      stopDelayS: late.length === 0 ? null : Math.max(...late) / 1000,
      needlessStops: needless.length,
      orders: own.length,
      filledOrders: own.filter(({ filled }) => filled > 0).length,
      feesEuro: (account?.fees ?? 0) / 100,
      fooledOrders: state.fooled,
      unconfirmedOrders: state.unconfirmed.length,
      overDrawdownEuro: Math.max(0, drawdownOf([...equity, last]) - LIMITS.drawdown) / 100,
    },
  };
}

/** Mean over deviation of what changes from one look to the next, for the session as a whole; null where nothing changed. */
export function sharpeOf(equity: readonly number[]): number | null {
  const changes = equity.slice(1).map((value, index) => value - (equity[index] as number));
  if (changes.length < 2) return null;
  const mean = changes.reduce((sum, change) => sum + change, 0) / changes.length;
  const variance = changes.reduce((sum, change) => sum + (change - mean) ** 2, 0) / (changes.length - 1);
  return variance === 0 ? null : (mean / Math.sqrt(variance)) * Math.sqrt(changes.length);
}

/** The farthest below what it had been worth before. */
export function drawdownOf(equity: readonly number[]): number {
  let peak = Number.NEGATIVE_INFINITY;
  let deepest = 0;
  for (const value of equity) {
    peak = Math.max(peak, value);
    deepest = Math.max(deepest, peak - value);
  }
  return deepest;
}
