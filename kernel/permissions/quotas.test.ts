import { beforeEach, describe, expect, it } from 'vitest';
import { NO_QUOTAS, Quotas } from './quotas.ts';

const OPERATOR = 2 ** 30;
let nowMs = 0;
let stateBytes = new Map<number, number>();
let quotas: Quotas;

beforeEach(() => {
  nowMs = 0;
  stateBytes = new Map();
  quotas = new Quotas({ stateBytesOf: (id) => stateBytes.get(id) ?? 0, monotonicMs: () => nowMs });
  quotas.open(1, OPERATOR);
  quotas.open(2, 1);
  quotas.open(3, 2);
});

const overload = (rule: string) =>
  expect.objectContaining({
    code: 'OVERLOAD',
    details: expect.objectContaining({ rule: `quota.exceeded:${rule}` }),
  });

describe('what adds up', () => {
  it('counts for the agent and for everybody above it, and stops at the first limit', () => {
    quotas.set(1, { ...NO_QUOTAS, messages: 3 });
    quotas.charge(3, { messages: 2 });
    quotas.charge(2, { messages: 1 });
    expect(() => quotas.charge(3, { messages: 1 })).toThrow(overload('messages'));
    expect(() => quotas.charge(1, { messages: 1 })).toThrow(overload('messages'));
    expect([1, 2, 3].map((id) => quotas.useOf(id).messages)).toEqual([3, 3, 2]);
  });

  it('is charged whole or not at all', () => {
    quotas.set(1, { ...NO_QUOTAS, llmTokens: 10 });
    expect(() => quotas.charge(2, { llmCalls: 1, llmTokens: 11 })).toThrow(overload('llm_tokens'));
    expect(quotas.useOf(2)).toMatchObject({ llmCalls: 0, llmTokens: 0 });
    quotas.charge(2, { llmCalls: 1, llmTokens: 10 });
    expect(quotas.useOf(1)).toMatchObject({ llmCalls: 1, llmTokens: 10 });
  });

  it.each([Number.NaN, -1, Number.POSITIVE_INFINITY])('is never %d', (amount) => {
    expect(() => quotas.charge(1, { llmTokens: amount })).toThrow(
      expect.objectContaining({ code: 'BAD_REQUEST' }),
    );
    quotas.settle(1, 'llmTokens', amount);
    expect(quotas.useOf(1).llmTokens).toBe(0);
  });

  it('meets what was used beyond expectation with the next charge', () => {
    quotas.set(1, { ...NO_QUOTAS, llmTokens: 10 });
    quotas.settle(2, 'llmTokens', 15);
    expect(() => quotas.charge(1, { llmTokens: 0 })).toThrow(overload('llm_tokens'));
    quotas.resetUse(1);
    quotas.charge(1, { llmTokens: 10 });
  });
});

describe('children', () => {
  it('count with theirs, and are given up to whoever is above when their parent goes', () => {
    expect(quotas.useOf(1).agents).toBe(2);
    quotas.set(1, { ...NO_QUOTAS, agents: 2 });
    expect(() => quotas.open(4, 3)).toThrow(overload('agents'));
    expect(quotas.has(4)).toBe(false);
    expect(quotas.payersOf(3)).toEqual([3, 2, 1]);
    quotas.release(2);
    expect(quotas.payersOf(3)).toEqual([3, 1]);
    expect(quotas.useOf(1).agents).toBe(1);
    quotas.open(4, 3);
    expect(() => quotas.open(5, 1)).toThrow(overload('agents'));
  });
});

describe('calls a second', () => {
  it('come in one burst, then at the rate', () => {
    quotas.set(1, { ...NO_QUOTAS, syscallsPerSecond: 10 });
    for (let call = 0; call < 10; call += 1) quotas.chargeSyscall(1);
    expect(() => quotas.chargeSyscall(1)).toThrow(overload('syscalls_per_second'));
    nowMs += 99;
    expect(() => quotas.chargeSyscall(1)).toThrow(overload('syscalls_per_second'));
    nowMs += 1;
    quotas.chargeSyscall(1);
    expect(() => quotas.chargeSyscall(1)).toThrow(overload('syscalls_per_second'));
    nowMs += 3_600_000;
    for (let call = 0; call < 10; call += 1) quotas.chargeSyscall(1);
    expect(() => quotas.chargeSyscall(1)).toThrow(overload('syscalls_per_second'));
  });

  it('are those of an agent with its children, and cost nobody anything when one of them has none left', () => {
    quotas.set(1, { ...NO_QUOTAS, syscallsPerSecond: 4 });
    quotas.set(3, { ...NO_QUOTAS, syscallsPerSecond: 1 });
    quotas.chargeSyscall(3);
    for (let call = 0; call < 5; call += 1) expect(() => quotas.chargeSyscall(3)).toThrow();
    for (let call = 0; call < 3; call += 1) quotas.chargeSyscall(2);
    expect(() => quotas.chargeSyscall(2)).toThrow(overload('syscalls_per_second'));
  });

  it('are refused so often a second, and then looked at later', () => {
    quotas.set(1, { ...NO_QUOTAS, syscallsPerSecond: 1 });
    expect(quotas.pauseMs(1)).toBe(0);
    quotas.chargeSyscall(1);
    let refused = 0;
    for (; quotas.pauseMs(1) === 0; refused += 1) expect(() => quotas.chargeSyscall(1)).toThrow();
    expect(refused).toBe(32);
    const pause = quotas.pauseMs(1);
    expect(pause).toBeGreaterThan(0);
    expect(pause).toBeLessThan(100);
    expect(quotas.pauseMs(9)).toBe(0);
    nowMs += pause;
    expect(quotas.pauseMs(1)).toBe(0);
    nowMs += 1000;
    quotas.chargeSyscall(1);
    expect(quotas.pauseMs(2)).toBe(0);
  });

  it('may be none at all, and cannot be had anew by setting the same again', () => {
    quotas.set(1, { ...NO_QUOTAS, syscallsPerSecond: 2 });
    quotas.chargeSyscall(1);
    quotas.chargeSyscall(1);
    quotas.set(1, { ...NO_QUOTAS, syscallsPerSecond: 2 });
    expect(() => quotas.chargeSyscall(1)).toThrow(overload('syscalls_per_second'));
    quotas.set(1, { ...NO_QUOTAS, syscallsPerSecond: 0 });
    nowMs += 10_000;
    expect(() => quotas.chargeSyscall(1)).toThrow(overload('syscalls_per_second'));
  });
});

describe('state', () => {
  it('is what an agent and its children hold at a time', () => {
    quotas.set(1, { ...NO_QUOTAS, stateBytes: 100 });
    stateBytes.set(1, 40).set(3, 50);
    expect(() => quotas.chargeFor(2, 'STORE', { key: 'k', value: 'x'.repeat(20) })).toThrow(
      overload('state_bytes'),
    );
    quotas.chargeFor(2, 'STORE', { key: 'k', value: 'xx' });
    stateBytes.set(3, 0);
    quotas.chargeFor(2, 'STORE', { key: 'k', value: 'x'.repeat(20) });
  });
});

it('outlast the kernel with what was used', () => {
  quotas.set(1, { ...NO_QUOTAS, messages: 3 });
  quotas.charge(2, { messages: 2 });
  const stored = JSON.parse(JSON.stringify([quotas.stored(1), quotas.stored(2)]));
  const after = new Quotas({ stateBytesOf: () => 0 });
  after.restore(1, OPERATOR, stored[0]);
  after.restore(2, 1, stored[1]);
  after.charge(2, { messages: 1 });
  expect(() => after.charge(2, { messages: 1 })).toThrow(overload('messages'));
  expect(() => after.restore(3, 1, { limits: {}, used: {} })).toThrow(
    expect.objectContaining({ code: 'DATA_CORRUPT' }),
  );
});

it('operators have no account and no limit', () => {
  quotas.chargeSyscall(OPERATOR);
  quotas.charge(OPERATOR, { messages: 1 });
  expect(() => quotas.set(OPERATOR, NO_QUOTAS)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
});
