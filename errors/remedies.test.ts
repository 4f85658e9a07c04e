import { describe, expect, it } from 'vitest';
import { ERROR_CODES } from './codes.ts';
import { REMEDIES } from './remedies.ts';

describe('the remedy of an error', () => {
  it.each(Object.keys(ERROR_CODES))('of %s is one line each of cause and remedy', (code) => {
    const { cause, remedy } = REMEDIES[code as keyof typeof REMEDIES];
    for (const text of [cause, remedy]) expect(text).toMatch(/^[A-Z`].*\.$/);
  });

  it('is in the order of the codes', () => {
    expect(Object.keys(REMEDIES)).toEqual(Object.keys(ERROR_CODES));
  });
});
