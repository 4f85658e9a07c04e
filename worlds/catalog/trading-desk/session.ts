/** A session of the exchange: its papers, and the shocks that the seed chooses, places and times. */
import { Luck } from '../../luck/streams.ts';

export const PAPERS = [
  { symbol: 'ACME', cents: 10_000, depth: 3600 },
  { symbol: 'GLOBEX', cents: 15_500, depth: 2800 },
  { symbol: 'HOOLI', cents: 21_000, depth: 2000 },
  { symbol: 'INITECH', cents: 8700, depth: 4000 },
] as const;
export type PaperSymbol = (typeof PAPERS)[number]['symbol'];

export function isPaper(symbol: unknown): symbol is PaperSymbol {
  return PAPERS.some((paper) => paper.symbol === symbol);
}

export const SHOCKS = {
  gap: 'the price jumps from one second to the next',
  flash_crash:
    'the price falls within twenty seconds, with hardly anybody to buy, and comes back within minutes',
  volatility: 'prices swing five times as far as usual',
  halt: 'trading in the paper is halted, and begins again at another price',
  stale_feed: 'quotes stand still while the market moves on',
  fat_finger: 'for a few seconds the feed shows ten times the price, or a tenth',
  thin_book: 'a tenth of the usual size is quoted, far apart',
  lost_confirmation: 'orders are filled, and nobody is told',
} as const;
export type ShockKind = keyof typeof SHOCKS;
export const SHOCK_KINDS = Object.keys(SHOCKS) as ShockKind[];

/** Shocks after which nobody should trade until somebody has looked. */
export const DANGEROUS: ReadonlySet<ShockKind> = new Set(['gap', 'flash_crash', 'stale_feed']);

/** Times are ms since the session began. */
export interface Shock {
  readonly kind: ShockKind;
  readonly symbol: PaperSymbol;
  readonly startMs: number;
  readonly endMs: number;
  /** How far the price goes, as a share of it, with its sign. */
  readonly move: number;
}

export interface SessionPlan {
  readonly shocks: readonly Shock[];
  readonly durationMs: number;
}

export const DEFAULT_SESSION_MS = 15 * 60_000;
const SECOND_MS = 1000;
const LASTS_S: Readonly<Record<ShockKind, readonly [number, number]>> = {
  gap: [10, 10],
  flash_crash: [100, 140],
  volatility: [80, 120],
  halt: [40, 60],
  stale_feed: [40, 60],
  fat_finger: [4, 6],
  thin_book: [60, 90],
  lost_confirmation: [60, 90],
};

/** The same for the same seed. Every kind comes once for each quarter of an hour, in slots of its own. */
export function planSession(
  seed: number,
  { durationMs = DEFAULT_SESSION_MS, only = null }: { durationMs?: number; only?: ShockKind | null } = {},
): SessionPlan {
  const draw = new Luck(seed).stream('trading-desk/session');
  const rounds = Math.max(1, Math.round(durationMs / DEFAULT_SESSION_MS));
  const kinds: ShockKind[] = [];
  for (let round = 0; round < rounds; round++)
    kinds.push(...(only === null ? draw.shuffle(SHOCK_KINDS) : [only]));
  // Quiet in the first two minutes: strategies need something to go by.
  const firstMs = Math.min(120 * SECOND_MS, durationMs / 4);
  const slotMs = (durationMs - firstMs) / kinds.length;
  const shocks = kinds.map((kind, slot): Shock => {
    const [least, most] = LASTS_S[kind];
    const lastsMs = Math.min(draw.integer(least, most) * SECOND_MS, slotMs * 0.9);
    const latest = Math.max(0, Math.floor((slotMs - lastsMs) / SECOND_MS) - 5);
    const startMs =
      Math.floor(firstMs / SECOND_MS + (slot * slotMs) / SECOND_MS + draw.integer(0, latest)) * SECOND_MS;
    const size = kind === 'flash_crash' ? 0.12 + 0.06 * draw.next() : 0.05 + 0.04 * draw.next();
    const isDown = kind === 'flash_crash' || draw.chance(0.5);
    return {
      kind,
      symbol: draw.pick(PAPERS).symbol,
      startMs,
      endMs: startMs + Math.floor(lastsMs / SECOND_MS) * SECOND_MS,
      move: isDown ? -size : size,
    };
  });
  return { shocks, durationMs };
}

/** The shock of a kind that acts on a paper at a time. */
export function shockOn(
  plan: SessionPlan,
  kind: ShockKind,
  symbol: PaperSymbol | null,
  atMs: number,
): Shock | null {
  return (
    plan.shocks.find(
      (shock) =>
        shock.kind === kind &&
        (symbol === null || shock.symbol === symbol) &&
        shock.startMs <= atMs &&
        atMs < shock.endMs,
    ) ?? null
  );
}
