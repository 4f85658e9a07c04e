import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { mayTryAgain } from '../outcome.ts';
import { runBench } from '../run.ts';
import { resultsFromRecords } from '../store/results.ts';
import type { RunRecords } from '../store/store.ts';
import { makeAttempt, makeTrial } from '../testing/attempts.ts';
import { makeDefinition } from '../testing/definition.ts';
import { tinyScenario } from '../testing/tiny-scenario.ts';
import type { Attempt, AttemptEnd, RunResults } from '../types.ts';
import { mergeRuns } from './merge.ts';
import { mergeRecords } from './records.ts';
import { parseShard, trialsOfShard } from './shard.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const ENDS: readonly AttemptEnd[] = ['completed', 'error', 'crashed', 'timeout', 'oom', 'infrastructure'];

/** A whole run: each trial is tried as its ends say, until one completes or it may not be tried again. */
function wholeRun(ends: readonly (readonly AttemptEnd[])[]): RunRecords {
  const definition = makeDefinition();
  const trials = ends.map((_, index) => makeTrial(index + 1));
  let clock = 0;
  const attempts = trials.flatMap(({ id }, index) => {
    const made: Attempt[] = [];
    for (const end of [...(ends[index] ?? []), 'completed' as const]) {
      if (!mayTryAgain(made, definition.maxAttempts)) break;
      made.push(
        makeAttempt({ trialId: id, attempt: made.length + 1, end, startedAtMs: clock, slot: index % 2 }),
      );
      clock += 10;
    }
    return made;
  });
  return recordsOf(definition.runId, trials, attempts, clock);
}

function recordsOf(
  runId: string,
  trials: RunRecords['trials'],
  attempts: readonly Attempt[],
  lastMs: number,
): RunRecords {
  return {
    definition: makeDefinition({ runId }),
    facts: {
      preparations: [],
      isolation: [],
      notices: [],
      boots: {},
      status: 'complete',
      finishedAt: '2026-01-02T04:00:00.000Z',
    },
    trials,
    attempts,
    segments: [{ runtime: 'process', block: 0, startedAtMs: 0, lastMs }],
    hostCrashes: [],
    samples: [],
  };
}

/** What of a report does not depend on when things were done. */
function timeless(results: RunResults) {
  const { trials, verdict, status, runtimes, seed, options, faults, scenario, presentation } = results;
  return {
    verdict,
    status,
    seed,
    options,
    faults,
    scenario,
    presentation,
    trials: trials.map((trial) => ({
      ...trial,
      attempts: trial.attempts.map(({ startedAtMs: _, queuedMs: _queued, usage: _usage, ...rest }) => rest),
    })),
    runtimes: runtimes.map(
      ({ trials: count, passed, failed, notMeasured, attempts, retries, completion }) => ({
        count,
        passed,
        failed,
        notMeasured,
        attempts,
        retries,
        completion,
      }),
    ),
  };
}

describe('runs of parts of one grid', () => {
  it('give the report of the uninterrupted run, whoever ran what, and wherever they were cut off', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.constantFrom(...ENDS), { maxLength: 3 }), { minLength: 2, maxLength: 12 }),
        fc.integer({ min: 2, max: 4 }),
        fc.infiniteStream(fc.nat()),
        (ends, count, draw) => {
          const whole = wholeRun(ends);
          const next = () => draw.next().value as number;
          const lists: Attempt[][] = Array.from({ length: count }, () => []);
          for (const { id } of whole.trials) {
            const own = whole.attempts.filter(({ trialId }) => trialId === id);
            const owner = next() % count;
            lists[owner]?.push(...own);
            // Another part had begun with it: cut off in the midst of an attempt, or after some.
            const other = next() % count;
            if (other === owner) continue;
            const done = own.slice(0, next() % (own.length + 1));
            const cut = makeAttempt({ trialId: id, attempt: done.length + 1, end: 'interrupted' });
            lists[other]?.push(...done, ...(done.length < own.length && next() % 2 === 0 ? [cut] : []));
          }
          const parts = lists.map((attempts, index) =>
            recordsOf(`part-${index}`, whole.trials, attempts, 500),
          );
          const merged = resultsFromRecords(mergeRecords(parts, whole.definition.runId));
          expect(timeless(merged)).toEqual(timeless(resultsFromRecords(whole)));
          const starts = merged.trials.flatMap(({ attempts }) =>
            attempts.map(({ startedAtMs }) => startedAtMs),
          );
          expect(Math.max(...starts)).toBeLessThanOrEqual(merged.wallMs);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('are refused where a trial has two outcomes, and the trials are named', () => {
    const one = wholeRun([['crashed'], []]);
    const two = { ...wholeRun([['oom'], []]), definition: makeDefinition({ runId: 'other' }) };
    expect(() => mergeRecords([one, two], 'merged')).toThrow(
      expect.objectContaining({ code: 'CONFLICT', hint: expect.stringContaining('exp_001 under process') }),
    );
  });

  it.each([
    ['seed', { seed: 7 }],
    ['runtimes', { runtimes: ['thread' as const] }],
    ['settings', { scenarioOptions: { ...makeDefinition().scenarioOptions, set: { a: '1' } } }],
    ['scenario', { scenario: { ...makeDefinition().scenario, version: 'x' } }],
  ])('are refused where their %s differ', (what, given) => {
    const one = wholeRun([[]]);
    const two = { ...one, definition: makeDefinition({ runId: 'other', ...given }) };
    expect(() => mergeRecords([one, two], 'merged')).toThrow(
      expect.objectContaining({ code: 'CONFLICT', message: expect.stringContaining(`their ${what} differ`) }),
    );
  });

  it('are refused where trials are in none of them, or a run is named twice', () => {
    const one = wholeRun([[], []]);
    const part = (index: number): RunRecords => ({
      ...one,
      definition: makeDefinition({ runId: `part-${index}`, shard: { index, count: 3, trials: 6 } }),
    });
    expect(() => mergeRecords([part(1), part(2)], 'merged')).toThrow(/4 of 6 trials are in none/);
    expect(() => mergeRecords([one, one], 'merged')).toThrow(/named twice/);
  });

  it('are made by every n-th trial, and together are all', () => {
    const trials = [1, 2, 3, 4, 5].map((index) => makeTrial(index));
    expect(trialsOfShard(trials, { index: 2, count: 3 }).map(({ id }) => id)).toEqual(['exp_002', 'exp_005']);
    expect(parseShard('2/3')).toEqual({ index: 2, count: 3 });
    for (const text of ['0/3', '4/3', 'a/b', '1', '1/0'])
      expect(() => parseShard(text)).toThrow(expect.objectContaining({ code: 'USAGE' }));
    expect(() => trialsOfShard(trials.slice(0, 1), { index: 2, count: 3 })).toThrow(/none of them/);
  });

  it('run for real, one of them interrupted and resumed by nobody, become one run in the store', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'clove-merge-'));
    folders.push(folder);
    const base = {
      scenario: tinyScenario,
      runtimes: ['process' as const],
      parallel: 1,
      size: 6,
      runsDirectory: join(folder, 'runs'),
      cacheDirectory: join(folder, 'cache'),
      command: 'clove bench run tiny',
    };
    const whole = await runBench(base);
    const odd = await runBench({
      ...base,
      shard: { index: 1, count: 2 },
      command: 'clove bench run tiny --shard 1/2',
    });
    const stop = new AbortController();
    const cut = await runBench({ ...base, shard: { index: 2, count: 2 }, signal: stop.signal }, (event) => {
      if (event.kind === 'attempt-end') stop.abort();
    });
    const even = await runBench({ ...base, shard: { index: 2, count: 2 } });
    expect(odd.results.trials.map(({ id }) => id)).toEqual(['exp_001', 'exp_003', 'exp_005']);
    expect(odd.results.options.shard).toBe('1/2');
    expect(cut.results.status).toBe('interrupted');
    const merged = mergeRuns(
      [odd, cut, even].map(({ runDirectory }) => runDirectory),
      base.runsDirectory,
    );
    // Their processes are others, of course.
    const plain = (results: RunResults) => JSON.stringify(timeless(results)).replaceAll(/"pid":\d+/g, '');
    expect(plain(merged.results)).toBe(plain(whole.results));
    expect(merged.results.command).toBe('clove bench run tiny');
    expect(merged.results.notices.join('\n')).toContain('Merged from');
  }, 120_000);
});
