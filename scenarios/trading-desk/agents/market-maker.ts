/** Quotes both sides of every paper, lives on what lies between, and leans against what it holds. */
import { DeskAgent, middleOf, type OrderLine, type Quote } from '../lib/desk.ts';

/** Cents: of one quote, and of a position. */
const QUOTE = 2_500_000;
const STAKE = 10_000_000;
/** An older quote is none; a price so far from the last one is a mistake of the feed. */
const OLD_MS = 3000;
const ABSURD = 0.4;
/** Where prices run it stands aside for so many rounds. */
const RUNS = 0.004;
const ASIDE = 6;

const { agent, start } = await DeskAgent.begin('market-maker');
const book = new Map<string, number>();
const lastMiddle = new Map<string, number>();
const aside = new Map<string, number>();
/** Filled so far, of orders that may go on being filled. */
const known = new Map<number, number>();
let orders = 0;

await agent.every(start, 'trader', start.everyMs, async () => {
  await hear();
  await agent.ask('POST', 'http://broker.test/orders/cancel', {});
  await settle();
  const { nowMs, quotes } = await agent.quotes();
  for (const quote of quotes) if (isGood(quote, nowMs)) await make(quote);
});
await agent.ask('POST', 'http://broker.test/orders/cancel', {});
await settle();
await agent.clove.send('oracle', { ended: agent.name, book: Object.fromEntries(book), orders });

function isGood(quote: Quote, nowMs: number): boolean {
  const { symbol, halted, at_ms } = quote;
  const middle = middleOf(quote);
  const last = lastMiddle.get(symbol);
  if (halted || nowMs - at_ms > OLD_MS) return false;
  const move = last === undefined ? 0 : Math.abs(middle / last - 1);
  if (move > ABSURD) return false;
  lastMiddle.set(symbol, middle);
  const rest = move > RUNS ? ASIDE : Math.max(0, (aside.get(symbol) ?? 0) - 1);
  aside.set(symbol, rest);
  return rest === 0;
}

async function make({ symbol, bid, ask }: Quote): Promise<void> {
  const middle = (bid + ask) / 2;
  const held = (book.get(symbol) ?? 0) * middle;
  const shares = Math.max(1, Math.floor(QUOTE / middle));
  // What it has much of it offers a little cheaper, and asks for less of.
  const lean = Math.round((held / STAKE) * (ask - bid) * 0.8);
  if (held < STAKE) await quoteFor(symbol, 'buy', shares, bid - lean);
  if (held > -STAKE) await quoteFor(symbol, 'sell', shares, ask - lean);
}

async function quoteFor(
  symbol: string,
  side: 'buy' | 'sell',
  quantity: number,
  limit: number,
): Promise<void> {
  orders += 1;
  const client_id = `${agent.name}-${orders}`;
  const { status, json } = await agent.ask<OrderLine>('POST', 'http://broker.test/orders', {
    symbol,
    side,
    quantity,
    limit,
    client_id,
  });
  if (status === 201 && json !== null) await note(json);
  if (status !== 504) return;
  // Nobody knows what became of it: ask.
  const found = await agent.ask<{ orders: OrderLine[] }>(
    'GET',
    `http://broker.test/orders?client_id=${client_id}`,
  );
  for (const order of found.json?.orders ?? []) await note(order);
}

/** What was filled since it last looked. */
async function settle(): Promise<void> {
  if (known.size === 0) return;
  const after = Math.min(...known.keys()) - 1;
  const { json } = await agent.ask<{ orders: OrderLine[] }>(
    'GET',
    `http://broker.test/orders?after=${after}`,
  );
  for (const order of json?.orders ?? []) if (known.has(order.id)) await note(order);
}

async function note({ id, symbol, side, filled, status, price }: OrderLine): Promise<void> {
  const news = filled - (known.get(id) ?? 0);
  if (status === 'open') known.set(id, filled);
  else known.delete(id);
  if (news === 0) return;
  const quantity = side === 'buy' ? news : -news;
  book.set(symbol, (book.get(symbol) ?? 0) + quantity);
  await agent.clove.send('auditor', { type: 'fill', order: id, symbol, quantity, price });
}

/** What the risk officer did, and what the auditor found that nobody was told of. */
async function hear(): Promise<void> {
  for (const { message, from_name } of await agent.clove.receive({ max: 50 })) {
    const { type, symbol, quantity } = message as { type?: string; symbol?: string; quantity?: number };
    const isMeant =
      (from_name === 'risk-officer' && type === 'reduced') || (from_name === 'auditor' && type === 'break');
    if (isMeant && symbol !== undefined) book.set(symbol, (book.get(symbol) ?? 0) + (quantity ?? 0));
  }
}
