import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Luck } from '../worlds/luck/streams.ts';
import type { BenchEvent } from './events.ts';
import { processStartTicks } from './measure/proc.ts';
import type { BenchOptions } from './options.ts';
import { resumeBench, runBench } from './run.ts';
import { resultsOf } from './store/results.ts';
import { listRunDirectories } from './store/runs.ts';
import { RunStore } from './store/store.ts';
import { tinyScenario } from './testing/tiny-scenario.ts';
import type { RunResults } from './types.ts';

let folder: string;
let options: BenchOptions;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'clove-run-'));
  options = {
    scenario: tinyScenario,
    runtimes: ['process'],
    parallel: 2,
    runsDirectory: join(folder, 'runs'),
    cacheDirectory: join(folder, 'cache'),
  };
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const codeOf = (code: string) => expect.objectContaining({ code });
const endsOf = (results: RunResults, id: string) =>
  results.trials.filter((trial) => trial.id === id).map((trial) => trial.attempts.map((one) => one.end));

describe('runBench', () => {
  it('runs the same trials on each runtime in turns and leaves results.json behind', async () => {
    const events: BenchEvent[] = [];
    const { runDirectory, results } = await runBench(
      { ...options, runtimes: ['process', 'thread', 'sequential'], set: { trials: '5', 'work-ms': '20' } },
      (event) => events.push(event),
    );
    expect(results.status).toBe('complete');
    expect(results.verdict).toMatchObject({ kind: 'pass', coverage: 1 });
    expect(results.trials.length).toBe(15);
    for (const summary of results.runtimes) {
      expect(summary).toMatchObject({
        trials: 5,
        passed: 5,
        completion: 1,
        attempts: 5,
        retries: 0,
        hostCrashes: 0,
      });
      expect(summary.computeMsTotal).toBeGreaterThanOrEqual(100);
      expect(summary.overheadMsPerTrial).toBeGreaterThan(0);
    }
    expect(JSON.parse(readFileSync(join(runDirectory, 'results.json'), 'utf8'))).toEqual(results);
    expect(resultsOf(runDirectory)).toEqual(results);
    const segments = events.filter((event) => event.kind === 'segment').map((event) => event.runtime);
    expect(segments).toEqual(['process', 'thread', 'sequential', 'thread', 'sequential', 'process']);
    const last = events.findLast((event) => event.kind === 'progress');
    expect(last?.progress).toMatchObject({ runtime: 'process', passed: 5, running: 0, queued: 0 });
    expect(last?.progress.costDone).toBe(last?.progress.costTotal);
  });

  it('tries a crash again up to the limit, an exception once, and reports what is left as failed', async () => {
    const crashed = await runBench({ ...options, set: { action: 'exit' } });
    expect(endsOf(crashed.results, 'exp_001')).toEqual([['crashed', 'crashed', 'crashed']]);
    expect(crashed.results.verdict).toMatchObject({ kind: 'fail', coverage: 1 });
    const thrown = await runBench({ ...options, set: { action: 'throw' } });
    expect(endsOf(thrown.results, 'exp_001')).toEqual([['error', 'error']]);
    const once = await runBench({ ...options, set: { action: 'throw-once' } });
    expect(endsOf(once.results, 'exp_001')).toEqual([['error', 'completed']]);
    expect(once.results.verdict.kind).toBe('pass');
  });

  it('meets the same faults on every runtime and loses no trial to them', async () => {
    const { results } = await runBench({
      ...options,
      runtimes: ['process', 'sequential'],
      faults: { crash: 0.4, hang: 0.15 },
      timeoutMs: 700,
      maxAttempts: 12,
      set: { trials: '8' },
    });
    expect(results.runtimes.map((summary) => summary.passed)).toEqual([8, 8]);
    const faults = (runtime: string) =>
      results.trials
        .filter((trial) => trial.runtime === runtime)
        .map((trial) => trial.attempts.map((attempt) => attempt.fault));
    expect(faults('sequential')).toEqual(faults('process'));
    expect(
      faults('process')
        .flat()
        .filter((fault) => fault !== null).length,
    ).toBeGreaterThan(0);
  });

  it('stops cleanly when told to, and goes on where it stopped', async () => {
    const stop = new AbortController();
    const journal = join(folder, 'journal');
    const set = { trials: '10', 'work-ms': '150', journal };
    const first = await runBench({ ...options, set, signal: stop.signal }, (event) => {
      if (event.kind === 'attempt-end' && event.attempt.trialId === 'exp_003') stop.abort();
    });
    expect(first.results.status).toBe('interrupted');
    expect(first.results.verdict.kind).toBe('no_verdict');
    const before = first.results.trials.filter((trial) => trial.status === 'passed').length;
    expect(before).toBeGreaterThan(0);
    expect(before).toBeLessThan(10);
    const second = await resumeBench(first.runDirectory, { scenario: tinyScenario });
    expect(second.results.status).toBe('complete');
    expect(second.results.verdict.kind).toBe('pass');
    expect(readFileSync(journal, 'utf8').trim().split('\n').sort()).toEqual(
      second.results.trials.map((trial) => trial.id),
    );
    expect(second.results.notices.some((notice) => notice.startsWith('Resumed'))).toBe(true);
  });

  it('leaves a complete run as it is when told to go on with it', async () => {
    const kinds: string[] = [];
    const { runDirectory, results } = await runBench({ ...options, set: { trials: '2' } }, ({ kind }) =>
      kinds.push(kind),
    );
    expect(kinds.indexOf('progress')).toBeLessThan(kinds.indexOf('attempt-start'));
    const again = await resumeBench(runDirectory, { scenario: tinyScenario });
    expect(again.results).toEqual(results);
    expect(resultsOf(runDirectory)).toEqual(results);
  });

  it('neither plans nor prepares anything for a complete run', async () => {
    const { runDirectory, results } = await runBench({ ...options, set: { trials: '2' } });
    const plan = () => Promise.reject(new Error('planned'));
    const again = await resumeBench(runDirectory, { scenario: { ...tinyScenario, plan } });
    expect(again.results).toEqual(results);
  });

  it('gives a run free whose record cannot be read, when it is made and when it is gone on with', async () => {
    const damage = (runDirectory: string) => {
      const database = new DatabaseSync(join(runDirectory, 'run.db'));
      database.exec("UPDATE attempts SET json = '{' || json");
      database.close();
    };
    let runDirectory = '';
    const made = runBench({ ...options, set: { trials: '1' } }, (event) => {
      if (event.kind === 'run') runDirectory = event.runDirectory;
      if (event.kind === 'attempt-end') damage(runDirectory);
    });
    await expect(made).rejects.toThrow('JSON');
    for (const _ of [1, 2])
      await expect(resumeBench(runDirectory, { scenario: tinyScenario })).rejects.toThrow('JSON');
    RunStore.open(runDirectory).close();
  });

  it('refuses to go on with other trials than it began with', async () => {
    const stop = new AbortController();
    const { runDirectory } = await runBench({ ...options, set: { trials: '2' }, signal: stop.signal }, () =>
      stop.abort(),
    );
    const plan: typeof tinyScenario.plan = async (given) =>
      tinyScenario.plan({ ...given, set: { trials: '3' } });
    await expect(resumeBench(runDirectory, { scenario: { ...tinyScenario, plan } })).rejects.toEqual(
      codeOf('CONFIG'),
    );
  });

  it.each<[string, Partial<BenchOptions>]>([
    ['no runtime', { runtimes: [] }],
    ['a runtime twice', { runtimes: ['process', 'process'] }],
    ['an unknown setting', { set: { nonsense: '1' } }],
    ['no parallel place', { parallel: 0 }],
    ['a size of half a trial', { size: 0.5 }],
  ])('refuses %s before it starts', async (_, wrong) => {
    await expect(runBench({ ...options, ...wrong })).rejects.toEqual(codeOf('USAGE'));
    expect(existsSync(join(folder, 'runs'))).toBe(false);
  });
});

describe('a bench that is killed', () => {
  const script = fileURLToPath(new URL('./testing/bench-child.ts', import.meta.url));
  const start = (mode: string, given: unknown): ChildProcess =>
    spawn(process.execPath, [script, mode, JSON.stringify(given)], { stdio: ['ignore', 'pipe', 'inherit'] });

  it.each([
    ['process', 10],
    ['clove', 5],
    ['thread', 3],
  ] as const)(
    'under %s at random moments loses nothing, runs nothing twice, and leaves no process',
    async (runtime, kills) => {
      const moments = new Luck(20).stream(`kill moments ${runtime}`);
      // More work than the kills can let through.
      const set = { trials: kills > 5 ? '100' : '60', 'work-ms': '80' };
      let child = start('run', { ...options, scenario: undefined, runtimes: [runtime], set });
      const runDirectory = await runDirectoryOf(child);
      let completed = 0;
      for (let kill = 0; kill < kills; kill++) {
        await sleep(moments.integer(20, 400));
        const family = descendantsOf(child.pid as number);
        child.kill('SIGKILL');
        await once(child, 'close');
        await expectGone(family);
        const done = resultsOf(runDirectory).trials.filter((trial) => trial.status === 'passed').length;
        expect(done).toBeGreaterThanOrEqual(completed);
        completed = done;
        child = start('resume', { runDirectory });
        await runDirectoryOf(child);
      }
      await once(child, 'close');
      expect(child.exitCode).toBe(0);
      const { attempts, trials } = RunStore.read(runDirectory);
      const completedOf = (id: string) =>
        attempts.filter((attempt) => attempt.trialId === id && attempt.end === 'completed').length;
      expect(trials.map((trial) => completedOf(trial.id))).toEqual(trials.map(() => 1));
      expect(resultsOf(runDirectory).status).toBe('complete');
      expect(new Set(attempts.map((attempt) => attempt.end))).toEqual(new Set(['completed', 'interrupted']));
      expect(listRunDirectories(join(folder, 'runs'))).toEqual([runDirectory]);
    },
    400_000,
  );
});

async function runDirectoryOf(child: ChildProcess): Promise<string> {
  const [line] = await once(child.stdout as NodeJS.ReadableStream, 'data');
  return String(line).trim();
}

/** pid → start of every process below one. */
function descendantsOf(ancestor: number): Map<number, string> {
  const family = new Map<number, string>();
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    const stat = /^\d+$/.test(name) ? readStat(Number(name)) : null;
    if (stat !== null) parents.set(Number(name), Number(stat[1]));
  }
  const isBelow = (pid: number): boolean => {
    const parent = parents.get(pid);
    return parent !== undefined && (parent === ancestor || isBelow(parent));
  };
  for (const pid of parents.keys()) if (isBelow(pid)) family.set(pid, processStartTicks(pid) ?? '');
  return family;
}

function readStat(pid: number): string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null;
  }
}

/** What is to end them needs a moment; what is still there after it is a leftover. */
async function expectGone(family: ReadonlyMap<number, string>): Promise<void> {
  const left = () =>
    [...family].filter(
      ([pid, start]) => start !== '' && processStartTicks(pid) === start && readStat(pid)?.[0] !== 'Z',
    );
  for (let wait = 0; wait < 250 && left().length > 0; wait++) await sleep(20);
  expect(left()).toEqual([]);
}
