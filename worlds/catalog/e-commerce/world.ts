import { defineWorld } from '../../definition.ts';
import { defineService } from '../../network/service.ts';

interface Charge {
  id: string;
  amount: number;
  currency: string;
  status: 'succeeded' | 'failed' | 'refunded';
}

/** As a payment provider: amounts in the smallest unit, keys that make a repeated charge the same charge. */
const payments = defineService({
  state: { next: 1, charges: [] as Charge[], keys: {} as Record<string, string> },
  routes: {
    'POST /v1/charges': async ({ state, json, request, random }) => {
      const key = request.headers.get('idempotency-key');
      const known = key === null ? undefined : state.charges.find(({ id }) => id === state.keys[key]);
      if (known !== undefined) return known;
      const { amount, currency = 'eur' } = await json<{ amount?: number; currency?: string }>();
      if (!Number.isInteger(amount) || (amount as number) < 1) {
        return Response.json({ error: { type: 'invalid_request_error', param: 'amount' } }, { status: 400 });
      }
      // One card in fifty is declined.
      const isDeclined = random() < 0.02;
      const charge: Charge = {
        id: `ch_${String(state.next++).padStart(6, '0')}`,
        amount: amount as number,
        currency,
        status: isDeclined ? 'failed' : 'succeeded',
      };
      state.charges.push(charge);
      if (key !== null) state.keys[key] = charge.id;
      return isDeclined
        ? Response.json({ error: { type: 'card_error', charge: charge.id } }, { status: 402 })
        : charge;
    },
    'GET /v1/charges/:id': ({ state, params }) =>
      state.charges.find(({ id }) => id === params.id) ?? Response.json({ error: {} }, { status: 404 }),
    'POST /v1/charges/:id/refund': ({ state, params }) => {
      const charge = state.charges.find(({ id }) => id === params.id);
      if (charge?.status !== 'succeeded') return Response.json({ error: {} }, { status: 400 });
      charge.status = 'refunded';
      return charge;
    },
    'GET /v1/balance': ({ state }) => ({
      available: state.charges
        .filter(({ status }) => status === 'succeeded')
        .reduce((sum, { amount }) => sum + amount, 0),
    }),
  },
});

/** The shop's own front, which counts what it is asked. */
const app = defineService({
  state: { requests: 0, carts: [] as { id: string; items: string[] }[] },
  routes: {
    'GET /health': ({ state }) => ({ status: 'ok', requests: state.requests }),
    'GET /products': ({ state }) => {
      state.requests += 1;
      return PRODUCTS;
    },
    'POST /carts/:id/items': async ({ state, params, json }) => {
      state.requests += 1;
      const { sku } = await json<{ sku?: string }>();
      if (!PRODUCTS.some((product) => product.sku === sku))
        return Response.json({ error: 'no such product' }, { status: 404 });
      let cart = state.carts.find(({ id }) => id === params.id);
      if (cart === undefined) {
        cart = { id: String(params.id), items: [] };
        state.carts.push(cart);
      }
      cart.items.push(String(sku));
      return { items: cart.items };
    },
    'GET /carts/:id': ({ state, params }) => ({
      items: state.carts.find(({ id }) => id === params.id)?.items ?? [],
    }),
  },
});

const PRODUCTS = [
  { sku: 'mug', name: 'Mug', price: 1290 },
  { sku: 'shirt', name: 'Shirt', price: 2490 },
  { sku: 'book', name: 'Book', price: 1850 },
];

export default defineWorld({
  name: 'e-commerce',
  description:
    'A shop: front, order database, payment provider. A rush at noon, and an hour later the database fails for ten minutes.',
  seed: 1,
  files: {
    initial: {
      '/work': { folder: true },
      '/app/config.yaml':
        'database: http://db.shop.test\npayments: https://api.payments.test/v1\nretries: 0\ntimeout_ms: 2000\n',
      '/var/log/app.log': '',
      '/work/README.md':
        'http://app.shop.test/products, /carts/ID/items, /health\nhttp://db.shop.test/orders, /customers\nhttps://api.payments.test/v1/charges (Idempotency-Key), /v1/balance\n',
    },
  },
  services: {
    app: { host: 'app.shop.test', service: app, delay_ms: { min: 10, max: 60 } },
    database: {
      host: 'db.shop.test',
      delay_ms: { min: 2, max: 15 },
      collections: {
        orders: [
          { id: '1', customer: '1', total: 1290, status: 'shipped' },
          { id: '2', customer: '2', total: 4340, status: 'paid' },
        ],
        customers: [
          { id: '1', name: 'Ada', email: 'ada@example.test' },
          { id: '2', name: 'Grace', email: 'grace@example.test' },
        ],
      },
    },
    payments: { host: 'api.payments.test', service: payments, delay_ms: { min: 80, max: 250 } },
  },
  clock: { mode: 'skip', start: '2026-11-27T08:00:00Z' },
  schedule: [
    {
      name: 'rush',
      at: '+4h',
      event: 'load_spike',
      params: { url: 'http://app.shop.test/products', per_second: 2, latency_ms: 800 },
      for: '30m',
    },
    {
      name: 'rush in the log',
      at: '+4h',
      append: { path: '/var/log/app.log', content: '{{time}} WARN request queue is long\n' },
    },
    {
      name: 'database down',
      at: '+5h',
      event: 'error_rate',
      params: { hosts: 'db.shop.test', status: 503 },
      for: '10m',
    },
    {
      name: 'database down in the log',
      at: '+5h',
      append: { path: '/var/log/app.log', content: '{{time}} ERROR database: 503 Service Unavailable\n' },
    },
    {
      name: 'slow cards',
      at: '+6h',
      event: 'latency_spike',
      params: { hosts: 'api.payments.test', ms: '3s', jitter_ms: 1500 },
      for: '20m',
    },
  ],
});
