import { CloveError, type ErrorData, errorToData } from '../../errors/index.ts';
import type { AttemptUsage } from '../types.ts';
import type { AttemptReport } from '../worker/order.ts';
import type { AttemptEnding } from './runtime.ts';

/** What is known about an attempt in a process of its own once that process is gone. */
export interface ProcessEnd {
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  readonly report: AttemptReport | null;
  /** Why the bench ended it, if it did. */
  readonly stopped: 'timeout' | 'interrupted' | null;
  readonly oom: boolean;
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly logTail: string;
  /** What was seen from outside; takes precedence over the worker's own word where it comes from a cgroup. */
  readonly observed: {
    readonly cpuMs: number | null;
    readonly memoryPeakBytes: number | null;
    readonly memorySource: AttemptUsage['memorySource'];
  };
}

/** A whole report counts, whatever happened to the process after it. */
export function endingOf(facts: ProcessEnd): AttemptEnding {
  const { report, observed } = facts;
  const fromCgroup = observed.memorySource === 'cgroup';
  const memoryPeakBytes = fromCgroup
    ? observed.memoryPeakBytes
    : (report?.maxRssBytes ?? observed.memoryPeakBytes);
  const usage: AttemptUsage = {
    wallMs: facts.endedAtMs - facts.startedAtMs,
    startupMs: report === null ? null : report.enteredAtMs - facts.startedAtMs,
    computeMs: report === null ? null : report.computeMs,
    cpuMs: fromCgroup ? observed.cpuMs : (report?.cpuMs ?? observed.cpuMs),
    memoryPeakBytes,
    memorySource: memoryPeakBytes === null ? null : observed.memorySource,
  };
  const shared = { exitCode: facts.exitCode, signal: facts.signal, usage, logTail: facts.logTail };
  if (report !== null) return { ...shared, end: report.end, error: report.error, result: report.result };
  if (facts.stopped === 'interrupted') return { ...shared, end: 'interrupted', error: null, result: null };
  if (facts.stopped === 'timeout')
    return { ...shared, end: 'timeout', error: timeoutError(usage.wallMs), result: null };
  if (facts.oom) return { ...shared, end: 'oom', error: null, result: null };
  return { ...shared, end: 'crashed', error: crashError(facts), result: null };
}

export function timeoutError(wallMs: number): ErrorData {
  return new CloveError(
    'TIMEOUT',
    `the trial was still running after ${Math.round(wallMs)} ms and was ended`,
  ).toJSON();
}

function crashError(facts: ProcessEnd): ErrorData {
  const how =
    facts.signal === null
      ? `exited with status ${facts.exitCode} without a result`
      : `was ended by ${facts.signal}`;
  return new CloveError('TRIAL_FAILED', `the trial's process ${how}`).toJSON();
}

/** The attempt could not be started or measured; says nothing about the trial. */
export function infrastructureEnding(error: unknown, wallMs: number): AttemptEnding {
  return {
    end: 'infrastructure',
    exitCode: null,
    signal: null,
    error: errorToData(error),
    usage: emptyUsage(wallMs),
    logTail: '',
    result: null,
  };
}

export function emptyUsage(wallMs: number): AttemptUsage {
  return { wallMs, startupMs: null, computeMs: null, cpuMs: null, memoryPeakBytes: null, memorySource: null };
}
