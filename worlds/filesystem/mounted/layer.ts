import {
  chmodSync,
  closeSync,
  fchmodSync,
  futimesSync,
  mkdirSync,
  openSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { shareFolder } from '../../../native/index.ts';
import type { PathPatterns } from '../path-patterns.ts';
import type { TreeEntry } from '../types.ts';

export interface LayerRules {
  /** What nobody in the world may change. */
  readonly readonly: PathPatterns;
  /** Where files may be made; nothing = everywhere. */
  readonly writable: PathPatterns;
}

export interface Layer {
  /** What members make is for all of them, whatever their umask; false = the file system of the layer has no ACLs. */
  readonly isShared: boolean;
}

/** A name that nobody gives a file: whether a folder takes new files is asked with it. */
const ANY_NAME = 'a-new-file';
const STICKY = 0o1000;

/**
 * At once, file by file: a trip to a thread for each small one would cost more than the writing.
 * A tree as files on the host, to lie below a world's own layer. Whoever is in the world may do with a file what its owner
 * may: that is what modes mean in a world, whichever form it has. Protected files belong to root and cannot be written. That
 * nobody puts another in their place takes a mount over each (`coversProtected`), or folders from which everybody takes only
 * what is his own.
 */
export function writeLayer(
  folder: string,
  entries: readonly TreeEntry[],
  rules: LayerRules,
  content: (hash: string) => Buffer,
  coversProtected: boolean,
): Layer {
  let isShared = true;
  const share = (place: string) => {
    isShared = shareAt(place) && isShared;
  };
  const holdsProtected = new Set<string>();
  if (!coversProtected)
    for (const { path: at } of exposed(entries, rules)) holdsProtected.add(path.posix.dirname(at));
  const made = new Set<string>();
  const makeFolder = (at: string, mode: number): void => {
    if (made.has(at)) return;
    made.add(at);
    const parent = path.posix.dirname(at);
    if (at !== '/') makeFolder(parent, 0o755);
    const place = path.join(folder, at);
    mkdirSync(place, { recursive: true });
    const closed = isClosed(at, rules);
    if (!closed) share(place);
    const wanted = closed ? spread(mode) & ~0o222 : spread(mode) | (holdsProtected.has(at) ? STICKY : 0);
    chmodSync(place, at === '/' ? 0o755 : at === '/tmp' && !closed ? 0o1777 : wanted);
  };
  makeFolder('/', 0o755);
  // Folders with their own modes first: those that nobody named come from what lies in them.
  for (const { path: at, kind, mode } of entries) if (kind === 'folder') makeFolder(at, mode);
  for (const entry of entries) {
    if (entry.kind === 'folder') continue;
    makeFolder(path.posix.dirname(entry.path), 0o755);
    const place = path.join(folder, entry.path);
    if (entry.kind === 'link') {
      symlinkSync(entry.target ?? '', place);
      continue;
    }
    const fd = openSync(place, 'wx');
    try {
      const bytes = content(entry.hash ?? '');
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
      fchmodSync(fd, isProtected(entry, rules) ? spread(entry.mode) & ~0o222 : spread(entry.mode));
      futimesSync(fd, entry.mtimeMs / 1000, entry.mtimeMs / 1000);
    } finally {
      closeSync(fd);
    }
  }
  return { isShared };
}

/** Protected files in folders that are not: somebody could put another in their place. */
export function exposed(entries: readonly TreeEntry[], rules: LayerRules): TreeEntry[] {
  return entries.filter(
    (entry) =>
      entry.kind === 'file' && isProtected(entry, rules) && !isClosed(path.posix.dirname(entry.path), rules),
  );
}

/** Adds a folder that the definition does not name. */
export function addFolder(folder: string, at: string, rules: LayerRules): void {
  const place = path.join(folder, at);
  mkdirSync(place, { recursive: true });
  if (isClosed(at, rules)) {
    chmodSync(place, 0o555);
    return;
  }
  shareAt(place);
  chmodSync(place, at === '/tmp' ? 0o1777 : 0o777);
}

function isProtected({ path: at, mode }: TreeEntry, { readonly }: LayerRules): boolean {
  return (!readonly.isNothing && readonly.matches(at)) || (mode & 0o222) === 0;
}

/** Whether nothing may be made in a folder. */
function isClosed(at: string, { readonly, writable }: LayerRules): boolean {
  const inside = path.posix.join(at, ANY_NAME);
  return (
    (!readonly.isNothing && readonly.matches(inside)) || (!writable.isNothing && !writable.matches(inside))
  );
}

function shareAt(place: string): boolean {
  const fd = openSync(place, 'r');
  try {
    return shareFolder(fd);
  } finally {
    closeSync(fd);
  }
}

/** For all what the owner may. */
export function spread(mode: number): number {
  const owner = (mode >> 6) & 7;
  return (owner << 6) | (owner << 3) | owner;
}
