import path from 'node:path';
import { full } from './errors.ts';
import { checkedPath } from './paths.ts';
import type { FileLimits, TreeEntry } from './types.ts';

/** A tree that is known and not made yet. */
export interface PlannedTree {
  /** In path order, with the folders that nobody named, without the root. */
  readonly entries: readonly TreeEntry[];
  readonly bytes: number;
}

/**
 * What a volume would hold with these entries in it: whoever never looks at a file need not have it made. null = some of them depend on
 * each other (twice the same path, something below a file or a link), so that only making them one by one tells.
 * @throws PATH_REFUSED, OVERLOAD
 */
export function planTree(
  given: readonly TreeEntry[],
  { limits, nowMs }: { readonly limits: FileLimits; readonly nowMs: number },
): PlannedTree | null {
  const byPath = new Map<string, TreeEntry>();
  let bytes = 0;
  for (const entry of given) {
    const at = checkedPath(entry.path);
    if (at === '/' || byPath.has(at)) return null;
    byPath.set(at, asMade(entry, at));
    if (entry.kind !== 'file') continue;
    const size = entry.size ?? 0;
    if (size > limits.fileBytes) throw full(at, `a file of a world has at most ${limits.fileBytes} bytes`);
    bytes += size;
    if (bytes > limits.bytes) throw full(at, `this world has at most ${limits.bytes} bytes`);
  }
  for (const at of [...byPath.keys()]) {
    for (let parent = path.posix.dirname(at); parent !== '/'; parent = path.posix.dirname(parent)) {
      const known = byPath.get(parent);
      if (known !== undefined && known.kind !== 'folder') return null;
      // What is above a folder that is there was looked at, or will be.
      if (known !== undefined) break;
      byPath.set(parent, { path: parent, kind: 'folder', mode: 0o755, mtimeMs: Math.floor(nowMs) });
    }
  }
  if (byPath.size > limits.files) {
    throw full([...byPath.keys()][limits.files] ?? '/', `this world has at most ${limits.files} files`);
  }
  const entries = [...byPath.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
  return { entries, bytes };
}

/** As a volume tells it when it has been made. */
function asMade({ kind, mode, mtimeMs, hash, size, target }: TreeEntry, at: string): TreeEntry {
  const common = { path: at, mode: mode & 0o7777, mtimeMs: Math.floor(mtimeMs) };
  if (kind === 'link') return { ...common, kind, mode: 0o777, target: target ?? '' };
  return kind === 'folder'
    ? { ...common, kind }
    : { ...common, kind, hash: hash as string, size: size as number };
}
