import { expect, it } from 'vitest';
import { RandomIds } from './random-ids.ts';

it('gives ids of the length asked for, none of them twice, over many draws', () => {
  const ids = new RandomIds();
  const seen = new Set<string>();
  for (let index = 0; index < 2000; index += 1) {
    const id = ids.next(index % 2 === 0 ? 16 : 8);
    expect(id).toMatch(index % 2 === 0 ? /^[0-9a-f]{32}$/ : /^[0-9a-f]{16}$/);
    seen.add(id);
  }
  expect(seen.size).toBe(2000);
});
