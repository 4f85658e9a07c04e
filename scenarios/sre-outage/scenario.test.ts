import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { runFleet } from '../../bench/fleet/testing.ts';
import { planShift } from '../../worlds/catalog/sre-outage/faults.ts';
import { liveUntil } from '../../worlds/catalog/sre-outage/platform.ts';
import { initialState } from '../../worlds/catalog/sre-outage/service.ts';
import { judgeShift } from './judge.ts';
import sreOutage from './scenario.ts';

describe('judging a shift', () => {
  const plan = planShift(7, { outages: 3 });
  const shift = () => {
    const state = initialState(7, plan);
    state.platform.startedMs = 0;
    liveUntil(state.platform, plan.durationMs);
    return state;
  };

  it('counts who does nothing as never having recovered anything', () => {
    const { metrics, outages } = judgeShift(plan, shift());
    expect(metrics).toMatchObject({ recovered: 0, rootCause: 0, actions: 0, lostRecords: 0, falsePages: 0 });
    expect(outages.every(({ brokenSteps, detectMs }) => brokenSteps > 30 && detectMs === null)).toBe(true);
    expect(metrics.lostEuro).toBeGreaterThan(0);
  });

  it('believes no incident that is called resolved, and counts the last diagnosis', () => {
    const state = shift();
    const [first, second] = plan.outages;
    if (first === undefined || second === undefined) throw new Error('no outages');
    const incident = (openedMs: number, causes: string[], component: string) => ({
      id: openedMs,
      openedMs,
      by: 'watcher',
      title: '',
      status: 'resolved' as const,
      closedMs: openedMs + 60_000,
      diagnoses: causes.map((cause, index) => ({ atMs: openedMs + index, by: 'x', cause, component })),
      notes: [],
    });
    state.incidents.push(
      incident(first.startMs + 1000, ['guess', first.kind], first.component),
      incident(second.startMs + 1000, [second.kind, 'guess'], second.component),
      incident(first.endMs + 90_000, [], 'edge'),
    );
    const { metrics, outages } = judgeShift(plan, state);
    expect(metrics).toMatchObject({ recovered: 0, falseClaims: 2, falsePages: 1 });
    expect(outages.map(({ isCauseRight }) => isCauseRight)).toEqual([true, false, false]);
    expect(outages.map(({ diagnoseMs }) => diagnoseMs)).toEqual([1001, 1000, null]);
  });
});

describe('sre-outage', () => {
  it('tells who finds causes from who restarts, and the same seed gives the same books', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    if (!existsSync('/usr/bin/python3')) context.skip('no python3 in the system folders');
    const options = { set: { outages: '4' } };
    const first = await runFleet(sreOutage, options);
    const again = await runFleet(sreOutage, options);
    expect(
      first.results.trials.map(({ status }) => status),
      first.explain('clove'),
    ).toEqual(['passed', 'passed', 'passed']);
    const [restarter, runbook, diagnoser] = first.results.trials.map(({ metrics }) => metrics);
    expect(Number(diagnoser?.rootCause)).toBeGreaterThan(Number(runbook?.rootCause ?? 1) - 0.01);
    expect(Number(diagnoser?.recovered)).toBeGreaterThan(Number(restarter?.recovered ?? 1));
    expect(Number(diagnoser?.lostEuro)).toBeLessThan(Number(restarter?.lostEuro ?? 0));
    const hashes = [first, again].map(({ results }) => results.trials.map(({ facts }) => facts?.bookHash));
    expect(hashes[0]?.every((hash) => /^[0-9a-f]{64}$/.test(String(hash)))).toBe(true);
    expect(hashes[1]).toEqual(hashes[0]);
  }, 300_000);
});
