import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Luck } from '../../worlds/index.ts';
import { ATTACK_KINDS, longPlan, planShift, standardPlan } from './attacks.ts';
import { Correlator } from './lib/correlate.ts';
import { formatLine, type LogLine, parseLine } from './lib/log-line.ts';
import { SafetyRules } from './lib/playbook.ts';
import { FEATURE_NAMES, featuresOf } from './severity/features.ts';
import { generateIncidents, severityOf, severityScore } from './severity/generate.ts';
import { INCIDENT_TYPES } from './severity/incident.ts';
import { trainSeverityModel } from './severity/model.ts';

const stream = (seed: number, name = 'shift') => new Luck(seed).stream(name);

describe('a shift', () => {
  it('has 55 events in the standard run, whatever the seed', () => {
    for (const seed of [1, 2, 42]) {
      const shift = planShift(standardPlan(), stream(seed));
      expect(shift.events).toHaveLength(55);
      expect(shift.events.filter(({ attack }) => attack !== null)).toHaveLength(43);
      expect(shift.attacks.map(({ kind }) => kind)).toEqual(['brute_force', 'sql_injection', 'data_exfil']);
    }
  });

  it('is the same for the same seed, in order of time, and no attacker is innocent', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (seed) => {
        const plan = () => planShift(longPlan(8 * 3_600_000, stream(seed, 'plan')), stream(seed));
        const shift = plan();
        expect(plan()).toEqual(shift);
        expect(shift.events.map(({ atMs }) => atMs)).toEqual(
          shift.events.map(({ atMs }) => atMs).sort((a, b) => a - b),
        );
        for (const { sourceIp } of shift.attacks) expect(shift.innocentIps).not.toContain(sourceIp);
        expect(new Set(shift.attacks.map(({ sourceIp }) => sourceIp)).size).toBe(shift.attacks.length);
      }),
      { numRuns: 20 },
    );
  });

  it.each([
    ['brute_force', 30],
    ['sql_injection', 8],
    ['port_scan', 18],
    ['data_exfil', 5],
    ['privilege_escalation', 3],
    ['ddos', 60],
  ] as const)('writes the events of %s: %i', (kind, count) => {
    const { templates, burst } = ATTACK_KINDS[kind];
    expect(templates.length * burst).toBe(count);
  });
});

describe('a line of the log', () => {
  const line: fc.Arbitrary<LogLine> = fc.record({
    at: fc
      .date({ min: new Date('2000-01-01'), max: new Date('2099-12-31'), noInvalidDate: true })
      .map((date) => date.toISOString()),
    system: fc.constantFrom('auth', 'web', 'database'),
    type: fc.constantFrom(...INCIDENT_TYPES),
    sourceIp: fc.option(fc.ipV4()),
    port: fc.option(fc.integer({ min: 0, max: 65_535 })),
    user: fc.option(fc.constantFrom('alice', 'svc.backup', 'a-b_c')),
  });

  it('comes back as it was written', () => {
    fc.assert(
      fc.property(line, (one) => {
        expect(parseLine(formatLine(one))).toEqual(one);
      }),
    );
  });

  it.each([
    '',
    'hello',
    '2026-01-05T00:00:00.000Z auth OWNED',
    '2026-01-05T00:00:00.000Z auth FAILED_LOGIN src=1.2.3.999',
    '2026-01-05T00:00:00.000Z auth FAILED_LOGIN src=1.2.3.4 port=70000',
    '2026-99-05T00:00:00.000Z auth FAILED_LOGIN',
    '2026-01-05T00:00:00.000Z auth FAILED_LOGIN user=x src=1.2.3.4',
    `2026-01-05T00:00:00.000Z auth FAILED_LOGIN user=${'x'.repeat(40)}`,
  ])('that is none, is not taken for one: %s', (text) => expect(parseLine(text)).toBeNull());
});

describe('correlation', () => {
  const at = (seconds: number, changes: Partial<LogLine>): LogLine => ({
    at: new Date(Date.UTC(2026, 0, 5) + seconds * 1000).toISOString(),
    system: 'auth',
    type: 'FAILED_LOGIN',
    sourceIp: '1.2.3.4',
    port: null,
    user: null,
    ...changes,
  });

  it('reports a detection at once and again only when it is of another kind', () => {
    const correlator = new Correlator();
    expect(correlator.take(at(0, { type: 'BRUTE_FORCE' }))?.lead.type).toBe('BRUTE_FORCE');
    expect(correlator.take(at(1, { type: 'BRUTE_FORCE' }))).toBeNull();
    expect(correlator.take(at(2, { type: 'PRIV_ESC' }))?.lead.type).toBe('PRIV_ESC');
  });

  it('reports symptoms when there are four of one source, not of four sources', () => {
    const correlator = new Correlator();
    for (let source = 1; source < 9; source++)
      expect(correlator.take(at(source, { sourceIp: `9.9.9.${source}` }))).toBeNull();
    const reported = [0, 1, 2, 3, 4].map((second) => correlator.take(at(second + 10, {})));
    expect(reported.map((incident) => incident?.lines ?? null)).toEqual([null, null, null, 4, null]);
  });

  it('starts anew after a quiet minute, and counts the repetition', () => {
    const correlator = new Correlator();
    const first = correlator.take(at(0, { type: 'BRUTE_FORCE' }));
    expect(correlator.repeats('1.2.3.4')).toBe(0);
    const second = correlator.take(at(120, { type: 'BRUTE_FORCE' }));
    expect(second?.id).not.toBe(first?.id);
    expect(correlator.repeats('1.2.3.4')).toBe(1);
  });
});

describe('safety rules', () => {
  const rules = new SafetyRules();
  it.each([
    ['block_ip', '10.0.0.7', 'refuse'],
    ['block_ip', '172.20.1.1', 'refuse'],
    ['block_ip', '127.0.0.1', 'refuse'],
    ['block_ip', '1.2.3', 'refuse'],
    ['block_ip', '1.2.3.4; rm -rf /', 'refuse'],
    ['block_ip', '8.8.8.8', 'act'],
    ['revoke_session', 'root', 'refuse'],
    ['revoke_session', 'backup', 'act'],
    ['isolate_host', 'database', 'approve'],
  ] as const)('%s %s: %s', (action, target, kind) => {
    expect(rules.decide({ action, target, severity: 'critical' }, 0).kind).toBe(kind);
  });

  it('let ten blocks a minute through', () => {
    const fresh = new SafetyRules();
    const block = (n: number, nowMs: number) =>
      fresh.decide({ action: 'block_ip', target: `9.9.9.${n}`, severity: 'high' }, nowMs).kind;
    expect(Array.from({ length: 12 }, (_, n) => block(n, n))).toEqual([
      ...Array(10).fill('act'),
      'refuse',
      'refuse',
    ]);
    expect(block(99, 61_000)).toBe('act');
  });
});

describe('the severity model', () => {
  it('is right on at least 93 of 100 incidents it has not seen, and learns the same from the same', () => {
    const { evaluation, model } = trainSeverityModel(stream(42, 'severity'), 42);
    expect(evaluation.accuracy).toBeGreaterThanOrEqual(0.93);
    expect(evaluation.classes.reduce((sum, { support }) => sum + support, 0)).toBe(evaluation.testCount);
    for (const { recall, precision } of evaluation.classes) {
      expect(recall).toBeGreaterThan(0.75);
      expect(precision).toBeGreaterThan(0.75);
    }
    // Far from what the most frequent class alone would give.
    const largest = Math.max(...evaluation.classes.map(({ support }) => support));
    expect(evaluation.accuracy).toBeGreaterThan(largest / evaluation.testCount + 0.3);
    const [one] = generateIncidents(1, stream(1, 'probe'));
    if (one === undefined) throw new Error('no incident');
    const again = trainSeverityModel(stream(42, 'severity'), 42).model;
    expect(again.judge(one.incident)).toEqual(model.judge(one.incident));
  }, 120_000);

  it('cannot do it by the type alone: the same type has every severity', () => {
    const bySeverity = new Set(
      generateIncidents(3000, stream(5, 'types'), 0)
        .filter(({ incident }) => incident.type === 'FAILED_LOGIN')
        .map(({ severity }) => severity),
    );
    expect(bySeverity.size).toBeGreaterThanOrEqual(3);
  });

  it('has a value for every feature, also of what is not known', () => {
    for (const { incident, severity } of generateIncidents(200, stream(6, 'features'), 0)) {
      const features = featuresOf(incident);
      expect(features).toHaveLength(FEATURE_NAMES.length);
      expect(features.every(Number.isFinite)).toBe(true);
      expect(severityOf(severityScore(incident))).toBe(severity);
    }
  });
});
