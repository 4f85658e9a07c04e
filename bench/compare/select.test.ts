import { describe, expect, it } from 'vitest';
import { fleetAsScenario } from '../fleet/as-scenario.ts';
import { measuredFixture } from '../testing/measured.ts';
import { compare, DEFAULT_COMPARE } from './compare.ts';
import { havingParameters, parseSide } from './select.ts';

describe('a side of a comparison', () => {
  it.each([
    ['latest', 'latest', null, {}],
    ['a@process', 'a', 'process', {}],
    ['a@agent=one', 'a', null, { agent: 'one' }],
    ['a@clove,agent=one,load=2', 'a', 'clove', { agent: 'one', load: '2' }],
    ['a@url=http://x/?y=1', 'a', null, { url: 'http://x/?y=1' }],
  ] as const)('%s is read', (text, name, runtime, having) => {
    const read = parseSide(text);
    expect({ ...read, having: Object.fromEntries(read.having) }).toEqual({ name, runtime, having });
  });

  it.each(['a@', 'a@clove,process', 'a@=x', 'a@clove,'])('%s is refused', (text) =>
    expect(() => parseSide(text)).toThrow(/behind @ stands/),
  );
});

describe('two variants of one run', () => {
  const whole = measuredFixture(
    'run',
    [0.4, 0.5, 0.6, 0.9, 0.9, 0.9].map((aucRoc) => ({ values: { 'test.aucRoc': aucRoc } })),
  );
  const side = {
    ...whole,
    trials: whole.trials.map((trial, index) => ({
      ...trial,
      seed: index % 3,
      params: { agent: index < 3 ? 'one' : 'two', seed: index % 3 },
    })),
  };
  const variant = (agent: string) => havingParameters(side, new Map([['agent', agent]]));

  it('are paired by their seeds', () => {
    const { changes, coverage } = compare(variant('one'), variant('two'), DEFAULT_COMPARE);
    const change = changes.find(({ metric }) => metric.name === 'test.aucRoc');
    expect(coverage).toBe(1);
    expect(change?.pairs).toBe(3);
    expect(change?.effect).toBeCloseTo(0.4, 10);
    expect(variant('one').label).toBe('run@agent=one');
  });

  it('have to be there: else it is said which are', () => {
    expect(() => variant('three')).toThrow(/no trial with agent=three/);
    expect(() => havingParameters(side, new Map([['toString', 'x']]))).toThrow(/no trial/);
  });
});

it('every figure of a fleet says itself which way is good', () => {
  const { presentation } = fleetAsScenario({
    kind: 'fleet',
    name: 'directions',
    title: 'Directions',
    description: 'Two figures.',
    version: '1',
    roles: { one: { title: 'one', program: { command: ['/bin/true'] }, limits: { memory_mb: 16 } } },
    budgets: { wallMs: 1000, memoryBytes: 2 ** 24, agents: 1 },
    metrics: [
      { path: 'gain', label: 'Gain', format: 'd', higherIsBetter: true },
      { path: 'loss', label: 'Loss', format: 'd', higherIsBetter: false },
    ],
    oracle: async () => {},
  });
  expect(presentation.metrics.map(({ higherIsBetter }) => higherIsBetter)).toEqual([true, false]);
});
