import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEFAULT_RESTART, type RestartOptions, RestartState } from './restart-policy.ts';

const always: RestartOptions = { ...DEFAULT_RESTART, policy: 'always' };
const failed = (nowMs: number, livedMs = 0) => ({ clean: false, livedMs, nowMs });
const almostOne = () => 1 - Number.EPSILON;

describe('RestartState', () => {
  it('never restarts by default', () => {
    expect(new RestartState(DEFAULT_RESTART).decide(failed(0))).toEqual({ kind: 'none' });
  });

  it('restarts on failure only what failed', () => {
    const state = new RestartState({ ...always, policy: 'on-failure' });
    expect(state.decide({ clean: true, livedMs: 5, nowMs: 0 }).kind).toBe('none');
    expect(state.decide(failed(0)).kind).toBe('restart');
  });

  it('doubles the longest delay from 100 ms up to its cap', () => {
    const state = new RestartState({ ...always, maxRestarts: 100 }, almostOne);
    const delays = Array.from({ length: 12 }, (_, n) => {
      const decision = state.decide(failed(n));
      return decision.kind === 'restart' ? decision.delayMs : -1;
    });
    expect(delays.slice(0, 4)).toEqual([99, 199, 399, 799]);
    expect(delays.slice(-3)).toEqual([29_999, 29_999, 29_999]);
  });

  it('waits any time from none to the longest: full jitter', () => {
    for (const [luck, delays] of [
      [0, [0, 0, 0, 0]],
      [0.5, [50, 100, 200, 400]],
    ] as const) {
      const state = new RestartState(always, () => luck);
      expect(delays.map((_, n) => state.decide(failed(n)))).toMatchObject(
        delays.map((delayMs) => ({ kind: 'restart', delayMs })),
      );
    }
  });

  it('starts over with short delays after an incarnation that was stable, and not a moment before', () => {
    const state = new RestartState({ ...always, maxRestarts: 100 }, almostOne);
    for (let n = 0; n < 5; n += 1) state.decide(failed(n));
    expect(state.decide(failed(100, 59_999))).toMatchObject({ delayMs: 3199 });
    expect(state.decide(failed(101, 60_000))).toMatchObject({ delayMs: 99 });
  });

  it('takes an end that came too soon for a failure, with whatever status', () => {
    const clean = (livedMs: number) => ({ clean: true, livedMs, nowMs: 0 });
    const state = new RestartState({ ...always, policy: 'on-failure', maxRestarts: 1, minUptimeMs: 2000 });
    expect(state.decide(clean(2000)).kind).toBe('none');
    expect(state.decide(clean(1999)).kind).toBe('restart');
    expect(state.decide(clean(1999)).kind).toBe('escalate');
    // Under always a second is the usual measure: what lived longer and ended well may do so for ever.
    const worker = new RestartState({ ...always, maxRestarts: 1 }, almostOne);
    for (let n = 0; n < 100; n += 1)
      expect(worker.decide(clean(1000))).toMatchObject({ kind: 'restart', delayMs: 99 });
    expect(worker.decide(clean(999)).kind).toBe('restart');
    expect(worker.decide(clean(999)).kind).toBe('escalate');
  });

  it('gives up once, and for good, when the window is full', () => {
    const state = new RestartState({ ...always, maxRestarts: 2, windowMs: 1000 });
    expect([0, 1, 2, 3].map((now) => state.decide(failed(now)).kind)).toEqual([
      'restart',
      'restart',
      'escalate',
      'none',
    ]);
    expect(state.decide(failed(10_000)).kind).toBe('none');
  });

  it('never restarts more often within any window than it may', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 5 }),
        fc.integer({ min: 1, max: 100 }),
        fc.array(fc.nat({ max: 60 }), { maxLength: 60 }),
        (maxRestarts, windowMs, gaps) => {
          const state = new RestartState({ ...always, maxRestarts, windowMs });
          const restarts: number[] = [];
          let now = 0;
          for (const gap of gaps) {
            now += gap;
            if (state.decide(failed(now)).kind === 'restart') restarts.push(now);
          }
          for (const at of restarts) {
            const inWindow = restarts.filter((other) => other <= at && at - other < windowMs);
            expect(inWindow.length).toBeLessThanOrEqual(maxRestarts);
          }
        },
      ),
    );
  });
});
