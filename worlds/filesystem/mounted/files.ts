import { closeSync, constants, fchmodSync, ftruncateSync, readFileSync, writeSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { CloveError } from '../../../errors/index.ts';
import type { AttachedParts, Attachment, Incarnation } from '../../../kernel/agents/attachment.ts';
import { changeIn, makeWorldTree, type WorldTree } from '../../../native/index.ts';
import type { RandomStream } from '../../luck/streams.ts';
import type { BlockStore } from '../blocks.ts';
import { type Corruption, filesToCorrupt } from '../corruption.ts';
import { denied, full, notFound } from '../errors.ts';
import { ModificationLog } from '../modification-log.ts';
import { PathPatterns } from '../path-patterns.ts';
import { checkedPath } from '../paths.ts';
import {
  type FileActor,
  type FileLimits,
  type FileMetrics,
  type FileRules,
  type FileStat,
  type Modification,
  THE_WORLD,
  type TreeEntry,
  type WorldFiles,
} from '../types.ts';
import { MountedFaults } from './faults.ts';
import { addFolder, exposed, spread, writeLayer } from './layer.ts';
import { type Places, placesOf } from './places.ts';
import { copyTree, namesIn, removeTree, withFolders } from './tree.ts';
import { TreeAccess } from './tree-access.ts';
import { TreeEntries } from './tree-entries.ts';

const { O_RDONLY, O_WRONLY, O_CREAT, O_APPEND, O_DIRECTORY } = constants;
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
  readonly #access: TreeAccess;
  readonly #entries: TreeEntries;
  readonly #intercept: PathPatterns;
  readonly #places: Places;
  readonly #how: string;
  readonly #log: ModificationLog;
  #counts = { reads: 0, writes: 0, bytesRead: 0, bytesWritten: 0 };
  #closed = false;

  private constructor(options: MountedFilesOptions, tree: WorldTree, places: Places, isShared: boolean) {
    this.#options = options;
    this.worldId = options.worldId;
    this.#tree = tree;
    this.#places = places;
    this.#intercept = new PathPatterns(options.rules.intercept);
    const { limits, clock, random, base, blocks } = options;
    this.#access = new TreeAccess(tree);
    this.#log = new ModificationLog(clock);
    this.faults = new MountedFaults({ tree, limits, clock, random });
    this.#entries = new TreeEntries({ tree, base, clock, blocks, limits, targets: this.targets });
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
    this.#entries.addMountPoints(targets);
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
    const fd = this.#access.openFile(checkedPath(file), O_RDONLY);
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
    this.#access.inParent(at, () => undefined);
    const isNew = this.#access.stat(at) === null;
    const fd = this.#access.openFile(at, O_WRONLY | O_CREAT | (append ? O_APPEND : 0), 0o666);
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
    this.#log.add(append ? 'append' : 'write', at, by, content.length);
  }

  async stat(file: string): Promise<FileStat> {
    const at = checkedPath(file);
    const stat = this.#access.stat(at);
    if (stat === null) throw notFound(at);
    const kind = stat.isDirectory() ? 'folder' : 'file';
    return {
      kind,
      mode: this.#entries.toldMode(at, stat.mode),
      size: kind === 'folder' ? 0 : stat.size,
      mtimeMs: this.#entries.worldMs(stat.mtimeMs),
    };
  }

  async list(folder: string): Promise<string[]> {
    const at = checkedPath(folder);
    const fd = this.#access.open(at, O_RDONLY | O_DIRECTORY);
    try {
      return namesIn(fd).sort();
    } finally {
      closeSync(fd);
    }
  }

  async mkdir(folder: string, by: FileActor): Promise<void> {
    const at = checkedPath(folder);
    this.#assertMayWrite(at, by);
    this.#access.makeFolder(at);
    this.#log.add('mkdir', at, by);
  }

  async remove(file: string, by: FileActor): Promise<void> {
    const at = checkedPath(file);
    if (at === '/') throw new CloveError('PATH_REFUSED', 'the root of a world is not removed');
    this.#assertMayWrite(at, by);
    this.#access.inParent(at, (parent, name) => removeTree(parent, name), false);
    this.#log.add('remove', at, by);
  }

  async rename(from: string, to: string, by: FileActor): Promise<void> {
    const source = checkedPath(from);
    const target = checkedPath(to);
    if (source === target) return;
    if (`${target}/`.startsWith(`${source}/`))
      throw new CloveError('PATH_REFUSED', `${target}: a folder is not moved into itself`);
    this.#assertMayWrite(source, by);
    this.#assertMayWrite(target, by);
    this.#access.inParent(target, (toParent, toName) => {
      this.#access.inParent(
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
    this.#log.add('rename', target, by);
  }

  async symlink(target: string, file: string, by: FileActor): Promise<void> {
    const at = checkedPath(file);
    this.#assertMayWrite(at, by);
    this.#access.inParent(at, (parent, name) => changeIn(parent, name, ['symlink', target]));
    this.#log.add('link', at, by);
  }

  async chmod(file: string, mode: number, by: FileActor): Promise<void> {
    const at = checkedPath(file);
    this.#assertMayWrite(at, by);
    const fd = this.#access.open(at, O_RDONLY);
    try {
      fchmodSync(fd, spread(mode) | (mode & 0o7000));
    } finally {
      closeSync(fd);
    }
    this.#log.add('chmod', at, by);
  }

  find(file: string): TreeEntry | null {
    const at = checkedPath(file);
    const stat = this.#access.stat(at);
    if (stat === null) return null;
    // Where it really is: through links.
    return this.entries().find((entry) => entry.path === at && entry.kind !== 'link') ?? null;
  }

  entries(): readonly TreeEntry[] {
    return this.#entries.now();
  }

  baseEntries(): readonly TreeEntry[] {
    return this.#entries.base;
  }

  content(hash: string): Buffer {
    return this.#options.blocks.get(hash);
  }

  corrupt(pattern: string | undefined, how: Corruption): string[] {
    const chosen = filesToCorrupt(this.entries(), pattern, how);
    for (const entry of chosen) {
      this.#access.damage(entry.path, how.bytes, how.random);
      this.#log.add('corrupt', entry.path, THE_WORLD, how.bytes);
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
      modifications: this.#log.count,
    };
  }

  /** Those made through the kernel; what processes do by themselves is in the tree. */
  modifications(): readonly Modification[] {
    return this.#log.latest;
  }

  onChange(listener: (change: Modification) => void): () => void {
    return this.#log.onChange(listener);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#access.close();
    this.#log.close();
    this.faults.close();
    this.#entries.close();
    this.#tree.close();
  }

  /** After close: the layer on the host goes. */
  async removeLayer(): Promise<void> {
    await rm(path.join(this.#options.folder, 'base'), { recursive: true, force: true });
  }

  /** Makes the tree what it was when these entries were taken. */
  async #become(entries: readonly TreeEntry[]): Promise<void> {
    const wanted = new Map(withFolders(entries).map((entry) => [entry.path, entry]));
    for (const { path: at } of this.#entries.base.toReversed()) {
      if (!wanted.has(at)) this.#access.inParent(at, (parent, name) => removeTree(parent, name), false);
    }
    for (const entry of wanted.values()) {
      const was = this.#entries.inBase(entry.path);
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
        if (this.#access.stat(entry.path) === null) await this.mkdir(entry.path, THE_WORLD);
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

  /** The rules, for what the kernel does on behalf of members; processes meet the modes of the files. */
  #assertMayWrite(at: string, by: FileActor): void {
    if (by.id === 0) return;
    const readonly = new PathPatterns(this.#options.rules.readonly);
    const writable = new PathPatterns(this.#options.rules.writable);
    const stat = this.#access.stat(at);
    const isDenied =
      (!readonly.isNothing && readonly.matches(at)) ||
      (stat !== null && (stat.mode & 0o222) === 0) ||
      (stat === null && !writable.isNothing && !writable.matches(at));
    if (isDenied) throw denied(at);
  }
}

function asFileError(at: string, error: unknown): CloveError {
  const errno = (error as NodeJS.ErrnoException).code ?? 'EIO';
  if (errno === 'ENOSPC') return full(at, 'the world has no more room');
  return new CloveError('IO', `${at}: ${errno}`, { cause: error, details: { path: at, errno } });
}
