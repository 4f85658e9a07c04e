import path from 'node:path';
import type { Volume } from 'memfs';
import { CloveError } from '../../errors/index.ts';
import type { BlockStore } from './blocks.ts';
import { denied, full, notFound } from './errors.ts';
import { checkedPath, MAX_PATH_BYTES, refusedPath } from './paths.ts';
import { planTree } from './planned-tree.ts';
import type { FileLimits, FileStat, TreeEntry } from './types.ts';
import {
  emptyVolume,
  entryAt,
  fillVolume,
  type Pointer,
  pointerOf,
  pointerText,
  seconds,
  setFolderTimes,
  walkVolume,
} from './volume-tree.ts';

export interface StoredTreeOptions {
  readonly clock: { nowMs(): number };
  readonly blocks: BlockStore;
  readonly limits: FileLimits;
  /** What it begins with; the contents must be in the store. */
  readonly entries: readonly TreeEntry[];
}

/**
 * A tree in memory: a volume that holds it, and for each file the address of its content. So a tree is copied without its contents,
 * and what two worlds have in common is there once. It keeps its limits and the times of its folders, and asks nobody who may change
 * it. Paths are checked ones.
 */
export class StoredTree {
  readonly #options: StoredTreeOptions;
  /** Made when somebody first looks at a file: most worlds have many, and few of them are ever read. */
  #made: Volume | null = null;
  /** What the volume begins with; null = it has been made. */
  #planned: readonly TreeEntry[] | null = null;
  /** The world's time when its files began: of the root, and of folders that nobody named. */
  readonly #begunMs: number;
  #files = 0;
  #bytes = 0;

  /** @throws OVERLOAD, CONFIG, DATA_CORRUPT */
  constructor(options: StoredTreeOptions) {
    this.#options = options;
    const { blocks, clock, limits } = options;
    this.#begunMs = Math.floor(clock.nowMs());
    const entries = withSizes(options.entries, blocks);
    const planned = planTree(entries, { limits, nowMs: this.#begunMs });
    if (planned !== null) {
      holdContents(planned.entries, blocks);
      this.#planned = planned.entries;
      this.#files = planned.entries.length;
      this.#bytes = planned.bytes;
      return;
    }
    this.#made = emptyVolume(this.#begunMs);
    const held: string[] = [];
    try {
      const folderTimes = new Map<string, number>();
      for (const entry of entries) {
        this.#place(entry, held);
        if (entry.kind === 'folder') folderTimes.set(this.real(checkedPath(entry.path)), entry.mtimeMs);
      }
      setFolderTimes(this.#made, folderTimes, this.#begunMs);
    } catch (error) {
      for (const hash of held) blocks.release(hash);
      throw error;
    }
  }

  get #volume(): Volume {
    this.#made ??= emptyVolume(this.#begunMs);
    if (this.#planned !== null) {
      fillVolume(this.#made, this.#planned);
      this.#planned = null;
    }
    return this.#made;
  }

  /** Of all files together. */
  get bytes(): number {
    return this.#bytes;
  }

  /** All of it, by path, without the root. */
  entries(): readonly TreeEntry[] {
    return this.#planned ?? this.walk('/').slice(1);
  }

  /** In path order, the entry itself first. */
  walk(root: string): TreeEntry[] {
    const above = path.posix.dirname(root);
    const at = root === '/' ? root : path.posix.join(this.real(above), path.posix.basename(root));
    return walkVolume(this.#volume, at);
  }

  exists(at: string): boolean {
    return this.#volume.existsSync(at);
  }

  find(at: string): TreeEntry | null {
    if (!this.exists(at)) return null;
    return entryAt(this.#volume, String(this.#volume.realpathSync(at)));
  }

  stat(at: string): FileStat {
    const stat = this.#try(at, () => this.#volume.statSync(at));
    const common = { mode: Number(stat.mode) & 0o7777, mtimeMs: Number(stat.mtimeMs) };
    if (stat.isDirectory()) return { ...common, kind: 'folder', size: 0 };
    return { ...common, kind: 'file', size: this.pointer(at).size };
  }

  lstat(at: string): FileStat {
    const stat = this.#try(at, () => this.#volume.lstatSync(at));
    if (!stat.isSymbolicLink()) return this.stat(at);
    const size = Buffer.byteLength(String(this.#volume.readlinkSync(at)));
    return { kind: 'link', mode: 0o777, size, mtimeMs: Number(stat.mtimeMs) };
  }

  /** @throws NOT_FOUND where nothing is, not even a link that leads nowhere */
  assertThere(at: string): void {
    this.#try(at, () => this.#volume.lstatSync(at));
  }

  list(at: string): string[] {
    return this.#try(at, () => this.#volume.readdirSync(at) as string[]).sort();
  }

  readlink(at: string): string {
    return this.#try(at, () => String(this.#volume.readlinkSync(at)));
  }

  realpath(at: string): string {
    return this.#try(at, () => String(this.#volume.realpathSync(at)));
  }

  /** Where a path leads, be it there or not: a rule must not be got round by a link. */
  real(at: string): string {
    if (at === '/') return at;
    if (this.exists(at)) return String(this.#volume.realpathSync(at));
    return path.posix.join(this.real(path.posix.dirname(at)), path.posix.basename(at));
  }

  /** Permission bits of what is there. */
  modeOf(at: string): number {
    return Number(this.#volume.statSync(at).mode) & 0o7777;
  }

  /** Where the content of a file is. */
  pointer(at: string): Pointer {
    return pointerOf(this.#try(at, () => this.#volume.readFileSync(at, 'latin1') as string));
  }

  pointerIfAny(at: string): Pointer | null {
    if (!this.exists(at)) return null;
    if (this.#volume.statSync(at).isDirectory()) throw new CloveError('PATH_REFUSED', `${at} is a folder`);
    return this.pointer(at);
  }

  /** The file's content from now on; its mode stays. */
  put(at: string, content: Uint8Array, before: Pointer | null): void {
    this.#assertRoom(at, before === null ? 1 : 0, content.length - (before?.size ?? 0), content.length);
    const hash = this.#options.blocks.put(content);
    try {
      // Who may write was asked before: the volume knows no members.
      const mode = before === null ? null : this.modeOf(at);
      if (mode !== null) this.#volume.chmodSync(at, 0o666);
      this.#try(at, () => this.#volume.writeFileSync(at, pointerText({ hash, size: content.length })));
      this.#volume.chmodSync(at, mode ?? 0o644);
    } catch (error) {
      this.#options.blocks.release(hash);
      throw error;
    }
    if (before === null) {
      this.#files += 1;
      this.#touch(path.posix.dirname(at));
    } else this.#options.blocks.release(before.hash);
    this.#bytes += content.length - (before?.size ?? 0);
    this.#touch(at);
  }

  mkdir(at: string): void {
    this.makeParents(at);
    this.#makeFolder(at);
  }

  makeParents(at: string): void {
    const parent = path.posix.dirname(at);
    if (this.exists(parent)) return;
    this.makeParents(parent);
    this.#makeFolder(parent);
  }

  /** With all that is in it: what `walk` says. */
  remove(at: string, below: readonly TreeEntry[]): void {
    this.#try(at, () => this.#volume.rmSync(at, { recursive: true, force: true }));
    for (const entry of below) this.#forget(entry);
    this.#touch(path.posix.dirname(at));
  }

  rename(source: string, target: string): void {
    this.makeParents(target);
    const replaced = this.exists(target) ? this.walk(target) : [];
    if (replaced.length > 1) throw new CloveError('CONFLICT', `${target}: a folder with something in it`);
    this.#try(target, () => this.#volume.renameSync(source, target));
    for (const entry of replaced) this.#forget(entry);
    this.#touch(path.posix.dirname(source));
    this.#touch(path.posix.dirname(target));
  }

  symlink(target: string, at: string): void {
    if (Buffer.byteLength(target) > MAX_PATH_BYTES) throw refusedPath(at, 'longer than 4096 bytes');
    this.makeParents(at);
    this.#assertRoom(at, 1, 0);
    this.#try(at, () => this.#volume.symlinkSync(target, at));
    const now = seconds(this.#options.clock.nowMs());
    this.#volume.lutimesSync(at, now, now);
    this.#touch(path.posix.dirname(at));
    this.#files += 1;
  }

  chmod(at: string, mode: number): void {
    const { mtimeMs } = this.#try(at, () => this.#volume.statSync(at));
    this.#try(at, () => this.#volume.chmodSync(at, mode & 0o7777));
    // What a file contains is as old as before.
    this.#volume.utimesSync(at, seconds(Number(mtimeMs)), seconds(Number(mtimeMs)));
  }

  utimes(at: string, mtimeMs: number): void {
    this.#try(at, () => this.#volume.utimesSync(at, seconds(mtimeMs), seconds(mtimeMs)));
  }

  /** Lets the contents go. */
  close(): void {
    for (const entry of this.entries()) this.#forget(entry);
    this.#planned = null;
    this.#made?.reset();
  }

  /** An entry as it is: from the definition or a snapshot. */
  #place(entry: TreeEntry, held: string[]): void {
    const at = checkedPath(entry.path);
    this.makeParents(at);
    if (entry.kind === 'folder') {
      if (!this.exists(at)) {
        this.#assertRoom(at, 1, 0);
        this.#try(at, () => this.#volume.mkdirSync(at, { mode: 0o755 }));
        this.#files += 1;
      }
    } else if (entry.kind === 'link') {
      this.#assertRoom(at, 1, 0);
      this.#try(at, () => this.#volume.symlinkSync(entry.target ?? '', at));
      this.#volume.lutimesSync(at, seconds(entry.mtimeMs), seconds(entry.mtimeMs));
      this.#files += 1;
      return;
    } else {
      const hash = entry.hash as string;
      const { length } = this.#options.blocks.get(hash);
      this.#assertRoom(at, 1, length);
      this.#options.blocks.hold(hash);
      held.push(hash);
      this.#try(at, () => this.#volume.writeFileSync(at, pointerText({ hash, size: length })));
      this.#files += 1;
      this.#bytes += length;
    }
    this.#volume.chmodSync(at, entry.mode & 0o7777);
    this.#volume.utimesSync(at, seconds(entry.mtimeMs), seconds(entry.mtimeMs));
  }

  #makeFolder(at: string): void {
    this.#assertRoom(at, 1, 0);
    this.#try(at, () => this.#volume.mkdirSync(at, { mode: 0o755 }));
    this.#touch(at);
    this.#touch(path.posix.dirname(at));
    this.#files += 1;
  }

  #touch(at: string): void {
    const now = seconds(this.#options.clock.nowMs());
    this.#volume.utimesSync(at, now, now);
  }

  #forget(entry: TreeEntry): void {
    if (entry.path === '/') return;
    this.#files -= 1;
    if (entry.hash === undefined) return;
    this.#bytes -= entry.size ?? 0;
    this.#options.blocks.release(entry.hash);
  }

  #assertRoom(at: string, files: number, bytes: number, fileBytes = bytes): void {
    const { limits } = this.#options;
    if (fileBytes > limits.fileBytes)
      throw full(at, `a file of a world has at most ${limits.fileBytes} bytes`);
    if (this.#files + files > limits.files) throw full(at, `this world has at most ${limits.files} files`);
    if (this.#bytes + bytes > limits.bytes) throw full(at, `this world has at most ${limits.bytes} bytes`);
  }

  #try<Result>(at: string, work: () => Result): Result {
    try {
      return work();
    } catch (error) {
      throw asFileError(at, error);
    }
  }
}

/** The contents of all of these are held, or of none. @throws DATA_CORRUPT */
export function holdContents(entries: readonly TreeEntry[], blocks: BlockStore): void {
  const held: string[] = [];
  try {
    for (const { hash } of entries) {
      if (hash === undefined) continue;
      blocks.hold(hash);
      held.push(hash);
    }
  } catch (error) {
    for (const hash of held) blocks.release(hash);
    throw error;
  }
}

/** Each file with the size that its content has: a definition or a snapshot may say another. @throws DATA_CORRUPT */
function withSizes(entries: readonly TreeEntry[], blocks: BlockStore): readonly TreeEntry[] {
  return entries.map((entry) => {
    if (entry.kind !== 'file') return entry;
    const { length } = blocks.get(entry.hash as string);
    return entry.size === length ? entry : { ...entry, size: length };
  });
}

function asFileError(file: string, error: unknown): unknown {
  if (error instanceof CloveError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const about = { cause: error, details: { path: file, errno: code } };
  if (code === 'ENOENT') return notFound(file, error);
  if (code === 'EEXIST' || code === 'ENOTEMPTY') return new CloveError('CONFLICT', `${file}: ${code}`, about);
  if (['EISDIR', 'ENOTDIR', 'ELOOP', 'EINVAL', 'ENAMETOOLONG'].includes(code)) {
    return new CloveError('PATH_REFUSED', `${file}: ${code}`, about);
  }
  if (code === 'EACCES' || code === 'EPERM') return denied(file);
  return new CloveError('IO', `${file}: ${(error as Error).message}`, about);
}
