import { describe, expect, it } from 'vitest';
import type { FleetRecord, RunResults } from '../bench/types.ts';
import { makeFleetResults } from './activity/fixture.ts';
import { type Chart, drawCharts } from './charts/render.ts';
import { makeResults } from './fixture.ts';
import { checkGroups, fleetsOf } from './fleets.ts';
import { renderHtml } from './render-html.ts';
import { renderMarkdown } from './render-markdown.ts';
import { parseResults } from './schema.ts';
import { fleetCharts } from './sections/agents.ts';
import { worldTimes } from './world-time.ts';

const HOSTILE = '<script>alert(1)</script>\u001b[2J';

function fleet(holds: boolean): FleetRecord {
  return {
    checks: [
      {
        id: 'contained',
        asserted: 'The hog is killed by its limit',
        status: holds ? 'passed' : 'failed',
        observed: `it ended ${HOSTILE}`,
        layer: holds ? 'netns' : null,
        evidence: [{ source: 'cgroup', text: `limit ${HOSTILE}` }],
        atMs: 900,
      },
    ],
    agents: [
      {
        name: `hog ${HOSTILE}`,
        role: 'hog',
        program: 'hog.ts',
        limits: { memory: 1_048_576 },
        restartPolicy: 'never',
        lives: [
          { fromMs: 10, toMs: 500, reason: 'oom', exitCode: null, signal: 'SIGKILL' },
          { fromMs: 600, toMs: null, reason: null, exitCode: null, signal: null },
        ],
        restarts: 1,
        escalated: false,
        cpuMs: 12,
        throttledMs: 0,
        memoryPeakBytes: 1_048_576,
      },
    ],
    marks: [
      { atMs: 5, agent: null, kind: 'phase', text: HOSTILE },
      { atMs: 500, agent: `hog ${HOSTILE}`, kind: 'limit', text: 'limit of memory hit 1 times' },
    ],
    series: [
      {
        name: HOSTILE,
        unit: 'ms',
        points: Array.from({ length: 1000 }, (_, at) => [at, at === 777 ? 99 : 1] as const),
      },
      { name: 'memory', unit: 'MiB', points: [[1, 2]] },
    ],
  };
}

/** One trial under two runtimes; the check holds under the first alone. */
function results(): RunResults {
  const made = makeResults({
    trials: 1,
    runtimes: ['clove', 'process'],
    faults: { crash: 0, hang: 0, leak: 0 },
  });
  return {
    ...made,
    trials: made.trials.map((trial) => ({
      ...trial,
      attempts: trial.attempts.map((attempt) => ({
        ...attempt,
        result: { metrics: {}, facts: {}, fleet: fleet(trial.runtime === 'clove') },
      })),
    })),
  };
}

describe('the report of a run of fleets', () => {
  it('shows what was asserted, observed and by what, side by side for its runtimes, and runs nothing of it', async () => {
    const record = parseResults(JSON.parse(JSON.stringify(results())));
    const page = await renderHtml(record);
    expect(page).toContain('The hog is killed by its limit');
    expect(page).toContain('✓ holds');
    expect(page).toContain('✗ does not hold');
    expect(page).toContain('by netns');
    expect(page).toContain('killed by its memory limit');
    expect(page).toContain('Checks that hold');
    expect(page).not.toContain('<script>alert');
    expect(page).not.toContain('\u001b[2J');
    const text = renderMarkdown(record);
    expect(text).toMatch(/## Checks\n\n\| Asserted/);
    expect(text).not.toContain('<script>alert');
  });

  it('draws every fleet without a complaint of the drawing library, keeping what stands out', async () => {
    const charts = fleetCharts(results());
    expect(charts.map(({ id }) => id)).toEqual([
      'agentsa',
      'seriesaa',
      'seriesab',
      'agentsb',
      'seriesba',
      'seriesbb',
    ]);
    for (const { warnings } of await drawCharts(charts)) expect(warnings).toEqual([]);
    const { spec } = charts[1] as Chart;
    const { values } = (spec as unknown as { data: { values: { value: number }[] } }).data;
    expect(values.length).toBeLessThan(500);
    expect(Math.max(...values.map(({ value }) => value))).toBe(99);
  });

  it('puts the same check of all trials together', () => {
    const groups = checkGroups(fleetsOf(results()));
    expect(groups.map(({ id, seen }) => [id, seen.map(({ check }) => check.status)])).toEqual([
      ['contained', ['passed', 'failed']],
    ]);
    expect(fleetsOf(makeResults({ trials: 2 }))).toEqual([]);
  });
});

describe('the header of a report of fleets', () => {
  it('says what time was in their worlds, and what thinking cost there', async () => {
    const results = parseResults(JSON.parse(JSON.stringify(makeFleetResults())));
    const sentence = (text: string) =>
      text.match(
        /World time: clock skip; a model call costs 250 ms \(llm_time fixed:250\): [^.]*\.?\d* s[^.]*\./g,
      );
    const page = await renderHtml(results);
    expect(page.slice(0, page.indexOf('</header>'))).toMatch(/llm_time fixed:250/);
    expect(sentence(renderMarkdown(results).replaceAll('\\', ''))).toHaveLength(1);
    expect(worldTimes(results)).toHaveLength(1);
    expect(worldTimes(results)[0]).toMatch(/9 calls \(3 failed\), 2\.25 s charged/);
  });

  it('says so when nobody thought, and nothing where there was no world', () => {
    const none = { modelCalls: 0, modelFailed: 0, modelChargedMs: 0, modelRealMs: 0 };
    const results = makeFleetResults({ trials: 1 });
    for (const trial of results.trials)
      for (const { result } of trial.attempts)
        Object.assign(result?.fleet?.activity ?? {}, {
          worlds: [
            { name: 'a', clock: 'skip', llmTime: 'real', ...none },
            { name: 'b', clock: 'step', llmTime: 'per-token:20', ...none },
          ],
        });
    expect(worldTimes(results)).toEqual([
      'World time: clock skip; a model call costs what it takes (llm_time real): none was made.',
      'World time: clock step; a model call costs 20 µs a token (llm_time per-token:20): none was made.',
    ]);
    expect(worldTimes(makeResults())).toEqual([]);
  });
});
