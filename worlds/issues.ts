import type { z } from 'zod';

/** One mistake of a value: where, and what was expected. */
export interface Found {
  readonly at: readonly PropertyKey[];
  readonly message: string;
}

/** Of a choice, what is wrong with the alternative that was meant; unknown members where they are. */
export function flatten(issue: z.core.$ZodIssue, base: readonly PropertyKey[], root: unknown): Found[] {
  const at = [...base, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ at: [...at, key], message: `unknown member "${key}"` }));
  }
  if (issue.code === 'invalid_key') return issue.issues.flatMap((one) => flatten(one, at, root));
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    const value = at.reduce<unknown>(
      (inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key],
      root,
    );
    const depth = (branch: readonly z.core.$ZodIssue[]) =>
      branch.reduce((least, one) => Math.min(least, isWrongKind(one) ? -1 : one.path.length), 99);
    const best = issue.errors.reduce((most, branch) => (depth(branch) > depth(most) ? branch : most));
    if (depth(best) >= 0) return best.flatMap((one) => flatten(one, at, root));
    const expected = issue.errors.flatMap((branch) =>
      branch.map((one) => one.message.replace(/^Invalid input: /, '')),
    );
    return [{ at, message: `${[...new Set(expected)].join(', or ')} (got ${kindOf(value)})` }];
  }
  return [{ at, message: issue.message.replace(/^Invalid input: /, '') }];
}

/** The value is not at all of the kind that this alternative is about. */
function isWrongKind(issue: z.core.$ZodIssue): boolean {
  return issue.path.length === 0 && (issue.code === 'invalid_type' || issue.code === 'invalid_value');
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'a list' : typeof value;
}
