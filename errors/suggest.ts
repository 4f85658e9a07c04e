/** Edits of one letter (insert, delete, replace, swap with the next) that lead from one word to the other. */
export function editDistance(from: string, to: string): number {
  const width = to.length + 1;
  let before: number[] = [];
  let above = Array.from({ length: width }, (_, column) => column);
  for (let row = 1; row <= from.length; row++) {
    const line = [row];
    for (let column = 1; column < width; column++) {
      const isSame = from[row - 1] === to[column - 1];
      let best = Math.min(
        (above[column] as number) + 1,
        (line[column - 1] as number) + 1,
        (above[column - 1] as number) + (isSame ? 0 : 1),
      );
      const isSwapped =
        row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      if (isSwapped) best = Math.min(best, (before[column - 2] as number) + 1);
      line.push(best);
    }
    before = above;
    above = line;
  }
  return above[width - 1] as number;
}

/** Longer words are no typing mistakes, and comparing them costs. */
const WORD_LIMIT = 64;

/** The name somebody probably meant; null = none is near. */
export function nearestName(word: string, names: readonly string[]): string | null {
  if (word.length > WORD_LIMIT) return null;
  const wanted = word.toLowerCase();
  const limit = Math.max(1, Math.floor(word.length * 0.4));
  let nearest: string | null = null;
  let distance = limit + 1;
  for (const name of names) {
    const away =
      name.length > WORD_LIMIT ? Number.POSITIVE_INFINITY : editDistance(wanted, name.toLowerCase());
    // Who types the beginning of a name means it.
    const counted = wanted.length > 2 && name.toLowerCase().startsWith(wanted) ? Math.min(away, 1) : away;
    if (counted < distance) {
      distance = counted;
      nearest = name;
    }
  }
  return nearest;
}

/** A hint for a name that does not exist: what was meant, and what there is. */
export function namesHint(word: string, names: readonly string[]): string {
  const nearest = nearestName(word, names);
  return `${nearest === null ? '' : `Did you mean ${nearest}? `}There are: ${names.join(', ')}.`;
}
