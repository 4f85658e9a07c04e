import { toSortedJson } from '../json.ts';

/** What a compare-and-swap expects to find. */
export type Expected =
  | { readonly kind: 'absent' }
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'version'; readonly version: number };

/** Values are compared as JSON values: neither the order of members nor the way a number is written counts. */
export function isExpected(
  expected: Expected,
  found: { readonly text: string; readonly version: number } | undefined,
): boolean {
  switch (expected.kind) {
    case 'absent':
      return found === undefined;
    case 'version':
      return expected.version === (found?.version ?? 0);
    case 'value': {
      if (found === undefined) return false;
      const text = JSON.stringify(expected.value);
      return text === found.text || toSortedJson(JSON.parse(text)) === toSortedJson(JSON.parse(found.text));
    }
  }
}
