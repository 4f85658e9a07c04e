import type { Budget } from './glob.ts';

/** Allow-lists of which each must have an entry that matches; none at all = nothing is ruled out. */
export type AllOf = readonly (readonly string[])[];

export const NOTHING: AllOf = [[]];

/** Whether whatever entry `a` matches is matched by entry `b`. May be no by caution, never yes by mistake. */
export type EntryWithin = (a: string, b: string, budget: Budget) => boolean;

function isListWithin(
  a: readonly string[],
  b: readonly string[],
  isWithin: EntryWithin,
  budget: Budget,
): boolean {
  return a.every((entry) => b.includes(entry) || b.some((other) => isWithin(entry, other, budget)));
}

/** Whether all that `a` lets through is let through by `b`. */
export function isAllOfWithin(a: AllOf, b: AllOf, isWithin: EntryWithin, budget: Budget): boolean {
  return b.every((list) => a.some((narrower) => isListWithin(narrower, list, isWithin, budget)));
}

/** What both let through; lists that follow from others are left out. */
export function meet(a: AllOf, b: AllOf, isWithin: EntryWithin, budget: Budget): AllOf {
  const lists: (readonly string[])[] = [];
  for (const list of [...a, ...b]) {
    if (lists.some((kept) => isListWithin(kept, list, isWithin, budget))) continue;
    const implied = lists.filter((kept) => isListWithin(list, kept, isWithin, budget));
    for (const each of implied) lists.splice(lists.indexOf(each), 1);
    lists.push(list);
  }
  return lists;
}
