/** The broker's books: orders, fills, positions, limits, and the switch that stops the desk. */
import { middle, noise, openMarket, type Paper, type Quote, STEP_MS, stepPaper } from './market.ts';
import { type PaperSymbol, type SessionPlan, shockOn } from './session.ts';

/** Of an account. Cents. */
export const CAPITAL = 100_000_000;
export const LIMITS = {
  /** Of one paper, at its price. */
  position: 20_000_000,
  /** Of all papers, long and short. */
  gross: 40_000_000,
  /** Below the most that the account was ever worth. */
  drawdown: 2_000_000,
} as const;
/** What the broker lends at most: it does not keep the desk's own limits. */
const CREDIT = 120_000_000;
/** Per trade, as a share of its value. */
const FEE = 0.00002;
const IMPACT = 0.0004;
/** A limit is broken where more than this share is above it … */
export const TOLERANCE = 0.2;
const EQUITY_EVERY = 5;
const MAX_ORDERS = 20_000;
/** Customers of others take so many shares of the best price in a second. */
const FLOW = 1200;

export type Side = 'buy' | 'sell';
export interface Order {
  readonly id: number;
  readonly account: string;
  readonly clientId: string;
  readonly symbol: PaperSymbol;
  readonly side: Side;
  readonly quantity: number;
  /** Cents; null = at what is to be had now. */
  readonly limit: number | null;
  filled: number;
  /** Cents, for all that is filled. */
  paid: number;
  status: 'open' | 'filled' | 'cancelled' | 'rejected';
  readonly atMs: number;
}
export interface Fill {
  readonly orderId: number;
  readonly account: string;
  readonly symbol: PaperSymbol;
  readonly side: Side;
  readonly quantity: number;
  readonly price: number;
  readonly atMs: number;
}
export interface Account {
  cash: number;
  fees: number;
  positions: Record<string, number>;
  halted: boolean;
  peak: number;
  /** Every five seconds. Cents. */
  equity: number[];
  /** Seconds in which a limit was broken by more than the tolerance. */
  breachSeconds: number;
  /** The longest of them in a row. */
  longestBreach: number;
  currentBreach: number;
  /** The most that was used of a limit; 1 = all. */
  worstUse: number;
}
export interface Stop {
  readonly fromMs: number;
  untilMs: number | null;
  readonly by: string;
  readonly reason: string;
}

export interface DeskState {
  readonly seed: number;
  readonly plan: SessionPlan;
  startedMs: number | null;
  steps: number;
  papers: Paper[];
  accounts: Record<string, Account>;
  orders: Order[];
  fills: Fill[];
  stops: Stop[];
  /** Orders whose answer was lost. */
  unconfirmed: number[];
  /** Trades far from the true price, by what the feed showed. */
  fooled: number;
}

export function newDesk(seed: number, plan: SessionPlan): DeskState {
  return {
    seed,
    plan,
    startedMs: null,
    steps: 0,
    papers: openMarket(),
    accounts: {},
    orders: [],
    fills: [],
    stops: [],
    unconfirmed: [],
    fooled: 0,
  };
}

export function sessionMs({ startedMs }: DeskState, nowMs: number): number | null {
  return startedMs === null ? null : nowMs - startedMs;
}

/** Works out all seconds until now. */
export function liveUntil(state: DeskState, nowMs: number): void {
  const elapsed = sessionMs(state, nowMs);
  if (elapsed === null) return;
  const until = Math.floor(Math.min(elapsed, state.plan.durationMs) / STEP_MS);
  while (state.steps < until) {
    state.steps += 1;
    for (const paper of state.papers) stepPaper(paper, state.plan, state.seed, state.steps);
    matchResting(state);
    for (const account of Object.values(state.accounts)) keepAccount(state, account);
  }
}

export function accountOf(state: DeskState, name: string): Account {
  state.accounts[name] ??= {
    cash: CAPITAL,
    fees: 0,
    positions: {},
    halted: false,
    peak: CAPITAL,
    equity: [],
    breachSeconds: 0,
    longestBreach: 0,
    currentBreach: 0,
    worstUse: 0,
  };
  return state.accounts[name];
}

export function paperOf(state: DeskState, symbol: PaperSymbol): Paper {
  return state.papers.find((paper) => paper.symbol === symbol) as Paper;
}

export function isStopped(state: DeskState): boolean {
  return state.stops.at(-1)?.untilMs === null;
}

/** What an account is worth, and holds, at true prices. Cents. */
export function standing(state: DeskState, { cash, positions, peak }: Account) {
  let equity = cash;
  let gross = 0;
  let largest = 0;
  for (const paper of state.papers) {
    const value = (positions[paper.symbol] ?? 0) * middle(paper.true);
    equity += value;
    gross += Math.abs(value);
    largest = Math.max(largest, Math.abs(value));
  }
  return {
    equity: Math.round(equity),
    gross: Math.round(gross),
    largest: Math.round(largest),
    drawdown: Math.round(peak - equity),
  };
}

function keepAccount(state: DeskState, account: Account): void {
  const now = standing(state, account);
  account.peak = Math.max(account.peak, now.equity);
  if (state.steps % EQUITY_EVERY === 0) account.equity.push(now.equity);
  const use = Math.max(now.largest / LIMITS.position, now.gross / LIMITS.gross);
  account.worstUse = Math.max(account.worstUse, use);
  if (use > 1 + TOLERANCE) {
    account.breachSeconds += 1;
    account.currentBreach += 1;
    account.longestBreach = Math.max(account.longestBreach, account.currentBreach);
  } else account.currentBreach = 0;
}

export interface Request {
  readonly account: string;
  readonly clientId: string;
  readonly symbol: PaperSymbol;
  readonly side: Side;
  readonly quantity: number;
  readonly limit: number | null;
}

/** An order, as far as it is filled at once; and whether who sent it is told. */
export function place(
  state: DeskState,
  atMs: number,
  request: Request,
): { order: Order; isConfirmed: boolean; reason: string | null } {
  const { symbol, side, quantity, limit } = request;
  const account = accountOf(state, request.account);
  const paper = paperOf(state, symbol);
  const order: Order = { id: state.orders.length + 1, ...request, filled: 0, paid: 0, status: 'open', atMs };
  const held = account.positions[symbol] ?? 0;
  const after = held + (side === 'buy' ? quantity : -quantity);
  const isReducing = Math.abs(after) < Math.abs(held);
  const value = standing(state, account).gross + quantity * middle(paper.true);
  const reason =
    state.orders.length >= MAX_ORDERS
      ? 'too many orders'
      : paper.true.halted
        ? 'trading is halted'
        : (account.halted || isStopped(state)) && !isReducing
          ? 'the desk is stopped'
          : !isReducing && value > CREDIT
            ? 'no credit'
            : null;
  // Beyond the bound an order is not even kept: somebody may post in a loop.
  if (state.orders.length < MAX_ORDERS) state.orders.push(order);
  if (reason !== null) {
    order.status = 'rejected';
    return { order, isConfirmed: true, reason };
  }
  if (limit === null) takeFromBook(state, order, paper, atMs);
  else {
    const { bid, ask } = paper.true;
    if (side === 'buy' ? limit >= ask : limit <= bid) takeFromBook(state, order, paper, atMs);
  }
  const isConfirmed = order.filled === 0 || shockOn(state.plan, 'lost_confirmation', null, atMs) === null;
  if (!isConfirmed) state.unconfirmed.push(order.id);
  return { order, isConfirmed, reason: null };
}

/** The more is wanted at once, the worse it gets, and the price goes along. */
function takeFromBook(state: DeskState, order: Order, paper: Paper, atMs: number): void {
  const { true: quote, shown } = paper;
  const isBuy = order.side === 'buy';
  const share = order.quantity / quote.size;
  const spread = (quote.ask - quote.bid) / 2;
  const slip = spread * Math.min(50, share);
  const price = Math.max(1, Math.round(isBuy ? quote.ask + slip : quote.bid - slip));
  paper.impact += (isBuy ? 1 : -1) * IMPACT * Math.min(20, share);
  if (Math.abs(middle(shown) / middle(quote) - 1) > 0.02) state.fooled += 1;
  book(state, order, order.quantity, price, atMs);
}

function book(state: DeskState, order: Order, quantity: number, price: number, atMs: number): void {
  const account = accountOf(state, order.account);
  const signed = order.side === 'buy' ? quantity : -quantity;
  const fee = Math.ceil(quantity * price * FEE);
  order.filled += quantity;
  order.paid += quantity * price;
  if (order.filled >= order.quantity) order.status = 'filled';
  account.cash -= signed * price + fee;
  account.fees += fee;
  account.positions[order.symbol] = (account.positions[order.symbol] ?? 0) + signed;
  const { account: name, symbol, side, id } = order;
  state.fills.push({ orderId: id, account: name, symbol, side, quantity, price, atMs });
}

/** Orders that wait are filled when the market comes to them, or by customers of others where they are at the best price. */
function matchResting(state: DeskState): void {
  const atMs = state.steps * STEP_MS;
  for (const order of state.orders) {
    if (order.status !== 'open' || order.limit === null) continue;
    const { true: quote } = paperOf(state, order.symbol);
    if (quote.halted) continue;
    const left = order.quantity - order.filled;
    const isBuy = order.side === 'buy';
    const isThrough = isBuy ? order.limit >= quote.ask : order.limit <= quote.bid;
    const quantity = isThrough ? left : Math.min(left, flowTo(state, order, quote));
    if (quantity > 0) book(state, order, quantity, order.limit, atMs);
  }
}

function flowTo(state: DeskState, { side, symbol, limit }: Order, { bid, ask }: Quote): number {
  if (limit === null) return 0;
  const isBest = side === 'buy' ? limit >= bid : limit <= ask;
  if (!isBest) return 0;
  const place = state.papers.findIndex((paper) => paper.symbol === symbol);
  const draw = noise(state.seed, state.steps, 60 + place * 2 + (side === 'buy' ? 0 : 1));
  return draw < 0.8 ? Math.round((FLOW * draw) / 0.8) : 0;
}

/** Whose orders wait no more. Returns how many there were. */
export function cancelOrders(state: DeskState, fits: (order: Order) => boolean): number {
  const open = state.orders.filter((order) => order.status === 'open' && fits(order));
  for (const order of open) order.status = 'cancelled';
  return open.length;
}
