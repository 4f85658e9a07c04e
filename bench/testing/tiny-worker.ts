import { appendFileSync, closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
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
  if (action === 'probe')
    return { metrics: {}, facts: probe(String(trial.input.inputs), String(trial.input.code)) };
  if (typeof trial.input.journal === 'string') appendFileSync(trial.input.journal, `${trial.id}\n`);
  return { metrics: { test: { score: Number(index) / 100 } }, facts: { pid: process.pid } };
};

/** What a trial can do to the files around it: contents, or the name of the error. */
function probe(inputs: string, code: string): Record<string, string> {
  const attempt = (act: () => string) => {
    try {
      return act();
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? 'error';
    }
  };
  // Opened only: a probe that got through must not harm the file.
  const write = (path: string) =>
    attempt(() => {
      closeSync(openSync(path, 'r+'));
      return 'opened';
    });
  return {
    readInput: attempt(() => readFileSync(`${inputs}/data`, 'utf8')),
    writeInput: write(`${inputs}/data`),
    writeCode: write(code),
    seeHome: attempt(() => readdirSync('/root').join()),
  };
}
