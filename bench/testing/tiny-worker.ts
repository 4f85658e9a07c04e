import { appendFileSync } from 'node:fs';
import type { TrialFunction } from '../types.ts';

/** Does what its parameters say; leaves a line in `input.journal` when its work is done. */
export const run: TrialFunction = ({ trial, attempt, log }) => {
  const { index, workMs, action } = trial.params;
  log(`trial ${trial.id}, attempt ${attempt}`);
  const endMs = performance.now() + Number(workMs);
  while (performance.now() < endMs);
  if (action === 'throw') throw new RangeError('thrown on purpose');
  if (action === 'throw-once' && attempt === 1) throw new RangeError('thrown on purpose, once');
  if (action === 'exit') process.exit(3);
  if (action === 'hang') for (;;);
  if (typeof trial.input.journal === 'string') appendFileSync(trial.input.journal, `${trial.id}\n`);
  return { metrics: { test: { score: Number(index) / 100 } }, facts: { pid: process.pid } };
};
