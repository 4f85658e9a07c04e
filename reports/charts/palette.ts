import type { AttemptEnd, RuntimeName } from '../../bench/types.ts';

/** Colours by name of custom property (values in page/style.ts, after Okabe and Ito: told apart without hue). */

export type OutcomeClass = 'passed' | 'failed' | 'collateral' | 'unmeasured';

export const OUTCOMES: Readonly<Record<OutcomeClass, { label: string; colour: string }>> = {
  passed: { label: 'completed', colour: '--passed' },
  failed: { label: 'failed attempt (crash, timeout, out of memory, error)', colour: '--failed' },
  collateral: { label: 'died because of another experiment', colour: '--collateral' },
  unmeasured: { label: 'not measured (infrastructure, interrupted)', colour: '--unmeasured' },
};

export function outcomeClass(end: AttemptEnd): OutcomeClass {
  if (end === 'completed' || end === 'collateral') return end === 'completed' ? 'passed' : 'collateral';
  return end === 'infrastructure' || end === 'interrupted' ? 'unmeasured' : 'failed';
}

export const END_TEXT: Readonly<Record<AttemptEnd, string>> = {
  completed: 'completed',
  error: 'raised an error',
  crashed: 'crashed',
  timeout: 'timed out',
  oom: 'out of memory',
  collateral: 'died with its host',
  infrastructure: 'could not be measured',
  interrupted: 'interrupted',
};

export const RUNTIME_COLOUR: Readonly<Record<RuntimeName, string>> = {
  clove: '--rt-clove',
  process: '--rt-process',
  thread: '--rt-thread',
  sequential: '--rt-sequential',
  'python-pool': '--rt-python-pool',
};

export const RUNTIME_TEXT: Readonly<Record<RuntimeName, string>> = {
  clove: 'one sandboxed process per experiment, under the Clove kernel',
  process: 'plain child processes, no isolation',
  thread: 'a piscina pool of worker threads in one process',
  sequential: 'one after the other in one process',
  'python-pool':
    "Python's ProcessPoolExecutor: one process per place, forked from one that has loaded everything",
};
