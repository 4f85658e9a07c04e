import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type ClockInput,
  clockSchema,
  createVirtualClock,
  parseDurationMs,
  type WorldClock,
} from './index.ts';

const HOUR_MS = 3_600_000;
const open: WorldClock[] = [];

function clockOf(input: ClockInput, restored?: Parameters<typeof createVirtualClock>[1]): WorldClock {
  const clock = createVirtualClock(clockSchema.parse(input), restored);
  open.push(clock);
  return clock;
}

afterEach(() => {
  for (const clock of open.splice(0)) clock.close();
});

describe('the definition of a clock', () => {
  it('takes a mode alone, and fills in the rest', () => {
    expect(clockSchema.parse('step')).toMatchObject({ mode: 'step', start: null, scale: 1, horizon: null });
    expect(clockSchema.parse({})).toMatchObject({ mode: 'skip', llm_time: { kind: 'real' } });
  });

  it('reads dates and durations', () => {
    const clock = clockSchema.parse({ start: '2031-05-06T07:08:09Z', horizon: '1h30m', llm_time: 'real' });
    expect(clock.start).toBe(Date.UTC(2031, 4, 6, 7, 8, 9));
    expect(clock.horizon).toBe(1.5 * HOUR_MS);
  });

  it('takes a price of model calls, but not where there is no time but the real one', () => {
    expect(clockSchema.parse({ llm_time: 'fixed:250' }).llm_time).toEqual({ kind: 'fixed', ms: 250 });
    expect(clockSchema.parse({ llm_time: 'per-token:1.5' }).llm_time).toEqual({
      kind: 'per-token',
      usPerToken: 1.5,
    });
    expect(clockSchema.safeParse({ mode: 'real', llm_time: 'free' }).error?.issues).toMatchObject([
      { path: ['llm_time'], message: expect.stringContaining('expected real') },
    ]);
  });

  it.each([
    [{ mode: 'fast' }],
    [{ mode: 'scale', scale: 21 }],
    [{ mode: 'skip', scale: 2 }],
    [{ start: '2031-05-06T07:08:09' }],
    [{ start: 'tomorrow' }],
    [{ start: -1 }],
    [{ horizon: 'soon' }],
    [{ llm_time: 'fixed' }],
    [{ speed: 3 }],
  ])('refuses %j', (input) => {
    expect(clockSchema.safeParse(input).success).toBe(false);
  });

  it('reads every duration it could have written', () => {
    fc.assert(
      fc.property(fc.nat(1000), fc.nat(1000), fc.nat(1000), (hours, seconds, millis) => {
        expect(parseDurationMs(`${hours}h${seconds}s${millis}ms`)).toBe(
          hours * HOUR_MS + seconds * 1000 + millis,
        );
      }),
    );
    for (const text of ['', '5', 'h', '1h 2m', '-1s', '1.s', '999999999999d'])
      expect(parseDurationMs(text)).toBeNull();
  });
});

describe('a clock that steps', () => {
  it('stands still until it is moved, and meets deadlines exactly and in order', async () => {
    const clock = clockOf({ mode: 'step', start: 1000 });
    const seen: [string, number][] = [];
    for (const [name, at] of [
      ['c', 30],
      ['a', 10],
      ['b', 10],
      ['late', 41],
    ] as const)
      clock.setTimer(at, () => seen.push([name, clock.monotonicMs()]));
    expect(clock.monotonicMs()).toBe(0);
    await clock.advance(40);
    expect(seen).toEqual([
      ['a', 10],
      ['b', 10],
      ['c', 30],
    ]);
    expect(clock.nowMs()).toBe(1040);
    await clock.advance(1);
    expect(seen.at(-1)).toEqual(['late', 41]);
  });

  it('meets what is set on the way', async () => {
    const clock = clockOf({ mode: 'step' });
    const seen: number[] = [];
    const run = (async () => {
      for (let i = 0; i < 5; i++) {
        await clock.sleep(7);
        seen.push(clock.monotonicMs());
      }
    })();
    await clock.advance(100);
    await run;
    expect(seen).toEqual([7, 14, 21, 28, 35]);
    expect(clock.monotonicMs()).toBe(100);
  });

  it('reaches deadlines beyond what a timer of Node takes', async () => {
    const clock = clockOf({ mode: 'step' });
    const year = 365 * 24 * HOUR_MS;
    let firedAt = 0;
    clock.setTimer(year, () => {
      firedAt = clock.monotonicMs();
    });
    await clock.advance(year - 1);
    expect(firedAt).toBe(0);
    await clock.advance(1);
    expect(firedAt).toBe(year);
  });

  it('moves from within a timer without firing anything twice', async () => {
    const clock = clockOf({ mode: 'step' });
    const seen: number[] = [];
    let inner: Promise<void> | null = null;
    clock.setTimer(10, () => {
      seen.push(1);
      inner = clock.advance(20);
    });
    clock.setTimer(25, () => seen.push(2));
    await clock.advance(10);
    await inner;
    expect(seen).toEqual([1, 2]);
  });

  it('lets the time pass that a call of whoever moves it waits for, and not while somebody is busy', async () => {
    const clock = clockOf({ mode: 'step' });
    const seen: number[] = [];
    clock.setTimer(20, () => seen.push(clock.monotonicMs()));
    clock.setTimer(60, () => seen.push(clock.monotonicMs()));
    {
      using _passes = clock.letPass();
      const busy = clock.lease('a request');
      const slept = clock.sleep(50);
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(clock.monotonicMs()).toBe(0);
      busy[Symbol.dispose]();
      await slept;
    }
    expect(clock.monotonicMs()).toBe(50);
    expect(seen).toEqual([20]);
    const slept = clock.sleep(5);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(clock.monotonicMs()).toBe(50);
    await clock.advance(5);
    await slept;
  });

  it('says of strict what it does not repeat, and of other modes nothing', () => {
    expect(clockOf({ mode: 'strict' }).status().notRepeated).toHaveLength(1);
    expect(clockOf({ mode: 'skip' }).status().notRepeated).toEqual([]);
  });

  it('forgets what is cancelled', async () => {
    const clock = clockOf({ mode: 'step' });
    let fired = false;
    clock
      .setTimer(5, () => {
        fired = true;
      })
      .cancel();
    const abort = new AbortController();
    const slept = clock.sleep(5, abort.signal);
    abort.abort();
    await expect(slept).rejects.toMatchObject({ code: 'CANCELLED' });
    await clock.advance(10);
    expect(fired).toBe(false);
    expect(clock.status().timers).toBe(0);
  });

  it('fires any set of deadlines in order, whatever the steps', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(500), { maxLength: 20 }),
        fc.array(fc.nat(100), { minLength: 1, maxLength: 8 }),
        async (deadlines, steps) => {
          const clock = clockOf({ mode: 'step' });
          const fired: number[] = [];
          for (const at of deadlines) clock.setTimer(at, () => fired.push(clock.monotonicMs()));
          for (const step of steps) await clock.advance(step);
          const reached = steps.reduce((sum, step) => sum + step, 0);
          // What is due at once is met in the first step.
          expect(fired).toEqual(deadlines.filter((at) => at <= reached).sort((a, b) => a - b));
          clock.close();
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe('a clock that skips', () => {
  it('lets a sleeper of eight hours through at once', async () => {
    const clock = clockOf({ mode: 'skip' });
    const realStart = performance.now();
    await clock.sleep(8 * HOUR_MS);
    const realMs = performance.now() - realStart;
    expect(clock.monotonicMs()).toBeGreaterThanOrEqual(8 * HOUR_MS);
    expect(clock.monotonicMs()).toBeLessThanOrEqual(8 * HOUR_MS + realMs + 1);
    expect(clock.status().jumps).toBe(1);
    expect(clock.jumpLog()).toHaveLength(1);
  });

  it('meets what others have set on the way', async () => {
    const clock = clockOf({ mode: 'skip' });
    const seen: string[] = [];
    clock.setTimer(HOUR_MS, () => seen.push('event'));
    clock.setTimer(3 * HOUR_MS, () => seen.push('later'));
    await clock.sleep(2 * HOUR_MS);
    expect(seen).toEqual(['event']);
  });

  it('does not run away when nobody waits', async () => {
    const clock = clockOf({ mode: 'skip' });
    clock.setTimer(HOUR_MS, () => {});
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(clock.status().jumps).toBe(0);
  });

  it('waits while a lease is held', async () => {
    const clock = clockOf({ mode: 'skip' });
    const lease = clock.lease('a model call');
    let done = false;
    const slept = clock.sleep(HOUR_MS).then(() => {
      done = true;
    });
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(done).toBe(false);
    expect(clock.status().leases).toEqual(['a model call']);
    lease[Symbol.dispose]();
    await slept;
    expect(clock.status().leases).toEqual([]);
  });

  it('skips nothing beyond its horizon', async () => {
    const clock = clockOf({ mode: 'skip', horizon: '1h' });
    await clock.sleep(HOUR_MS - 1);
    void clock.sleep(HOUR_MS).catch(() => {});
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(clock.status().jumps).toBe(1);
  });

  it('goes on from a snapshot without a jump', async () => {
    const clock = clockOf({ mode: 'skip', start: '2030-01-01T00:00:00Z' });
    await clock.sleep(HOUR_MS);
    const state = JSON.parse(JSON.stringify(clock.snapshot())) as ReturnType<WorldClock['snapshot']>;
    clock.close();
    const restored = clockOf({ mode: 'skip' }, state);
    const monotonicMs = restored.monotonicMs();
    expect(monotonicMs).toBeGreaterThanOrEqual(state.monotonicMs);
    expect(restored.snapshot().startEpochMs).toBe(Date.UTC(2030, 0, 1));
    await restored.sleep(HOUR_MS);
    expect(restored.status().skippedMs).toBeLessThanOrEqual(HOUR_MS + 1);
  });
});

describe('clocks that run by themselves', () => {
  it('meets deadlines in real time, never early', async () => {
    const clock = clockOf({ mode: 'real' });
    const start = clock.monotonicMs();
    await clock.sleep(30);
    expect(clock.monotonicMs() - start).toBeGreaterThanOrEqual(30);
    await expect(clock.advance(1)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });

  it('runs at its factor', async () => {
    const clock = clockOf({ mode: 'scale', scale: 20 });
    const realStart = performance.now();
    const start = clock.monotonicMs();
    await clock.sleep(600);
    const virtual = clock.monotonicMs() - start;
    expect(virtual).toBeGreaterThanOrEqual(600);
    expect(virtual).toBeLessThanOrEqual((performance.now() - realStart) * 20 + 1);
  });

  it('cancels sleepers when it is closed, and takes no more', async () => {
    const clock = clockOf({ mode: 'real' });
    const slept = clock.sleep(HOUR_MS);
    clock.close();
    await expect(slept).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(clock.sleep(1)).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  it('in mode strict stands still while somebody is busy, and meets deadlines one by one', async () => {
    const clock = clockOf({ mode: 'strict' });
    const busy = clock.lease('busy');
    const seen: string[] = [];
    const sleeper = async (name: string) => {
      await clock.sleep(1000);
      seen.push(`${name} wakes at ${clock.monotonicMs()}`);
      const working = clock.lease(name);
      await new Promise((resolve) => setTimeout(resolve, 10));
      seen.push(`${name} is done at ${clock.monotonicMs()}`);
      working[Symbol.dispose]();
    };
    const both = Promise.all([sleeper('a'), sleeper('b')]);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(clock.monotonicMs()).toBe(0);
    busy[Symbol.dispose]();
    await both;
    expect(seen).toEqual(['a wakes at 1000', 'a is done at 1000', 'b wakes at 1000', 'b is done at 1000']);
  });
});
