import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { Luck } from '../luck/streams.ts';
import { BlockStore } from './blocks.ts';
import { compareTrees } from './changes.ts';
import { PathPatterns } from './path-patterns.ts';
import { checkedPath } from './paths.ts';
import type { TreeEntry } from './types.ts';
import { VirtualFiles } from './virtual.ts';

const BY = { id: 7, name: 'alice' };
const open: VirtualFiles[] = [];
afterEach(() => {
  for (const files of open.splice(0)) files.close();
});

interface Options {
  readonly files?: Readonly<Record<string, string>>;
  readonly readonly?: readonly string[];
  readonly writable?: readonly string[];
  readonly limits?: { bytes?: number; files?: number; fileBytes?: number };
  readonly blocks?: BlockStore;
  /** In place of `files`; its contents are in `blocks`. */
  readonly base?: readonly TreeEntry[];
}

function make(options: Options = {}): { files: VirtualFiles; blocks: BlockStore; tick(ms: number): void } {
  const blocks = options.blocks ?? new BlockStore();
  let nowMs = 1_000_000;
  const base = Object.entries(options.files ?? {}).map(([path, text]): TreeEntry => {
    const content = Buffer.from(text);
    return {
      path,
      kind: 'file',
      mode: 0o644,
      mtimeMs: nowMs,
      hash: blocks.put(content),
      size: content.length,
    };
  });
  const files = new VirtualFiles({
    clock: { nowMs: () => nowMs, sleep: async () => {} },
    blocks,
    limits: { bytes: 1e6, files: 1000, fileBytes: 1e5, ...options.limits },
    rules: { intercept: ['/**'], readonly: options.readonly ?? [], writable: options.writable ?? [] },
    random: (purpose) => new Luck(1).stream(purpose),
    base: options.base ?? base,
  });
  for (const { hash } of base) blocks.release(hash as string);
  open.push(files);
  return {
    files,
    blocks,
    tick: (ms) => {
      nowMs += ms;
    },
  };
}

const write = (files: VirtualFiles, path: string, text: string, append = false) =>
  files.write(path, Buffer.from(text), { append, by: BY });

describe('files in memory', () => {
  it('are made when somebody looks, and are then what they were said to be', () => {
    const name = fc.constantFrom('a', 'b', 'c-d', 'é', '.hidden');
    const place = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => `/${names.join('/')}`);
    const entry = fc.record({
      path: place,
      kind: fc.constantFrom('file', 'folder', 'link'),
      mode: fc.constantFrom(0o644, 0o444, 0o755, 0o500),
      mtimeMs: fc.double({ min: 0, max: 4e12, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.uniqueArray(entry, { selector: ({ path }) => path, maxLength: 12 }), (given) => {
        const blocks = new BlockStore();
        const base = given.map((each): TreeEntry => {
          if (each.kind === 'link') return { ...each, kind: 'link', target: '/a' };
          if (each.kind === 'folder') return { ...each, kind: 'folder' };
          const content = Buffer.from(each.path);
          return { ...each, kind: 'file', hash: blocks.put(content), size: content.length };
        });
        const isBelow = (at: string) =>
          base.some(({ kind, path }) => kind !== 'folder' && at.startsWith(`${path}/`));
        // What would be below a file is refused, what would be below a link is where that leads: neither waits.
        fc.pre(!base.some(({ path }) => isBelow(path)));
        const { files } = make({ base, blocks });
        const before = files.entries();
        expect(files.metrics().file_count).toBe(base.filter(({ kind }) => kind === 'file').length);
        files.exists('/a');
        expect(files.entries()).toEqual(before);
        expect(files.baseEntries()).toEqual(before);
        files.close();
        for (const { hash } of base) if (hash !== undefined) blocks.release(hash);
        expect(blocks.size).toBe(0);
      }),
    );
  });

  it('are refused as a whole when they are too many or too large, looked at or not', () => {
    const blocks = new BlockStore();
    const tree = (limits: NonNullable<Options['limits']>) => () =>
      make({ files: { '/a/b': 'xyz', '/c': 'x' }, limits, blocks });
    for (const limits of [{ files: 2 }, { bytes: 3 }, { fileBytes: 2 }])
      expect(tree(limits)).toThrowError(expect.objectContaining({ code: 'OVERLOAD' }));
    const { files } = tree({ files: 3, bytes: 4, fileBytes: 3 })();
    files.close();
  });

  it('have the times of their world', async () => {
    const { files, tick } = make({ files: { '/d/a': 'x' } });
    tick(5000);
    await write(files, '/d/b', 'y');
    expect(await files.stat('/d/a')).toMatchObject({ mtimeMs: 1_000_000, size: 1 });
    expect(await files.stat('/d/b')).toMatchObject({ mtimeMs: 1_005_000 });
    expect(await files.stat('/d')).toMatchObject({ kind: 'folder', mtimeMs: 1_005_000 });
  });

  it('have a root of their world’s time, whenever it is looked at and however they were made', async () => {
    const { files, tick } = make({ files: { '/d/a': 'x' } });
    tick(5000);
    expect(await files.stat('/')).toMatchObject({ kind: 'folder', mtimeMs: 1_000_000 });
    await write(files, '/b', 'y');
    expect(await files.stat('/')).toMatchObject({ mtimeMs: 1_005_000 });
    expect(await make().files.stat('/')).toMatchObject({ mtimeMs: 1_000_000 });
    // One below a link: these are made one by one.
    const blocks = new BlockStore();
    const hash = blocks.put(Buffer.from('x'));
    const base: TreeEntry[] = [
      { path: '/d', kind: 'folder', mode: 0o755, mtimeMs: 5 },
      { path: '/l', kind: 'link', mode: 0o777, mtimeMs: 6, target: '/d' },
      { path: '/l/a', kind: 'file', mode: 0o644, mtimeMs: 7, hash, size: 1 },
      { path: '/n/b', kind: 'file', mode: 0o644, mtimeMs: 8, hash, size: 1 },
    ];
    const each = make({ base, blocks }).files;
    const times = await Promise.all(
      ['/', '/d', '/l/a', '/n', '/n/b'].map(async (at) => (await each.stat(at)).mtimeMs),
    );
    expect(times).toEqual([1_000_000, 5, 7, 1_000_000, 8]);
  });

  it('are protected by what they are, not by how they are called', async () => {
    const { files } = make({ files: { '/etc/a': 'x' }, readonly: ['/etc/**'] });
    await files.symlink('/etc', '/way', BY);
    await files.symlink('/etc/a', '/direct', BY);
    for (const path of ['/etc/a', '/ETC/../etc/a', '/way/a', '/direct', '/way/new', '//etc//b']) {
      await expect(write(files, path, 'evil')).rejects.toMatchObject({ code: 'FORBIDDEN' });
    }
    await expect(files.remove('/etc', BY)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(files.rename('/etc/a', '/b', BY)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect(String(await files.read('/etc/a', BY))).toBe('x');
    // A link that leads nowhere, or in circles, harms nobody.
    await files.symlink('/loop', '/loop', BY);
    await expect(files.read('/loop', BY)).rejects.toThrow();
    await files.symlink('/../../../etc/passwd', '/out', BY);
    await expect(files.read('/out', BY)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('are made only where they may be', async () => {
    const { files } = make({ files: { '/old': 'x' }, writable: ['/tmp/**'] });
    await write(files, '/tmp/a/b', 'x');
    await write(files, '/old', 'y');
    await files.symlink('/', '/tmp/root', BY);
    await expect(write(files, '/new', 'x')).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(write(files, '/tmp/root/new', 'x')).rejects.toMatchObject({ code: 'FORBIDDEN' });
  });

  it('are bounded in number and size, and free what they no longer are', async () => {
    const { files, blocks } = make({ limits: { bytes: 100, files: 4, fileBytes: 60 } });
    await write(files, '/a', 'x'.repeat(60));
    await expect(write(files, '/b', 'x'.repeat(61))).rejects.toMatchObject({ code: 'OVERLOAD' });
    await expect(write(files, '/b', 'x'.repeat(41))).rejects.toMatchObject({ code: 'OVERLOAD' });
    await expect(write(files, '/a', 'x', true)).rejects.toMatchObject({ code: 'OVERLOAD' });
    await write(files, '/b', 'x'.repeat(40));
    await files.remove('/a', BY);
    await write(files, '/c/d', 'y');
    await expect(write(files, '/e/f', 'y')).rejects.toMatchObject({ code: 'OVERLOAD' });
    expect(files.metrics()).toMatchObject({ file_count: 2, total_size_bytes: 41 });
    files.close();
    expect(blocks.size).toBe(0);
  });

  it('refuse paths that no system would take', () => {
    for (const path of [
      `/${'x'.repeat(256)}`,
      `/${'a/'.repeat(2100)}`,
      `/${'a/'.repeat(200)}b`,
      '/a\0',
      '/\ud800',
    ]) {
      expect(() => checkedPath(path)).toThrowError(expect.objectContaining({ code: 'PATH_REFUSED' }));
    }
    expect(checkedPath('a/./b/../c//')).toBe('/a/c');
    expect(checkedPath('/../..')).toBe('/');
  });

  it('tell each change, and what has become of them', async () => {
    const { files } = make({ files: { '/a': 'one\ntwo\n', '/gone': 'x', '/same': 's' } });
    const told: string[] = [];
    files.onChange(({ operation, path, agentId }) => told.push(`${operation} ${path} ${agentId}`));
    await write(files, '/a', 'three\n', true);
    await files.remove('/gone', BY);
    await files.write('/bin', Buffer.from([0, 1]), { append: false, by: BY });
    await files.chmod('/same', 0o600, BY);
    await files.rename('/same', '/moved', BY);
    expect(told).toEqual([
      'append /a 7',
      'remove /gone 7',
      'write /bin 7',
      'chmod /same 7',
      'rename /moved 7',
    ]);
    const changes = compareTrees({
      before: files.baseEntries(),
      after: files.entries(),
      content: (hash) => files.content(hash),
    });
    expect(changes.map(({ path, change }) => `${change} ${path}`)).toEqual([
      'changed /a',
      'added /bin',
      'deleted /gone',
      'added /moved',
      'deleted /same',
    ]);
    expect(changes[0]?.patch).toContain('+three');
    expect(changes[1]?.patch).toBeUndefined();
    expect(changes[2]?.patch).toContain('--- a/gone\n+++ /dev/null');
  });

  it('hold contents once, however many have them, and none too long', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            path: fc.constantFrom('/a', '/b', '/d/c', '/d/e'),
            text: fc.constantFrom('', 'x', 'y', 'xy'),
            kind: fc.constantFrom('write', 'append', 'remove', 'rename'),
            to: fc.constantFrom('/a', '/b', '/d/c', '/z'),
          }),
          { maxLength: 30 },
        ),
        async (steps) => {
          const blocks = new BlockStore();
          const { files } = make({ blocks, files: { '/a': 'x' } });
          const model = new Map([['/a', 'x']]);
          for (const { path, text, kind, to } of steps) {
            if (kind === 'write' || kind === 'append') {
              await write(files, path, text, kind === 'append');
              model.set(path, (kind === 'append' ? (model.get(path) ?? '') : '') + text);
            } else if (model.has(path) && kind === 'remove') {
              await files.remove(path, BY);
              model.delete(path);
            } else if (model.has(path) && kind === 'rename' && path !== to) {
              await files.rename(path, to, BY);
              model.set(to, model.get(path) as string);
              model.delete(path);
            }
          }
          const found = files.entries().filter(({ kind }) => kind === 'file');
          expect(
            new Map(found.map(({ path, hash }) => [path, String(files.content(hash as string))])),
          ).toEqual(new Map([...model].sort()));
          expect(files.metrics().total_size_bytes).toBe(
            [...model.values()].reduce((sum, { length }) => sum + length, 0),
          );
          const contents = new Set([...model.values(), 'x']);
          expect(blocks.size).toBe(contents.size);
          files.close();
          expect(blocks.size).toBe(0);
          expect(blocks.bytes).toBe(0);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('of all worlds together are bounded', () => {
    const blocks = new BlockStore(1000);
    blocks.put(Buffer.alloc(700));
    blocks.put(Buffer.alloc(700));
    expect(() => blocks.put(Buffer.alloc(701))).toThrowError(expect.objectContaining({ code: 'OVERLOAD' }));
    expect(() => blocks.get('0')).toThrowError(expect.objectContaining({ code: 'DATA_CORRUPT' }));
  });
});

it('patterns match as they read, and hostile ones take no longer', () => {
  const matches = (pattern: string, path: string) => new PathPatterns([pattern]).matches(path);
  expect(matches('/a/*', '/a/b')).toBe(true);
  expect(matches('/a/*', '/a/b/c')).toBe(false);
  expect(matches('/a/**', '/a/b/c')).toBe(true);
  expect(matches('/A/?.TXT', '/a/x.txt')).toBe(true);
  expect(matches('*', '/anything/at/all')).toBe(true);
  expect(matches('*.log', '/var/log/x.log')).toBe(true);
  expect(matches('/a+(b)', '/a+(b)')).toBe(true);
  const started = performance.now();
  expect(matches(`/${'*a'.repeat(400)}b`, `/${'a'.repeat(4000)}`)).toBe(false);
  // Not a speed: a pattern that backtracks would take longer than the universe.
  expect(performance.now() - started).toBeLessThan(60_000);
});
