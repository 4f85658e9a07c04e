import { EFFECTS, type Review, type Statement } from './messages.ts';

/** One finding for every substance and outcome, one position for every effect that somebody vouches for. */
export function reviewOf(statements: readonly Statement[]): Review {
  const pairs = new Map<string, Statement[]>();
  for (const statement of statements) {
    const key = `${statement.substance}/${statement.outcome}`;
    pairs.set(key, [...(pairs.get(key) ?? []), statement]);
  }
  return {
    findings: [...pairs.entries()]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, about]) => ({
        substance: (about[0] as Statement).substance,
        outcome: (about[0] as Statement).outcome,
        positions: EFFECTS.flatMap((effect) => {
          const citations = about.filter((one) => one.effect === effect).map(({ paper }) => paper);
          return citations.length === 0 ? [] : [{ effect, citations: [...new Set(citations)].sort() }];
        }),
      })),
  };
}
