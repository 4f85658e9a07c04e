import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  ftruncateSync,
  readFileSync,
  readSync,
  writeSync,
} from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { CloveError } from '../../../errors/index.ts';
import type { AttachedParts, Attachment, Incarnation } from '../../../kernel/agents/attachment.ts';
import {
  changeIn,
  makeWorldTree,
  type TreeEntry as NativeEntry,
  openIn,
  type WorldTree,
  walkTreeNow,
} from '../../../native/index.ts';
import type { RandomStream } from '../../luck/streams.ts';
import type { BlockStore } from '../blocks.ts';
import { PathPatterns } from '../path-patterns.ts';
import { checkedPath } from '../paths.ts';
import {
  type FileActor,
  type FileLimits,
  type FileMetrics,
  type FileStat,
  type Modification,
  THE_WORLD,
  type TreeEntry,
  type WorldFiles,
} from '../types.ts';
import type { FileRules } from '../virtual.ts';
import { MountedFaults } from './faults.ts';
import { addFolder, exposed, spread, writeLayer } from './layer.ts';
import { type Places, placesOf } from './places.ts';
import { copyTree, namesIn, removeTree, withFolders } from './tree.ts';

const { O_RDONLY, O_WRONLY, O_CREAT, O_APPEND, O_DIRECTORY, O_NOFOLLOW } = constants;
/** Of Linux; Node has no name for it. */
const O_PATH = 0o10000000;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFLNK = 0o120000;
const S_IFREG = 0o100000;
const KEPT_MODIFICATIONS = 1000;
/** More mounts than a sandbox takes beside its own. */
const MOST_PLACES = 40;
/** Protected files that get a mount of their own. */
const MOST_COVERED = 12;

export interface MountedFilesOptions {
  /** Host folder for the layer below; made and removed here. */
  readonly folder: string;
  readonly worldId: string;
  readonly clock: { nowMs(): number; sleep(ms: number, signal?: AbortSignal): Promise<void> };
  readonly blocks: BlockStore;
  readonly limits: FileLimits;
  readonly rules: FileRules;
  readonly random: (purpose: string) => RandomStream;
  readonly base: readonly TreeEntry[];
  /** The tree as it is; absent = as the base. */
  readonly entries?: readonly TreeEntry[];
}

/**
 * Files of a world for real processes: an overlay whose lower layer is what the world began with, and whose upper one, of
 * limited size, is what has become of it. Everything that this process does there goes through descriptors and never out.
 */
export class MountedFiles implements WorldFiles, Attachment {
  readonly form = 'mounted';
  readonly faults: MountedFaults;
  readonly worldId: string;
  readonly #options: MountedFilesOptions;
  readonly #tree: WorldTree;
  readonly #intercept: PathPatterns;
  readonly #base: readonly TreeEntry[];
  readonly #baseByPath: ReadonlyMap<string, TreeEntry>;
  readonly #places: Places;
  readonly #how: string;
  readonly #listeners = new Set<(change: Modification) => void>();
  readonly #kept: Modification[] = [];
  /** Contents of files of the upper layer, by what they looked like when they were read. */
  #hashes = new Map<string, string>();
  /** Places in the tree where a launch has mounted something of an agent: made for that, and nobody's change. */
  readonly #mountPoints = new Set<string>();
  #counts = { reads: 0, writes: 0, bytesRead: 0, bytesWritten: 0, modifications: 0 };
  #closed = false;

  private constructor(options: MountedFilesOptions, tree: WorldTree, places: Places, isShared: boolean) {
    this.#options = options;
    this.worldId = options.worldId;
    this.#tree = tree;
    this.#places = places;
    this.#intercept = new PathPatterns(options.rules.intercept);
    this.#base = options.base;
    this.#baseByPath = new Map(options.base.map((entry) => [entry.path, entry]));
    const { limits, clock, random } = options;
    this.faults = new MountedFaults({ tree, limits, clock, random });
    for (const { hash } of options.base) if (hash !== undefined) options.blocks.hold(hash);
    const { bytes, files } = options.limits;
    const shared = isShared
      ? 'shared by default ACL'
      : 'no ACLs here: what a member makes has the mode its umask gives';
    this.#how = `files of a world: ${places.places.map(({ target }) => target).join(' ')} from an overlay, upper tmpfs size=${bytes} nr_inodes=${files}, ${shared}`;
  }

  /** @throws SANDBOX_UNAVAILABLE, CONFIG, OVERLOAD */
  static async open(options: MountedFilesOptions): Promise<MountedFiles> {
    const intercept = new PathPatterns(options.rules.intercept);
    const rules = {
      readonly: new PathPatterns(options.rules.readonly),
      writable: new PathPatterns(options.rules.writable),
    };
    const base = withFolders(options.base);
    const places = placesOf(base, (file) => intercept.isEverything || intercept.matches(file));
    const shown = (at: string) => places.places.some(({ target }) => at.startsWith(`${target}/`));
    const open = exposed(base, rules).filter(({ path: at }) => shown(at));
    const coversProtected = open.length <= MOST_COVERED;
    const covered = coversProtected
      ? open.map(({ path: at }) => ({ target: at, kind: 'file' as const, readonly: true }))
      : [];
    if (places.places.length > MOST_PLACES)
      throw new CloveError(
        'CONFIG',
        `the files of this world need ${places.places.length} mounts, more than ${MOST_PLACES}`,
        {
          hint: 'Put them below fewer folders.',
        },
      );
    const layer = path.join(options.folder, 'base');
    await mkdir(layer, { recursive: true, mode: 0o755 });
    const { isShared } = writeLayer(layer, base, rules, (hash) => options.blocks.get(hash), coversProtected);
    for (const { target, kind } of places.places) {
      if (kind === 'folder' && !base.some((entry) => entry.path === target)) addFolder(layer, target, rules);
    }
    const tree = await makeWorldTree({
      layers: [layer],
      bytes: Math.max(options.limits.bytes, 4096),
      inodes: Math.max(options.limits.files, 1),
    });
    const files = new MountedFiles(
      { ...options, base },
      tree,
      { ...places, places: [...places.places, ...covered] },
      isShared,
    );
    try {
      if (options.entries !== undefined) await files.#become(options.entries);
      return files;
    } catch (error) {
      files.close();
      throw error;
    }
  }

  /** Paths of the definition that no process can see, and why. */
  get unshown(): Places['unshown'] {
    return this.#places.unshown;
  }

  get targets(): readonly string[] {
    return this.#places.places.map(({ target }) => target);
  }

  /** What a launch gets: a copy of every mount. */
  async prepare({ targets }: Incarnation): Promise<AttachedParts> {
    const { places } = this.#places;
    for (const target of targets) this.#mountPoints.add(target);
    const fds = await this.#tree.copy(places.map(({ target }) => target.slice(1)));
    return {
      mounts: [],
      // git trusts no repository of another user; here the world's files are root's, and everybody's.
      env: { GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: 'safe.directory', GIT_CONFIG_VALUE_0: '*' },
      world: {
        netnsFd: null,
        trees: places.map(({ target, readonly }, index) => ({
          treeFd: fds[index] as number,
          target,
          readonly,
        })),
        resolv: null,
        hosts: null,
        layers: { overlay: this.#how },
      },
      launched: () => {
        for (const fd of fds) closeSync(fd);
      },
    };
  }

  async detach(): Promise<void> {
    // The mounts of a sandbox end with it.
  }

  get interceptsAll(): boolean {
    return false;
  }

  intercepts(file: string): boolean {
    const at = path.posix.normalize(file);
    if (!this.#intercept.isEverything && !this.#intercept.matches(at)) return false;
    return this.#places.places.some(({ target }) => at === target || at.startsWith(`${target}/`));
  }

  async read(file: string, by: FileActor): Promise<Buffer> {
    if (by.id !== 0) await this.faults.meet('read', checkedPath(file));
    const fd = this.#openFile(file, O_RDONLY);
    try {
      const content = readFileSync(fd);
      this.#counts.reads += 1;
      this.#counts.bytesRead += content.length;
      return content;
    } finally {
      closeSync(fd);
    }
  }

  async write(
    file: string,
    content: Uint8Array,
    { append, by }: { append: boolean; by: FileActor },
  ): Promise<void> {
    const at = checkedPath(file);
    this.#assertMayWrite(at, by);
    if (by.id !== 0) await this.faults.meet('write', at);
    if (content.length > this.#options.limits.fileBytes)
      throw full(at, `a file of a world has at most ${this.#options.limits.fileBytes} bytes`);
    this.#inParent(at, () => undefined);
    const isNew = this.#statOrNull(at) === null;
    const fd = this.#openFile(at, O_WRONLY | O_CREAT | (append ? O_APPEND : 0), 0o666);
    try {
      if (isNew) fchmodSync(fd, 0o666);
      if (!append) ftruncateSync(fd, 0);
      for (let done = 0; done < content.length; ) done += writeSync(fd, content, done);
    } catch (error) {
      throw asFileError(at, error);
    } finally {
      closeSync(fd);
    }
    this.#counts.writes += 1;
    this.#counts.bytesWritten += content.length;
    this.#changed(append ? 'append' : 'write', at, by, content.length);
  }

  async stat(file: string): Promise<FileStat> {
    const at = checkedPath(file);
    const stat = this.#statOrNull(at);
    if (stat === null) throw notFound(at);
    const kind = (stat.mode & S_IFMT) === S_IFDIR ? 'folder' : 'file';
    return {
      kind,
      mode: this.#toldMode(at, stat.mode),
      size: kind === 'folder' ? 0 : stat.size,
      mtimeMs: this.#worldMs(stat.mtimeMs),
    };
  }

  async list(folder: string): Promise<string[]> {
    const at = checkedPath(folder);
    const fd = this.#open(at, O_RDONLY | O_DIRECTORY, 0, true);
    try {
      return namesIn(fd).sort();
    } finally {
      closeSync(fd);
    }
  }

  async mkdir(folder: string, by: FileActor): Promise<void> {
    const at = checkedPath(folder);
    this.#assertMayWrite(at, by);
    this.#inParent(at, (parent, name) => {
      changeIn(parent, name, ['mkdir', 0o777]);
      this.#opened(parent, name, O_RDONLY | O_DIRECTORY, (fd) => fchmodSync(fd, 0o777));
    });
    this.#changed('mkdir', at, by);
  }

  async remove(file: string, by: FileActor): Promise<void> {
    const at = checkedPath(file);
    if (at === '/') throw new CloveError('PATH_REFUSED', 'the root of a world is not removed');
    this.#assertMayWrite(at, by);
    this.#inParent(at, (parent, name) => removeTree(parent, name), false);
    this.#changed('remove', at, by);
  }

  async rename(from: string, to: string, by: FileActor): Promise<void> {
    const source = checkedPath(from);
    const target = checkedPath(to);
    if (source === target) return;
    if (`${target}/`.startsWith(`${source}/`))
      throw new CloveError('PATH_REFUSED', `${target}: a folder is not moved into itself`);
    this.#assertMayWrite(source, by);
    this.#assertMayWrite(target, by);
    this.#inParent(target, (toParent, toName) => {
      this.#inParent(
        source,
        (parent, name) => {
          try {
            changeIn(parent, name, ['rename', toParent, toName]);
          } catch (error) {
            // Overlays without redirects do not move folders of the layer below: they are copied.
            if ((error as CloveError).details?.errno !== 'EXDEV') throw error;
            copyTree(parent, name, toParent, toName);
            removeTree(parent, name);
          }
        },
        false,
      );
    });
    this.#changed('rename', target, by);
  }

  async symlink(target: string, file: string, by: FileActor): Promise<void> {
    const at = checkedPath(file);
    this.#assertMayWrite(at, by);
    this.#inParent(at, (parent, name) => changeIn(parent, name, ['symlink', target]));
    this.#changed('link', at, by);
  }

  async chmod(file: string, mode: number, by: FileActor): Promise<void> {
    const at = checkedPath(file);
    this.#assertMayWrite(at, by);
    const fd = this.#open(at, O_RDONLY, 0, true);
    try {
      fchmodSync(fd, spread(mode) | (mode & 0o7000));
    } finally {
      closeSync(fd);
    }
    this.#changed('chmod', at, by);
  }

  find(file: string): TreeEntry | null {
    const at = checkedPath(file);
    const stat = this.#statOrNull(at);
    if (stat === null) return null;
    // Where it really is: through links.
    return this.entries().find((entry) => entry.path === at && entry.kind !== 'link') ?? null;
  }

  entries(): readonly TreeEntry[] {
    const tree = new Map(this.#baseByPath);
    const removeBelow = (at: string) => {
      for (const known of [...tree.keys()]) if (known.startsWith(`${at}/`)) tree.delete(known);
    };
    const hashes = new Map<string, string>();
    let bytes = 0;
    for (const entry of walkTreeNow(this.#tree.upperFd, this.#options.limits.files + 1024)) {
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
      if (bytes > this.#options.limits.bytes || entry.size > this.#options.limits.fileBytes)
        throw new CloveError(
          'OVERLOAD',
          `the files of the world are longer than it may hold, at ${at.slice(0, 200)}`,
          {
            details: { limits: { ...this.#options.limits } },
          },
        );
      const made = this.#entryOf(at, entry, hashes);
      if (made === null) tree.delete(at);
      else tree.set(at, made);
    }
    for (const [key, hash] of this.#hashes) if (!hashes.has(key)) this.#options.blocks.release(hash);
    this.#hashes = hashes;
    for (const point of this.#mountPoints) this.#forgetMountPoint(point, tree);
    // Folders that are there for processes alone are not what anybody put there.
    for (const { target } of this.#places.places) if (!this.#baseByPath.has(target)) tree.delete(target);
    return [...tree.values()].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
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
      this.#damage(entry.path, bytes, random);
      this.#changed('corrupt', entry.path, THE_WORLD, bytes);
    }
    return chosen.map((entry) => entry.path).sort();
  }

  metrics(): FileMetrics {
    const files = this.entries().filter(({ kind }) => kind === 'file');
    return {
      file_count: files.length,
      read_count: this.#counts.reads,
      write_count: this.#counts.writes,
      bytes_read: this.#counts.bytesRead,
      bytes_written: this.#counts.bytesWritten,
      total_size_bytes: files.reduce((sum, { size = 0 }) => sum + size, 0),
      modifications: this.#counts.modifications,
    };
  }

  /** Those made through the kernel; what processes do by themselves is in the tree. */
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
    this.#listeners.clear();
    this.faults.close();
    for (const hash of this.#hashes.values()) this.#options.blocks.release(hash);
    for (const { hash } of this.#base) if (hash !== undefined) this.#options.blocks.release(hash);
    this.#tree.close();
  }

  /** After close: the layer on the host goes. */
  async removeLayer(): Promise<void> {
    await rm(path.join(this.#options.folder, 'base'), { recursive: true, force: true });
  }

  /** Makes the tree what it was when these entries were taken. */
  async #become(entries: readonly TreeEntry[]): Promise<void> {
    const wanted = new Map(withFolders(entries).map((entry) => [entry.path, entry]));
    for (const { path: at } of this.#base.toReversed()) {
      if (!wanted.has(at)) this.#inParent(at, (parent, name) => removeTree(parent, name), false);
    }
    for (const entry of wanted.values()) {
      const was = this.#baseByPath.get(entry.path);
      if (
        was !== undefined &&
        was.kind === entry.kind &&
        was.hash === entry.hash &&
        was.mode === entry.mode &&
        was.target === entry.target
      )
        continue;
      if (was !== undefined && was.kind !== entry.kind) await this.remove(entry.path, THE_WORLD);
      if (entry.kind === 'folder') {
        // Some are there for processes, whatever the definition says.
        if (this.#statOrNull(entry.path) === null) await this.mkdir(entry.path, THE_WORLD);
      } else if (entry.kind === 'link') {
        if (was?.kind === 'link') await this.remove(entry.path, THE_WORLD);
        await this.symlink(entry.target ?? '', entry.path, THE_WORLD);
        continue;
      } else
        await this.write(entry.path, this.#options.blocks.get(entry.hash ?? ''), {
          append: false,
          by: THE_WORLD,
        });
      await this.chmod(entry.path, entry.mode, THE_WORLD);
    }
  }

  #forgetMountPoint(point: string, tree: Map<string, TreeEntry>): void {
    for (let at = point; at !== '/' && !this.#baseByPath.has(at); at = path.posix.dirname(at)) {
      if ([...tree.keys()].some((other) => other.startsWith(`${at}/`))) return;
      tree.delete(at);
    }
  }

  #entryOf(at: string, entry: NativeEntry, hashes: Map<string, string>): TreeEntry | null {
    const type = entry.mode & S_IFMT;
    const mtimeMs = this.#worldMs(Number(entry.modifiedNs / 1_000_000n));
    const common = { path: at, mode: this.#toldMode(at, entry.mode), mtimeMs };
    if (type === S_IFDIR) return { ...common, kind: 'folder' };
    if (type === S_IFLNK) return { ...common, kind: 'link', mode: 0o777, target: entry.target };
    // Sockets and pipes are of processes that run: no part of the tree.
    if (type !== S_IFREG) return null;
    // A time of modification can be set back by whoever may write; that of change cannot.
    const key = `${entry.inode}/${entry.changedNs}/${entry.modifiedNs}/${entry.size}`;
    let hash = this.#hashes.get(key) ?? hashes.get(key);
    if (hash === undefined) {
      let content: Buffer;
      try {
        const fd = openIn(this.#tree.upperFd, at.slice(1), { flags: O_RDONLY | O_NOFOLLOW, follow: false });
        try {
          content = readFileSync(fd);
        } finally {
          closeSync(fd);
        }
      } catch {
        return null; // gone meanwhile
      }
      hash = this.#options.blocks.put(content);
    }
    hashes.set(key, hash);
    return { ...common, kind: 'file', hash, size: this.#options.blocks.get(hash).length };
  }

  /** The mode as the definition would say it: what is for all is the owner's, spread. */
  #toldMode(at: string, mode: number): number {
    const bits = mode & 0o777;
    const base = this.#baseByPath.get(at);
    if (base !== undefined && (spread(base.mode) === bits || (spread(base.mode) & ~0o222) === bits))
      return base.mode;
    if (spread(bits) !== bits) return bits;
    return bits & 0o755;
  }

  /** A time of the host as one of the world; exact while neither clock jumps. */
  #worldMs(hostMs: number): number {
    return Math.round(hostMs + this.#options.clock.nowMs() - Date.now());
  }

  #statOrNull(at: string) {
    try {
      const fd = this.#open(at, O_PATH, 0, true);
      try {
        return fstatSync(fd);
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      if ((error as CloveError).code === 'NOT_FOUND') return null;
      throw error;
    }
  }

  #open(at: string, flags: number, mode: number, follow: boolean): number {
    if (this.#closed) throw new CloveError('CANCELLED', 'the world has ended');
    try {
      return openIn(this.#tree.rootFd, at === '/' ? '.' : at.slice(1), { flags, mode, follow });
    } catch (error) {
      if ((error as CloveError).code === 'NOT_FOUND') throw notFound(at);
      throw error;
    }
  }

  #openFile(file: string, flags: number, mode = 0): number {
    const at = checkedPath(file);
    const fd = this.#open(at, flags, mode, true);
    if (fstatSync(fd).isFile()) return fd;
    closeSync(fd);
    throw new CloveError('PATH_REFUSED', `${at} is no regular file`);
  }

  #opened(folder: number, name: string, flags: number, use: (fd: number) => void): void {
    const fd = openIn(folder, name, { flags: flags | O_NOFOLLOW, follow: false });
    try {
      use(fd);
    } finally {
      closeSync(fd);
    }
  }

  /** Runs with the open folder of a path; folders on the way are made unless told not to. */
  #inParent(at: string, work: (parentFd: number, name: string) => void, make = true): void {
    const parent = path.posix.dirname(at);
    if (make && parent !== '/' && this.#statOrNull(parent) === null) {
      this.#inParent(parent, (fd, name) => {
        changeIn(fd, name, ['mkdir', 0o777]);
        this.#opened(fd, name, O_RDONLY | O_DIRECTORY, (made) => fchmodSync(made, 0o777));
      });
    }
    const fd = this.#open(parent, O_RDONLY | O_DIRECTORY, 0, true);
    try {
      work(fd, path.posix.basename(at));
    } finally {
      closeSync(fd);
    }
  }

  /** The rules, for what the kernel does on behalf of members; processes meet the modes of the files. */
  #assertMayWrite(at: string, by: FileActor): void {
    if (by.id === 0) return;
    const readonly = new PathPatterns(this.#options.rules.readonly);
    const writable = new PathPatterns(this.#options.rules.writable);
    const stat = this.#statOrNull(at);
    const denied =
      (!readonly.isNothing && readonly.matches(at)) ||
      (stat !== null && (stat.mode & 0o222) === 0) ||
      (stat === null && !writable.isNothing && !writable.matches(at));
    if (denied)
      throw new CloveError('FORBIDDEN', 'Virtual filesystem write denied', { details: { path: at } });
  }

  #damage(at: string, bytes: number, random: RandomStream): void {
    const content = Buffer.alloc(1);
    const fd = this.#open(at, constants.O_RDWR | O_NOFOLLOW, 0, false);
    try {
      const { size } = fstatSync(fd);
      for (let index = 0; index < bytes && size > 0; index += 1) {
        const position = random.integer(0, size - 1);
        readSync(fd, content, 0, 1, position);
        content[0] = (content[0] as number) ^ random.integer(1, 255);
        writeSync(fd, content, 0, 1, position);
      }
    } finally {
      closeSync(fd);
    }
  }

  #changed(operation: Modification['operation'], file: string, by: FileActor, bytes?: number): void {
    const change = {
      atMs: this.#options.clock.nowMs(),
      agentId: by.id,
      operation,
      path: file,
      ...(bytes === undefined ? {} : { bytes }),
    };
    this.#counts.modifications += 1;
    this.#kept.push(change);
    if (this.#kept.length > KEPT_MODIFICATIONS) this.#kept.shift();
    for (const listener of this.#listeners) listener(change);
  }
}

function notFound(at: string): CloveError {
  return new CloveError('NOT_FOUND', 'File not found in virtual filesystem', {
    details: { path: at, errno: 'ENOENT' },
  });
}

function full(at: string, reason: string): CloveError {
  return new CloveError('OVERLOAD', `${at}: ${reason}`, { details: { errno: 'ENOSPC' } });
}

function asFileError(at: string, error: unknown): CloveError {
  const errno = (error as NodeJS.ErrnoException).code ?? 'EIO';
  if (errno === 'ENOSPC') return full(at, 'the world has no more room');
  return new CloveError('IO', `${at}: ${errno}`, { cause: error, details: { path: at, errno } });
}
