import { describe, expect, it } from 'vitest';
import { compareTrees } from './changes.ts';
import type { FileLimits, FileRules, TreeEntry, WorldFiles } from './types.ts';
import { THE_WORLD } from './types.ts';

/** A form of world files under test. */
export interface FilesUnderTest {
  readonly files: WorldFiles;
  close(): Promise<void>;
}

export interface FilesOrder {
  /** Path to content; a path that ends with `/` is a folder, `{ link }` a link, `{ content, mode }` a file with a mode. */
  readonly initial: Readonly<
    Record<string, string | { readonly link: string } | { readonly content: string; readonly mode: number }>
  >;
  readonly rules?: Partial<FileRules>;
  readonly limits?: Partial<FileLimits>;
}

const MEMBER = { id: 7, name: 'alice' };
const MTIME_MS = 1_767_225_600_000;

export function entriesOf(initial: FilesOrder['initial'], put: (content: Buffer) => string): TreeEntry[] {
  return Object.entries(initial).map(([given, value]): TreeEntry => {
    const path = given.replace(/\/$/, '');
    if (given.endsWith('/')) return { path, kind: 'folder', mode: 0o755, mtimeMs: MTIME_MS };
    if (typeof value === 'object' && 'link' in value)
      return { path, kind: 'link', mode: 0o777, mtimeMs: MTIME_MS, target: value.link };
    const { content, mode } = typeof value === 'string' ? { content: value, mode: 0o644 } : value;
    const bytes = Buffer.from(content);
    return { path, kind: 'file', mode, mtimeMs: MTIME_MS, hash: put(bytes), size: bytes.length };
  });
}

/** What the files of a world do, whichever form they have. */
export function filesConformance(form: string, open: (order: FilesOrder) => Promise<FilesUnderTest>): void {
  const withFiles = async (order: FilesOrder, test: (files: WorldFiles) => Promise<void>) => {
    const { files, close } = await open(order);
    try {
      await test(files);
    } finally {
      await close();
    }
  };
  const text = async (files: WorldFiles, path: string) => (await files.read(path, MEMBER)).toString();
  const write = (files: WorldFiles, path: string, content: string, append = false) =>
    files.write(path, Buffer.from(content), { append, by: MEMBER });
  const told = (files: WorldFiles) =>
    files
      .entries()
      .map(({ path, kind, mode, size, target }) => [path, kind, mode.toString(8), size ?? target ?? null]);
  const diff = (files: WorldFiles) =>
    compareTrees({
      before: files.baseEntries(),
      after: files.entries(),
      content: (hash) => files.content(hash),
    });

  describe(`${form} files`, () => {
    it('show what the definition says, and nothing has changed yet', () =>
      withFiles(
        {
          initial: {
            '/app/a.txt': 'one',
            '/app/sub/b.txt': 'two',
            '/data/': '',
            '/app/link': { link: 'a.txt' },
          },
        },
        async (files) => {
          expect(told(files)).toEqual([
            ['/app', 'folder', '755', null],
            ['/app/a.txt', 'file', '644', 3],
            ['/app/link', 'link', '777', 'a.txt'],
            ['/app/sub', 'folder', '755', null],
            ['/app/sub/b.txt', 'file', '644', 3],
            ['/data', 'folder', '755', null],
          ]);
          expect(await text(files, '/app/a.txt')).toBe('one');
          expect(await text(files, '/app/link')).toBe('one');
          expect(await text(files, '/app/../app/./sub/b.txt')).toBe('two');
          expect(await files.list('/app')).toEqual(['a.txt', 'link', 'sub']);
          expect(await files.stat('/app/sub')).toMatchObject({ kind: 'folder', mode: 0o755 });
          expect(await files.stat('/app/a.txt')).toMatchObject({ kind: 'file', size: 3, mode: 0o644 });
          expect(diff(files)).toEqual([]);
        },
      ));

    it('are changed, and the difference says how', () =>
      withFiles(
        { initial: { '/app/a.txt': 'one\n', '/app/gone': 'x\n', '/app/old/inner': '1' } },
        async (files) => {
          await write(files, '/app/a.txt', 'two\n');
          await write(files, '/app/a.txt', 'three\n', true);
          await write(files, '/app/new/deep/c.txt', 'new\n');
          await files.remove('/app/gone', MEMBER);
          await files.remove('/app/old', MEMBER);
          expect(await text(files, '/app/a.txt')).toBe('two\nthree\n');
          const changes = diff(files);
          expect(changes.map(({ path, change, kind }) => [path, change, kind])).toEqual([
            ['/app/a.txt', 'changed', 'file'],
            ['/app/gone', 'deleted', 'file'],
            ['/app/new', 'added', 'folder'],
            ['/app/new/deep', 'added', 'folder'],
            ['/app/new/deep/c.txt', 'added', 'file'],
            ['/app/old', 'deleted', 'folder'],
            ['/app/old/inner', 'deleted', 'file'],
          ]);
          expect(changes[0]?.patch).toContain('-one\n+two\n+three\n');
          await expect(files.read('/app/gone', MEMBER)).rejects.toMatchObject({ code: 'NOT_FOUND' });
          expect(files.baseEntries().map(({ path }) => path)).toContain('/app/gone');
          expect(files.modifications().map(({ operation }) => operation)).toEqual([
            'write',
            'append',
            'write',
            'remove',
            'remove',
          ]);
        },
      ));

    it('come back under their old content as unchanged', () =>
      withFiles({ initial: { '/app/a': '1' } }, async (files) => {
        await write(files, '/app/a', '2');
        await write(files, '/app/a', '1');
        expect(diff(files)).toEqual([]);
      }));

    it('are moved, linked and made', () =>
      withFiles({ initial: { '/app/a': '1', '/app/dir/x': '2', '/app/dir/sub/y': '3' } }, async (files) => {
        await files.rename('/app/a', '/app/b', MEMBER);
        await files.rename('/app/dir', '/app/moved', MEMBER);
        await files.mkdir('/app/made', MEMBER);
        await files.symlink('b', '/app/link', MEMBER);
        await files.chmod('/app/b', 0o755, MEMBER);
        expect(told(files).map(([path]) => path)).toEqual([
          '/app',
          '/app/b',
          '/app/link',
          '/app/made',
          '/app/moved',
          '/app/moved/sub',
          '/app/moved/sub/y',
          '/app/moved/x',
        ]);
        expect(await text(files, '/app/moved/sub/y')).toBe('3');
        expect(files.find('/app/b')).toMatchObject({ mode: 0o755, kind: 'file' });
        expect(files.find('/app/nothing')).toBe(null);
        await expect(files.rename('/app/moved', '/app/moved/sub/in', MEMBER)).rejects.toMatchObject({
          code: 'PATH_REFUSED',
        });
        await expect(files.mkdir('/app/made', MEMBER)).rejects.toMatchObject({ code: 'CONFLICT' });
      }));

    it('that are read-only stay as they are, for members; the world itself may', () =>
      withFiles(
        {
          initial: { '/app/conf/a': '1', '/app/free': '2', '/app/fixed': { content: '3', mode: 0o444 } },
          rules: { readonly: ['/app/conf/**'] },
        },
        async (files) => {
          for (const path of ['/app/conf/a', '/app/conf/new', '/app/fixed'])
            await expect(write(files, path, 'x')).rejects.toMatchObject({ code: 'FORBIDDEN' });
          await expect(files.remove('/app/conf/a', MEMBER)).rejects.toMatchObject({ code: 'FORBIDDEN' });
          await write(files, '/app/free', 'x');
          await files.write('/app/conf/a', Buffer.from('by the world'), { append: false, by: THE_WORLD });
          expect(await text(files, '/app/conf/a')).toBe('by the world');
        },
      ));

    it('are made only where that is allowed', () =>
      withFiles(
        { initial: { '/app/a': '1', '/out/': '' }, rules: { writable: ['/out/**'] } },
        async (files) => {
          await expect(write(files, '/app/new', 'x')).rejects.toMatchObject({ code: 'FORBIDDEN' });
          await write(files, '/app/a', 'changed');
          await write(files, '/out/new', 'x');
          expect(await text(files, '/out/new')).toBe('x');
        },
      ));

    it('do not lead out of the world', () =>
      withFiles(
        {
          initial: {
            '/app/up': { link: '../../../../etc/passwd' },
            '/app/abs': { link: '/etc/passwd' },
            '/app/loop': { link: 'loop' },
          },
        },
        async (files) => {
          await expect(files.read('/app/up', MEMBER)).rejects.toMatchObject({ code: 'NOT_FOUND' });
          await expect(files.read('/app/abs', MEMBER)).rejects.toMatchObject({ code: 'NOT_FOUND' });
          await expect(files.read('/app/loop', MEMBER)).rejects.toMatchObject({
            code: expect.stringMatching(/PATH_REFUSED|IO/),
          });
          await expect(files.read('/../../etc/passwd', MEMBER)).rejects.toMatchObject({ code: 'NOT_FOUND' });
          await expect(files.read('/app/\0', MEMBER)).rejects.toMatchObject({ code: 'PATH_REFUSED' });
          await expect(files.read('/app', MEMBER)).rejects.toMatchObject({ code: 'PATH_REFUSED' });
        },
      ));

    it('take no more than their limits', () =>
      withFiles(
        { initial: { '/app/a': '1' }, limits: { bytes: 512 * 1024, fileBytes: 300 * 1024 } },
        async (files) => {
          await expect(write(files, '/app/large', 'x'.repeat(301 * 1024))).rejects.toMatchObject({
            code: 'OVERLOAD',
          });
          await write(files, '/app/b', 'x'.repeat(290 * 1024));
          await expect(write(files, '/app/c', 'x'.repeat(290 * 1024))).rejects.toMatchObject({
            code: 'OVERLOAD',
          });
          await files.remove('/app/b', MEMBER);
        },
      ));

    it('are full when a fault says so, until it is over', () =>
      withFiles({ initial: { '/app/a': '1' } }, async (files) => {
        const handle = files.faults.set({ kind: 'full' });
        await expect(write(files, '/app/b', 'x'.repeat(100_000))).rejects.toMatchObject({
          code: expect.stringMatching(/IO|OVERLOAD/),
          details: { errno: 'ENOSPC' },
        });
        expect(files.faults.clear(handle)).toBe(true);
        expect(files.faults.clear(handle)).toBe(false);
        await write(files, '/app/b', 'x'.repeat(100_000));
      }));

    it('are damaged for good', () =>
      withFiles({ initial: { '/app/a': 'aaaaaaaaaa', '/app/b.txt': 'bbbbbbbbbb' } }, async (files) => {
        const { Luck } = await import('../luck/streams.ts');
        expect(files.corrupt('/app/*.txt', { bytes: 1, files: 5, random: new Luck(1).stream('x') })).toEqual([
          '/app/b.txt',
        ]);
        expect(await text(files, '/app/b.txt')).not.toBe('bbbbbbbbbb');
        expect(await text(files, '/app/a')).toBe('aaaaaaaaaa');
      }));

    it('tell who watches, and count', () =>
      withFiles({ initial: { '/app/a': '123' } }, async (files) => {
        const seen: string[] = [];
        const stop = files.onChange(({ operation, path, agentId }) =>
          seen.push(`${operation} ${path} ${agentId}`),
        );
        await write(files, '/app/a', 'x');
        stop();
        await write(files, '/app/a', 'y');
        await text(files, '/app/a');
        expect(seen).toEqual(['write /app/a 7']);
        expect(files.metrics()).toMatchObject({
          file_count: 1,
          read_count: 1,
          write_count: 2,
          bytes_written: 2,
          bytes_read: 1,
          total_size_bytes: 1,
          modifications: 2,
        });
      }));
  });
}
