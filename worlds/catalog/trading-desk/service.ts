import { defineService, type ServiceCall } from '../../network/service.ts';
import { bodyOf } from '../body.ts';
import {
  type Account,
  accountOf,
  cancelOrders,
  type DeskState,
  isStopped,
  LIMITS,
  liveUntil,
  newDesk,
  type Order,
  paperOf,
  place,
  sessionMs,
  standing,
} from './broker.ts';
import type { Quote } from './market.ts';
import { isPaper, PAPERS, planSession } from './session.ts';

export const OFFICER = 'risk-officer';
export const AUDITOR = 'auditor';
const MAX_SHARES = 1_000_000;
const MAX_ANSWERED = 500;

const refuse = (status: number, error: string) => Response.json({ error }, { status });
const notOpen = () => refuse(409, 'the session has not begun: POST http://exchange.test/open');
type Call = ServiceCall<DeskState>;

/** Until now; null = the session has not begun. */
function clockOf({ state, now }: Call): number | null {
  liveUntil(state, now);
  return sessionMs(state, now);
}

/** What only somebody with a name may do; who has none is an operator. */
function isNot(role: string, { caller }: Call): boolean {
  return caller.agentName !== role && caller.agentName !== '';
}

function quoteLine(symbol: string, { bid, ask, size, halted, atMs }: Quote) {
  return { symbol, bid, ask, size, halted, at_ms: atMs };
}

function accountLine(state: DeskState, name: string, account: Account) {
  const { equity, gross, largest, drawdown } = standing(state, account);
  return {
    account: name,
    cash: account.cash,
    positions: account.positions,
    equity,
    gross,
    largest,
    drawdown,
    halted: account.halted || isStopped(state),
  };
}

function orderLine({ id, clientId, symbol, side, quantity, limit, filled, paid, status }: Order) {
  const price = filled === 0 ? null : Math.round(paid / filled);
  return { id, client_id: clientId, symbol, side, quantity, limit, filled, status, price };
}

/**
 * exchange.test has quotes, which may be old or wrong; broker.test has the books, which are right. Prices in cents.
 */
export const deskService = defineService({
  state: newDesk(1, planSession(1)),
  routes: {
    'POST /open': ({ state, now }) => {
      state.startedMs ??= now;
      return { began: state.startedMs === now, duration_ms: state.plan.durationMs };
    },
    'GET /session': (call) => {
      const atMs = clockOf(call);
      const { durationMs } = call.state.plan;
      return { elapsed_ms: atMs, remaining_ms: atMs === null ? durationMs : Math.max(0, durationMs - atMs) };
    },
    'GET /quotes': (call) => {
      const atMs = clockOf(call);
      if (atMs === null) return notOpen();
      return { now_ms: atMs, quotes: call.state.papers.map(({ symbol, shown }) => quoteLine(symbol, shown)) };
    },
    'GET /quotes/:symbol': (call) => {
      if (clockOf(call) === null) return notOpen();
      const { symbol } = call.params;
      return isPaper(symbol)
        ? quoteLine(symbol, paperOf(call.state, symbol).shown)
        : refuse(404, 'no such paper');
    },

    'GET /limits': () => ({ ...LIMITS }),
    'POST /orders': async (call) => {
      const atMs = clockOf(call);
      if (atMs === null) return notOpen();
      const { state, caller } = call;
      const { symbol, side, quantity, limit = null, client_id } = await bodyOf(call);
      if (!isPaper(symbol))
        return refuse(400, `papers are ${PAPERS.map((paper) => paper.symbol).join(', ')}`);
      if (side !== 'buy' && side !== 'sell') return refuse(400, 'side is buy or sell');
      if (
        typeof quantity !== 'number' ||
        !Number.isInteger(quantity) ||
        quantity < 1 ||
        quantity > MAX_SHARES
      )
        return refuse(400, 'quantity is a whole number of shares');
      if (limit !== null && (typeof limit !== 'number' || !Number.isInteger(limit) || limit < 1))
        return refuse(400, 'limit is a price in cents');
      const { order, isConfirmed, reason } = place(state, atMs, {
        account: caller.agentName,
        clientId: String(client_id ?? '').slice(0, 64),
        symbol,
        side,
        quantity,
        limit,
      });
      if (reason !== null) return refuse(422, reason);
      return isConfirmed
        ? Response.json(orderLine(order), { status: 201 })
        : refuse(504, 'no answer from the matching engine');
    },
    'GET /orders': (call) => {
      clockOf(call);
      const wanted = call.query.get('client_id');
      const after = Number(call.query.get('after') ?? 0);
      const own = call.state.orders.filter(
        ({ id, account, clientId }) =>
          id > after && account === call.caller.agentName && (wanted === null || clientId === wanted),
      );
      return { orders: own.slice(-MAX_ANSWERED).map(orderLine) };
    },
    'POST /orders/cancel': async (call) => {
      clockOf(call);
      const { symbol = null } = await bodyOf(call);
      const own = ({ account, symbol: of }: Order) =>
        account === call.caller.agentName && (symbol === null || of === symbol);
      return { cancelled: cancelOrders(call.state, own) };
    },
    'GET /account': (call) => {
      if (clockOf(call) === null) return notOpen();
      return accountLine(call.state, call.caller.agentName, accountOf(call.state, call.caller.agentName));
    },

    // For those who look after others.
    'GET /accounts': (call) => {
      if (isNot(OFFICER, call) && isNot(AUDITOR, call)) return refuse(403, 'not for you');
      if (clockOf(call) === null) return notOpen();
      return {
        accounts: Object.entries(call.state.accounts).map(([name, account]) =>
          accountLine(call.state, name, account),
        ),
      };
    },
    'GET /fills': (call) => {
      if (isNot(AUDITOR, call)) return refuse(403, 'not for you');
      const atMs = clockOf(call);
      const after = Number(call.query.get('after') ?? 0);
      const { fills } = call.state;
      return {
        now_ms: atMs,
        fills: fills.slice(after, after + MAX_ANSWERED),
        next: Math.min(fills.length, after + MAX_ANSWERED),
      };
    },
    'POST /accounts/:name/halt': async (call) => {
      if (isNot(OFFICER, call)) return refuse(403, 'not for you');
      clockOf(call);
      const name = call.params.name ?? '';
      if (!Object.hasOwn(call.state.accounts, name)) return refuse(404, 'no such account');
      const { halted } = await bodyOf(call);
      const account = accountOf(call.state, name);
      account.halted = halted === true;
      if (account.halted) cancelOrders(call.state, (order) => order.account === name);
      return { account: name, halted: account.halted };
    },
    /** Brings a position down by a share of it, at what is to be had. */
    'POST /accounts/:name/reduce': async (call) => {
      if (isNot(OFFICER, call)) return refuse(403, 'not for you');
      const atMs = clockOf(call);
      const name = call.params.name ?? '';
      if (atMs === null || !Object.hasOwn(call.state.accounts, name)) return refuse(404, 'no such account');
      const { symbol, share } = await bodyOf(call);
      if (!isPaper(symbol) || typeof share !== 'number' || !(share > 0 && share <= 1))
        return refuse(400, 'symbol, and share of its position from 0 to 1');
      const held = accountOf(call.state, name).positions[symbol] ?? 0;
      const quantity = Math.ceil(Math.abs(held) * share);
      if (quantity === 0) return { reduced: 0, order: null };
      const side = held > 0 ? 'sell' : 'buy';
      const { order, reason } = place(call.state, atMs, {
        account: name,
        clientId: 'reduce',
        symbol,
        side,
        quantity,
        limit: null,
      });
      return reason === null ? { reduced: order.filled, order: order.id } : refuse(422, reason);
    },
    'POST /stop': async (call) => {
      if (isNot(OFFICER, call)) return refuse(403, 'not for you');
      const atMs = clockOf(call);
      if (atMs === null) return notOpen();
      const { reason } = await bodyOf(call);
      if (!isStopped(call.state)) {
        const stop = {
          fromMs: atMs,
          untilMs: null,
          by: call.caller.agentName,
          reason: String(reason ?? '').slice(0, 200),
        };
        call.state.stops.push(stop);
        cancelOrders(call.state, () => true);
      }
      return { stopped: true };
    },
    'DELETE /stop': (call) => {
      if (isNot(OFFICER, call)) return refuse(403, 'not for you');
      const atMs = clockOf(call);
      const last = call.state.stops.at(-1);
      if (last !== undefined && last.untilMs === null) last.untilMs = atMs;
      return { stopped: false };
    },
  },
});
