import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { runBench } from '../../bench/run.ts';
import overhead from './scenario.ts';

const folder = mkdtempSync(join(tmpdir(), 'clove-overhead-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('overhead', () => {
  it('keeps a core busy for as long as it is told, and measures what comes on top', async () => {
    const { results } = await runBench({
      scenario: overhead,
      quick: true,
      runtimes: ['process'],
      set: { 'busy-ms': '20' },
      runsDirectory: join(folder, 'runs'),
      cacheDirectory: join(folder, 'cache'),
    });
    expect(results.trials.length).toBe(8);
    for (const trial of results.trials) expect(trial.attempts[0]?.usage.computeMs).toBeGreaterThanOrEqual(20);
    const [summary] = results.runtimes;
    expect(summary?.computeMsTotal).toBeGreaterThanOrEqual(160);
    expect(summary?.overheadMsPerTrial).toBeGreaterThan(0);
    expect(summary?.harnessMsPerTrial).toBeLessThan(summary?.overheadMsPerTrial ?? 0);
  });

  it('refuses a busy time that is no number', async () => {
    const planned = overhead.plan({
      quick: false,
      size: null,
      seed: 1,
      dataDirectory: null,
      cacheDirectory: folder,
      set: { 'busy-ms': 'long' },
    });
    await expect(planned).rejects.toEqual(expect.objectContaining({ code: 'USAGE' }));
  });
});
