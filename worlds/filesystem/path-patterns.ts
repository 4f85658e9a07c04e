import { Glob } from '../../kernel/permissions/glob.ts';

/** Any of these patterns: `*` and `?` stay within a name, `**` crosses folders; case does not matter; `*` alone is everything. */
export class PathPatterns {
  readonly #globs: readonly Glob[];
  readonly isEverything: boolean;
  readonly isNothing: boolean;

  constructor(patterns: readonly string[]) {
    this.isNothing = patterns.length === 0;
    this.isEverything = patterns.some((pattern) => /^(\*|\*\*|\/\*\*)$/.test(pattern));
    this.#globs = this.isEverything ? [] : patterns.map((pattern) => new Glob(rooted(pattern), false));
  }

  matches(path: string): boolean {
    if (this.isEverything) return true;
    const folded = path.toLowerCase();
    return this.#globs.some((glob) => glob.matches(folded));
  }
}

/** A pattern that does not begin at the root is one of names anywhere. */
function rooted(pattern: string): string {
  const folded = pattern.toLowerCase();
  return folded.startsWith('/') ? folded : `/**/${folded}`;
}
