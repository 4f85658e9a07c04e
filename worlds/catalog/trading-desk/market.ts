/** Prices, second by second, and what is shown of them. What happens does not depend on when somebody looks, only on what is traded. */
import { PAPERS, type PaperSymbol, type SessionPlan, shockOn } from './session.ts';

export const STEP_MS = 1000;
/** Pull back to where the price belongs, per second. */
const REVERSION = 1 / 8;
/** One step, as a share of the price. */
const SWING = 0.0022;
const DRIFT = 0.00015;
/** A drift lasts so long. */
const REGIME_STEPS = 180;
/** Of what a trade has moved the price by, per second. */
const IMPACT_DECAY = 0.06;
const HALF_SPREAD = 0.0009;

export interface Quote {
  readonly bid: number;
  readonly ask: number;
  /** Shares on each side within a spread. */
  readonly size: number;
  readonly halted: boolean;
  /** When it was made. ms since the session began */
  readonly atMs: number;
}

export interface Paper {
  readonly symbol: PaperSymbol;
  /** Where the price belongs. Cents, with fractions. */
  fair: number;
  /** How far it is from there, as a share. */
  deviation: number;
  /** What trades have moved it by, as a share. */
  impact: number;
  /** What holds. Cents. */
  true: Quote;
  /** What the feed shows. */
  shown: Quote;
}

export function openMarket(): Paper[] {
  return PAPERS.map(({ symbol, cents, depth }) => {
    const quote = quoteAt(cents, HALF_SPREAD, depth, false, 0);
    return { symbol, fair: cents, deviation: 0, impact: 0, true: quote, shown: quote };
  });
}

export function middle({ bid, ask }: Quote): number {
  return (bid + ask) / 2;
}

/** One second more. */
export function stepPaper(paper: Paper, plan: SessionPlan, seed: number, step: number): void {
  const { symbol } = paper;
  const atMs = step * STEP_MS;
  const place = PAPERS.findIndex((one) => one.symbol === symbol);
  const { depth } = PAPERS[place] as (typeof PAPERS)[number];
  const on = (kind: Parameters<typeof shockOn>[1]) => shockOn(plan, kind, symbol, atMs);
  const halted = on('halt') !== null;
  // Four draws: near enough to a bell.
  const bell =
    noise(seed, step, place) +
    noise(seed, step, place + 8) +
    noise(seed, step, place + 16) +
    noise(seed, step, place + 24) -
    2;
  const wild = shockOn(plan, 'volatility', null, atMs) === null ? 1 : 5;
  // Two times in five the price goes somewhere, else it stays about.
  const way = Math.floor(noise(seed, Math.floor(step / REGIME_STEPS), place + 40) * 5);
  const regime = way === 0 ? -1 : way === 1 ? 1 : 0;
  if (!halted) {
    paper.deviation += -paper.deviation * REVERSION + bell * SWING * wild;
    paper.fair *= 1 + regime * DRIFT;
  }
  for (const shock of plan.shocks) {
    if (shock.symbol !== symbol) continue;
    const sinceMs = atMs - shock.startMs;
    if (shock.kind === 'gap' && sinceMs === 0) paper.fair *= 1 + shock.move;
    // Trading goes on elsewhere while it is halted here.
    if (shock.kind === 'halt' && atMs === shock.endMs) paper.fair *= 1 + shock.move / 2;
    if (shock.kind === 'stale_feed' && sinceMs >= 0 && atMs < shock.endMs)
      paper.fair *= 1 + (shock.move * STEP_MS) / (shock.endMs - shock.startMs);
  }
  paper.impact *= 1 - IMPACT_DECAY;
  const crash = on('flash_crash');
  const thin = on('thin_book') !== null || crash !== null;
  const price =
    paper.fair * (1 + paper.deviation + paper.impact) * (1 + (crash === null ? 0 : crashAt(crash, atMs)));
  const halfSpread = HALF_SPREAD * (thin ? 6 : wild === 5 ? 2 : 1);
  paper.true = quoteAt(price, halfSpread, thin ? Math.ceil(depth / 10) : depth, halted, atMs);
  const finger = on('fat_finger');
  if (on('stale_feed') !== null) return;
  paper.shown =
    finger === null
      ? paper.true
      : quoteAt(price * (finger.move > 0 ? 10 : 0.1), halfSpread, depth, halted, atMs);
}

/** Down within twenty seconds, and back until it is over. */
function crashAt(
  { startMs, endMs, move }: { startMs: number; endMs: number; move: number },
  atMs: number,
): number {
  const sinceMs = atMs - startMs;
  if (sinceMs < 20_000) return (move * sinceMs) / 20_000;
  return move * (1 - (sinceMs - 20_000) / Math.max(1, endMs - startMs - 20_000));
}

function quoteAt(price: number, halfSpread: number, size: number, halted: boolean, atMs: number): Quote {
  const half = Math.max(1, Math.round(price * halfSpread));
  return { bid: Math.max(1, Math.round(price) - half), ask: Math.round(price) + half, size, halted, atMs };
}

/** A number in [0, 1) that is the same whatever anybody did. */
export function noise(seed: number, step: number, salt: number): number {
  let x = (seed ^ Math.imul(step + 1, 0x9e3779b1) ^ Math.imul(salt + 1, 0x85ebca6b)) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d) >>> 0;
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b) >>> 0;
  return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32;
}
