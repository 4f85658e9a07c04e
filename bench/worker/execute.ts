/** Executes one attempt. Loaded by the worker of every runtime: imports nothing heavy. */
import { isMainThread } from 'node:worker_threads';
import { errorToData, isCloveError } from '../../errors/index.ts';
import type { TrialFunction } from '../types.ts';
import { injectFault } from './inject.ts';
import { type AttemptOrder, type AttemptReport, LOG_TAIL_BYTES } from './order.ts';

export interface ExecuteOptions {
  readonly log: (line: string) => void;
  /** The process exists for this attempt alone: its CPU time counts from its first instruction. */
  readonly wholeProcess: boolean;
  /** Called just before an injected fault, so that a host that dies of it can be told from its innocent passengers. */
  readonly announceFault?: () => void;
}

/** CLOCK_MONOTONIC in ms. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Never rejects: what the trial throws is in the report. Does not return when a fault ends the process. */
export async function executeOrder(order: AttemptOrder, options: ExecuteOptions): Promise<AttemptReport> {
  const cpu = isMainThread ? () => process.cpuUsage() : () => process.threadCpuUsage();
  const before = options.wholeProcess ? { user: 0, system: 0 } : cpu();
  const meetFault = (moment: 'before' | 'after') => {
    if (order.fault?.moment !== moment) return;
    options.announceFault?.();
    injectFault(order.fault, order.leakCapBytes, options.log);
  };
  let enteredAtMs = monotonicMs();
  let end: AttemptReport['end'] = 'completed';
  let result: AttemptReport['result'] = null;
  let error: AttemptReport['error'] = null;
  try {
    const module: { run?: TrialFunction } = await import(order.worker);
    if (typeof module.run !== 'function') throw new TypeError(`${order.worker} exports no function "run"`);
    enteredAtMs = monotonicMs();
    meetFault('before');
    result = await module.run({ trial: order.trial, attempt: order.attempt, log: options.log });
    meetFault('after');
  } catch (thrown) {
    end = 'error';
    result = null;
    error = isCloveError(thrown) ? thrown.toJSON() : { ...errorToData(thrown), code: 'TRIAL_FAILED' };
    options.log(thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
  }
  const leftAtMs = monotonicMs();
  const after = cpu();
  return {
    end,
    result,
    error,
    enteredAtMs,
    computeMs: leftAtMs - enteredAtMs,
    cpuMs: (after.user - before.user + after.system - before.system) / 1000,
    maxRssBytes: process.resourceUsage().maxRSS * 1024,
    logTail: '',
  };
}

/** A log that keeps the last lines in memory, for processes that run several trials. */
export function tailLog(): { log: (line: string) => void; text: () => string } {
  let text = '';
  return {
    log: (line) => {
      text = `${text}${line}\n`.slice(-LOG_TAIL_BYTES);
    },
    text: () => text,
  };
}
