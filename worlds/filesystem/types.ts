import type { Corruption } from './corruption.ts';

/** The files of a world, whichever form they have: in memory for calls, or mounted for processes. Paths are absolute. */

export type EntryKind = 'file' | 'folder' | 'link';

/** One entry of a tree, with the address of its content. */
export interface TreeEntry {
  readonly path: string;
  readonly kind: EntryKind;
  /** Permission bits. */
  readonly mode: number;
  /** On the world's clock, ms since the epoch. */
  readonly mtimeMs: number;
  /** SHA-256 of the content, hex; of files only. */
  readonly hash?: string;
  /** Bytes; of files only. */
  readonly size?: number;
  /** What a link says. */
  readonly target?: string;
}

/** Who acts; 0 = the world itself. */
export interface FileActor {
  readonly id: number;
  readonly name: string;
}

export const THE_WORLD: FileActor = { id: 0, name: 'world' };

export interface FileStat {
  readonly kind: EntryKind;
  readonly mode: number;
  readonly size: number;
  readonly mtimeMs: number;
}

/** One change, as it was made. */
export interface Modification {
  readonly atMs: number;
  readonly agentId: number;
  readonly operation: 'write' | 'append' | 'mkdir' | 'remove' | 'rename' | 'link' | 'chmod' | 'corrupt';
  readonly path: string;
  readonly bytes?: number;
}

/** What is wrong with the disk. Probabilities are drawn from the world's luck; absent = always. `path` is a pattern. */
export type FileFaultSpec = { readonly path?: string | undefined } & (
  | { readonly kind: 'read_failure' | 'write_failure'; readonly probability?: number | undefined }
  | { readonly kind: 'full' | 'readonly' }
  | { readonly kind: 'slow'; readonly ms: number; readonly jitterMs?: number | undefined }
  | { readonly kind: 'corrupt_reads'; readonly probability?: number | undefined }
);

export interface ActiveFileFault {
  readonly handle: string;
  readonly spec: FileFaultSpec;
  /** Calls it changed. */
  readonly hits: number;
}

export interface FileFaults {
  /** The handle that takes it back. @throws BAD_REQUEST */
  set(spec: FileFaultSpec): string;
  /** Whether there was one with this handle. */
  clear(handle: string): boolean;
  list(): readonly ActiveFileFault[];
}

/** Field names as the state of a world answers them. */
export interface FileMetrics {
  readonly file_count: number;
  readonly read_count: number;
  readonly write_count: number;
  readonly bytes_read: number;
  readonly bytes_written: number;
  readonly total_size_bytes: number;
  readonly modifications: number;
}

export interface FileLimits {
  /** Of all files together. */
  readonly bytes: number;
  readonly files: number;
  /** Of one file. */
  readonly fileBytes: number;
}

export interface FileRules {
  /** Paths that are the world's. */
  readonly intercept: readonly string[];
  /** What nobody in the world may change. */
  readonly readonly: readonly string[];
  /** Where files may be made; empty = everywhere. */
  readonly writable: readonly string[];
}

export interface WorldFiles {
  readonly form: 'virtual' | 'mounted';
  /** Whether this path is the world's. */
  intercepts(path: string): boolean;
  /** Whether every path is. */
  readonly interceptsAll: boolean;
  /** @throws NOT_FOUND, IO, PATH_REFUSED */
  read(path: string, by: FileActor): Promise<Buffer>;
  /** Makes the folders on the way. @throws FORBIDDEN, IO, OVERLOAD, PATH_REFUSED */
  write(path: string, content: Uint8Array, options: { append: boolean; by: FileActor }): Promise<void>;
  stat(path: string): Promise<FileStat>;
  list(path: string): Promise<string[]>;
  mkdir(path: string, by: FileActor): Promise<void>;
  /** A file, a link, or a folder with all that is in it. */
  remove(path: string, by: FileActor): Promise<void>;
  rename(from: string, to: string, by: FileActor): Promise<void>;
  symlink(target: string, path: string, by: FileActor): Promise<void>;
  chmod(path: string, mode: number, by: FileActor): Promise<void>;
  /** The entry at a path, as it is; null = there is none. */
  find(path: string): TreeEntry | null;
  /** All of the tree, by path in code unit order, without the root. */
  entries(): readonly TreeEntry[];
  /** The tree as it was when the world was made. */
  baseEntries(): readonly TreeEntry[];
  /** Content by its address: of the tree as it is, or as it was. */
  content(hash: string): Buffer;
  readonly faults: FileFaults;
  /** Changes bytes of files that match, for good. Returns their paths. */
  corrupt(pattern: string | undefined, how: Corruption): string[];
  metrics(): FileMetrics;
  /** The latest modifications, oldest first (bounded). */
  modifications(): readonly Modification[];
  /** Called after every modification; returns how to stop. */
  onChange(listener: (change: Modification) => void): () => void;
  close(): void;
}
