import { defineWorld } from '../../definition.ts';
import { defineService } from '../../network/service.ts';

interface Quote {
  symbol: string;
  /** In cents. */
  price: number;
  volatility: number;
}
interface Order {
  id: number;
  account: string;
  symbol: string;
  side: 'buy' | 'sell';
  quantity: number;
  price: number;
  at: string;
}

const STEP_MS = 1000;
/** Steps that are made up for at once; who asks after a long while sees a later market, not a slower world. */
const MAX_STEPS = 3600;
const LIMIT_CENTS = 5_000_000;

/** Prices walk at random, one step a second of the world; orders are filled at once, within each account's limit. */
const exchange = defineService({
  state: {
    next: 1,
    steppedMs: 0,
    quotes: [
      { symbol: 'ACME', price: 10_000, volatility: 0.001 },
      { symbol: 'GLOBEX', price: 4200, volatility: 0.002 },
      { symbol: 'INITECH', price: 870, volatility: 0.004 },
    ] as Quote[],
    orders: [] as Order[],
  },
  routes: {
    'GET /quotes': ({ state, now, random }) => {
      walk(state, now, random);
      return {
        time: new Date(now).toISOString(),
        quotes: state.quotes.map(({ symbol, price }) => ({ symbol, price })),
      };
    },
    'GET /quotes/:symbol': ({ state, params, now, random }) => {
      walk(state, now, random);
      const quote = state.quotes.find(({ symbol }) => symbol === params.symbol);
      return quote === undefined
        ? Response.json({ error: 'no such symbol' }, { status: 404 })
        : { symbol: quote.symbol, price: quote.price, time: new Date(now).toISOString() };
    },
    'POST /orders': async ({ state, json, caller, now, random }) => {
      walk(state, now, random);
      const { symbol, side, quantity } = await json<Partial<Order>>();
      const quote = state.quotes.find((one) => one.symbol === symbol);
      if (
        quote === undefined ||
        !Number.isInteger(quantity) ||
        (quantity as number) < 1 ||
        (side !== 'buy' && side !== 'sell')
      ) {
        return Response.json({ error: 'symbol, side and quantity' }, { status: 400 });
      }
      const account = caller.agentName;
      const signed = side === 'buy' ? (quantity as number) : -(quantity as number);
      const exposure = Math.abs((positions(state.orders, account)[quote.symbol] ?? 0) + signed) * quote.price;
      if (exposure > LIMIT_CENTS)
        return Response.json({ error: 'beyond the limit of the account', exposure }, { status: 422 });
      const order: Order = {
        id: state.next++,
        account,
        symbol: quote.symbol,
        side,
        quantity: quantity as number,
        price: quote.price,
        at: new Date(now).toISOString(),
      };
      state.orders.push(order);
      return Response.json(order, { status: 201 });
    },
    'GET /positions': ({ state, caller }) => ({
      account: caller.agentName,
      positions: positions(state.orders, caller.agentName),
    }),
    'GET /orders': ({ state, caller }) => ({
      orders: state.orders.filter(({ account }) => account === caller.agentName),
    }),
    // How each desk stands at the prices of now.
    'GET /book': ({ state }) => {
      const accounts = [...new Set(state.orders.map(({ account }) => account))];
      return {
        accounts: accounts.map((account) => ({
          account,
          profit: profit(state.orders, state.quotes, account),
        })),
      };
    },
  },
});

function walk(state: { steppedMs: number; quotes: Quote[] }, now: number, random: () => number): void {
  if (state.steppedMs === 0) state.steppedMs = now;
  const steps = Math.floor((now - state.steppedMs) / STEP_MS);
  state.steppedMs += steps * STEP_MS;
  for (let step = 0; step < Math.min(steps, MAX_STEPS); step += 1) {
    for (const quote of state.quotes) {
      // Two draws: closer to a bell than one.
      const change = (random() + random() - 1) * quote.volatility;
      quote.price = Math.max(1, Math.round(quote.price * (1 + change)));
    }
  }
}

function positions(orders: readonly Order[], account: string): Record<string, number> {
  const held: Record<string, number> = {};
  for (const order of orders) {
    if (order.account !== account) continue;
    held[order.symbol] =
      (held[order.symbol] ?? 0) + (order.side === 'buy' ? order.quantity : -order.quantity);
  }
  return held;
}

function profit(orders: readonly Order[], quotes: readonly Quote[], account: string): number {
  const cash = orders
    .filter((order) => order.account === account)
    .reduce((sum, { side, quantity, price }) => sum + (side === 'buy' ? -1 : 1) * quantity * price, 0);
  return Object.entries(positions(orders, account)).reduce(
    (sum, [symbol, quantity]) =>
      sum + quantity * (quotes.find((quote) => quote.symbol === symbol)?.price ?? 0),
    cash,
  );
}

export default defineWorld({
  name: 'trading-desk',
  description:
    'An exchange with three papers, limits for each desk and a news wire; a slow feed in the morning, a halt at noon, lost packets before the close.',
  seed: 1,
  files: {
    initial: {
      '/work': { folder: true },
      '/news/wire.log': '',
      '/work/README.md':
        'http://exchange.test/quotes, /orders {symbol, side, quantity}, /positions, /book\n/news/wire.log: what the wire says\nPrices in cents; an account holds at most 50 000 of a paper.\n',
    },
    readonly: ['/news/**'],
  },
  services: { exchange: { host: 'exchange.test', service: exchange, delay_ms: { min: 1, max: 8 } } },
  clock: { mode: 'skip', start: '2026-09-07T09:00:00Z' },
  schedule: [
    {
      name: 'good news',
      at: '+45m',
      append: { path: '/news/wire.log', content: '{{time}} ACME raises its outlook\n' },
    },
    {
      name: 'slow feed',
      at: '+1h',
      event: 'latency_spike',
      params: { hosts: 'exchange.test', ms: 400, jitter_ms: 300 },
      for: '15m',
    },
    {
      name: 'halt',
      at: '+3h',
      event: 'error_rate',
      params: { hosts: 'exchange.test', status: 503, body: 'trading is halted' },
      for: '10m',
    },
    {
      name: 'halt in the news',
      at: '+3h',
      append: { path: '/news/wire.log', content: '{{time}} Trading is halted\n' },
    },
    {
      name: 'lost packets',
      at: '+7h30m',
      event: 'packet_loss',
      params: { hosts: 'exchange.test', probability: 0.2 },
      for: '20m',
    },
  ],
});
