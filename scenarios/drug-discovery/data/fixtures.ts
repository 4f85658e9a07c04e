/** Helpers of this folder's tests. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach } from 'vitest';
import { DATASETS } from './sources.ts';

/** The directory with the measured data: CLOVE_DATA, else a folder next to the repository; undefined when neither has it. */
export function realDataDirectory(): { directory: string; present: boolean } {
  const beside = path.resolve(import.meta.dirname, '../../../../shared/data');
  const directory = process.env.CLOVE_DATA || beside;
  return {
    directory,
    present: Object.values(DATASETS).every(({ file }) => existsSync(path.join(directory, file))),
  };
}

/** Makes temporary directories that are removed after each test. Call it at the top of a test file. */
export function temporaryDirectories(): () => Promise<string> {
  const made: string[] = [];
  afterEach(async () => {
    for (const directory of made.splice(0)) await rm(directory, { recursive: true, force: true });
  });
  return async () => {
    const directory = await mkdtemp(path.join(os.tmpdir(), 'clove-data-'));
    made.push(directory);
    return directory;
  };
}
