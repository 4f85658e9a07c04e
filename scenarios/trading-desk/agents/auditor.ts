/** Holds what traders say they have done against the broker's books, order by order; tells them what they missed, and writes the report. */
import { DeskAgent } from '../lib/desk.ts';

const EVERY_MS = 60_000;
/** Who was told of a fill has said so by then. */
const LATE_MS = 30_000;

interface Fill {
  readonly orderId: number;
  readonly account: string;
  readonly symbol: string;
  readonly side: 'buy' | 'sell';
  readonly quantity: number;
  readonly price: number;
  readonly atMs: number;
}
interface Entry {
  account: string;
  symbol: string;
  /** Shares, short with a minus: what the broker has, and what the trader has said. */
  is: number;
  said: number;
  atMs: number;
}
interface Break {
  readonly order: number;
  readonly account: string;
  readonly symbol: string;
  readonly said: number;
  readonly is: number;
}

const { agent, start } = await DeskAgent.begin('auditor');
const entries = new Map<number, Entry>();
const positions: Record<string, Record<string, number>> = {};
/** Of sales less purchases, without fees. Cents. */
const cash: Record<string, number> = {};
const breaks: Break[] = [];
let next = 0;

await agent.ask('POST', 'http://exchange.test/open');
await agent.every(start, 'auditor', EVERY_MS, () => audit(LATE_MS));
await agent.waitUntil(start.endMs + 1000 + start.phases.auditor);
await audit(0);
await agent.clove.writeFile(
  '/reports/reconciliation.json',
  JSON.stringify({ orders: entries.size, positions, cash, breaks }),
);
await agent.clove.send('oracle', { ended: agent.name });

async function audit(lateMs: number): Promise<void> {
  await hear();
  let nowMs = 0;
  for (let more = true; more; ) {
    const { json } = await agent.ask<{ now_ms: number; fills: Fill[]; next: number }>(
      'GET',
      `http://broker.test/fills?after=${next}`,
    );
    more = json !== null && json.fills.length > 0;
    for (const fill of json?.fills ?? []) take(fill);
    next = json?.next ?? next;
    nowMs = json?.now_ms ?? nowMs;
  }
  for (const [order, entry] of entries) {
    const { account, symbol, is, said, atMs } = entry;
    if (said === is || nowMs - atMs < lateMs) continue;
    breaks.push({ order, account, symbol, said, is });
    entry.said = is;
    await agent.clove.send(account, { type: 'break', symbol, quantity: is - said }).catch(() => null);
  }
}

function take({ orderId, account, symbol, side, quantity, price, atMs }: Fill): void {
  const signed = side === 'buy' ? quantity : -quantity;
  const entry = entryOf(orderId);
  Object.assign(entry, { account, symbol, is: entry.is + signed, atMs });
  positions[account] ??= {};
  positions[account][symbol] = (positions[account][symbol] ?? 0) + signed;
  cash[account] = (cash[account] ?? 0) - signed * price;
}

function entryOf(order: number): Entry {
  const entry = entries.get(order) ?? { account: '', symbol: '', is: 0, said: 0, atMs: 0 };
  entries.set(order, entry);
  return entry;
}

/** Nobody speaks for the account of another, but the risk officer of what it reduced. */
async function hear(): Promise<void> {
  for (let more = true; more; ) {
    const received = await agent.clove.receive({ max: 100 });
    more = received.length > 0;
    for (const { message } of received) {
      const { type, order, quantity } = message as { type?: string; order?: number; quantity?: number };
      if (type === 'fill' && typeof order === 'number' && typeof quantity === 'number')
        entryOf(order).said += quantity;
    }
  }
}
