import { describe, expect, it } from 'vitest';
import { Shares } from './shares.ts';

/** Serves `id` whenever it may be, in steps of 1 ms, for `ms`; what it took. */
function flood(shares: Shares, id: number, fromMs: number, ms: number, other: number | null): number {
  let took = 0;
  for (let now = fromMs; now < fromMs + ms; now += 1) {
    if (other !== null && (now - fromMs) % 10 === 0) shares.took(other, now, now + 0.01);
    if (shares.pauseMs(id, now) > 0) continue;
    shares.took(id, now, now + 1);
    took += 1;
  }
  return took;
}

describe('shares of the thread', () => {
  it('hold nobody up who is alone', () => {
    expect(flood(new Shares(), 1, 0, 1000, null)).toBe(1000);
  });

  it('leave time to whoever else is there, however little that one asks for', () => {
    const shares = new Shares();
    expect(flood(shares, 1, 0, 1000, 2)).toBeLessThan(500);
    expect(shares.pauseMs(2, 1000)).toBe(0);
  });

  it.each([1, 5, 12, 20, 25, 40])('are the same for calls of %d ms', (callMs) => {
    const shares = new Shares();
    let took = 0;
    for (let now = 0; now < 10_000; ) {
      shares.took(2, now, now + 0.01);
      const pause = shares.pauseMs(1, now);
      if (pause > 0) {
        now += Math.min(pause, 10);
        continue;
      }
      shares.took(1, now, now + callMs);
      now += callMs;
      took += callMs;
    }
    expect(took / 10_000).toBeGreaterThan(0.3);
    expect(took / 10_000).toBeLessThan(0.45);
  });

  it('say when to come again, and forget what was long ago', () => {
    const shares = new Shares();
    flood(shares, 1, 0, 500, 2);
    let pause = 0;
    for (let now = 500; pause === 0; now += 1) {
      pause = shares.pauseMs(1, now);
      if (pause === 0) shares.took(1, now, now + 1);
      shares.took(2, now, now + 0.01);
      if (pause > 0) expect(shares.pauseMs(1, now + pause)).toBe(0);
    }
    expect(flood(shares, 1, 10_000, 100, null)).toBe(100);
  });

  it('keep no account of callers that never come again', () => {
    const shares = new Shares();
    for (let id = 0; id < 10_000; id += 1) shares.took(id, id, id + 0.1);
    expect(shares.size).toBeLessThan(1000);
  });
});
