import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { BenchEvent, Progress } from '../../bench/events.ts';
import type { Attempt, Presentation, Trial } from '../../bench/types.ts';
import { type ProgressMode, Terminal } from '../ui/terminal.ts';
import { BenchProgress } from './progress.ts';

let written: string;
const progresses: BenchProgress[] = [];

beforeEach(() => {
  vi.useFakeTimers();
  written = '';
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    written += String(text);
    return true;
  });
});

afterEach(() => {
  for (const progress of progresses.splice(0)) progress.close();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const presentation = {
  primaryMetric: { path: 'test.auc', label: 'AUC', higherIsBetter: true, format: 'number' },
  metrics: [],
} as unknown as Presentation;
const trial = { id: 'exp_1', params: { model: 'svm' } } as unknown as Trial;
const attempt = (end: Attempt['end']) =>
  ({ runtime: 'clove', end, usage: { wallMs: 1500 }, result: null }) as unknown as Attempt;
const progressOf = (passed: number): BenchEvent => ({
  kind: 'progress',
  progress: { runtime: 'clove', trials: 12, passed, failed: 0, notMeasured: 0, running: 1 } as Progress,
});

function start(mode: ProgressMode): (...events: BenchEvent[]) => void {
  const progress = new BenchProgress(
    new Terminal({ progress: mode, verbose: false, colour: false }),
    presentation,
  );
  progresses.push(progress);
  return (...events) => {
    for (const event of events) progress.listen(event);
  };
}

describe('the progress of a run in plain lines', () => {
  it('counts outcomes, and no attempt that is made again', () => {
    const tell = start('plain');
    tell(
      progressOf(8),
      { kind: 'attempt-end', trial, attempt: attempt('crashed'), willRetry: true },
      { kind: 'attempt-end', trial, attempt: attempt('completed'), willRetry: false },
      progressOf(9),
      { kind: 'attempt-end', trial, attempt: attempt('completed'), willRetry: false },
    );
    tell({ kind: 'attempt-end', trial, attempt: attempt('interrupted'), willRetry: false });
    const lines = written.trimEnd().split('\n');
    expect(lines[3]).toMatch(/^ {2}✗ {7,}exp_1 {2}svm {2}interrupted/);
    expect(lines[0]).toMatch(/^ {2}✗ {7,}exp_1 {2}svm {2}crashed .*will be tried again$/);
    expect(lines[1]).toMatch(/^ {2}✓ {3}9\/12 {2}exp_1 {2}svm/);
    expect(lines[2]).toMatch(/^ {2}✓ {2}10\/12 {2}exp_1 {2}svm/);
  });

  it('names numbers among the parameters, and writes figures as the report does', () => {
    const tell = start('plain');
    tell({
      kind: 'attempt-end',
      trial: { id: 'exp_1', params: { model: 'svm', seed: 42 } } as unknown as Trial,
      attempt: {
        ...attempt('completed'),
        result: { metrics: { test: { auc: 0.87654 } } },
      } as unknown as Attempt,
      willRetry: false,
    });
    expect(written).toMatch(/exp_1 {2}svm seed 42 {2}AUC 0\.877 {2}1\.5 s/);
  });

  it('says that inputs are prepared, and that they still are when it takes long', () => {
    const tell = start('plain');
    tell({ kind: 'prepare', tasks: 4, cached: 1, announcements: [] });
    vi.advanceTimersByTime(21_000);
    expect(written.trimEnd().split('\n')).toEqual([
      '  preparing inputs, once for every runtime: 0/4',
      '  … still preparing inputs, once for every runtime: 0/4 (20.0 s)',
    ]);
  });

  it('tells what is waited for when nothing ends for long, and nothing when nothing runs', () => {
    const tell = start('plain');
    tell({ kind: 'attempt-start', runtime: 'clove', trial } as BenchEvent);
    vi.advanceTimersByTime(45_000);
    expect(written.trimEnd().split('\n')).toEqual([
      '  … still running: exp_1 svm (20.0 s)',
      '  … still running: exp_1 svm (40.0 s)',
    ]);
    tell({ kind: 'attempt-end', trial, attempt: attempt('completed'), willRetry: false });
    written = '';
    vi.advanceTimersByTime(120_000);
    expect(written).toBe('');
  });

  it('warns of what should be looked at, and only mentions what is a remark', () => {
    const tell = start('plain');
    tell({ kind: 'notice', text: 'The machine was busy.', isRemark: false });
    tell({ kind: 'notice', text: 'Trials are forked.', isRemark: true });
    expect(written).toBe('warning: The machine was busy.\n  Trials are forked.\n');
  });
});

describe('the progress of a run on a terminal', () => {
  it('goes on showing the time while nothing happens, until it is closed', () => {
    const tell = start('tty');
    tell(progressOf(3), { kind: 'attempt-start', runtime: 'clove', trial } as BenchEvent);
    written = '';
    vi.advanceTimersByTime(3000);
    expect(written).toContain('running: exp_1 svm (3.0 s)');
    progresses[0]?.close();
    written = '';
    vi.advanceTimersByTime(60_000);
    expect(written).toBe('');
  });
});
