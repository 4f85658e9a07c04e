import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { rehearse } from './rehearse.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'clove-rehearsal-'));
  vi.stubEnv('TMPDIR', folder);
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

it('goes the whole way and leaves no file and no connection', async () => {
  const open = () => process.getActiveResourcesInfo().filter((name) => /Pipe|Server/.test(name)).length;
  const before = open();
  await rehearse();
  expect(readdirSync(folder)).toEqual([]);
  await vi.waitUntil(() => open() <= before, { timeout: 30_000 });
});

it('fails where nobody could be told', async () => {
  rmSync(folder, { recursive: true });
  await expect(rehearse()).rejects.toThrow(/ENOENT|EACCES/);
});
