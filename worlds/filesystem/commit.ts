import { closeSync, constants, fchmodSync, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import path from 'node:path';
import { CloveError } from '../../errors/index.ts';
import { changeIn, openIn } from '../../native/index.ts';
import { compareTrees, type TreesToCompare } from './changes.ts';
import type { TreeEntry } from './types.ts';

const { O_RDONLY, O_WRONLY, O_CREAT, O_DIRECTORY, O_NOFOLLOW } = constants;

export interface Committed {
  readonly written: readonly string[];
  readonly removed: readonly string[];
}

/**
 * Brings a folder of the host to what has become of a world's tree: what was added and changed is written, what was deleted is
 * removed, the rest is left alone. What members made is hostile: no link is followed on the way, links are made as they are
 * only where they stay inside, nothing is executable that was not, and set-user-id bits do not come along.
 * @throws PATH_REFUSED (a link is in the way, or leads out), CONFLICT, IO
 */
export function commitTree(trees: TreesToCompare, folder: string): Committed {
  const after = new Map(trees.after.map((entry) => [entry.path, entry]));
  const changes = compareTrees(trees);
  for (const { path: at } of changes) {
    const entry = after.get(at);
    if (entry?.kind === 'link') assertStaysInside(entry);
  }
  const root = openSync(folder, O_RDONLY | O_DIRECTORY);
  const written: string[] = [];
  const removed: string[] = [];
  try {
    // Children first.
    for (const { path: at, change } of changes.toReversed()) {
      if (change !== 'deleted') continue;
      if (remove(root, at)) removed.push(at);
    }
    for (const { path: at, change } of changes) {
      const entry = after.get(at);
      if (change === 'deleted' || entry === undefined) continue;
      write(root, entry, trees.content);
      written.push(at);
    }
    return { written, removed: removed.toReversed() };
  } finally {
    closeSync(root);
  }
}

function assertStaysInside({ path: at, target = '' }: TreeEntry): void {
  const isInside =
    !target.startsWith('/') &&
    !path.posix.relative('/', path.posix.join(path.posix.dirname(at), target)).startsWith('..');
  // join() stops at the root: a target with more steps up than there are folders leads out of any other.
  const parts = target.split('/').filter((part) => part !== '' && part !== '.');
  const up = parts.filter((part) => part === '..').length;
  // A step up after a name goes through whatever that name is a link to.
  const isPlain = parts.slice(0, up).every((part) => part === '..');
  if (isInside && isPlain && up < at.split('/').length - 1) return;
  throw new CloveError(
    'PATH_REFUSED',
    `${at} is a link to ${target}, which leads out of the world: nothing was written`,
  );
}

function inParent<Result>(
  root: number,
  at: string,
  make: boolean,
  work: (parent: number, name: string) => Result,
): Result {
  const names = at.slice(1).split('/');
  const name = names.pop() as string;
  const opened: number[] = [];
  try {
    let parent = root;
    for (const folder of names) {
      if (make) makeFolder(parent, folder);
      parent = openIn(parent, folder, { flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW, follow: false });
      opened.push(parent);
    }
    return work(parent, name);
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

function makeFolder(parent: number, name: string): void {
  try {
    changeIn(parent, name, ['mkdir', 0o755]);
  } catch (error) {
    if ((error as CloveError).details?.errno !== 'EEXIST') throw error;
  }
}

function write(root: number, entry: TreeEntry, content: (hash: string) => Buffer): void {
  inParent(root, entry.path, true, (parent, name) => {
    if (entry.kind === 'folder') {
      makeFolder(parent, name);
      return;
    }
    if (entry.kind === 'link') {
      removeIfAny(parent, name);
      changeIn(parent, name, ['symlink', entry.target ?? '']);
      return;
    }
    const fd = openIn(parent, name, { flags: O_WRONLY | O_CREAT | O_NOFOLLOW, mode: 0o644, follow: false });
    try {
      if (!fstatSync(fd).isFile())
        throw new CloveError('PATH_REFUSED', `${entry.path} is no regular file there`);
      ftruncateSync(fd, 0);
      const bytes = content(entry.hash ?? '');
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
      fchmodSync(fd, entry.mode & 0o777);
    } finally {
      closeSync(fd);
    }
  });
}

function removeIfAny(parent: number, name: string): void {
  try {
    changeIn(parent, name, ['unlink']);
  } catch (error) {
    if ((error as CloveError).code !== 'NOT_FOUND') throw error;
  }
}

/** False: it is gone already, or a folder that holds more than the world knew, which stays. */
function remove(root: number, at: string): boolean {
  try {
    inParent(root, at, false, (parent, name) => {
      try {
        changeIn(parent, name, ['unlink']);
      } catch (error) {
        if ((error as CloveError).details?.errno !== 'EISDIR') throw error;
        changeIn(parent, name, ['rmdir']);
      }
    });
  } catch (error) {
    const { errno } = (error as CloveError).details ?? {};
    if (errno === 'ENOENT' || errno === 'ENOTEMPTY') return false;
    throw error;
  }
  return true;
}
