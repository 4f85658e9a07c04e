import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LimitGauge } from './gauge.ts';

describe('LimitGauge', () => {
  it('tells at once, then no more than every ten seconds, and never leaves anything out', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ times: fc.nat(5), afterMs: fc.nat(6000) }), { maxLength: 50 }),
        (steps) => {
          const gauge = new LimitGauge();
          const told: { atMs: number; count: number }[] = [];
          let now = 0;
          let met = 0;
          for (const { times, afterMs } of steps) {
            now += afterMs;
            met += times;
            const warning = gauge.met('pids', times, { limit: 8 }, now);
            if (warning !== null) told.push({ atMs: now, count: warning.count });
            if (met > 0) expect(told.length).toBeGreaterThan(0);
          }
          for (const [index, { atMs }] of told.entries()) {
            if (index > 0) expect(atMs - (told[index - 1]?.atMs ?? 0)).toBeGreaterThanOrEqual(10_000);
          }
          const rest = gauge.rest().reduce((sum, { count }) => sum + count, 0);
          expect(told.reduce((sum, { count }) => sum + count, 0) + rest).toBe(met);
          expect(gauge.rest()).toEqual([]);
        },
      ),
    );
  });

  it('tells that something is full when it becomes so, and again only after it was emptier', () => {
    const gauge = new LimitGauge();
    const at = (used: number, nowMs: number) => gauge.level('tmpfs', used, 1000, '/tmp', nowMs);
    expect(at(900, 0)).toBeNull();
    expect(at(1000, 1)).toEqual({ resource: 'tmpfs', count: 1, limit: 1000, used: 1000, where: '/tmp' });
    expect(at(999, 20_000)).toBeNull();
    expect(at(950, 30_000)).toBeNull();
    expect(at(1000, 40_000)).toBeNull();
    expect(at(100, 50_000)).toBeNull();
    expect(at(1000, 60_000)).toMatchObject({ count: 1 });
  });
});
