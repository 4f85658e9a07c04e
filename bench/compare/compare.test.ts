import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { Luck } from '../../worlds/index.ts';
import { measuredFixture } from '../testing/measured.ts';
import { baselineOf, parseBaseline, readJson, writeBaseline } from './baseline.ts';
import { compare, DEFAULT_COMPARE } from './compare.ts';
import { parseRules } from './gate.ts';
import type { Comparison, Measured } from './types.ts';

const luck = new Luck(7);
/** Standard normal, from two uniform draws. */
function normal(random: { next(): number }): number {
  return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}

/** Trials of differing difficulty; each run adds its own noise and `shift`. */
function run(
  label: string,
  count: number,
  {
    noise = 0.01,
    shift = 0,
    wall = 1,
    seed = label,
  }: { noise?: number; shift?: number; wall?: number; seed?: string } = {},
): Measured {
  const cells = luck.stream('cells');
  const random = luck.stream(`run/${seed}`);
  return measuredFixture(
    label,
    Array.from({ length: count }, () => {
      const base = 0.6 + 0.3 * cells.next();
      return {
        values: {
          'test.aucRoc': base + shift + noise * normal(random),
          wall: 100 * (1 + cells.next()) * wall * Math.exp(0.05 * normal(random)),
        },
      };
    }),
  );
}

const of = (comparison: Comparison, metric: string) => {
  const change = comparison.changes.find((one) => one.metric.name === metric);
  if (change === undefined) throw new Error(`no ${metric}`);
  return change;
};

describe('verdicts', () => {
  it('calls a run and itself the same, exactly', () => {
    const side = run('a', 20);
    const result = compare(side, side, { ...DEFAULT_COMPARE, failOn: 'auc:-0.01,wall:+10%' });
    expect(of(result, 'test.aucRoc')).toMatchObject({ verdict: 'same', effect: 0, pValue: 1 });
    expect(of(result, 'test.aucRoc').reason).toContain('Exactly');
    expect(result.outcome).toBe('pass');
    expect(result.movers).toEqual([]);
  });

  it('finds what got worse and what got better, each with an interval around the truth', () => {
    const result = compare(run('a', 60), run('b', 60, { shift: -0.03, wall: 0.8 }), DEFAULT_COMPARE);
    const auc = of(result, 'test.aucRoc');
    expect(auc.verdict).toBe('worse');
    expect(auc.interval?.low).toBeLessThan(-0.03);
    expect(auc.interval?.high).toBeGreaterThan(-0.03);
    expect(auc.effect).toBeCloseTo(-0.03, 2);
    const wall = of(result, 'wall');
    expect(wall.verdict).toBe('better');
    expect(wall.effect).toBeCloseTo(-0.2, 1);
    expect(result.movers[0]?.metric).toBe('test.aucRoc');
    const moved = result.movers.map(({ before, after }) => after - before);
    expect(moved).toEqual([...moved].sort((a, b) => a - b));
  });

  it('says inconclusive, not same, when the pairs are too few or too noisy to tell', () => {
    const few = compare(run('a', 4), run('b', 4, { shift: -0.02 }), DEFAULT_COMPARE);
    expect(of(few, 'test.aucRoc').verdict).toBe('inconclusive');
    const noisy = compare(run('a', 30, { noise: 0.2 }), run('b', 30, { noise: 0.2 }), DEFAULT_COMPARE);
    expect(of(noisy, 'test.aucRoc').verdict).toBe('inconclusive');
    expect(of(noisy, 'test.aucRoc').minimumDetectable).toBeGreaterThan(0.05);
  });

  it('says same when the whole interval lies within the margin', () => {
    const result = compare(run('a', 100), run('b', 100), { ...DEFAULT_COMPARE, failOn: 'auc:-0.01' });
    expect(of(result, 'test.aucRoc').verdict).toBe('same');
  });

  it('compares completion by exact McNemar', () => {
    const passed = { values: {} };
    const failed = { values: {}, status: 'failed' as const };
    const before = measuredFixture(
      'a',
      Array.from({ length: 40 }, () => passed),
    );
    const after = measuredFixture('b', [
      ...Array.from({ length: 10 }, () => failed),
      ...Array.from({ length: 30 }, () => passed),
    ]);
    const change = of(compare(before, after, DEFAULT_COMPARE), 'completion');
    expect(change).toMatchObject({ verdict: 'worse', effect: -0.25 });
    expect(change.pValue).toBeCloseTo(0.001953125, 10);
  });

  it('gives no verdict below the coverage floor; what was not measured is no zero', () => {
    const before = run('a', 10);
    const after: Measured = {
      ...before,
      label: 'b',
      trials: before.trials.map((trial, index) =>
        index < 3 ? { ...trial, status: 'not_measured', values: {} } : trial,
      ),
    };
    const result = compare(before, after, { ...DEFAULT_COMPARE, failOn: 'auc:-0.01' });
    expect(result.coverage).toBe(0.7);
    expect(of(result, 'test.aucRoc').verdict).toBe('inconclusive');
    expect(result.outcome).toBe('inconclusive');
    const enough = compare(before, after, { ...DEFAULT_COMPARE, coverageFloor: 0.5 });
    expect(of(enough, 'completion').effect).toBe(0);
  });

  it('does not judge timings between two machines, unless told to', () => {
    const before = run('a', 30);
    const after = run('b', 30, { wall: 2 });
    const elsewhere = { ...after, machine: { ...after.machine, cpuModel: 'another' } };
    expect(of(compare(before, elsewhere, DEFAULT_COMPARE), 'wall').verdict).toBe('inconclusive');
    expect(of(compare(before, elsewhere, DEFAULT_COMPARE), 'test.aucRoc').pairs).toBe(30);
    const told = compare(before, elsewhere, { ...DEFAULT_COMPARE, acrossMachines: true });
    expect(of(told, 'wall').verdict).toBe('worse');
  });

  it('pairs by parameters and seed when the scenario changed, and refuses another scenario', () => {
    const before = run('a', 12);
    const changed: Measured = {
      ...before,
      scenario: { name: 'tiny', version: '2' },
      trials: before.trials.map((trial) => ({ ...trial, key: `${trial.key}-2` })).reverse(),
    };
    const result = compare(before, changed, DEFAULT_COMPARE);
    expect(result.coverage).toBe(1);
    expect(of(result, 'test.aucRoc').effect).toBe(0);
    expect(result.notices.join()).toContain('paired by parameters');
    const other = { ...before, scenario: { name: 'other', version: '1' } };
    expect(() => compare(before, other, DEFAULT_COMPARE)).toThrow(/nothing to compare/);
  });

  it('repeats its figures with its seed', () => {
    const [a, b] = [run('a', 25), run('b', 25)];
    expect(compare(a, b, DEFAULT_COMPARE)).toEqual(compare(a, b, DEFAULT_COMPARE));
  });
});

describe('the gate', () => {
  const { metrics } = run('a', 1);

  it('reads rules, and finds the metric that is meant', () => {
    expect(parseRules('auc:-0.01, wall:+10% ,completion:5%', metrics)).toEqual([
      { text: 'auc:-0.01', metric: 'test.aucRoc', threshold: -0.01 },
      { text: 'wall:+10%', metric: 'wall', threshold: 0.1 },
      { text: 'completion:5%', metric: 'completion', threshold: -0.05 },
    ]);
    expect(parseRules('train.aucRoc:0.02', metrics)[0]?.metric).toBe('train.aucRoc');
    expect(parseRules('Training AUC:0.02', metrics)[0]?.metric).toBe('train.aucRoc');
  });

  it.each([
    ['auc', /cannot read/],
    ['auc:+0.01', /gets worse when it goes down/],
    ['wall:-10%', /gets worse when it goes up/],
    ['wall:10', /takes a percentage/],
    ['speed:-1', /no metric "speed"/],
    ['auc:-0.01,,', /cannot read/],
  ])('refuses %s', (text, message) => expect(() => parseRules(text, metrics)).toThrow(message));

  it('does not judge a figure by the trials that survived', () => {
    const before = run('a', 40);
    const after = run('b', 40);
    const few: Measured = {
      ...after,
      trials: after.trials.map((trial, index) =>
        index < 30 ? { ...trial, status: 'failed', values: { completion: 0 } } : trial,
      ),
    };
    const result = compare(before, few, { ...DEFAULT_COMPARE, failOn: 'auc:-0.05' });
    expect(result.coverage).toBe(1);
    expect(result.gates[0]).toMatchObject({ outcome: 'inconclusive' });
    expect(of(result, 'completion').verdict).toBe('worse');
  });

  it('fails on what is shown to be worse than allowed, and only then', () => {
    const before = run('a', 60);
    const worse = compare(before, run('b', 60, { shift: -0.03 }), {
      ...DEFAULT_COMPARE,
      failOn: 'auc:-0.01',
    });
    expect(worse.outcome).toBe('fail');
    const slight = compare(before, run('b', 60, { shift: -0.03 }), {
      ...DEFAULT_COMPARE,
      failOn: 'auc:-0.05',
    });
    expect(slight.outcome).toBe('pass');
    const better = compare(before, run('b', 60, { shift: 0.03 }), {
      ...DEFAULT_COMPARE,
      failOn: 'auc:-0.01',
    });
    expect(better.outcome).toBe('pass');
  });

  it('finds a true drop of 10 points in at least 95 % of 200-pair trials', () => {
    let found = 0;
    const rounds = 200;
    for (let round = 0; round < rounds; round++) {
      const { before, after } = passRates(`drop/${round}`, 0.1);
      const { outcome } = compare(before, after, {
        ...DEFAULT_COMPARE,
        failOn: 'completion:-2%',
        seed: round,
      });
      if (outcome === 'fail') found++;
    }
    expect(found / rounds).toBeGreaterThanOrEqual(0.95);
  }, 60_000);

  it('raises a false alarm in at most 5 % of 1,000 A/A trials', () => {
    let alarms = 0;
    for (let round = 0; round < 1000; round++) {
      const { before, after } = passRates(`same/${round}`, 0);
      const { outcome } = compare(before, after, {
        ...DEFAULT_COMPARE,
        failOn: 'completion:-1%',
        seed: round,
      });
      if (outcome === 'fail') alarms++;
    }
    expect(alarms / 1000).toBeLessThanOrEqual(0.05);
  }, 60_000);
});

/**
 * 200 pairs of trials with the same seeds. A trial's difficulty decides most of its outcome on both sides; one outcome in twenty is luck.
 * `drop` is the share of trials that the second side loses although the first passes them.
 */
function passRates(name: string, drop: number): { before: Measured; after: Measured } {
  const random = luck.stream(name);
  const sides = Array.from({ length: 200 }, () => {
    const passes = random.chance(0.8);
    const flaky = () => (random.chance(0.05) ? random.chance(0.5) : passes);
    const before = flaky();
    // Of those that pass 0.8 of the time, so that the whole rate falls by `drop`.
    const after = flaky() && !random.chance(drop / 0.8);
    return { before, after };
  });
  const side = (label: 'before' | 'after') =>
    measuredFixture(
      label,
      sides.map((pair) => ({ values: {}, status: pair[label] ? 'passed' : 'failed' })),
    );
  return { before: side('before'), after: side('after') };
}

describe('baselines', () => {
  it('learn a noise floor from repetitions, and refuse to call a smaller change real', () => {
    const first = run('a', 50, { noise: 0 });
    // A drift between two runs of the same thing, the same for all trials: significant, and yet only noise.
    const again = run('a2', 50, { noise: 0.001, shift: -0.01, seed: 'x' });
    const drifted = run('b', 50, { noise: 0.001, shift: -0.008, seed: 'y' });
    expect(of(compare(first, drifted, DEFAULT_COMPARE), 'test.aucRoc').verdict).toBe('worse');
    const baseline = baselineOf([first, again]);
    expect(baseline.noise['test.aucRoc']?.effect).toBeGreaterThan(0.009);
    const judged = of(compare(baseline, drifted, DEFAULT_COMPARE), 'test.aucRoc');
    expect(judged.verdict).not.toBe('worse');
    expect(judged.noiseFloor).toBeGreaterThan(0.009);
    const real = run('c', 50, { noise: 0.001, shift: -0.05, seed: 'z' });
    expect(of(compare(baseline, real, DEFAULT_COMPARE), 'test.aucRoc').verdict).toBe('worse');
  });

  it('come back from their file as they were, and a damaged one is named', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'clove-baseline-'));
    try {
      const file = path.join(folder, 'baseline.json');
      const baseline = baselineOf([run('a', 10), run('a2', 10)]);
      writeBaseline(file, baseline);
      expect(parseBaseline(readJson(file), file)).toEqual(baseline);
      writeFileSync(file, readFileSync(file, 'utf8').replace('"passed"', '"passd"'));
      expect(() => parseBaseline(readJson(file), file)).toThrow(/trials\[0\]\.status/);
      writeFileSync(file, '{');
      expect(() => readJson(file)).toThrow(/not JSON/);
      expect(() => readJson(path.join(folder, 'none'))).toThrow(/cannot read/);
      expect(parseBaseline({ schemaVersion: 1 }, file)).toBeNull();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('take no run that repeats nothing', () => {
    const other = measuredFixture('x', [{ values: {}, name: 'elsewhere' }]);
    expect(() => baselineOf([run('a', 3), other])).toThrow(/repeats no trial/);
  });
});
