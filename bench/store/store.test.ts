import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeAttempt, makeTrial } from '../testing/attempts.ts';
import { makeDefinition } from '../testing/definition.ts';
import type { AttemptEnd, LoadSample } from '../types.ts';
import { resultsOf } from './results.ts';
import { findRunDirectory, listRunDirectories, makeRunId } from './runs.ts';
import { RunStore } from './store.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'clove-store-test-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const codeOf = (code: string) => expect.objectContaining({ code });

describe('RunStore', () => {
  it('gives back what was recorded, whatever was recorded in whatever order', () => {
    const ends = fc.constantFrom<AttemptEnd>('completed', 'crashed', 'oom', 'timeout', 'error');
    let run = 0;
    fc.assert(
      fc.property(
        fc.uniqueArray(
          fc.record({
            trial: fc.integer({ min: 1, max: 5 }),
            attempt: fc.integer({ min: 1, max: 3 }),
            end: ends,
          }),
          { selector: ({ trial, attempt }) => `${trial}/${attempt}` },
        ),
        (plan) => {
          const directory = join(folder, String(run++));
          const trials = [1, 2, 3, 4, 5].map((index) => makeTrial(index));
          const store = RunStore.create(directory, makeDefinition(), trials);
          const attempts = plan.map(({ trial, attempt, end }) =>
            makeAttempt({ trialId: makeTrial(trial).id, attempt, end }),
          );
          for (const attempt of attempts) store.attemptStarted(attempt);
          for (const attempt of attempts.toReversed()) store.attemptEnded(attempt);
          store.close();
          const read = RunStore.read(directory);
          expect(read.trials).toEqual(trials);
          const byName = (a: { trialId: string; attempt: number }, b: { trialId: string; attempt: number }) =>
            a.trialId.localeCompare(b.trialId) || a.attempt - b.attempt;
          expect(read.attempts).toEqual(attempts.toSorted(byName));
          expect(read.definition).toEqual(makeDefinition());
        },
      ),
      { numRuns: 25 },
    );
  });

  it('ends as interrupted what was under way when its process died, and keeps the rest', () => {
    const trials = [makeTrial(1), makeTrial(2)];
    const store = RunStore.create(folder, makeDefinition(), trials);
    const done = makeAttempt({ trialId: 'exp_001', end: 'completed' });
    store.beginSegment('process', 0, 0);
    store.attemptStarted(done);
    store.attemptEnded(done);
    store.attemptStarted(makeAttempt({ trialId: 'exp_002', end: 'completed', startedAtMs: 5 }));
    store.close();

    const again = RunStore.open(folder);
    expect(again.closeOpenAttempts()).toBe(1);
    expect(again.closeOpenAttempts()).toBe(0);
    expect(again.records().attempts.map((attempt) => attempt.end)).toEqual(['completed', 'interrupted']);
    again.close();
  });

  it('refuses to end an attempt twice, or one that never began', () => {
    const store = RunStore.create(folder, makeDefinition(), [makeTrial(1)]);
    const attempt = makeAttempt({ trialId: 'exp_001', end: 'completed' });
    expect(() => store.attemptEnded(attempt)).toThrow(codeOf('INTERNAL'));
    store.attemptStarted(attempt);
    store.attemptEnded(attempt);
    expect(() => store.attemptEnded(attempt)).toThrow(codeOf('INTERNAL'));
    store.close();
  });

  it('is busy while a live process holds it, and free once that process is dead', async () => {
    RunStore.create(folder, makeDefinition(), []).close();
    const script = `
      const { RunStore } = await import(${JSON.stringify(new URL('./store.ts', import.meta.url).href)});
      RunStore.open(${JSON.stringify(folder)});
      console.log('held');
      setInterval(() => {}, 1000);`;
    const holder = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await once(holder.stdout, 'data');
      expect(() => RunStore.open(folder)).toThrow(codeOf('RUN_BUSY'));
      expect(RunStore.read(folder)).toMatchObject({ trials: [], facts: { status: 'running' } });
    } finally {
      holder.kill('SIGKILL');
      await once(holder, 'close');
    }
    expect(RunStore.read(folder).facts.status).toBe('interrupted');
    RunStore.open(folder).close();
  });

  it('says so when there is no run, and when one is there already', () => {
    expect(() => RunStore.open(join(folder, 'none'))).toThrow(codeOf('RUN_NOT_FOUND'));
    expect(() => RunStore.read(join(folder, 'none'))).toThrow(codeOf('RUN_NOT_FOUND'));
    expect(existsSync(join(folder, 'none'))).toBe(false);
    RunStore.create(folder, makeDefinition(), []).close();
    expect(() => RunStore.create(folder, makeDefinition(), [])).toThrow(codeOf('CONFLICT'));
  });

  it('records how and when a run ended at once, or not at all', () => {
    const store = RunStore.create(join(folder, 'run'), makeDefinition(), [makeTrial(1)]);
    const circular: unknown[] = [];
    circular.push(circular);
    const notices = circular as string[];
    expect(() => store.putFacts({ status: 'complete', finishedAt: 'now', notices })).toThrow('circular');
    expect(store.records().facts).toMatchObject({ status: 'running', finishedAt: null, notices: [] });
    store.putFacts({ status: 'complete', finishedAt: 'now' });
    expect(store.records().facts).toMatchObject({ status: 'complete', finishedAt: 'now' });
    store.close();
  });

  it('keeps load samples that came before the end', () => {
    const store = RunStore.create(folder, makeDefinition(), []);
    const sample = (atMs: number): LoadSample => ({
      runtime: 'process',
      atMs,
      cpuCores: 1,
      memoryBytes: null,
      machineMemoryUsedBytes: 1,
      running: 1,
      queued: 0,
    });
    for (let index = 0; index < 101; index++) store.addSample(sample(index));
    store.close();
    expect(resultsOf(folder).load.map((one) => one.atMs)).toEqual(Array.from({ length: 101 }, (_, i) => i));
  });
});

describe('the folder of runs', () => {
  it('sorts by start and finds runs by id, part or "latest"', () => {
    const first = makeRunId('tiny', new Date('2026-01-02T03:04:05Z'));
    const second = makeRunId('tiny', new Date('2026-01-02T03:04:06Z'));
    expect(first).toMatch(/^20260102-030405-tiny-[0-9a-f]{4}$/);
    for (const id of [second, first]) RunStore.create(join(folder, id), makeDefinition(), []).close();
    expect(listRunDirectories(folder)).toEqual([join(folder, second), join(folder, first)]);
    expect(findRunDirectory(folder, 'latest')).toBe(join(folder, second));
    expect(findRunDirectory(folder, '030405')).toBe(join(folder, first));
    expect(() => findRunDirectory(folder, 'tiny')).toThrow(codeOf('USAGE'));
    expect(() => findRunDirectory(folder, 'other')).toThrow(codeOf('RUN_NOT_FOUND'));
  });
});
