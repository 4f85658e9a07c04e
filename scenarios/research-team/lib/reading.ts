import type { Effect, Statement } from './messages.ts';

const VERBS: readonly (readonly [string, Effect])[] = [
  ['raised', 'raises'],
  ['increased', 'raises'],
  ['lowered', 'lowers'],
  ['reduced', 'lowers'],
  ['did not change', 'leaves'],
];
const PASSIVES: readonly (readonly [string, Effect])[] = [
  ['was raised by', 'raises'],
  ['was lowered by', 'lowers'],
  ['was left as it was by', 'leaves'],
];
const NOUNS: readonly (readonly [string, Effect])[] = [
  ['a rise in', 'raises'],
  ['a fall in', 'lowers'],
  ['no change in', 'leaves'],
];

const alternatives = (table: readonly (readonly [string, Effect])[]) =>
  table.map(([words]) => words).join('|');
const effectOf = (table: readonly (readonly [string, Effect])[], words: string) =>
  table.find(([each]) => each === words)?.[1] as Effect;

const ACTIVE = new RegExp(
  `^In a trial with \\d+ participants, (\\w+) (${alternatives(VERBS)}) ([a-z ]+): seen in (\\d+) of (\\d+) \\(([\\d.]+) %\\)$`,
);
const PASSIVE = new RegExp(
  `^([A-Z][a-z ]+) (${alternatives(PASSIVES)}) (\\w+) in (\\d+) of (\\d+) participants \\(([\\d.]+) %\\)$`,
);
const GIVEN = new RegExp(
  `^Of (\\d+) volunteers given (\\w+), (\\d+) \\(([\\d.]+) %\\) had (${alternatives(NOUNS)}) ([a-z ]+)$`,
);
const PASSED_ON = new RegExp(`^As has been shown, (\\w+) (${alternatives(VERBS)}) ([a-z ]+) \\[(p-\\d+)\\]$`);

/** What a text states. What was expected, hoped or is said about instruments is no statement. */
export function statementsOf(paper: string, text: string): Statement[] {
  return text
    .split(/\.(?:\s|$)/)
    .map((sentence) => sentence.trim())
    .flatMap((sentence) => statementOf(paper, sentence) ?? []);
}

function statementOf(paper: string, sentence: string): Statement | null {
  const active = ACTIVE.exec(sentence);
  if (active !== null) {
    const [, substance = '', verb = '', outcome = '', responded, people, percent] = active;
    return own(paper, substance, outcome, effectOf(VERBS, verb), responded, people, percent);
  }
  const passive = PASSIVE.exec(sentence);
  if (passive !== null) {
    const [, outcome = '', verb = '', substance = '', responded, people, percent] = passive;
    return own(paper, substance, outcome, effectOf(PASSIVES, verb), responded, people, percent);
  }
  const given = GIVEN.exec(sentence);
  if (given !== null) {
    const [, people, substance = '', responded, percent, noun = '', outcome = ''] = given;
    return own(paper, substance, outcome, effectOf(NOUNS, noun), responded, people, percent);
  }
  const passedOn = PASSED_ON.exec(sentence);
  if (passedOn === null) return null;
  const [, substance = '', verb = '', outcome = '', restsOn = ''] = passedOn;
  return { substance, outcome, effect: effectOf(VERBS, verb), paper, restsOn, figures: null };
}

function own(
  paper: string,
  substance: string,
  outcome: string,
  effect: Effect,
  responded: string | undefined,
  people: string | undefined,
  percent: string | undefined,
): Statement {
  return {
    substance: substance.toLowerCase(),
    outcome: outcome.toLowerCase(),
    effect,
    paper,
    restsOn: null,
    figures: { responded: Number(responded), people: Number(people), percent: Number(percent) },
  };
}
