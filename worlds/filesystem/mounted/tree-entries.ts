import { closeSync, constants, readFileSync } from 'node:fs';
import path from 'node:path';
import { CloveError } from '../../../errors/index.ts';
import { type TreeEntry as NativeEntry, openIn, type WorldTree, walkTreeNow } from '../../../native/index.ts';
import type { BlockStore } from '../blocks.ts';
import type { FileLimits, TreeEntry } from '../types.ts';
import { spread } from './layer.ts';

const { O_RDONLY, O_NOFOLLOW } = constants;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFLNK = 0o120000;
const S_IFREG = 0o100000;

export interface TreeEntriesOptions {
  readonly tree: WorldTree;
  readonly base: readonly TreeEntry[];
  readonly clock: { nowMs(): number };
  readonly blocks: BlockStore;
  readonly limits: FileLimits;
  /** Where the tree is shown to processes. */
  readonly targets: readonly string[];
}

/** What has become of the tree that a mounted world began with: its base, and what the upper layer says of it. */
export class TreeEntries {
  readonly base: readonly TreeEntry[];
  readonly #options: TreeEntriesOptions;
  readonly #baseByPath: ReadonlyMap<string, TreeEntry>;
  /** Contents of files of the upper layer, by what they looked like when they were read. */
  #hashes = new Map<string, string>();
  /** Places in the tree where a launch has mounted something of an agent: made for that, and nobody's change. */
  readonly #mountPoints = new Set<string>();

  constructor(options: TreeEntriesOptions) {
    this.#options = options;
    this.base = options.base;
    this.#baseByPath = new Map(options.base.map((entry) => [entry.path, entry]));
    for (const { hash } of options.base) if (hash !== undefined) options.blocks.hold(hash);
  }

  close(): void {
    const { blocks } = this.#options;
    for (const hash of this.#hashes.values()) blocks.release(hash);
    for (const { hash } of this.base) if (hash !== undefined) blocks.release(hash);
  }

  inBase(at: string): TreeEntry | undefined {
    return this.#baseByPath.get(at);
  }

  addMountPoints(targets: Iterable<string>): void {
    for (const target of targets) this.#mountPoints.add(target);
  }

  /** All of it as it is. @throws OVERLOAD */
  now(): readonly TreeEntry[] {
    const { tree: files, limits, blocks, targets } = this.#options;
    const tree = new Map(this.#baseByPath);
    const removeBelow = (at: string) => {
      for (const known of [...tree.keys()]) if (known.startsWith(`${at}/`)) tree.delete(known);
    };
    const hashes = new Map<string, string>();
    let bytes = 0;
    for (const entry of walkTreeNow(files.upperFd, limits.files + 1024)) {
      // A name that is no text cannot be told of; it stays in the world.
      if (entry.rawPath !== null) continue;
      const at = `/${entry.path}`;
      const type = entry.mode & S_IFMT;
      if (entry.whiteout || type !== S_IFDIR || entry.opaque) removeBelow(at);
      if (entry.whiteout) {
        tree.delete(at);
        continue;
      }
      // Files with holes are longer than what they take up: all of it would be read.
      if (type === S_IFREG) bytes += entry.size;
      if (bytes > limits.bytes || entry.size > limits.fileBytes)
        throw new CloveError(
          'OVERLOAD',
          `the files of the world are longer than it may hold, at ${at.slice(0, 200)}`,
          { details: { limits: { ...limits } } },
        );
      const made = this.#entryOf(at, entry, hashes);
      if (made === null) tree.delete(at);
      else tree.set(at, made);
    }
    for (const [key, hash] of this.#hashes) if (!hashes.has(key)) blocks.release(hash);
    this.#hashes = hashes;
    for (const point of this.#mountPoints) this.#forgetMountPoint(point, tree);
    // Folders that are there for processes alone are not what anybody put there.
    for (const target of targets) if (!this.#baseByPath.has(target)) tree.delete(target);
    return [...tree.values()].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  }

  /** The mode as the definition would say it: what is for all is the owner's, spread. */
  toldMode(at: string, mode: number): number {
    const bits = mode & 0o777;
    const base = this.#baseByPath.get(at);
    if (base !== undefined && (spread(base.mode) === bits || (spread(base.mode) & ~0o222) === bits))
      return base.mode;
    if (spread(bits) !== bits) return bits;
    return bits & 0o755;
  }

  /** A time of the host as one of the world; exact while neither clock jumps. */
  worldMs(hostMs: number): number {
    return Math.round(hostMs + this.#options.clock.nowMs() - Date.now());
  }

  #forgetMountPoint(point: string, tree: Map<string, TreeEntry>): void {
    for (let at = point; at !== '/' && !this.#baseByPath.has(at); at = path.posix.dirname(at)) {
      if ([...tree.keys()].some((other) => other.startsWith(`${at}/`))) return;
      tree.delete(at);
    }
  }

  #entryOf(at: string, entry: NativeEntry, hashes: Map<string, string>): TreeEntry | null {
    const { blocks } = this.#options;
    const type = entry.mode & S_IFMT;
    const mtimeMs = this.worldMs(Number(entry.modifiedNs / 1_000_000n));
    const common = { path: at, mode: this.toldMode(at, entry.mode), mtimeMs };
    if (type === S_IFDIR) return { ...common, kind: 'folder' };
    if (type === S_IFLNK) return { ...common, kind: 'link', mode: 0o777, target: entry.target };
    // Sockets and pipes are of processes that run: no part of the tree.
    if (type !== S_IFREG) return null;
    // A time of modification can be set back by whoever may write; that of change cannot.
    const key = `${entry.inode}/${entry.changedNs}/${entry.modifiedNs}/${entry.size}`;
    let hash = this.#hashes.get(key) ?? hashes.get(key);
    if (hash === undefined) {
      const content = this.#contentInUpper(at);
      if (content === null) return null;
      hash = blocks.put(content);
    }
    hashes.set(key, hash);
    return { ...common, kind: 'file', hash, size: blocks.get(hash).length };
  }

  /** null = gone meanwhile */
  #contentInUpper(at: string): Buffer | null {
    const { upperFd } = this.#options.tree;
    try {
      const fd = openIn(upperFd, at.slice(1), { flags: O_RDONLY | O_NOFOLLOW, follow: false });
      try {
        return readFileSync(fd);
      } finally {
        closeSync(fd);
      }
    } catch {
      return null;
    }
  }
}
