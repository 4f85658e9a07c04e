import { close, readlink } from 'node:fs';
import * as fs from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import type { OpenInsideOptions } from '../../native/types.ts';

const closeFd = promisify(close);
const readLink = promisify(readlink);

/** As deep as the kernel of the operating system follows links. */
const MAX_LINKS = 40;

const DELETED = ' (deleted)';

/** A file as its caller names it. */
export interface Place {
  /** Where the caller's root is, seen from here; '' = it is the host's. */
  readonly root: string;
  /** Absolute, from the caller's root. */
  readonly path: string;
  open(flags: OpenInsideOptions['flags']): Promise<number>;
}

/**
 * Opens a file and judges it by where it really is, before a byte of it is read or changed. What counts is the open file: the
 * kernel of the operating system tells where it lies as its own sandbox sees it, and no link or rename changes which file it is.
 *
 * Before that, a file that is to be written is judged by where its folder leads now, so that none is made where none may be.
 * An agent that swaps folders in that moment can get an empty file made, where it could have made one itself.
 */
export async function openChecked(
  place: Place,
  flags: OpenInsideOptions['flags'],
  check: (file: string) => void,
): Promise<number> {
  if (flags !== 'read') {
    const target = await resolveFolder(place);
    if (target !== null) check(target);
  }
  // To open for writing truncates; to open for appending does not, and the writer can still truncate.
  const fd = await place.open(flags === 'write' ? 'append' : flags);
  try {
    const file = await readLink(`/proc/self/fd/${fd}`);
    check(file);
    // Unlinked meanwhile: the name it had counts, too.
    if (file.endsWith(DELETED)) check(file.slice(0, -DELETED.length));
    return fd;
  } catch (error) {
    await closeFd(fd);
    throw error;
  }
}

/** The path with the links in its folders followed, link by link within the root; null where it leads nowhere. */
async function resolveFolder({ root, path: file }: Place): Promise<string | null> {
  const rest = path.posix.dirname(file).split('/');
  let folder = '/';
  for (let links = 0; rest.length > 0; ) {
    const name = rest.shift() as string;
    if (name === '' || name === '.') continue;
    if (name === '..') {
      folder = path.posix.dirname(folder);
      continue;
    }
    const next = path.posix.join(folder, name);
    const target = await linkTarget(root + next);
    if (target === null) return null;
    if (target === '') {
      folder = next;
      continue;
    }
    links += 1;
    if (links > MAX_LINKS) return null;
    if (target.startsWith('/')) folder = '/';
    rest.unshift(...target.split('/'));
  }
  return path.posix.join(folder, path.posix.basename(file));
}

/** '' = no link; null = nothing there, or not to be seen. */
async function linkTarget(file: string): Promise<string | null> {
  try {
    const stats = await fs.lstat(file);
    return stats.isSymbolicLink() ? await fs.readlink(file) : '';
  } catch {
    return null;
  }
}
