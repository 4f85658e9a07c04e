import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { drawFault, FAULT_KINDS, parseFaults } from './faults.ts';

describe('parseFaults', () => {
  it('reads probabilities per kind', () => {
    expect(parseFaults('crash=0.05, hang=0.02,leak=0')).toEqual({ crash: 0.05, hang: 0.02, leak: 0 });
    expect(parseFaults('')).toEqual({});
  });

  it.each([
    'crash',
    'crash=',
    'crash=2',
    'crash=-1',
    'crash=x',
    'boom=0.1',
    'crash=0.1,crash=0.2',
    'crash=0.6,hang=0.6',
    'crash=0.1=2',
  ])('refuses %s as a mistake of the command line', (text) => {
    expect(() => parseFaults(text)).toThrow(expect.objectContaining({ code: 'USAGE' }));
  });
});

describe('drawFault', () => {
  it('gives the same fault for the same attempt, whatever else is drawn', () => {
    fc.assert(
      fc.property(fc.integer(), fc.string(), fc.integer({ min: 1, max: 5 }), (seed, key, attempt) => {
        const plan = { crash: 0.3, hang: 0.3, leak: 0.3 };
        const first = drawFault(plan, seed, key, attempt);
        drawFault(plan, seed, `${key}/other`, attempt);
        expect(drawFault(plan, seed, key, attempt)).toEqual(first);
      }),
    );
  });

  it('meets each kind as often as its probability says', () => {
    const plan = { crash: 0.2, hang: 0.1, leak: 0.05 };
    const drawn = Array.from({ length: 20_000 }, (_, i) => drawFault(plan, 7, `trial-${i}`, 1));
    for (const kind of FAULT_KINDS) {
      const share = drawn.filter((fault) => fault?.kind === kind).length / drawn.length;
      expect(share).toBeGreaterThan(plan[kind] - 0.015);
      expect(share).toBeLessThan(plan[kind] + 0.015);
    }
    const before = drawn.filter((fault) => fault?.moment === 'before').length;
    const after = drawn.filter((fault) => fault?.moment === 'after').length;
    expect(before / (before + after)).toBeCloseTo(0.5, 1);
  });

  it('draws nothing without a plan and always with certainty', () => {
    expect(drawFault({}, 1, 'k', 1)).toBeNull();
    expect(drawFault({ hang: 1 }, 1, 'k', 1)?.kind).toBe('hang');
  });
});
