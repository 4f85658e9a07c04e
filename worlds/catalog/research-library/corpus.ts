import { Luck, type RandomStream } from '../../luck/streams.ts';

/** A literature of the seed: what is true, what was published about it, and what of that can be relied on. */

export const EFFECTS = ['raises', 'lowers', 'leaves'] as const;
export type Effect = (typeof EFFECTS)[number];

export interface Claim {
  readonly substance: string;
  readonly outcome: string;
  readonly effect: Effect;
}

/** What is known: one effect, or several where sound work contradicts itself. */
export interface Finding {
  readonly substance: string;
  readonly outcome: string;
  readonly effects: readonly Effect[];
}

export type Standing = 'sound' | 'retracted' | 'made-up' | 'hearsay' | 'off-topic';

export interface Paper {
  readonly id: string;
  readonly title: string;
  readonly year: number;
  readonly venue: string;
  readonly authors: readonly string[];
  readonly text: string;
  /** Papers it names. */
  readonly cites: readonly string[];
}

/** A paper with what only the seed knows of it. */
export interface Judged {
  readonly paper: Paper;
  readonly standing: Standing;
  /** What its text says, rightly or not. */
  readonly claims: readonly Claim[];
  /** A registry knows it; of what is made up, half are unknown there and half have figures that cannot be. */
  readonly isRegistered: boolean;
}

export interface Corpus {
  readonly substances: readonly string[];
  readonly findings: readonly Finding[];
  readonly papers: readonly Judged[];
}

const SUBSTANCES = [
  'alvedrin',
  'borexol',
  'cintamide',
  'dorvane',
  'elumide',
  'fenazole',
  'gavotin',
  'hexalone',
] as const;
const OUTCOMES = [
  'blood pressure',
  'sleep quality',
  'reaction time',
  'appetite',
  'resting heart rate',
  'grip strength',
] as const;
const NAMES = [
  'Abara',
  'Brandt',
  'Castro',
  'Dahl',
  'Eriksen',
  'Fofana',
  'Garza',
  'Hoang',
  'Ilves',
  'Jansen',
  'Kaya',
  'Lindqvist',
] as const;
const VENUES = [
  'Annals of Applied Trials',
  'Journal of Small Effects',
  'Clinical Letters',
  'Open Pharmacology',
] as const;
const FINDINGS_EACH = 3;
const CONTESTED = 6;
const RETRACTED = 8;
const MADE_UP = 8;
const HEARSAY = 6;
const HEARSAY_OF_SHAKY = 4;
const OFF_TOPIC = 12;

const WORDS: Readonly<
  Record<Effect, { readonly past: readonly string[]; readonly noun: string; readonly passive: string }>
> = {
  raises: { past: ['raised', 'increased'], noun: 'a rise in', passive: 'was raised by' },
  lowers: { past: ['lowered', 'reduced'], noun: 'a fall in', passive: 'was lowered by' },
  leaves: { past: ['did not change'], noun: 'no change in', passive: 'was left as it was by' },
};

/** The same for the same seed. */
export function corpusOf(seed: number): Corpus {
  const draw = new Luck(seed).stream('research-library/corpus');
  const { findings, others } = truth(draw);
  const drafts: Omit<Draft, 'id'>[] = [];
  for (const finding of findings)
    for (const effect of finding.effects) {
      const count = finding.effects.length > 1 ? draw.integer(1, 2) : draw.integer(1, 3);
      for (let n = 0; n < count; n++) drafts.push({ standing: 'sound', claims: [{ ...finding, effect }] });
    }
  const wrong = (): Claim => {
    // Half of what is not so is about what nobody has looked into, half contradicts what is known.
    const { substance, outcome, effects } = draw.chance(0.5)
      ? { ...draw.pick(others), effects: [] as readonly Effect[] }
      : draw.pick(findings.filter((finding) => finding.effects.length === 1));
    return { substance, outcome, effect: draw.pick(EFFECTS.filter((effect) => !effects.includes(effect))) };
  };
  for (let n = 0; n < RETRACTED; n++) drafts.push({ standing: 'retracted', claims: [wrong()] });
  for (let n = 0; n < MADE_UP; n++)
    drafts.push({ standing: 'made-up', claims: [wrong()], isRegistered: n % 2 === 0 });
  for (let n = 0; n < OFF_TOPIC; n++) drafts.push({ standing: 'off-topic', claims: [] });
  const numbered: Draft[] = draw.shuffle(drafts).map((draft, index) => ({ ...draft, id: idOf(index) }));
  const shaky = numbered.filter(({ standing }) => standing === 'retracted' || standing === 'made-up');
  for (let n = 0; n < HEARSAY; n++) {
    const about = draw.pick(
      n < HEARSAY_OF_SHAKY ? shaky : numbered.filter(({ standing }) => standing === 'sound'),
    );
    numbered.push({ standing: 'hearsay', claims: about.claims, about: about.id, id: idOf(numbered.length) });
  }
  return { substances: SUBSTANCES, findings, papers: numbered.map((draft) => write(draft, draw)) };
}

interface Draft {
  readonly id: string;
  readonly standing: Standing;
  readonly claims: readonly Claim[];
  readonly isRegistered?: boolean;
  /** Hearsay: whose word it passes on. */
  readonly about?: string;
}

const idOf = (index: number) => `p-${String(index + 101)}`;

function truth(draw: RandomStream): {
  findings: Finding[];
  others: { substance: string; outcome: string }[];
} {
  const findings: Finding[] = [];
  const others: { substance: string; outcome: string }[] = [];
  for (const substance of SUBSTANCES) {
    const outcomes = draw.shuffle(OUTCOMES);
    for (const outcome of outcomes.slice(0, FINDINGS_EACH))
      findings.push({ substance, outcome, effects: [draw.pick(EFFECTS)] });
    others.push(...outcomes.slice(FINDINGS_EACH).map((outcome) => ({ substance, outcome })));
  }
  const contested = new Set(draw.shuffle(findings.map((_, index) => index)).slice(0, CONTESTED));
  return {
    findings: findings.map((finding, index) =>
      contested.has(index) ? { ...finding, effects: draw.shuffle(EFFECTS).slice(0, 2).sort() } : finding,
    ),
    others,
  };
}

function write(draft: Draft, draw: RandomStream): Judged {
  const { standing, claims, about, isRegistered = true } = draft;
  const [claim] = claims;
  const authors = draw.shuffle(NAMES).slice(0, draw.integer(2, 4));
  const base = { id: draft.id, year: draw.integer(2009, 2025), venue: draw.pick(VENUES), authors };
  if (claim === undefined) {
    const outcome = draw.pick(OUTCOMES);
    const paper = {
      ...base,
      title: `Measuring ${outcome}: a survey of instruments`,
      text: `We compare instruments that measure ${outcome}. None of the substances on the market was given to anybody.`,
      cites: [],
    };
    return { paper, standing, claims, isRegistered };
  }
  const { substance, outcome } = claim;
  const text =
    about === undefined
      ? primary(claim, draw, standing === 'made-up' && isRegistered)
      : `We review what is known about ${substance}. As has been shown, ${substance} ${draw.pick(WORDS[claim.effect].past)} ${outcome} [${about}]. We gave nothing to anybody ourselves.`;
  const title =
    about === undefined
      ? draw.pick([
          `${capital(substance)} and ${outcome}: a randomised trial`,
          `Effects of ${substance} on ${outcome}`,
          `Does ${substance} act on ${outcome}?`,
        ])
      : `${capital(substance)}: a review`;
  return {
    paper: { ...base, title, text, cites: about === undefined ? [] : [about] },
    standing,
    claims,
    isRegistered,
  };
}

/** Own figures, among what was expected and what others say nothing of. `impossible`: the percentage is not that of the counts. */
function primary({ substance, outcome, effect }: Claim, draw: RandomStream, impossible: boolean): string {
  const { past, noun, passive } = WORDS[effect];
  const people = draw.integer(40, 240);
  const responded = draw.integer(Math.ceil(people * 0.55), Math.floor(people * 0.9));
  const share = (responded / people) * 100 + (impossible ? draw.pick([-1, 1]) * draw.integer(4, 12) : 0);
  const percent = share.toFixed(1);
  const expected = draw.pick(EFFECTS);
  const hope =
    expected === 'leaves'
      ? `to leave ${outcome} as it is`
      : `to ${expected === 'raises' ? 'raise' : 'lower'} ${outcome}`;
  const result = draw.pick([
    `In a trial with ${people} participants, ${substance} ${draw.pick(past)} ${outcome}: seen in ${responded} of ${people} (${percent} %).`,
    `${capital(outcome)} ${passive} ${substance} in ${responded} of ${people} participants (${percent} %).`,
    `Of ${people} volunteers given ${substance}, ${responded} (${percent} %) had ${noun} ${outcome}.`,
  ]);
  return [
    `${capital(outcome)} matters to many.`,
    ...(draw.chance(0.5) ? [`We had expected ${substance} ${hope}.`] : []),
    result,
    'No serious harm was seen.',
  ].join(' ');
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
