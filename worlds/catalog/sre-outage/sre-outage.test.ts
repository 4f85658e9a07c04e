import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FAULT_KINDS, FAULTS, type FaultKind, planShift, rowOf, SLOT_MS } from './faults.ts';
import { act, fileMended, liveUntil, newPlatform, type PlatformState, STEP_MS } from './platform.ts';
import type { ComponentName } from './topology.ts';

const MINUTE_MS = 60_000;

/** A shift with one outage, at its middle of trouble. */
function begin(kind: FaultKind, seed: number): PlatformState {
  const state = newPlatform(seed, planShift(seed, { outages: 1, only: kind }));
  state.startedMs = 0;
  return state;
}

const kept = (state: PlatformState, fromMs: number, toMs: number) => {
  liveUntil(state, toMs);
  return state.promised
    .slice(Math.ceil(fromMs / STEP_MS), Math.floor(toMs / STEP_MS))
    .every((one) => one === 1);
};

function mend(state: PlatformState, atMs: number): void {
  const [outage] = state.plan.outages;
  if (outage === undefined) throw new Error('no outage');
  const { repair } = rowOf(outage.kind);
  if ('file' in repair) fileMended(state, atMs, outage.component, repair.file);
  else {
    const component: ComponentName = repair.on === 'itself' ? outage.component : repair.on;
    act(state, atMs, { component, action: repair.action, by: 'test' });
  }
}

describe('a shift of outages', () => {
  it('is the same for the same seed, each in a slot of its own, all kinds before any comes twice', () => {
    expect(FAULT_KINDS.length).toBeGreaterThanOrEqual(12);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (seed) => {
        const plan = planShift(seed);
        expect(planShift(seed)).toEqual(plan);
        expect(new Set(plan.outages.map(({ kind }) => kind)).size).toBe(12);
        for (const [slot, { kind, component, startMs, endMs }] of plan.outages.entries()) {
          expect(Math.floor(startMs / SLOT_MS)).toBe(slot);
          expect(Math.floor(endMs / SLOT_MS)).toBe(slot);
          expect(FAULTS[kind].places).toContain(component);
        }
      }),
      { numRuns: 30 },
    );
  });
});

/** A seed with the fault at each of its places. */
function seedsOf(kind: FaultKind): [ComponentName, number][] {
  const seeds = Array.from({ length: 60 }, (_, index) => index + 1);
  return FAULTS[kind].places.map((place) => {
    const at = (seed: number) => planShift(seed, { outages: 1, only: kind }).outages[0]?.component;
    return [place, seeds.find((seed) => at(seed) === place) ?? 0];
  });
}

describe.each(FAULT_KINDS)('%s', (kind) => {
  it.each(seedsOf(kind))(
    'of %s hurts customers until its cause is mended, and only then is over',
    (place, seed) => {
      const state = begin(kind, seed);
      expect(state.plan.outages[0]?.component).toBe(place);
      const [{ startMs, endMs } = { startMs: 0, endMs: 0 }] = state.plan.outages;
      expect(kept(state, 0, startMs)).toBe(true);
      const mendedMs = startMs + 12 * MINUTE_MS;
      expect(kept(state, startMs, mendedMs)).toBe(false);
      expect(state.promised.at(-1)).toBe(0);
      mend(state, mendedMs);
      expect(kept(state, mendedMs + 2 * MINUTE_MS, endMs)).toBe(true);
      expect(state.actions).toMatchObject([{ ended: 0, lostRecords: 0 }]);
      expect(state.lostCents[0]).toBeGreaterThan(0);
    },
  );

  it('does not end by starting the component anew, unless that costs data', () => {
    const state = begin(kind, 4);
    const [outage] = state.plan.outages;
    if (outage === undefined) throw new Error('no outage');
    const atMs = outage.startMs + 5 * MINUTE_MS;
    liveUntil(state, atMs);
    const { ended, lostRecords } = act(state, atMs, {
      component: outage.component,
      action: 'restart',
      by: 'test',
    });
    expect(ended === null || lostRecords > 0).toBe(true);
    if (ended === null) expect(kept(state, atMs + 2 * MINUTE_MS, outage.endMs)).toBe(false);
  });

  it('is mended by who takes over, and looked at often or once it was the same', () => {
    const often = begin(kind, 5);
    const once = begin(kind, 5);
    for (let ms = 0; ms <= SLOT_MS; ms += 7000) liveUntil(often, ms);
    liveUntil(often, SLOT_MS);
    liveUntil(once, SLOT_MS);
    expect(often).toEqual(once);
    expect(kept(once, once.plan.outages[0]?.endMs ?? 0, SLOT_MS)).toBe(true);
  });
});
