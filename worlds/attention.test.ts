import { afterEach, describe, expect, it } from 'vitest';
import { Attentions } from './attention.ts';
import { clockSchema } from './clock/schema.ts';
import type { WorldClock } from './clock/types.ts';
import { createVirtualClock } from './clock/virtual.ts';

const HOUR_MS = 3_600_000;
let clock: WorldClock | undefined;
afterEach(() => clock?.close());

function skipping(): { clock: WorldClock; agents: Attentions } {
  const made = createVirtualClock(clockSchema.parse({ mode: 'skip' }));
  clock = made;
  return { clock: made, agents: new Attentions(made) };
}

/** Whether the clock has come to `ms` after so many turns of the event loop. */
async function reaches(one: WorldClock, ms: number): Promise<boolean> {
  for (let turn = 0; turn < 50; turn++) {
    if (one.monotonicMs() >= ms) return true;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return false;
}

describe('a clock that skips', () => {
  it('waits for an agent that is starting, and goes on when all of them wait', async () => {
    const { clock, agents } = skipping();
    agents.add(1);
    agents.add(2);
    void clock.sleep(HOUR_MS);
    expect(await reaches(clock, HOUR_MS)).toBe(false);
    const one = agents.wait(1);
    expect(await reaches(clock, HOUR_MS)).toBe(false);
    agents.wait(2);
    expect(await reaches(clock, HOUR_MS)).toBe(true);
    void clock.sleep(HOUR_MS);
    one[Symbol.dispose]();
    expect(await reaches(clock, 2 * HOUR_MS)).toBe(false);
    agents.remove(1);
    expect(await reaches(clock, 2 * HOUR_MS)).toBe(true);
  });

  it('takes an agent with two loops for busy while one of them works', async () => {
    const { clock, agents } = skipping();
    agents.add(1);
    agents.wait(1);
    const second = agents.wait(1);
    second[Symbol.dispose]();
    void clock.sleep(HOUR_MS);
    expect(await reaches(clock, HOUR_MS)).toBe(false);
    agents.wait(1);
    expect(await reaches(clock, HOUR_MS)).toBe(true);
  });

  it('forgets a loop that was given up, and knows nothing of who was not added', async () => {
    const { clock, agents } = skipping();
    agents.add(1);
    agents.wait(1);
    agents.wait(1)[Symbol.dispose]();
    agents.wait(99)[Symbol.dispose]();
    await clock.sleep(HOUR_MS);
    expect(clock.monotonicMs()).toBeGreaterThanOrEqual(HOUR_MS);
  });
});
