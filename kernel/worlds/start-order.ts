/** What decides who is started before whom. */
export interface Starter {
  readonly name: string;
  /** Names of those that must have been started before. */
  readonly after: readonly string[];
  /** Its group: within one, the order of the list holds. */
  readonly group: string | null;
}

/**
 * Starts all side by side, but for those that come after others by their own declaration; `isStrict`: one after the other, in the order of
 * the list. The answers are in that order in any case. Who names one that is not there, or itself over others, waits for nobody.
 */
export async function startInOrder<Answer>(
  starters: readonly Starter[],
  { isStrict, start }: { readonly isStrict: boolean; readonly start: (index: number) => Promise<Answer> },
): Promise<Answer[]> {
  const indexOf = new Map(starters.map(({ name }, index) => [name, index]));
  const started = new Map<number, Promise<Answer>>();
  const begin = (index: number, above: ReadonlySet<number>): Promise<Answer> => {
    const known = started.get(index);
    if (known !== undefined) return known;
    const below = new Set([...above, index]);
    const before = predecessors(starters, indexOf, index, isStrict).filter((each) => !below.has(each));
    const answer = Promise.all(before.map((each) => begin(each, below))).then(() => start(index));
    started.set(index, answer);
    return answer;
  };
  return Promise.all(starters.map((_, index) => begin(index, new Set())));
}

function predecessors(
  starters: readonly Starter[],
  indexOf: ReadonlyMap<string, number>,
  index: number,
  isStrict: boolean,
): number[] {
  const { after, group } = starters[index] as Starter;
  const named = after.flatMap((name) => indexOf.get(name) ?? []);
  const last = isStrict
    ? index - 1
    : group === null
      ? -1
      : starters.findLastIndex((each, at) => at < index && each.group === group);
  return last < 0 ? named : [...named, last];
}
