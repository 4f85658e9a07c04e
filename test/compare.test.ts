import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunResults } from '../bench/types.ts';
import { makeResults } from '../reports/fixture.ts';

const CLOVE = path.join(path.dirname(import.meta.dirname), 'bin', 'clove');
let folder: string;

/** The same run again, with every leading figure moved. */
function moved(results: RunResults, by: number): RunResults {
  return {
    ...results,
    runId: `${results.runId}-moved`,
    trials: results.trials.map((trial) => {
      const test = trial.metrics?.test;
      if (typeof test !== 'object' || test === null || typeof test.aucRoc !== 'number') return trial;
      return { ...trial, metrics: { ...trial.metrics, test: { ...test, aucRoc: test.aucRoc + by } } };
    }),
  };
}

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'clove-compare-'));
  const run = makeResults({ seed: 3, runtimes: ['clove', 'process'] });
  const write = (name: string, results: RunResults) =>
    writeFileSync(path.join(folder, name), JSON.stringify(results));
  write('a.json', run);
  write('again.json', { ...run, runId: 'again' });
  write('worse.json', moved(run, -0.03));
  write('other.json', { ...run, scenario: { ...run.scenario, name: 'overhead' } });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const clove = (args: string[], env: NodeJS.ProcessEnv = {}) =>
  spawnSync(CLOVE, ['bench', ...args], {
    cwd: folder,
    encoding: 'utf8',
    env: { PATH: process.env.PATH, HOME: folder, ...env },
    timeout: 120_000,
  });

describe('clove bench history', () => {
  it('lines up the runs of a scenario, oldest first, and draws them', () => {
    const { stdout, status } = clove([
      'history',
      'drug-discovery',
      'a.json',
      'worse.json',
      'other.json',
      '--html',
      'history.html',
    ]);
    expect(status).toBe(0);
    const lines = stdout.trim().split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^run .*auc-roc/);
    expect(readFileSync(path.join(folder, 'history.html'), 'utf8')).toContain('AUC-ROC over 2 runs');
    expect(clove(['history', 'nothing', 'a.json']).stderr).toContain('no finished run of nothing');
  });
});

describe('clove bench compare', () => {
  it('finds two runs of the same the same, and passes', () => {
    const { stdout, status } = clove(['compare', 'a.json', 'again.json', '--fail-on', 'auc:-0.01']);
    expect(status).toBe(0);
    expect(stdout).toMatch(/AUC-ROC +(= same)/);
    expect(stdout).toContain('pass: auc:-0.01');
  });

  it('fails with status 3 on a regression, and writes it for every reader', () => {
    const { stdout, status } = clove(
      [
        'compare',
        'a.json',
        'worse.json',
        '--fail-on',
        'auc:-0.01,wall:+10%',
        '--junit',
        'gate.xml',
        '--markdown',
        'gate.md',
        '--html',
        'gate.html',
      ],
      { GITHUB_ACTIONS: 'true', GITHUB_STEP_SUMMARY: path.join(folder, 'summary.md') },
    );
    expect(status).toBe(3);
    expect(stdout).toContain('fail: auc:-0.01');
    expect(stdout).toContain('::error title=clove drug-discovery%3A auc%3A-0.01::');
    expect(readFileSync(path.join(folder, 'gate.xml'), 'utf8')).toContain('<failure');
    expect(readFileSync(path.join(folder, 'gate.md'), 'utf8')).toContain('## Fail');
    expect(readFileSync(path.join(folder, 'summary.md'), 'utf8')).toContain('## Fail');
    expect(readFileSync(path.join(folder, 'gate.html'), 'utf8')).toContain('</html>');
  });

  it('compares two runtimes of one run, and answers in JSON', () => {
    const { stdout, status } = clove(['compare', 'a.json@process', 'a.json@clove', '--json']);
    expect(status).toBe(0);
    const answer = JSON.parse(stdout);
    expect(answer.before.runtime).toBe('process');
    expect(answer.after.runtime).toBe('clove');
    expect(answer.coverage).toBeGreaterThan(0.9);
  });

  it('stores a baseline with its noise floor, and holds a run against it', () => {
    const stored = clove(['baseline', 'a.json', 'again.json', '-o', 'baseline.json']);
    expect(stored.status).toBe(0);
    expect(stored.stdout).toContain('noise floor of');
    const gate = clove(['compare', 'worse.json', '--baseline', 'baseline.json', '--fail-on', 'auc:-0.01']);
    expect(gate.status).toBe(3);
    expect(gate.stdout).not.toContain('No noise floor');
  });

  it.each([
    [['compare'], 2, 'name the run to compare with'],
    [['compare', 'a.json', 'other.json'], 2, 'nothing to compare'],
    [['compare', 'a.json@thread', 'a.json'], 2, 'did not use the runtime thread'],
    [['compare', 'a.json', 'again.json', '--fail-on', 'speed:-1'], 2, 'no metric "speed"'],
    [['compare', 'a.json', 'none.json'], 1, 'cannot read none.json'],
    [['compare', 'a.json', 'again.json', '--coverage', '7'], 2, 'not between 0 and 1'],
    [['run', 'drug-discovery', '--fail-on', 'auc:-1'], 2, 'need a --baseline'],
    [['run', 'drug-discovery', '--baseline', 'none.json'], 1, 'cannot read none.json'],
  ] as const)('%j is refused in one clear line', (args, status, message) => {
    const refused = clove([...args]);
    expect(refused.status).toBe(status);
    expect(refused.stderr).toContain(message);
    expect(existsSync(path.join(folder, 'runs'))).toBe(false);
  });
});
