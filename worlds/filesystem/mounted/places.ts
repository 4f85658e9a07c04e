import path from 'node:path';
import type { TreeEntry } from '../types.ts';

/** One part of a world's tree that is shown to its processes. */
export interface Place {
  /** Absolute, in the world and inside of the sandbox alike. */
  readonly target: string;
  readonly kind: 'folder' | 'file';
  readonly readonly: boolean;
}

export interface Places {
  readonly places: readonly Place[];
  /** Files of the definition that cannot be shown, and why. */
  readonly unshown: readonly { readonly path: string; readonly reason: string }[];
}

/** What a world has anyway, so that its processes have somewhere to write. */
const USUAL_FOLDERS = ['/work', '/home', '/srv', '/data', '/tmp'];
/** The sandbox has folders of its own here: of a world only what is below is shown. */
const SHARED_WITH_SYSTEM = new Set(['/etc', '/var', '/opt']);
/** The system's own, read-only, or made by the sandbox itself. */
const NEVER = new Map([
  ['/usr', 'the system’s programs are mounted there, read-only'],
  ['/bin', 'a link to the system’s programs'],
  ['/sbin', 'a link to the system’s programs'],
  ['/lib', 'a link to the system’s libraries'],
  ['/lib32', 'a link to the system’s libraries'],
  ['/lib64', 'a link to the system’s libraries'],
  ['/libx32', 'a link to the system’s libraries'],
  ['/proc', 'the sandbox makes its own'],
  ['/sys', 'the sandbox has none'],
  ['/dev', 'the sandbox makes its own'],
  ['/run', 'the sandbox makes its own'],
]);
/** Links that a sandbox has there already. */
const NEVER_BELOW = new Map([
  ['/var/tmp', 'a link to /tmp'],
  ['/var/run', 'a link to /run'],
  ['/etc/mtab', 'a link into /proc'],
  ['/etc/localtime', 'a link to the system’s zones'],
  ['/etc/os-release', 'a link to the system’s'],
  ['/etc/ssl', 'what the world trusts is put there'],
]);

/** Which parts of a tree become mounts: the folders at its top, and below /etc, /opt and /var what the world has there. */
export function placesOf(tree: readonly TreeEntry[], intercepts: (file: string) => boolean): Places {
  const places = new Map<string, Place>();
  const unshown: { path: string; reason: string }[] = [];
  for (const folder of USUAL_FOLDERS) {
    if (intercepts(`${folder}/x`)) places.set(folder, { target: folder, kind: 'folder', readonly: false });
  }
  for (const entry of tree) {
    const names = entry.path.split('/').slice(1);
    const top = `/${names[0]}`;
    if (entry.path === top && SHARED_WITH_SYSTEM.has(top)) continue;
    const reason = NEVER.get(top);
    const target = SHARED_WITH_SYSTEM.has(top) ? path.posix.join(top, names[1] ?? '') : top;
    const problem = reason ?? NEVER_BELOW.get(target) ?? null;
    if (problem !== null) {
      if (entry.kind !== 'folder') unshown.push({ path: entry.path, reason: problem });
      continue;
    }
    if (entry.path === target && entry.kind === 'link') {
      unshown.push({ path: entry.path, reason: 'a link at the top of the tree cannot be mounted' });
      continue;
    }
    const kind = entry.path === target && entry.kind === 'file' ? 'file' : 'folder';
    if (!places.has(target)) places.set(target, { target, kind, readonly: false });
  }
  return { places: [...places.values()], unshown };
}
