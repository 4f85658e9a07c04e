/** Watches all accounts and the market: reduces what is above a limit, halts who has lost too much, stops the desk when the market breaks. */
import { type AccountLine, DeskAgent, middleOf, type Quote } from '../lib/desk.ts';

const EVERY_MS = 4000;
/** A market that goes so far in a quarter of a minute is broken. */
const BREAKS = 0.035;
const WINDOW = 5;
/** More than that is the feed's mistake, not the market. */
const ABSURD = 0.4;
const OLD_MS = 6000;
/** Calm for so long before anybody trades again. */
const CALM_MS = 30_000;
/** Brought down to this share of a limit. */
const TARGET = 0.8;

const { agent, start } = await DeskAgent.begin('risk-officer');
const { json: limits } = await agent.ask<{ position: number; gross: number; drawdown: number }>(
  'GET',
  'http://broker.test/limits',
);
const seen = new Map<string, number[]>();
let stoppedMs: number | null = null;

await agent.every(start, 'officer', EVERY_MS, async () => {
  const { nowMs, quotes } = await agent.quotes();
  await watchMarket(quotes, nowMs);
  await watchAccounts(quotes);
});
await agent.clove.send('oracle', { ended: agent.name });

async function watchMarket(quotes: readonly Quote[], nowMs: number): Promise<void> {
  const broken = quotes.map((quote) => brokenBy(quote, nowMs)).find((reason) => reason !== null);
  if (broken !== undefined && broken !== null) {
    if (stoppedMs === null) await agent.ask('POST', 'http://broker.test/stop', { reason: broken });
    stoppedMs = nowMs;
  } else if (stoppedMs !== null && nowMs - stoppedMs >= CALM_MS) {
    await agent.ask('DELETE', 'http://broker.test/stop');
    stoppedMs = null;
  }
}

function brokenBy(quote: Quote, nowMs: number): string | null {
  const { symbol, halted, at_ms } = quote;
  if (halted) return null;
  if (nowMs - at_ms > OLD_MS) return `${symbol}: no quote for ${Math.round((nowMs - at_ms) / 1000)} s`;
  const middle = middleOf(quote);
  const before = seen.get(symbol) ?? [];
  const last = before.at(-1);
  if (last !== undefined && Math.abs(middle / last - 1) > ABSURD) return null;
  const farthest = Math.max(0, ...before.map((each) => Math.abs(middle / each - 1)));
  seen.set(symbol, [...before, middle].slice(-WINDOW));
  return farthest > BREAKS
    ? `${symbol}: ${(farthest * 100).toFixed(1)} % within ${(WINDOW * EVERY_MS) / 1000} s`
    : null;
}

async function watchAccounts(quotes: readonly Quote[]): Promise<void> {
  if (limits === null) return;
  const { json } = await agent.ask<{ accounts: AccountLine[] }>('GET', 'http://broker.test/accounts');
  for (const account of json?.accounts ?? []) {
    if (account.drawdown > limits.drawdown) {
      await agent.ask('POST', `http://broker.test/accounts/${account.account}/halt`, { halted: true });
      for (const symbol of Object.keys(account.positions)) await reduce(account, symbol, 1);
      continue;
    }
    // Of the gross limit every paper gives its part; of its own each for itself.
    const overall = account.gross > limits.gross ? 1 - (TARGET * limits.gross) / account.gross : 0;
    for (const [symbol, shares] of Object.entries(account.positions)) {
      const quote = quotes.find((each) => each.symbol === symbol);
      const value =
        quote === undefined ? 0 : Math.abs(shares) * (seen.get(symbol)?.at(-1) ?? middleOf(quote));
      const own = value > limits.position ? 1 - (TARGET * limits.position) / value : 0;
      const share = Math.max(overall, own);
      if (share > 0) await reduce(account, symbol, share);
    }
  }
}

async function reduce({ account, positions }: AccountLine, symbol: string, share: number): Promise<void> {
  const held = positions[symbol] ?? 0;
  if (held === 0) return;
  const { json } = await agent.ask<{ reduced?: number; order?: number }>(
    'POST',
    `http://broker.test/accounts/${account}/reduce`,
    {
      symbol,
      share: Math.min(1, share),
    },
  );
  const reduced = json?.reduced ?? 0;
  if (reduced === 0) return;
  const quantity = held > 0 ? -reduced : reduced;
  await agent.clove.send(account, { type: 'reduced', symbol, quantity });
  await agent.clove.send('auditor', { type: 'fill', account, order: json?.order, symbol, quantity });
}
