import { mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { removeStaleTemporaries, writeFileAtomically } from './atomic-write.ts';
import { temporaryDirectories } from './fixtures.ts';

const temporaryDirectory = temporaryDirectories();

describe('atomic write', () => {
  it('makes directories, joins chunks, replaces what was there, and leaves nothing else', async () => {
    const directory = path.join(await temporaryDirectory(), 'a', 'b');
    const file = path.join(directory, 'x');
    writeFileAtomically(file, [Buffer.from('old')]);
    writeFileAtomically(file, [Buffer.from('ne'), Buffer.alloc(0), Buffer.from('w')]);
    expect(await readFile(file, 'utf8')).toBe('new');
    expect(await readdir(directory)).toEqual(['x']);
  });

  it('leaves nothing when it fails', async () => {
    const directory = await temporaryDirectory();
    await mkdir(path.join(directory, 'x', 'full'), { recursive: true });
    expect(() => writeFileAtomically(path.join(directory, 'x'), [Buffer.from('new')])).toThrow(
      /EISDIR|ENOTEMPTY/,
    );
    expect(await readdir(directory)).toEqual(['x']);
  });

  it('clears what killed writers left long ago, and nothing else', async () => {
    const directory = await temporaryDirectory();
    const id = '00000000-0000-4000-8000-00000000000';
    for (const name of [`.x.${id}1.tmp`, `.x.${id}2.tmp`, 'x', '.other.tmp']) {
      await writeFile(path.join(directory, name), '');
      const hours = name.includes('2.tmp') ? 0 : 2;
      const time = Date.now() / 1000 - hours * 3600;
      await utimes(path.join(directory, name), time, time);
    }
    removeStaleTemporaries(directory);
    expect((await readdir(directory)).sort()).toEqual(['.other.tmp', `.x.${id}2.tmp`, 'x']);
    removeStaleTemporaries(path.join(directory, 'none'));
  });
});
