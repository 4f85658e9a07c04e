import { createTwoFilesPatch } from 'diff';
import type { FileChange } from '../../kernel/worlds/host.ts';
import type { TreeEntry } from './types.ts';

/** Larger files are compared, not shown. */
const MAX_PATCH_BYTES = 256 * 1024;
/** Of one comparison: two files of unlike lines take long. */
const PATCH_TIMEOUT_MS = 250;
/** Of all patches of one answer. */
const MAX_TOTAL_BYTES = 8 * 2 ** 20;

export interface TreesToCompare {
  readonly before: readonly TreeEntry[];
  readonly after: readonly TreeEntry[];
  /** Of either tree. */
  content(hash: string): Buffer;
}

/** What has become of a tree, by path. Times are no change; modes, targets and contents are. */
export function compareTrees({ before, after, content }: TreesToCompare): FileChange[] {
  const old = new Map(before.map((entry) => [entry.path, entry]));
  const now = new Map(after.map((entry) => [entry.path, entry]));
  const changes: FileChange[] = [];
  let left = MAX_TOTAL_BYTES;
  for (const path of [...new Set([...old.keys(), ...now.keys()])].sort()) {
    const was = old.get(path);
    const is = now.get(path);
    if (was !== undefined && is !== undefined && isSame(was, is)) continue;
    const patch = left > 0 ? patchOf(path, was, is, content) : null;
    left -= patch?.length ?? 0;
    changes.push({
      path,
      change: was === undefined ? 'added' : is === undefined ? 'deleted' : 'changed',
      kind: (is ?? was)?.kind ?? 'file',
      ...(patch === null ? {} : { patch }),
      bytes_before: was?.size ?? null,
      bytes_after: is?.size ?? null,
    });
  }
  return changes;
}

function isSame(a: TreeEntry, b: TreeEntry): boolean {
  return a.kind === b.kind && a.mode === b.mode && a.hash === b.hash && a.target === b.target;
}

function patchOf(
  path: string,
  was: TreeEntry | undefined,
  is: TreeEntry | undefined,
  content: (hash: string) => Buffer,
): string | null {
  if ((was?.kind ?? 'file') !== 'file' || (is?.kind ?? 'file') !== 'file' || was?.hash === is?.hash)
    return null;
  const before = textOf(was, content);
  const after = textOf(is, content);
  if (before === null || after === null) return null;
  const patch = createTwoFilesPatch(
    was === undefined ? '/dev/null' : `a${path}`,
    is === undefined ? '/dev/null' : `b${path}`,
    before,
    after,
    undefined,
    undefined,
    { context: 3, timeout: PATCH_TIMEOUT_MS },
  );
  return patch === undefined ? null : patch.replace(/^=+\n/, '');
}

/** null = it is no text, or too large. */
function textOf(entry: TreeEntry | undefined, content: (hash: string) => Buffer): string | null {
  if (entry?.hash === undefined) return '';
  const bytes = content(entry.hash);
  if (bytes.length > MAX_PATCH_BYTES || bytes.includes(0)) return null;
  const text = bytes.toString('utf8');
  return Buffer.byteLength(text) === bytes.length && !text.includes('\uFFFD') ? text : null;
}
