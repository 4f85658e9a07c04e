import { constants } from 'node:fs';
import path from 'node:path';
import { Volume } from 'memfs';
import type { TreeEntry } from './types.ts';

/** What a file of a volume holds: where its content is. */
export interface Pointer {
  readonly hash: string;
  readonly size: number;
}

export function pointerText({ hash, size }: Pointer): string {
  return `${hash} ${size}`;
}

export function pointerOf(text: string): Pointer {
  const [hash = '', size = '0'] = text.split(' ');
  return { hash, size: Number(size) };
}

/** As a volume takes a time: it cuts off what is less than a millisecond. */
export function seconds(ms: number): number {
  return (Math.floor(ms) + 0.5) / 1000;
}

type Link = Volume['_core']['root'];

/** The kernel’s own user, asked for once: a volume asks at each step of each path. */
const OWNER = {
  getuid: () => 0,
  getgid: () => 0,
  cwd: () => '/',
  platform: 'linux',
  emitWarning: () => undefined,
  env: {},
};

/** The root is as old as it is told to be: a volume alone takes the host's time. */
export function emptyVolume(rootMtimeMs: number): Volume {
  const volume = Volume.fromJSON({}, '/', { process: OWNER });
  volume._core.root.getNode().mtime = new Date(Math.floor(rootMtimeMs));
  return volume;
}

/**
 * A tree in path order, every folder in it, into an empty volume. Not through paths: each would be looked up step by step, which costs
 * twenty times as much, and may not be entered any more where a folder has been closed.
 */
export function fillVolume({ _core: core }: Volume, entries: readonly TreeEntry[]): void {
  const rootTime = core.root.getNode().mtime;
  const folders = new Map<string, Link>([['/', core.root]]);
  for (const { path: at, kind, mode, hash, size, target } of entries) {
    const above = folders.get(path.posix.dirname(at)) as Link;
    const link = core.createLink(above, path.posix.basename(at), kind === 'folder');
    const node = link.getNode();
    if (kind === 'folder') folders.set(at, link);
    else if (kind === 'link') node.makeSymlink(target ?? '');
    else node.setString(pointerText({ hash: hash as string, size: size as number }));
    node.perm = mode;
  }
  // Last: what is made in a folder gives it another time.
  core.root.getNode().mtime = rootTime;
  for (const { path: at, mtimeMs } of entries) {
    const link =
      folders.get(at) ?? folders.get(path.posix.dirname(at))?.children.get(path.posix.basename(at));
    if (link !== undefined) link.getNode().mtime = new Date(mtimeMs);
  }
}

/** What is at a path and below it, the entry itself first, in path order; nothing where nothing is. No link on the way is followed. */
export function walkVolume(volume: Volume, root: string): TreeEntry[] {
  const start = linkAt(volume, root);
  const found: TreeEntry[] = [];
  const queue: (readonly [string, Link])[] = start === undefined ? [] : [[root, start]];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    const [at, link] = next;
    found.push(entryOf(at, link));
    if (!link.getNode().isDirectory()) continue;
    const prefix = at === '/' ? '/' : `${at}/`;
    for (const [name, child] of link.children) {
      if (child !== undefined && name !== '.' && name !== '..') queue.push([prefix + name, child]);
    }
  }
  return found.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}

/** Gives each folder of a volume its time, or the other one where none is told: what was made in it has changed that. */
export function setFolderTimes(
  { _core: core }: Volume,
  mtimesMs: ReadonlyMap<string, number>,
  otherwiseMs: number,
): void {
  const queue: (readonly [string, Link])[] = [['/', core.root]];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    const [at, link] = next;
    link.getNode().mtime = new Date(Math.floor(mtimesMs.get(at) ?? otherwiseMs));
    const prefix = at === '/' ? '/' : `${at}/`;
    for (const [name, child] of link.children) {
      if (child?.getNode().isDirectory() && name !== '.' && name !== '..') queue.push([prefix + name, child]);
    }
  }
}

/** null = nothing is there. No link on the way is followed. */
export function entryAt(volume: Volume, at: string): TreeEntry | null {
  const link = linkAt(volume, at);
  return link === undefined ? null : entryOf(at, link);
}

function linkAt({ _core: core }: Volume, at: string): Link | undefined {
  let link: Link | undefined = core.root;
  for (const name of at.split('/')) if (name !== '') link = link?.children.get(name);
  return link;
}

/** A link is itself, not what it says. */
function entryOf(at: string, link: Link): TreeEntry {
  const node = link.getNode();
  const common = { path: at, mode: node.mode & ~constants.S_IFMT & 0o7777, mtimeMs: node.mtime.getTime() };
  if (node.isSymlink()) return { ...common, kind: 'link', mode: 0o777, target: node.symlink };
  if (node.isDirectory()) return { ...common, kind: 'folder' };
  return { ...common, kind: 'file', ...pointerOf(node.getString('latin1')) };
}
