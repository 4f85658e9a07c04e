import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Caller, FIRST_CLIENT_ID } from '../identity.ts';
import { AGENT_HOME, EVERYTHING, levelGrants } from '../permissions/levels.ts';
import { NO_QUOTAS, Quotas } from '../permissions/quotas.ts';
import { LlmBudget } from './budget.ts';

const PEER = { pid: 1, uid: 1, gid: 1 };
const agent = (id: number): Caller => ({ id, kind: 'agent', connection: id, peer: PEER });
const client: Caller = { id: FIRST_CLIENT_ID, kind: 'operator', connection: FIRST_CLIENT_ID, peer: PEER };

/** 1 is the parent of 2 and 3. */
function family(limits: { calls?: number; tokens?: number; granted?: number } = {}): {
  budget: LlmBudget;
  quotas: Quotas;
} {
  const quotas = new Quotas({ stateBytesOf: () => 0 });
  quotas.open(1, 0);
  quotas.open(2, 1);
  quotas.open(3, 1);
  quotas.set(1, { ...NO_QUOTAS, llmCalls: limits.calls ?? null, llmTokens: limits.tokens ?? null });
  const grantsOf = ({ id, kind }: Pick<Caller, 'id' | 'kind'>) => {
    const grants = kind === 'operator' ? EVERYTHING : levelGrants('default', AGENT_HOME);
    return id === 2 || kind === 'operator'
      ? { ...grants, llm: { maxTokens: limits.granted ?? 0, maxCalls: 0 } }
      : grants;
  };
  return { quotas, budget: new LlmBudget({ quotas, permissions: { grantsOf }, defaultOutputTokens: 100 }) };
}

describe('the budget for models', () => {
  it('has parents pay for their children, under the grants and quotas of each', () => {
    const { budget } = family({ tokens: 1000, granted: 150 });
    const first = budget.reserve(agent(2), 10, 50);
    expect(first.maxOutputTokens).toBe(50);
    // 150 − 60 − 10 by its own grants.
    expect(budget.reserve(agent(2), 10, null).maxOutputTokens).toBe(80);
    expect(() => budget.reserve(agent(2), 1, 1)).toThrow(expect.objectContaining({ code: 'FORBIDDEN' }));
    first.settle(5);
    expect(budget.useOf(2)).toMatchObject({ llmCalls: 1, llmTokens: 5 });
    expect(budget.useOf(1)).toMatchObject({ llmCalls: 1, llmTokens: 5 });
    expect(budget.useOf(3)).toMatchObject({ llmCalls: 0, llmTokens: 0 });
  });

  it('has the parent pay for a child that has ended before its answer came', () => {
    const { budget, quotas } = family({ tokens: 100 });
    const asked = budget.reserve(agent(2), 10, 20);
    quotas.release(2);
    asked.settle(25);
    asked.settle(25);
    asked.cancel();
    expect(budget.useOf(1)).toMatchObject({ llmCalls: 1, llmTokens: 25 });
    expect(budget.reserve(agent(3), 10, 100).maxOutputTokens).toBe(65);
  });

  it('keeps nothing for a connection that has closed', () => {
    const { budget } = family({ granted: 100 });
    const asked = budget.reserve(client, 10, 20);
    expect(() => budget.reserve(client, 80, null)).toThrow(expect.objectContaining({ code: 'FORBIDDEN' }));
    budget.release(client.id);
    asked.settle(30);
    expect(budget.useOf(client.id)).toEqual({ llmCalls: 0, llmTokens: 0 });
  });

  it('whatever is asked, answered, cancelled and reported at the same time: what was reserved is never exceeded', () => {
    const step = fc.record({
      kind: fc.constantFrom('ask', 'ask', 'settle', 'cancel', 'report'),
      id: fc.integer({ min: 1, max: 3 }),
      input: fc.integer({ min: 1, max: 60 }),
      output: fc.option(fc.integer({ min: 1, max: 60 })),
      part: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { budget } = family({ calls: 12, tokens: 400, granted: 200 });
        const open: { id: number; most: number; entry: ReturnType<LlmBudget['reserve']> }[] = [];
        const reported = new Map([1, 2, 3].map((id) => [id, { calls: 0, tokens: 0 }]));
        for (const { kind, id, input, output, part } of steps) {
          if (kind === 'ask') {
            try {
              const entry = budget.reserve(agent(id), input, output);
              open.push({ id, most: input + (entry.maxOutputTokens ?? 0), entry });
            } catch (error) {
              expect(error).toMatchObject({ code: 'FORBIDDEN' });
            }
          } else if (kind === 'report') {
            const before = budget.useOf(id).llmTokens;
            budget.report(agent(id), input);
            expect(budget.useOf(id).llmTokens).toBe(before + input);
            for (const payer of new Set([id, 1])) {
              const sum = reported.get(payer) as { calls: number; tokens: number };
              sum.calls += 1;
              sum.tokens += input;
            }
          } else {
            const asked = open.shift();
            if (kind === 'settle') asked?.entry.settle(Math.floor(asked.most * part));
            else asked?.entry.cancel();
          }
          for (const [payer, tokens] of [
            [1, 400],
            [2, 200],
          ] as const) {
            const sum = reported.get(payer) as { calls: number; tokens: number };
            // Only what callers say they have used elsewhere goes beyond.
            expect(budget.useOf(payer).llmTokens - sum.tokens).toBeLessThanOrEqual(tokens);
          }
          expect(budget.useOf(1).llmCalls - (reported.get(1)?.calls ?? 0)).toBeLessThanOrEqual(12);
        }
        for (const { entry } of open) entry.cancel();
      }),
      { numRuns: 150 },
    );
  });
});
