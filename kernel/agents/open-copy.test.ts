import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openCopy } from './open-copy.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'clove-open-copy-'));
  mkdirSync(join(folder, 'code', 'inner'), { recursive: true });
  writeFileSync(join(folder, 'code', 'inner', 'a.ts'), 'one');
  writeFileSync(join(folder, 'code', 'tool'), 'two');
  symlinkSync('inner/a.ts', join(folder, 'code', 'link'));
  chmodSync(join(folder, 'code'), 0o755);
  chmodSync(join(folder, 'code', 'inner'), 0o755);
  chmodSync(join(folder, 'code', 'inner', 'a.ts'), 0o644);
  chmodSync(join(folder, 'code', 'tool'), 0o755);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const modeOf = (path: string) => statSync(path).mode & 0o777;

describe('what agents are to read', () => {
  it('is used as it is where every user can', async () => {
    expect(await openCopy(join(folder, 'code'), join(folder, 'copy'))).toBe(join(folder, 'code'));
  });

  it.each([
    ['inner/a.ts', 0o600],
    ['inner', 0o700],
    ['tool', 0o744],
    ['.', 0o750],
  ])('is copied when %s is closed to others (%o), and the original stays closed', async (entry, mode) => {
    chmodSync(join(folder, 'code', entry), mode);
    const copy = await openCopy(join(folder, 'code'), join(folder, 'copy'));
    expect(copy).toBe(join(folder, 'copy'));
    expect(modeOf(join(folder, 'code', entry))).toBe(mode);
    expect(['.', 'inner', 'tool'].map((name) => modeOf(join(copy, name)) & 0o005)).toEqual([5, 5, 5]);
    expect(modeOf(join(copy, 'inner', 'a.ts')) & 0o007).toBe(4);
    expect(readFileSync(join(copy, 'link'), 'utf8')).toBe('one');
  });
});
