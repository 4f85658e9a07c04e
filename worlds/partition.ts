import { compileGlob } from './network/patterns.ts';

/** Two groups of members that cannot send to each other. */
export class Partition {
  readonly #groups: readonly [readonly Matcher[], readonly Matcher[]];

  constructor(between: readonly [readonly string[], readonly string[]]) {
    this.#groups = [between[0].map(compileGlob), between[1].map(compileGlob)];
  }

  severs(from: string, to: string): boolean {
    const [one, other] = this.#groups;
    return (isIn(one, from) && isIn(other, to)) || (isIn(other, from) && isIn(one, to));
  }
}

type Matcher = (name: string) => boolean;

function isIn(group: readonly Matcher[], name: string): boolean {
  return group.some((is) => is(name));
}
