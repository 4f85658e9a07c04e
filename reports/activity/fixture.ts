/** Invented, seeded records of fleets for tests of the reports. No figure here was measured. */
import seedrandom from 'seedrandom';
import type { ActivityEntry, FleetActivity, FleetRecord, RunResults } from '../../bench/types.ts';
import { makeResults } from '../fixture.ts';

export interface FleetFixtureOptions {
  readonly trials: number;
  readonly entries: number;
  /** Text put into every place that comes from agents. */
  readonly hostile: string | null;
}

const AGENTS = ['collector', 'analyst', 'responder'] as const;

export function makeFleetResults(overrides: Partial<FleetFixtureOptions> = {}): RunResults {
  const options = { trials: 3, entries: 200, hostile: null, ...overrides };
  const made = makeResults({
    trials: options.trials,
    runtimes: ['clove'],
    faults: { crash: 0, hang: 0, leak: 0 },
  });
  return {
    ...made,
    trials: made.trials.map((trial, index) => ({
      ...trial,
      attempts: trial.attempts.map((attempt) => ({
        ...attempt,
        usage: { ...attempt.usage, wallMs: 2000 },
        result: { metrics: trial.metrics ?? {}, facts: {}, fleet: fleet(index, options) },
      })),
    })),
  };
}

function fleet(index: number, { entries, hostile }: FleetFixtureOptions): FleetRecord {
  const text = (plain: string) => (hostile === null ? plain : `${plain}${hostile}`);
  return {
    checks: [
      {
        id: 'detected',
        asserted: 'Every attack is detected',
        status: index === 1 ? 'failed' : 'passed',
        observed: text(index === 1 ? '2 of 3' : '3 of 3'),
        layer: null,
        evidence: [],
        atMs: 1900,
      },
    ],
    agents: AGENTS.map((name) => ({
      name: text(name),
      role: name,
      program: `${name}.ts`,
      limits: { memory: 1_048_576 },
      restartPolicy: 'never',
      lives: [{ fromMs: 10, toMs: null, reason: null, exitCode: null, signal: null }],
      restarts: 0,
      escalated: false,
      cpuMs: 12,
      throttledMs: 0,
      memoryPeakBytes: 1_048_576,
    })),
    marks: [{ atMs: 5, agent: null, kind: 'phase', text: text('all are ready') }],
    series: [],
    activity: activity(index, entries, text),
  };
}

/** Trials do the same but for trial 1, whose analyst does something else from its fourth event on. */
function activity(index: number, count: number, text: (plain: string) => string): FleetActivity {
  const random = seedrandom('activity');
  const entries = Array.from({ length: count }, (_, at): ActivityEntry => {
    const agent = AGENTS[at % 3] as string;
    const shared = {
      atMs: at * 9,
      worldMs: at * 600,
      agent: text(agent),
      outcome: at % 29 === 7 ? 'FORBIDDEN' : at % 31 === 9 ? 'TIMEOUT' : 'OK',
      status: null,
      bytes: Math.floor(random() * 1000),
      durationMs: 1,
    };
    if (index === 1 && at === 10) return { ...shared, kind: 'command', what: 'exec', target: 'sh' };
    if (agent === 'collector')
      return { ...shared, kind: 'file', what: 'read', target: text('/var/log/lab.log') };
    if (agent === 'analyst')
      return { ...shared, kind: 'message', what: text('incident'), target: text('responder') };
    return { ...shared, kind: 'network', what: 'POST', target: text('firewall.lab/rules'), status: 201 };
  });
  return {
    worldStart: '2026-01-05T08:00:00.000Z',
    worlds: [
      {
        name: text('lab'),
        clock: 'skip',
        llmTime: 'fixed:250',
        modelCalls: 3,
        modelFailed: 1,
        modelChargedMs: 750,
        modelRealMs: 90,
      },
    ],
    entries,
    losses: [{ kind: 'message', seen: 900, kept: 66, fromMs: 400, toMs: 800 }],
    calls: AGENTS.map((agent) => ({ agent: text(agent), call: 'SEND', count: 7, refused: 1, failed: 0 })),
    refusals: [
      { agent: text('analyst'), call: 'KILL', rule: 'syscall.not-granted:KILL', object: text('1'), count: 1 },
    ],
    requests: [
      {
        agent: text('responder'),
        host: text('firewall.lab'),
        method: 'POST',
        status: 201,
        outcome: 'OK',
        count: 5,
        bytes: 99,
      },
    ],
    files: [
      {
        agent: text('collector'),
        path: text('/var/log/lab.log'),
        reads: 5,
        writes: 0,
        failed: 1,
        bytesRead: 5,
        bytesWritten: 0,
      },
    ],
    messages: [
      {
        from: text('analyst'),
        to: text('responder'),
        what: text('incident'),
        count: 5,
        failed: 0,
        bytes: 5,
      },
    ],
    changed: [{ path: text('/reports/shift.json'), change: 'added', bytes: 7 }],
    rowsLost: { requests: 0, files: 0, messages: 0, changed: 0, refusals: 2 },
  };
}
