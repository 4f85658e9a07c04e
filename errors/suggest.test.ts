import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { editDistance, namesHint, nearestName } from './suggest.ts';

const SCENARIOS = ['drug-discovery', 'fault-isolation', 'soc-lab', 'supervisor', 'untrusted'];

describe('a misspelt name', () => {
  it.each([
    ['drug-discvery', 'drug-discovery'],
    ['soclab', 'soc-lab'],
    ['Supervisor', 'supervisor'],
    ['untursted', 'untrusted'],
    ['drug', 'drug-discovery'],
    ['fault-iso', 'fault-isolation'],
  ])('%s is %s', (word, name) => {
    expect(nearestName(word, SCENARIOS)).toBe(name);
  });

  it.each(['', 'x', 'weather', 'a'.repeat(100_000)])('is not guessed where nothing is near', (word) => {
    expect(nearestName(word, SCENARIOS)).toBeNull();
  });

  it('leads to a hint with what there is', () => {
    expect(namesHint('soclab', SCENARIOS)).toBe(`Did you mean soc-lab? There are: ${SCENARIOS.join(', ')}.`);
    expect(namesHint('weather', ['a', 'b'])).toBe('There are: a, b.');
  });
});

describe('the distance of two words', () => {
  const word = fc.string({ maxLength: 12 });
  it('is 0 for the same, symmetrical, and at most the length of the longer', () => {
    fc.assert(
      fc.property(word, word, (a, b) => {
        const distance = editDistance(a, b);
        expect(distance === 0).toBe(a === b);
        expect(distance).toBe(editDistance(b, a));
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
      }),
    );
  });

  it('counts a swap as one edit', () => {
    expect(editDistance('kernel', 'kerenl')).toBe(1);
  });
});
