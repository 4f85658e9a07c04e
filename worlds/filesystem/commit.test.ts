import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ensureNative } from '../../native/index.ts';
import { hashOf } from './blocks.ts';
import { commitTree } from './commit.ts';
import type { TreeEntry } from './types.ts';

let folder = '';
const contents = new Map<string, Buffer>();
beforeAll(async () => {
  await ensureNative();
}, 300_000);
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'clove-commit-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function file(at: string, text: string, mode = 0o644): TreeEntry {
  const bytes = Buffer.from(text);
  contents.set(hashOf(bytes), bytes);
  return { path: at, kind: 'file', mode, mtimeMs: 0, hash: hashOf(bytes), size: bytes.length };
}
const dir = (at: string): TreeEntry => ({ path: at, kind: 'folder', mode: 0o755, mtimeMs: 0 });
const link = (at: string, target: string): TreeEntry => ({
  path: at,
  kind: 'link',
  mode: 0o777,
  mtimeMs: 0,
  target,
});
const commit = (before: TreeEntry[], after: TreeEntry[]) =>
  commitTree({ before, after, content: (hash) => contents.get(hash) as Buffer }, folder);
const put = (name: string, text: string) => {
  mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
  writeFileSync(path.join(folder, name), text);
};
const read = (name: string) => readFileSync(path.join(folder, name), 'utf8');

describe('changes of a world, committed to a folder', () => {
  it('write what was added and changed, remove what was deleted, leave the rest', () => {
    put('a/same', '1');
    put('a/changed', 'old');
    put('a/gone', 'x');
    put('old/inner', 'x');
    put('old/unknown to the world', 'x');
    put('b/inner', 'x');
    const before = [
      dir('/a'),
      file('/a/same', '1'),
      file('/a/changed', 'old'),
      file('/a/gone', 'x'),
      dir('/old'),
      file('/old/inner', 'x'),
      dir('/b'),
      file('/b/inner', 'x'),
    ];
    const after = [
      dir('/a'),
      file('/a/same', '1'),
      file('/a/changed', 'new'),
      file('/a/new/deep', 'n', 0o4755),
      link('/a/link', 'same'),
    ];
    const { written, removed } = commit(before, after);
    expect(written).toEqual(['/a/changed', '/a/link', '/a/new/deep']);
    expect(removed).toEqual(['/a/gone', '/b', '/b/inner', '/old/inner']);
    expect([read('a/changed'), read('a/new/deep'), read('a/same')]).toEqual(['new', 'n', '1']);
    expect(statSync(path.join(folder, 'a/new/deep')).mode & 0o7777).toBe(0o755);
    expect(readlinkSync(path.join(folder, 'a/link'))).toBe('same');
    expect([
      existsSync(path.join(folder, 'b')),
      existsSync(path.join(folder, 'a/gone')),
      read('old/unknown to the world'),
    ]).toEqual([false, false, 'x']);
  });

  it('follow no link on the way, and make none that leads out', () => {
    const outside = mkdtempSync(path.join(os.tmpdir(), 'clove-commit-outside-'));
    writeFileSync(path.join(outside, 'secret'), 'untouched');
    symlinkSync(outside, path.join(folder, 'way'));
    symlinkSync(path.join(outside, 'secret'), path.join(folder, 'file'));
    expect(() => commit([], [file('/way/secret', 'x')])).toThrow(/ELOOP|ENOTDIR/);
    expect(() => commit([], [file('/file', 'x')])).toThrow(/ELOOP/);
    expect(() => commit([file('/way/secret', 'untouched')], [])).toThrow(/ELOOP|ENOTDIR/);
    for (const target of ['/etc/passwd', '../../etc/passwd', '../x', 'a/../../../x'])
      expect(() =>
        commit([], [file('/good', 'x'), link('/d/l', target === '../x' ? '../../x' : target)]),
      ).toThrow(/leads out/);
    // A step up after a name goes through whatever that name is a link to.
    expect(() => commit([], [link('/a/b/c/d', '../..'), link('/a/b/c/l', 'd/../../../etc/shadow')])).toThrow(
      /leads out/,
    );
    expect(existsSync(path.join(folder, 'good'))).toBe(false);
    expect(readFileSync(path.join(outside, 'secret'), 'utf8')).toBe('untouched');
    commit([], [link('/d/l', '../x')]);
    expect(lstatSync(path.join(folder, 'd/l')).isSymbolicLink()).toBe(true);
    rmSync(outside, { recursive: true });
  });
});
