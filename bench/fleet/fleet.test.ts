import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Luck } from '../../worlds/luck/streams.ts';
import { resumeBench, runBench } from '../run.ts';
import { findScenario, loadScenarioFile } from '../scenarios.ts';
import { fleetAsScenario } from './as-scenario.ts';
import { planFaults } from './faults.ts';
import { newScenario } from './template.ts';
import { runFleet } from './testing.ts';
import { endText, historyOf, marksOf } from './timeline.ts';
import type { Fleet, FleetEvent, FleetScenario } from './types.ts';

const MIB = 2 ** 20;

/** One agent that sleeps; the oracle is the test's. */
function sleeper(oracle: (fleet: Fleet) => Promise<void>, more: Partial<FleetScenario> = {}): FleetScenario {
  return {
    kind: 'fleet',
    name: 'sleeper',
    title: 'Sleeper',
    description: 'For tests.',
    version: '1',
    roles: {
      sleeper: {
        title: 'sleeps',
        program: { command: ['/bin/sleep', '60'] },
        limits: { memory: 16 * MIB },
        restart: { policy: 'on-failure', backoffMs: 1 },
      },
    },
    budgets: { wallMs: 30_000, memoryBytes: 64 * MIB, agents: 4 },
    metrics: [{ path: 'figure', label: 'Figure', format: '.0f', higherIsBetter: true }],
    oracle,
    ...more,
  };
}

const codeOf = (make: () => unknown): { code: string; problems: readonly string[] } => {
  try {
    make();
    return { code: 'none', problems: [] };
  } catch (error) {
    const { code, details } = error as { code: string; details: { problems: string[] } };
    return { code, problems: details.problems };
  }
};

describe('the definition of a fleet', () => {
  const idle = async () => {};

  it('is checked before anything runs, with all that is wrong', () => {
    const wrong = sleeper(idle, {
      roles: {
        sleeper: {
          title: 'sleeps',
          program: { script: '/none/agent.py' },
          count: 5,
          limits: { memory: 1, max_pidz: 3 } as never,
        },
      },
      faults: [{ kind: 'kill', role: 'nobody', count: 1, betweenMs: [5, 1] }],
      variants: { seed: [1, 2] },
    });
    const { code, problems } = codeOf(() => fleetAsScenario(wrong));
    expect(code).toBe('CONFIG');
    expect(problems.join('\n')).toMatch(/roles\.sleeper: limits\.memory/);
    expect(problems.join('\n')).toMatch(/max_pidz/);
    expect(problems.join('\n')).toMatch(/there is no file \/none\/agent\.py/);
    expect(problems.join('\n')).toMatch(/there is no role nobody/);
    expect(problems.join('\n')).toMatch(/from is behind to/);
    expect(problems.join('\n')).toMatch(/variants\.seed/);
  });

  it('refuses what it does not know, and what is beyond its budgets', () => {
    expect(codeOf(() => fleetAsScenario({ ...sleeper(idle), orakle: 1 } as never)).code).toBe('CONFIG');
    const many = sleeper(idle, { budgets: { wallMs: 1000, memoryBytes: MIB, agents: 1 } });
    expect(codeOf(() => fleetAsScenario(many)).problems[0]).toMatch(/budgets\.memoryBytes/);
  });

  it('makes a trial of every variant and seed', async () => {
    const scenario = fleetAsScenario(sleeper(idle, { variants: { load: ['low', 'high'] }, seeds: 2 }));
    const options = { quick: false, size: null, seed: 7, dataDirectory: null, cacheDirectory: '/', set: {} };
    const trials = await (await scenario.plan(options)).trials();
    expect(trials.map(({ params }) => params.load)).toEqual(['low', 'high', 'low', 'high']);
    expect(trials[0]?.seed).toBe(7);
    expect(new Set(trials.map(({ key }) => key)).size).toBe(4);
    expect((await (await scenario.plan({ ...options, quick: true })).trials()).length).toBe(1);
  });

  it('runs unprotected only where it says that this does no harm', async () => {
    await expect(runFleet(sleeper(idle), { runtimes: ['process'] })).rejects.toMatchObject({
      code: 'CONFIG',
    });
    await expect(runFleet(sleeper(idle), { runtimes: ['thread'] })).rejects.toMatchObject({ code: 'USAGE' });
  });
});

describe('a trial with a fleet', () => {
  it('is what its checks say; what one throws is what was observed', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    const scenario = sleeper(async (fleet) => {
      await fleet.start();
      await fleet.check('holds', 'Something that holds', () => ({ holds: true, observed: 'it does' }));
      await fleet.check('throws', 'Something nobody sees', () =>
        fleet
          .event(() => false, { timeoutMs: 5, what: 'a miracle' })
          .then(() => ({ holds: true, observed: '' })),
      );
      await fleet.check('unknown', 'Something that cannot be had here', () => ({
        holds: null,
        observed: 'no',
      }));
      fleet.metric('figure', 3);
      await expect(fleet.check('holds', 'Again', () => ({ holds: true, observed: '' }))).rejects.toThrow(
        /twice/,
      );
    });
    const { results, checks } = await runFleet(scenario);
    expect(checks('clove')).toMatchObject({
      holds: { status: 'passed' },
      throws: { status: 'failed', observed: 'a miracle did not come within 5 ms' },
      unknown: { status: 'not_measured' },
    });
    expect(results.trials[0]).toMatchObject({ status: 'failed', metrics: { figure: 3 } });
    expect(results.verdict).toMatchObject({ kind: 'fail' });
    // A check that fails is an answer, and asking again would be fishing.
    expect(results.trials[0]?.attempts.length).toBe(1);
  });

  it('meets its faults, from outside, and restarts by its policy', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    const scenario = sleeper(
      async (fleet) => {
        await fleet.start();
        await fleet.event(({ type }) => type === 'AGENT_RESTARTING');
        await fleet.until(() => fleet.events.filter(({ type }) => type === 'AGENT_SPAWNED').length === 2);
      },
      { faults: [{ kind: 'kill', role: 'sleeper', count: 1, betweenMs: [0, 10] }] },
    );
    const { results, explain } = await runFleet(scenario);
    const fleet = results.trials[0]?.attempts[0]?.result?.fleet;
    expect(fleet?.agents[0]?.lives, explain('clove')).toMatchObject([
      { reason: 'signal', signal: 'SIGKILL' },
      { toMs: null },
    ]);
    expect(fleet?.marks.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['fault', 'restart']));
  });

  it('ends with its budget of time, and tells what it had seen', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    const scenario = sleeper(
      async (fleet) => {
        await fleet.start();
        await fleet.check('seen', 'Something seen in time', () => ({ holds: true, observed: 'yes' }));
        await new Promise(() => {});
      },
      { budgets: { wallMs: 1500, memoryBytes: 64 * MIB, agents: 1 } },
    );
    const { results, checks } = await runFleet(scenario);
    expect(results.trials[0]?.attempts[0]).toMatchObject({ end: 'timeout' });
    expect(checks('clove').seen?.status).toBe('passed');
    expect(results.trials[0]?.status).toBe('failed');
  });
});

describe('the timeline', () => {
  const event = (type: string, atMs: number, data: Record<string, unknown> = {}): FleetEvent => ({
    type,
    customType: null,
    agent: 'a',
    data,
    atMs,
  });

  it('makes lives, restarts and use of the events of an agent', () => {
    const usage = { cpu_user_us: 1000, cpu_system_us: 1000, cpu_throttled_us: 500, memory_peak_bytes: 9 };
    const events = [
      event('AGENT_SPAWNED', 1),
      event('AGENT_EXITED', 5, { reason: 'exited', exit_code: 1, signal: null, usage }),
      event('AGENT_RESTARTING', 5, { restart_count: 1, delay_ms: 3, exit_code: 1, reason: 'exited' }),
      event('AGENT_SPAWNED', 8),
      event('AGENT_EXITED', 9, { reason: 'oom', exit_code: null, signal: 'SIGKILL', usage }),
      event('AGENT_ESCALATED', 9, { restart_count: 1 }),
    ];
    expect(historyOf('a', events)).toEqual({
      lives: [
        { fromMs: 1, toMs: 5, reason: 'exited', exitCode: 1, signal: null },
        { fromMs: 8, toMs: 9, reason: 'oom', exitCode: null, signal: 'SIGKILL' },
      ],
      restarts: 1,
      escalated: true,
      cpuMs: 4,
      throttledMs: 1,
      memoryPeakBytes: 9,
    });
    expect(historyOf('b', events).lives).toEqual([]);
    expect(marksOf(events).map(({ kind, text }) => [kind, text])).toEqual([
      ['restart', 'restart 1 in 3 ms, after exit 1'],
      ['escalated', 'given up after 1 restarts'],
    ]);
    expect(endText({ reason: 'oom', signal: 'SIGKILL' })).toBe('its memory limit');
  });
});

describe('planned faults', () => {
  it('are the same for the same seed, within their time, and never more than there are agents', () => {
    const faults = [{ kind: 'kill', role: 'w', count: 3, betweenMs: [10, 20] }] as const;
    const agents = ['w-1', 'w-2'];
    const plan = (seed: number) => planFaults(faults, () => agents, new Luck(seed));
    expect(plan(1)).toEqual(plan(1));
    expect(
      plan(1)
        .map(({ agent }) => agent)
        .toSorted(),
    ).toEqual(agents);
    for (const { afterMs } of plan(2)) expect(afterMs >= 10 && afterMs <= 20).toBe(true);
  });
});

describe('a scenario that was named by its path', () => {
  it('is found again when its run is resumed', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('sandboxes need root');
    const folder = mkdtempSync(join(tmpdir(), 'clove-path-'));
    try {
      const [file = ''] = newScenario(folder, 'elsewhere');
      const scenario = await loadScenarioFile(findScenario(file));
      const stopped = AbortSignal.abort();
      const { runDirectory, results } = await runBench({
        scenario,
        scenarioFile: file,
        runsDirectory: join(folder, 'runs'),
        cacheDirectory: join(folder, 'cache'),
        signal: stopped,
      });
      expect(results.status).toBe('interrupted');
      const resumed = await resumeBench(runDirectory);
      expect(resumed.results).toMatchObject({ status: 'complete', verdict: { kind: 'pass' } });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
