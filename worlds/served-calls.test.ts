import { afterEach, describe, expect, it } from 'vitest';
import { type ClockStatus, clockSchema, createVirtualClock, type WorldClock } from './clock/index.ts';
import { ServedCalls } from './served-calls.ts';

let clock: WorldClock | null = null;
afterEach(() => clock?.close());

function served(): { calls: ServedCalls; leases: () => ClockStatus['leases'] } {
  const made = createVirtualClock(clockSchema.parse('skip'));
  clock = made;
  const calls = new ServedCalls(made);
  calls.add(1);
  return { calls, leases: () => made.status().leases };
}

describe('calls that are served', () => {
  it('hold the clock, but for those that wait', () => {
    const { calls, leases } = served();
    expect(leases()).toEqual([]);
    const call = calls.serve(1);
    expect(leases()).toEqual(['the kernel serves agent 1']);
    const wait = calls.wait(1);
    expect(leases()).toEqual([]);
    const second = calls.serve(1);
    expect(leases()).toHaveLength(1);
    second[Symbol.dispose]();
    wait[Symbol.dispose]();
    expect(leases()).toHaveLength(1);
    call[Symbol.dispose]();
    call[Symbol.dispose]();
    expect(leases()).toEqual([]);
  });

  it('may wait before dispatch knows that they take longer', () => {
    const { calls, leases } = served();
    const wait = calls.wait(1);
    const call = calls.serve(1);
    expect(leases()).toEqual([]);
    wait[Symbol.dispose]();
    expect(leases()).toHaveLength(1);
    call[Symbol.dispose]();
    expect(leases()).toEqual([]);
  });

  it('hold nothing of agents that have left or never came', () => {
    const { calls, leases } = served();
    const call = calls.serve(1);
    calls.serve(2);
    calls.remove(1);
    expect(leases()).toEqual([]);
    call[Symbol.dispose]();
    expect(leases()).toEqual([]);
    calls.add(1);
    calls.serve(1);
    calls.close();
    expect(leases()).toEqual([]);
  });
});
