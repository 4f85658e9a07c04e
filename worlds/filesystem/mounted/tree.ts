import { closeSync, constants, fchmodSync, fstatSync, readdirSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import type { CloveError } from '../../../errors/index.ts';
import { changeIn, openIn } from '../../../native/index.ts';
import type { TreeEntry } from '../types.ts';

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;

/** With the folders that nobody named, in path order. */
export function withFolders(entries: readonly TreeEntry[]): TreeEntry[] {
  const tree = new Map(entries.map((entry) => [entry.path, entry]));
  for (const { path: at, mtimeMs } of entries) {
    for (let parent = path.posix.dirname(at); parent !== '/'; parent = path.posix.dirname(parent)) {
      if (!tree.has(parent)) tree.set(parent, { path: parent, kind: 'folder', mode: 0o755, mtimeMs });
    }
  }
  return [...tree.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Of an open folder, and of nothing below it. A name that is no text cannot be told of. */
export function namesIn(folderFd: number): string[] {
  return readdirSync(`/proc/self/fd/${folderFd}`, { encoding: 'buffer' }).flatMap((bytes) => {
    const name = bytes.toString('utf8');
    return Buffer.from(name, 'utf8').equals(bytes) ? [name] : [];
  });
}

/** Everything below a name, and it. */
export function removeTree(parentFd: number, name: string): void {
  let fd: number;
  try {
    fd = openIn(parentFd, name, { flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW, follow: false });
  } catch (error) {
    if ((error as CloveError).code !== 'PATH_REFUSED') throw error;
    changeIn(parentFd, name, ['unlink']);
    return;
  }
  try {
    for (const child of namesIn(fd)) removeTree(fd, child);
  } finally {
    closeSync(fd);
  }
  changeIn(parentFd, name, ['rmdir']);
}

export function copyTree(fromFd: number, from: string, toFd: number, to: string): void {
  const source = openIn(fromFd, from, { flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW, follow: false });
  try {
    changeIn(toFd, to, ['mkdir', 0o777]);
    const target = openIn(toFd, to, { flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW, follow: false });
    try {
      fchmodSync(target, fstatSync(source).mode & 0o7777);
      const names = new Set(namesIn(source));
      for (const entry of readdirSync(`/proc/self/fd/${source}`, { withFileTypes: true })) {
        const { name } = entry;
        if (!names.has(name)) continue;
        if (entry.isDirectory()) copyTree(source, name, target, name);
        else if (entry.isSymbolicLink())
          changeIn(target, name, ['symlink', readlinkSync(`/proc/self/fd/${source}/${name}`)]);
        else if (entry.isFile()) changeIn(source, name, ['rename', target, name]);
      }
    } finally {
      closeSync(target);
    }
  } finally {
    closeSync(source);
  }
}
