import { afterEach, expect, it, vi } from 'vitest';
import { makeResults } from '../../reports/fixture.ts';
import { Terminal } from '../ui/terminal.ts';
import { printSummary } from './summary.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

it('compares nothing of a run that ended before its first trial', () => {
  let written = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    written += String(text);
    return true;
  });
  const results = makeResults();
  const runtimes = results.runtimes.map((summary) => ({ ...summary, wallMs: 0 }));
  printSummary(
    new Terminal({ progress: 'quiet', verbose: false, colour: false }),
    { ...results, runtimes },
    '/r',
  );
  expect(written).toContain('vs first');
  expect(written).not.toContain('NaN');
});
