import path from 'node:path';
import { CloveError } from '../../errors/index.ts';
import type { WorldClock } from '../clock/types.ts';
import type { RandomStream } from '../luck/streams.ts';
import type { BlockStore } from './blocks.ts';
import { type Corruption, filesToCorrupt, flipped } from './corruption.ts';
import { denied } from './errors.ts';
import { FileFaultBoard } from './faults.ts';
import { ModificationLog } from './modification-log.ts';
import { PathPatterns } from './path-patterns.ts';
import { checkedPath } from './paths.ts';
import { holdContents, StoredTree } from './stored-tree.ts';
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
} from './types.ts';

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

/** Files in memory: who may do what to a stored tree, what goes wrong meanwhile, and how much of it was done. */
export class VirtualFiles implements WorldFiles {
  readonly form = 'virtual';
  readonly faults: FileFaultBoard;
  readonly #options: VirtualFilesOptions;
  readonly #tree: StoredTree;
  readonly #intercept: PathPatterns;
  readonly #readonly: PathPatterns;
  readonly #writable: PathPatterns;
  readonly #base: readonly TreeEntry[];
  readonly #log: ModificationLog;
  #reads = 0;
  #writes = 0;
  #bytesRead = 0;
  #bytesWritten = 0;
  #closed = false;

  /** @throws OVERLOAD, CONFIG, DATA_CORRUPT */
  constructor(options: VirtualFilesOptions) {
    this.#options = options;
    const { base, entries, blocks, clock, limits, rules, random } = options;
    this.#intercept = new PathPatterns(rules.intercept);
    this.#readonly = new PathPatterns(rules.readonly);
    this.#writable = new PathPatterns(rules.writable);
    this.faults = new FileFaultBoard(random);
    this.#log = new ModificationLog(clock);
    this.#tree = new StoredTree({ clock, blocks, limits, entries: entries ?? base });
    try {
      // With the folders that nobody named.
      this.#base = entries === undefined ? this.entries() : base;
      holdContents(this.#base, blocks);
    } catch (error) {
      this.#tree.close();
      throw error;
    }
  }

  get interceptsAll(): boolean {
    return this.#intercept.isEverything;
  }

  intercepts(file: string): boolean {
    return this.#intercept.isEverything || this.#intercept.matches(path.posix.normalize(file));
  }

  async read(file: string, by: FileActor): Promise<Buffer> {
    const at = checkedPath(file);
    await this.#delay(at);
    this.faults.assertReadable(at);
    const { hash } = this.#tree.pointer(at);
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
    const at = checkedPath(file);
    await this.#delay(at);
    this.#assertMayWrite(at, by);
    this.#assertOpen();
    this.#tree.makeParents(at);
    const before = this.#tree.pointerIfAny(at);
    const whole =
      append && before !== null ? Buffer.concat([this.#options.blocks.get(before.hash), content]) : content;
    this.#tree.put(at, whole, before);
    this.#writes += 1;
    this.#bytesWritten += content.length;
    this.#log.add(append ? 'append' : 'write', at, by, content.length);
  }

  async stat(file: string): Promise<FileStat> {
    return this.#tree.stat(checkedPath(file));
  }

  async lstat(file: string): Promise<FileStat> {
    return this.#tree.lstat(checkedPath(file));
  }

  async list(folder: string): Promise<string[]> {
    return this.#tree.list(checkedPath(folder));
  }

  exists(file: string): boolean {
    return this.#tree.exists(checkedPath(file));
  }

  readlink(file: string): string {
    return this.#tree.readlink(checkedPath(file));
  }

  realpath(file: string): string {
    return this.#tree.realpath(checkedPath(file));
  }

  async mkdir(folder: string, by: FileActor): Promise<void> {
    const at = checkedPath(folder);
    this.#assertMayWrite(at, by);
    this.#tree.mkdir(at);
    this.#log.add('mkdir', at, by);
  }

  async remove(file: string, by: FileActor): Promise<void> {
    const at = checkedPath(file);
    if (at === '/') throw new CloveError('PATH_REFUSED', 'the root of a world is not removed');
    this.#tree.assertThere(at);
    const below = this.#tree.walk(at);
    for (const entry of below) this.#assertMayWrite(entry.path, by);
    this.#tree.remove(at, below);
    this.#log.add('remove', at, by);
  }

  async rename(from: string, to: string, by: FileActor): Promise<void> {
    const source = checkedPath(from);
    const target = checkedPath(to);
    if (source === target) return;
    if (`${target}/`.startsWith(`${source}/`)) {
      throw new CloveError('PATH_REFUSED', `${target}: a folder is not moved into itself`);
    }
    this.#tree.assertThere(source);
    for (const entry of this.#tree.walk(source)) this.#assertMayWrite(entry.path, by);
    this.#assertMayWrite(target, by);
    this.#tree.rename(source, target);
    this.#log.add('rename', target, by);
  }

  async symlink(target: string, file: string, by: FileActor): Promise<void> {
    const at = checkedPath(file);
    this.#assertMayWrite(at, by);
    this.#tree.symlink(target, at);
    this.#log.add('link', at, by);
  }

  async chmod(file: string, mode: number, by: FileActor): Promise<void> {
    const at = checkedPath(file);
    if (this.#isProtected(at) && by.id !== 0) throw denied(at);
    this.#tree.chmod(at, mode);
    this.#log.add('chmod', at, by);
  }

  utimes(file: string, mtimeMs: number): void {
    this.#tree.utimes(checkedPath(file), mtimeMs);
  }

  find(file: string): TreeEntry | null {
    return this.#tree.find(checkedPath(file));
  }

  entries(): readonly TreeEntry[] {
    return this.#tree.entries();
  }

  baseEntries(): readonly TreeEntry[] {
    return this.#base;
  }

  content(hash: string): Buffer {
    return this.#options.blocks.get(hash);
  }

  corrupt(pattern: string | undefined, how: Corruption): string[] {
    const chosen = filesToCorrupt(this.entries(), pattern, how);
    for (const entry of chosen) {
      const damaged = flipped(this.content(entry.hash as string), how.bytes, how.random);
      this.#tree.put(entry.path, damaged, this.#tree.pointer(entry.path));
      this.#log.add('corrupt', entry.path, THE_WORLD, how.bytes);
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
      total_size_bytes: this.#tree.bytes,
      modifications: this.#log.count,
    };
  }

  modifications(): readonly Modification[] {
    return this.#log.latest;
  }

  onChange(listener: (change: Modification) => void): () => void {
    return this.#log.onChange(listener);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#tree.close();
    for (const { hash } of this.#base) if (hash !== undefined) this.#options.blocks.release(hash);
    this.#log.close();
  }

  #delay(at: string): Promise<void> | undefined {
    const ms = this.faults.delayMs(at);
    return ms > 0 ? this.#options.clock.sleep(ms) : undefined;
  }

  /** @throws FORBIDDEN, IO, with words existing clients know */
  #assertMayWrite(at: string, by: FileActor): void {
    if (by.id === 0) return;
    this.faults.assertWritable(at);
    if (this.#isProtected(at) || this.#isProtected(this.#tree.real(at))) throw denied(at);
    const exists = this.#tree.exists(at);
    if (exists && (this.#tree.modeOf(at) & 0o222) === 0) throw denied(at);
    if (!exists && !this.#writable.isNothing && !this.#writable.matches(this.#tree.real(at)))
      throw denied(at);
  }

  #isProtected(at: string): boolean {
    return !this.#readonly.isNothing && this.#readonly.matches(at);
  }

  #assertOpen(): void {
    if (this.#closed) throw new CloveError('CANCELLED', 'the world has ended');
  }
}
