import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UidPool } from './uid-pool.ts';

describe('UidPool', () => {
  it('never gives one user to two holders, and refuses when all are out', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 200 }), (takes) => {
        const pool = new UidPool(200_000, 7);
        const held: number[] = [];
        for (const take of takes) {
          if (take && held.length === 7) expect(() => pool.take()).toThrow(/in use/);
          else if (take) {
            const uid = pool.take();
            expect(held).not.toContain(uid);
            expect(uid).toBeGreaterThanOrEqual(200_000);
            expect(uid).toBeLessThan(200_007);
            held.push(uid);
          } else {
            const uid = held.shift();
            if (uid !== undefined) pool.release(uid);
          }
          expect(pool.inUse).toBe(held.length);
        }
      }),
    );
  });

  it('passes over users that somebody else has, until they are free', () => {
    const foreign = new Set([1000, 1002]);
    const pool = new UidPool(1000, 3, foreign);
    expect(pool.take()).toBe(1001);
    expect(() => pool.take()).toThrow(/in use/);
    foreign.clear();
    expect([pool.take(), pool.take()].sort()).toEqual([1000, 1002]);
  });

  it('lets a freed user rest while others are fresh', () => {
    const pool = new UidPool(1000, 3);
    const first = pool.take();
    pool.release(first);
    expect([pool.take(), pool.take()]).not.toContain(first);
  });
});
