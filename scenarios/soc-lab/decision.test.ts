import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readDeeds, readJudgement } from './lib/decision.ts';
import { boundedSeverity, ruleOn } from './lib/guard.ts';
import { ACTIONS, type Action, PLAYBOOK } from './lib/playbook.ts';
import { INCIDENT_TYPES, SEVERITIES } from './severity/incident.ts';

const severity = fc.constantFrom(...SEVERITIES);
const anyJson = fc.json();

describe('an answer of a model', () => {
  it('is read where it is what was asked for, alone or in a fence', () => {
    const answer = '{"severity": "high", "confidence": 0.8, "why": "so"}';
    const read = { ok: true, value: { severity: 'high', confidence: 0.8 } };
    expect(readJudgement(answer)).toEqual(read);
    expect(readJudgement(`\`\`\`json\n${answer}\n\`\`\`\n`)).toEqual(read);
    expect(readDeeds('{"actions": [{"action": "block_ip", "target": "192.0.2.7"}]}')).toEqual({
      ok: true,
      value: [{ action: 'block_ip', target: '192.0.2.7' }],
    });
    expect(readDeeds('{"actions": []}')).toEqual({ ok: true, value: [] });
  });

  it.each([
    ['', 'not JSON'],
    ['I would say high.', 'not JSON'],
    [`Sure! ${'{"severity": "high", "confidence": 1}'}`, 'not JSON'],
    ['[1]', 'not an object'],
    ['{"confidence": 1}', 'severity is missing'],
    ['{"severity": "terrible", "confidence": 1}', 'severity is "terrible"'],
    ['{"severity": "low", "confidence": "1"}', 'confidence is "1"'],
    ['{"severity": "low", "confidence": 2}', 'confidence is 2'],
    ['x'.repeat(9000), 'an answer of 9000 characters'],
  ])('is of no use, and says why: %.40s', (answer, reason) =>
    expect(readJudgement(answer)).toEqual({ ok: false, reason }),
  );

  it.each([
    ['{"actions": "block_ip"}', 'actions is "block_ip"'],
    ['{"actions": [{"action": "rm -rf /", "target": "x"}]}', 'there is no action "rm -rf /"'],
    ['{"actions": [null]}', 'there is no action missing'],
    ['{"actions": [{"action": "block_ip", "target": 7}]}', 'the target of block_ip is 7'],
    [`{"actions": ${JSON.stringify(Array(9).fill({}))}}`, '9 actions'],
  ])('names no deeds, and says why: %.60s', (answer, reason) =>
    expect(readDeeds(answer)).toEqual({ ok: false, reason }),
  );

  it('never throws, whatever it is', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), anyJson), (answer) => {
        for (const read of [readJudgement(answer), readDeeds(answer)])
          if (!read.ok) expect(read.reason.length).toBeLessThan(200);
      }),
    );
  });
});

describe('the bounds of a model', () => {
  it('let it go one level below the evidence, and as high as it likes', () => {
    fc.assert(
      fc.property(severity, severity, (judged, evidence) => {
        const level = (one: (typeof SEVERITIES)[number]) => SEVERITIES.indexOf(one);
        const bounded = level(boundedSeverity(judged, evidence));
        expect(bounded).toBe(Math.max(level(judged), level(evidence) - 1));
      }),
    );
  });

  it('keep it to the playbook and to what the incident is about, and what protects is done where it is serious', () => {
    const targets: Readonly<Record<string, string>> = { block_ip: '192.0.2.7', revoke_session: 'alice' };
    const targetOf = (action: Action) => targets[action] ?? 'web';
    const deed = fc.record({
      action: fc.constantFrom(...ACTIONS),
      target: fc.constantFrom('192.0.2.7', 'alice', 'web', 'database', '10.0.0.7'),
    });
    fc.assert(
      fc.property(
        fc.array(deed, { maxLength: 8 }),
        fc.constantFrom(...INCIDENT_TYPES),
        severity,
        (deeds, type, how) => {
          const playbook = PLAYBOOK[type] ?? [];
          const { actions, refused, added } = ruleOn(deeds, { type, severity: how }, targetOf);
          expect(playbook).toEqual(expect.arrayContaining([...actions]));
          expect(new Set(actions).size).toBe(actions.length);
          const wanted = deeds.filter(
            (one) => playbook.includes(one.action) && targetOf(one.action) === one.target,
          );
          expect(refused).toHaveLength(deeds.length - wanted.length);
          const isSerious = how === 'high' || how === 'critical';
          for (const action of playbook) {
            const isOptional = action === 'investigate' || action === 'monitor_ip';
            const isWanted = wanted.some((one) => one.action === action);
            expect(actions.includes(action)).toBe(isWanted || (isSerious && !isOptional));
            expect(added.includes(action)).toBe(isSerious && !isOptional && !isWanted);
          }
        },
      ),
    );
  });
});
