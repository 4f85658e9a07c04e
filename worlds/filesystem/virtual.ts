import path from 'node:path';
import type { Volume } from 'memfs';
import { CloveError } from '../../errors/index.ts';
import type { WorldClock } from '../clock/types.ts';
import type { RandomStream } from '../luck/streams.ts';
import type { BlockStore } from './blocks.ts';
import { FileFaultBoard } from './faults.ts';
import { PathPatterns } from './path-patterns.ts';
import { checkedPath, MAX_PATH_BYTES, refusedPath } from './paths.ts';
import { full, planTree } from './planned-tree.ts';
import {
  type FileActor,
  type FileLimits,
  type FileMetrics,
  type FileStat,
  type Modification,
  THE_WORLD,
  type TreeEntry,
  type WorldFiles,
} from './types.ts';
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

const KEPT_MODIFICATIONS = 1000;

export interface FileRules {
  /** Paths that are the world's. */
  readonly intercept: readonly string[];
  /** What nobody in the world may change. */
  readonly readonly: readonly string[];
  /** Where files may be made; empty = everywhere. */
  readonly writable: readonly string[];
}

export interface VirtualFilesOptions {
  readonly clock: Pick<WorldClock, 'nowMs' | 'sleep'>;
  readonly blocks: BlockStore;
  readonly limits: FileLimits;
  readonly rules: FileRules;
  /** A stream of the world's luck for a purpose. */
  readonly random: (purpose: string) => RandomStream;
  readonly base: readonly TreeEntry[];
  /** The tree as it is; absent = as the base. Contents of both must be in the store. */
  readonly entries?: readonly TreeEntry[];
}

/**
 * Files in memory: a volume that holds the tree, and for each file the address of its content. So a tree is copied without
 * its contents, and what two worlds have in common is there once.
 */
export class VirtualFiles implements WorldFiles {
  readonly form = 'virtual';
  readonly faults: FileFaultBoard;
  readonly #options: VirtualFilesOptions;
  /** Made when somebody first looks at a file: most worlds have many, and few of them are ever read. */
  #made: Volume | null = null;
  /** What the volume begins with; null = it has been made. */
  #planned: readonly TreeEntry[] | null = null;
  /** The world's time when its files began: of the root, and of folders that nobody named. */
  readonly #begunMs: number;
  readonly #intercept: PathPatterns;
  readonly #readonly: PathPatterns;
  readonly #writable: PathPatterns;
  readonly #base: readonly TreeEntry[];
  readonly #listeners = new Set<(change: Modification) => void>();
  readonly #kept: Modification[] = [];
  #modifications = 0;
  #files = 0;
  #bytes = 0;
  #reads = 0;
  #writes = 0;
  #bytesRead = 0;
  #bytesWritten = 0;
  #closed = false;

  /** @throws OVERLOAD, CONFIG, DATA_CORRUPT */
  constructor(options: VirtualFilesOptions) {
    this.#options = options;
    this.#begunMs = Math.floor(options.clock.nowMs());
    this.#intercept = new PathPatterns(options.rules.intercept);
    this.#readonly = new PathPatterns(options.rules.readonly);
    this.#writable = new PathPatterns(options.rules.writable);
    this.faults = new FileFaultBoard(options.random);
    const held: string[] = [];
    const hold = (entries: readonly TreeEntry[]) => {
      for (const { hash } of entries) {
        if (hash === undefined) continue;
        options.blocks.hold(hash);
        held.push(hash);
      }
    };
    try {
      const entries = withSizes(options.entries ?? options.base, options.blocks);
      const planned = planTree(entries, { limits: options.limits, nowMs: this.#begunMs });
      if (planned === null) {
        this.#made = emptyVolume(this.#begunMs);
        const folderTimes = new Map<string, number>();
        for (const entry of entries) {
          this.#place(entry, held);
          if (entry.kind === 'folder') folderTimes.set(this.#real(this.#checked(entry.path)), entry.mtimeMs);
        }
        setFolderTimes(this.#made, folderTimes, this.#begunMs);
      } else {
        hold(planned.entries);
        this.#planned = planned.entries;
        this.#files = planned.entries.length;
        this.#bytes = planned.bytes;
      }
      // With the folders that nobody named.
      this.#base = options.entries === undefined ? this.entries() : options.base;
      hold(this.#base);
    } catch (error) {
      for (const hash of held) options.blocks.release(hash);
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

  get interceptsAll(): boolean {
    return this.#intercept.isEverything;
  }

  intercepts(file: string): boolean {
    return this.#intercept.isEverything || this.#intercept.matches(path.posix.normalize(file));
  }

  async read(file: string, by: FileActor): Promise<Buffer> {
    const at = this.#checked(file);
    await this.#delay(at);
    this.faults.assertReadable(at);
    const { hash } = this.#pointer(at);
    const content = this.#options.blocks.get(hash);
    this.#reads += 1;
    this.#bytesRead += content.length;
    if (content.length === 0 || by.id === 0 || this.faults.strike('corrupt_reads', at) === null)
      return content;
    return flipped(content, 1, this.#options.random('files/corrupt-reads'));
  }

  async write(
    file: string,
    content: Uint8Array,
    { append, by }: { append: boolean; by: FileActor },
  ): Promise<void> {
    const at = this.#checked(file);
    await this.#delay(at);
    this.#assertMayWrite(at, by);
    this.#assertOpen();
    this.#makeParents(at);
    const before = this.#pointerIfAny(at);
    const whole =
      append && before !== null ? Buffer.concat([this.#options.blocks.get(before.hash), content]) : content;
    this.#put(at, whole, before);
    this.#writes += 1;
    this.#bytesWritten += content.length;
    this.#changed(append ? 'append' : 'write', at, by, content.length);
  }

  async stat(file: string): Promise<FileStat> {
    const at = this.#checked(file);
    const stat = this.#try(at, () => this.#volume.statSync(at));
    if (stat.isDirectory()) {
      return { kind: 'folder', mode: Number(stat.mode) & 0o7777, size: 0, mtimeMs: Number(stat.mtimeMs) };
    }
    return {
      kind: 'file',
      mode: Number(stat.mode) & 0o7777,
      size: this.#pointer(at).size,
      mtimeMs: Number(stat.mtimeMs),
    };
  }

  async lstat(file: string): Promise<FileStat> {
    const at = this.#checked(file);
    const stat = this.#try(at, () => this.#volume.lstatSync(at));
    if (!stat.isSymbolicLink()) return this.stat(at);
    const size = Buffer.byteLength(String(this.#volume.readlinkSync(at)));
    return { kind: 'link', mode: 0o777, size, mtimeMs: Number(stat.mtimeMs) };
  }

  async list(folder: string): Promise<string[]> {
    const at = this.#checked(folder);
    return this.#try(at, () => this.#volume.readdirSync(at) as string[]).sort();
  }

  exists(file: string): boolean {
    return this.#volume.existsSync(this.#checked(file));
  }

  readlink(file: string): string {
    const at = this.#checked(file);
    return this.#try(at, () => String(this.#volume.readlinkSync(at)));
  }

  realpath(file: string): string {
    const at = this.#checked(file);
    return this.#try(at, () => String(this.#volume.realpathSync(at)));
  }

  async mkdir(folder: string, by: FileActor): Promise<void> {
    const at = this.#checked(folder);
    this.#assertMayWrite(at, by);
    this.#makeParents(at);
    this.#assertRoom(at, 1, 0);
    this.#try(at, () => this.#volume.mkdirSync(at, { mode: 0o755 }));
    this.#touch(at);
    this.#touch(path.posix.dirname(at));
    this.#files += 1;
    this.#changed('mkdir', at, by);
  }

  async remove(file: string, by: FileActor): Promise<void> {
    const at = this.#checked(file);
    if (at === '/') throw new CloveError('PATH_REFUSED', 'the root of a world is not removed');
    this.#try(at, () => this.#volume.lstatSync(at));
    const below = this.#walk(at);
    for (const entry of below) this.#assertMayWrite(entry.path, by);
    this.#try(at, () => this.#volume.rmSync(at, { recursive: true, force: true }));
    for (const entry of below) this.#forget(entry);
    this.#touch(path.posix.dirname(at));
    this.#changed('remove', at, by);
  }

  async rename(from: string, to: string, by: FileActor): Promise<void> {
    const source = this.#checked(from);
    const target = this.#checked(to);
    if (source === target) return;
    if (`${target}/`.startsWith(`${source}/`)) {
      throw new CloveError('PATH_REFUSED', `${target}: a folder is not moved into itself`);
    }
    this.#try(source, () => this.#volume.lstatSync(source));
    for (const entry of this.#walk(source)) this.#assertMayWrite(entry.path, by);
    this.#assertMayWrite(target, by);
    this.#makeParents(target);
    const replaced = this.#volume.existsSync(target) ? this.#walk(target) : [];
    if (replaced.length > 1) throw new CloveError('CONFLICT', `${target}: a folder with something in it`);
    this.#try(target, () => this.#volume.renameSync(source, target));
    for (const entry of replaced) this.#forget(entry);
    this.#touch(path.posix.dirname(source));
    this.#touch(path.posix.dirname(target));
    this.#changed('rename', target, by);
  }

  async symlink(target: string, file: string, by: FileActor): Promise<void> {
    const at = this.#checked(file);
    this.#assertMayWrite(at, by);
    if (Buffer.byteLength(target) > MAX_PATH_BYTES) throw refusedPath(file, 'longer than 4096 bytes');
    this.#makeParents(at);
    this.#assertRoom(at, 1, 0);
    this.#try(at, () => this.#volume.symlinkSync(target, at));
    const now = seconds(this.#options.clock.nowMs());
    this.#volume.lutimesSync(at, now, now);
    this.#touch(path.posix.dirname(at));
    this.#files += 1;
    this.#changed('link', at, by);
  }

  async chmod(file: string, mode: number, by: FileActor): Promise<void> {
    const at = this.#checked(file);
    if (this.#isProtected(at) && by.id !== 0) throw denied(at);
    const { mtimeMs } = this.#try(at, () => this.#volume.statSync(at));
    this.#try(at, () => this.#volume.chmodSync(at, mode & 0o7777));
    // What a file contains is as old as before.
    this.#volume.utimesSync(at, seconds(Number(mtimeMs)), seconds(Number(mtimeMs)));
    this.#changed('chmod', at, by);
  }

  utimes(file: string, mtimeMs: number): void {
    const at = this.#checked(file);
    this.#try(at, () => this.#volume.utimesSync(at, seconds(mtimeMs), seconds(mtimeMs)));
  }

  find(file: string): TreeEntry | null {
    const at = this.#checked(file);
    if (!this.#volume.existsSync(at)) return null;
    return entryAt(this.#volume, String(this.#volume.realpathSync(at)));
  }

  entries(): readonly TreeEntry[] {
    return this.#planned ?? this.#walk('/').slice(1);
  }

  baseEntries(): readonly TreeEntry[] {
    return this.#base;
  }

  content(hash: string): Buffer {
    return this.#options.blocks.get(hash);
  }

  corrupt(
    pattern: string | undefined,
    { bytes, files, random }: { bytes: number; files: number; random: RandomStream },
  ): string[] {
    const patterns = new PathPatterns([pattern ?? '**']);
    const candidates = this.entries().filter(
      (entry) => entry.kind === 'file' && (entry.size ?? 0) > 0 && patterns.matches(entry.path),
    );
    const chosen = random.shuffle(candidates).slice(0, files);
    for (const entry of chosen) {
      const damaged = flipped(this.content(entry.hash as string), bytes, random);
      this.#put(entry.path, damaged, this.#pointer(entry.path));
      this.#changed('corrupt', entry.path, THE_WORLD, bytes);
    }
    return chosen.map((entry) => entry.path).sort();
  }

  metrics(): FileMetrics {
    return {
      file_count: this.entries().filter((entry) => entry.kind === 'file').length,
      read_count: this.#reads,
      write_count: this.#writes,
      bytes_read: this.#bytesRead,
      bytes_written: this.#bytesWritten,
      total_size_bytes: this.#bytes,
      modifications: this.#modifications,
    };
  }

  modifications(): readonly Modification[] {
    return this.#kept;
  }

  onChange(listener: (change: Modification) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const entry of this.entries()) this.#forget(entry);
    for (const { hash } of this.#base) if (hash !== undefined) this.#options.blocks.release(hash);
    this.#listeners.clear();
    this.#planned = null;
    this.#made?.reset();
  }

  /** An entry as it is: from the definition or a snapshot. */
  #place(entry: TreeEntry, held: string[]): void {
    const at = this.#checked(entry.path);
    this.#makeParents(at);
    if (entry.kind === 'folder') {
      if (!this.#volume.existsSync(at)) {
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

  /** The file's content from now on; its mode stays. */
  #put(at: string, content: Uint8Array, before: Pointer | null): void {
    this.#assertRoom(at, before === null ? 1 : 0, content.length - (before?.size ?? 0), content.length);
    const hash = this.#options.blocks.put(content);
    try {
      // Who may write was asked before: the volume knows no members.
      const mode = before === null ? null : Number(this.#volume.statSync(at).mode) & 0o7777;
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

  #makeParents(at: string): void {
    const parent = path.posix.dirname(at);
    if (this.#volume.existsSync(parent)) return;
    this.#makeParents(parent);
    this.#assertRoom(parent, 1, 0);
    this.#try(parent, () => this.#volume.mkdirSync(parent, { mode: 0o755 }));
    this.#touch(parent);
    this.#touch(path.posix.dirname(parent));
    this.#files += 1;
  }

  #touch(at: string): void {
    const now = seconds(this.#options.clock.nowMs());
    this.#volume.utimesSync(at, now, now);
  }

  /** In path order, the entry itself first. */
  #walk(root: string): TreeEntry[] {
    const above = path.posix.dirname(root);
    const at = root === '/' ? root : path.posix.join(this.#real(above), path.posix.basename(root));
    return walkVolume(this.#volume, at);
  }

  #forget(entry: TreeEntry): void {
    if (entry.path === '/') return;
    this.#files -= 1;
    if (entry.hash === undefined) return;
    this.#bytes -= entry.size ?? 0;
    this.#options.blocks.release(entry.hash);
  }

  #pointer(at: string): Pointer {
    const text = this.#try(at, () => this.#volume.readFileSync(at, 'latin1') as string);
    return pointerOf(text);
  }

  #pointerIfAny(at: string): Pointer | null {
    if (!this.#volume.existsSync(at)) return null;
    if (this.#volume.statSync(at).isDirectory()) throw new CloveError('PATH_REFUSED', `${at} is a folder`);
    return this.#pointer(at);
  }

  #delay(at: string): Promise<void> | undefined {
    const ms = this.faults.delayMs(at);
    return ms > 0 ? this.#options.clock.sleep(ms) : undefined;
  }

  /** @throws FORBIDDEN, IO, with words existing clients know */
  #assertMayWrite(at: string, by: FileActor): void {
    if (by.id === 0) return;
    this.faults.assertWritable(at);
    if (this.#isProtected(at) || this.#isProtected(this.#real(at))) throw denied(at);
    const exists = this.#volume.existsSync(at);
    if (exists && (Number(this.#volume.statSync(at).mode) & 0o222) === 0) throw denied(at);
    if (!exists && !this.#writable.isNothing && !this.#writable.matches(this.#real(at))) throw denied(at);
  }

  /** Where a path leads: a rule must not be got round by a link. */
  #real(at: string): string {
    if (at === '/') return at;
    if (this.#volume.existsSync(at)) return String(this.#volume.realpathSync(at));
    return path.posix.join(this.#real(path.posix.dirname(at)), path.posix.basename(at));
  }

  #isProtected(at: string): boolean {
    return !this.#readonly.isNothing && this.#readonly.matches(at);
  }

  #assertRoom(at: string, files: number, bytes: number, fileBytes = bytes): void {
    const { limits } = this.#options;
    if (fileBytes > limits.fileBytes)
      throw full(at, `a file of a world has at most ${limits.fileBytes} bytes`);
    if (this.#files + files > limits.files) throw full(at, `this world has at most ${limits.files} files`);
    if (this.#bytes + bytes > limits.bytes) throw full(at, `this world has at most ${limits.bytes} bytes`);
  }

  #assertOpen(): void {
    if (this.#closed) throw new CloveError('CANCELLED', 'the world has ended');
  }

  #changed(operation: Modification['operation'], file: string, by: FileActor, bytes?: number): void {
    const change = {
      atMs: this.#options.clock.nowMs(),
      agentId: by.id,
      operation,
      path: file,
      ...(bytes === undefined ? {} : { bytes }),
    };
    this.#modifications += 1;
    this.#kept.push(change);
    if (this.#kept.length > KEPT_MODIFICATIONS) this.#kept.shift();
    for (const listener of this.#listeners) listener(change);
  }

  /** From the root, without `.` and `..`. @throws PATH_REFUSED */
  #checked(file: string): string {
    return checkedPath(file);
  }

  #try<Result>(at: string, work: () => Result): Result {
    try {
      return work();
    } catch (error) {
      throw asFileError(at, error);
    }
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

/** Some bytes changed to others. */
function flipped(content: Buffer, bytes: number, random: RandomStream): Buffer {
  const damaged = Buffer.from(content);
  for (let index = 0; index < bytes; index += 1) {
    const at = random.integer(0, damaged.length - 1);
    damaged[at] = (damaged[at] as number) ^ random.integer(1, 255);
  }
  return damaged;
}

function denied(file: string): CloveError {
  return new CloveError('FORBIDDEN', 'Virtual filesystem write denied', { details: { path: file } });
}

function asFileError(file: string, error: unknown): unknown {
  if (error instanceof CloveError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const about = { cause: error, details: { path: file, errno: code } };
  if (code === 'ENOENT') return new CloveError('NOT_FOUND', 'File not found in virtual filesystem', about);
  if (code === 'EEXIST' || code === 'ENOTEMPTY') return new CloveError('CONFLICT', `${file}: ${code}`, about);
  if (['EISDIR', 'ENOTDIR', 'ELOOP', 'EINVAL', 'ENAMETOOLONG'].includes(code)) {
    return new CloveError('PATH_REFUSED', `${file}: ${code}`, about);
  }
  if (code === 'EACCES' || code === 'EPERM') return denied(file);
  return new CloveError('IO', `${file}: ${(error as Error).message}`, about);
}
