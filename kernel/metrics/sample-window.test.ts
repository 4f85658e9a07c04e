import { describe, expect, it } from 'vitest';
import { SampleWindow } from './sample-window.ts';

describe('SampleWindow', () => {
  it('gives all who ask in one window the same figures, and a new window after a second', async () => {
    let clock = 0;
    let taken = 0;
    const window = new SampleWindow(
      () => ++taken,
      () => clock,
    );
    const [first, second] = await Promise.all([window.current(), window.current()]);
    expect(second).toBe(first);
    expect([first.before.sample, first.after.sample]).toEqual([1, 2]);
    clock = 999;
    expect(await window.current()).toBe(first);
    clock = 1000;
    const next = await window.current();
    expect([next.before.sample, next.after.sample, next.elapsedMs]).toEqual([2, 3, 1000]);
    expect(await window.current()).toBe(next);
  });

  it('does not average over a time in which nobody asked', async () => {
    let clock = 0;
    let taken = 0;
    const window = new SampleWindow(
      () => ++taken,
      () => clock,
    );
    await window.current();
    clock = 3_600_000;
    const late = await window.current();
    expect([late.before.sample, late.after.sample]).toEqual([3, 4]);
    expect(late.before.takenAtMs).toBe(3_600_000);
  });
});
