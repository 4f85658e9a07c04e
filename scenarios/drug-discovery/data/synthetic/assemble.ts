import { randomInteger } from '../random.ts';
import { CORES, type CoreClass, RINGS, SUBSTITUENTS, type SubstituentClass } from './fragments.ts';

/** How often each kind of piece is drawn: weights, not probabilities. */
export interface Profile {
  readonly cores: Readonly<Partial<Record<CoreClass, number>>>;
  readonly substituents: Readonly<Partial<Record<SubstituentClass, number>>>;
  /** Chance that an optional slot of the core is filled. */
  readonly fill: number;
}

/** Chance that an optional slot of a ring that hangs on a substituent is filled; always with a small group. */
const RING_SLOT_FILL = 0.5;

/** A random molecule of the profile as SMILES. Every valence is right, so RDKit parses it; size is not bounded here. */
export function assembleSmiles(profile: Profile, random: () => number): string {
  const builder: Builder = { profile, random, rings: 0 };
  const core = pick(CORES[pickWeighted(profile.cores, random)], random);
  return joinPiece(builder, core, (slot) => {
    if (slot === '^') return ring(builder);
    return slot === '!' || random() < profile.fill ? substituent(builder, slot === '_') : undefined;
  });
}

interface Builder {
  readonly profile: Profile;
  readonly random: () => number;
  /** Ring numbers given out so far. */
  rings: number;
}

function substituent(builder: Builder, onCarbon: boolean): string {
  const { profile, random } = builder;
  const all = SUBSTITUENTS[pickWeighted(profile.substituents, random)];
  const choices = onCarbon ? all : carbonStart(all);
  // A kind without a piece for a nitrogen gives way to the plainest: methyl.
  const piece = choices.length === 0 ? 'C' : pick(choices, random);
  return joinPiece(builder, piece, () => ring(builder));
}

function ring(builder: Builder): string {
  const { random } = builder;
  return joinPiece(builder, pick(RINGS, random), () =>
    random() < RING_SLOT_FILL
      ? joinPiece(builder, pick(SUBSTITUENTS.small, random), () => undefined)
      : undefined,
  );
}

/** The piece with ring numbers that no other piece of the molecule has, and with its slots filled. */
function joinPiece(builder: Builder, piece: string, fill: (slot: string) => string | undefined): string {
  const numbers = new Map<string, number>();
  return piece.replace(/\(([_~!^])\)|\[[^\]]*\]|\d/g, (token, slot: string | undefined) => {
    if (slot !== undefined) {
      const filling = fill(slot);
      return filling === undefined ? '' : `(${filling})`;
    }
    if (token.startsWith('[')) return token;
    const open = numbers.get(token);
    const number = open ?? ++builder.rings;
    if (open === undefined) numbers.set(token, number);
    else numbers.delete(token);
    return number < 10 ? String(number) : `%${number}`;
  });
}

/** Pieces that may hang on a nitrogen. */
function carbonStart(pieces: readonly string[]): readonly string[] {
  return pieces.filter((piece) => /^C(?!l|#)/.test(piece));
}

function pick<T>(items: readonly T[], random: () => number): T {
  return items[randomInteger(random, items.length)]!;
}

function pickWeighted<K extends string>(
  weights: Readonly<Partial<Record<K, number>>>,
  random: () => number,
): K {
  const entries = Object.entries(weights) as [K, number][];
  let left = random() * entries.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [key, weight] of entries) {
    left -= weight;
    if (left < 0) return key;
  }
  return entries.at(-1)![0];
}
