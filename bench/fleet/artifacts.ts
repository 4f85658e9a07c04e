/**
 * Takes what an agent leaves behind out of its file system. Its sandbox is frozen by then, so nothing moves; still each step opens one name below a folder that is held open, and follows no link. What is taken is content-addressed: the hash names it.
 */
import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  opendirSync,
  openSync,
  readSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { CloveError, errorToData, isCloveError } from '../../errors/index.ts';
import { namespaceOf } from './look.ts';

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY } = constants;
/** Half of what the system takes: the copy has a folder above it. */
const MAX_PATH_BYTES = 2048;
const MIB = 2 ** 20;

export interface ArtifactLimits {
  /** Of all files together, by their length: a hole counts as much as data. Default 16 MiB. */
  readonly maxBytes?: number;
  /** Files and folders. Default 1000. */
  readonly maxEntries?: number;
  /** Folders below each other. Default 16. */
  readonly maxDepth?: number;
}

export interface ArtifactFile {
  /** Relative, with "/". */
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly isExecutable: boolean;
}

export interface Artifact {
  /** Of the list of its files: their hashes, modes, sizes and paths, sorted. */
  readonly sha256: string;
  readonly files: readonly ArtifactFile[];
  readonly bytes: number;
  /** Copy on the host, which nobody may write to. */
  readonly folder: string;
}

/** A folder inside a sandbox, held open. */
export interface HeldFolder {
  readonly fd: number;
  close(): void;
}

const refused = (what: string) => new CloveError('PATH_REFUSED', what);
const shown = (path: string) => JSON.stringify(path.slice(0, 200));

/**
 * The folder at an absolute path inside the sandbox of a frozen process.
 * @throws NOT_FOUND when the process has ended, PATH_REFUSED when there is no such folder, or a link on the way
 */
export function holdFolder(pid: number, path: string): HeldFolder {
  const root = openRoot(pid);
  let fd = root;
  try {
    for (const name of path.split('/').filter((step) => step !== '')) {
      if (name === '..' || name === '.') throw refused(`${shown(path)} is no plain path`);
      const next = openBelow(fd, name, O_DIRECTORY, path);
      closeSync(fd);
      fd = next;
    }
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  const held = fd;
  return { fd: held, close: () => closeSync(held) };
}

function openRoot(pid: number): number {
  const own = namespaceOf(pid, 'mnt');
  let fd: number;
  try {
    fd = openSync(`/proc/${pid}/root`, O_RDONLY | O_DIRECTORY);
  } catch (error) {
    throw new CloveError('NOT_FOUND', 'the agent had ended before its work was taken', { cause: error });
  }
  // Somebody else may have got its number meanwhile; the files of the host must never be taken for an agent's.
  if (own !== null && own === namespaceOf(pid, 'mnt') && own !== namespaceOf('self', 'mnt')) return fd;
  closeSync(fd);
  throw new CloveError('NOT_FOUND', 'the agent had ended before its work was taken');
}

function openBelow(folder: number, name: string, flags: number, path: string): number {
  try {
    return openSync(`/proc/self/fd/${folder}/${name}`, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | flags);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOTDIR' || code === 'ELOOP') throw refused(`${shown(path)} is or goes through a link`);
    throw refused(`${shown(path)} cannot be opened: ${code ?? errorToData(error).message}`);
  }
}

/**
 * Copies regular files and folders below a held folder to `into`/<hash>, read-only. Anything else is refused, and with it all:
 * links, devices, FIFOs, sockets, other file systems, names that are not text, and more than the limits.
 * @param onFile sees each file before it counts as taken
 * @throws PATH_REFUSED
 */
export function takeArtifact(
  held: HeldFolder,
  into: string,
  limits: ArtifactLimits = {},
  onFile: (path: string, content: Buffer) => void = () => {},
): Artifact {
  const staging = join(into, 'taken');
  mkdirSync(staging, { recursive: true });
  const taking = new Taking(staging, limits, fstatSync(held.fd).dev, onFile);
  taking.folder(held.fd, '', 0);
  const files = taking.files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
  const sha256 = hashOf(
    files
      .map(
        (file) =>
          `${file.sha256} ${file.isExecutable ? 'x' : '-'} ${file.bytes} ${JSON.stringify(file.path)}\n`,
      )
      .join(''),
  );
  const folder = join(into, sha256);
  renameSync(staging, folder);
  for (const path of taking.folders.toReversed()) chmodSync(join(folder, path), 0o555);
  return { sha256, files, bytes: taking.bytes, folder };
}

export function hashOf(content: string | Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

class Taking {
  readonly files: ArtifactFile[] = [];
  readonly folders: string[] = [];
  bytes = 0;
  readonly #into: string;
  readonly #limits: Required<ArtifactLimits>;
  readonly #device: number;
  readonly #onFile: (path: string, content: Buffer) => void;
  #entries = 0;

  constructor(
    into: string,
    limits: ArtifactLimits,
    device: number,
    onFile: (path: string, content: Buffer) => void,
  ) {
    this.#into = into;
    this.#limits = { maxBytes: 16 * MIB, maxEntries: 1000, maxDepth: 16, ...limits };
    this.#device = device;
    this.#onFile = onFile;
  }

  folder(fd: number, path: string, depth: number): void {
    if (depth > this.#limits.maxDepth)
      throw refused(`${shown(path)} is deeper than ${this.#limits.maxDepth}`);
    this.folders.push(path);
    mkdirSync(join(this.#into, path), { recursive: true, mode: 0o755 });
    // One byte is one character, so that names which are no text do not become others.
    const entries = opendirSync(`/proc/self/fd/${fd}`, { encoding: 'latin1' });
    try {
      for (let entry = entries.readSync(); entry !== null; entry = entries.readSync())
        this.#entry(fd, path, Buffer.from(entry.name, 'latin1'), depth);
    } finally {
      entries.closeSync();
    }
  }

  #entry(folder: number, above: string, rawName: Buffer, depth: number): void {
    if (!isUtf8(rawName)) throw refused(`a name in ${shown(above)} is not UTF-8`);
    const name = rawName.toString('utf8');
    const path = above === '' ? name : `${above}/${name}`;
    if (Buffer.byteLength(path) > MAX_PATH_BYTES) throw refused(`the path of ${shown(above)} is too long`);
    if (++this.#entries > this.#limits.maxEntries)
      throw refused(`there are more than ${this.#limits.maxEntries} files and folders`);
    // Looked at before it is opened: to open a device can do something.
    const before = lstatSync(`/proc/self/fd/${folder}/${name}`);
    if (before.isSymbolicLink()) throw refused(`${shown(path)} is a symbolic link`);
    if (before.dev !== this.#device) throw refused(`${shown(path)} is on another file system`);
    if (!before.isDirectory() && !before.isFile()) throw refused(`${shown(path)} is no regular file`);
    const fd = openBelow(folder, name, before.isDirectory() ? O_DIRECTORY : 0, path);
    try {
      const now = fstatSync(fd);
      if (now.ino !== before.ino || now.dev !== this.#device) throw refused(`${shown(path)} was replaced`);
      if (now.isDirectory()) this.folder(fd, path, depth + 1);
      else this.#file(fd, path, now.size, (now.mode & 0o100) !== 0);
    } finally {
      closeSync(fd);
    }
  }

  #file(fd: number, path: string, size: number, isExecutable: boolean): void {
    this.bytes += size;
    if (this.bytes > this.#limits.maxBytes)
      throw refused(`the files are larger than ${this.#limits.maxBytes} bytes (up to ${shown(path)})`);
    const content = Buffer.alloc(size);
    let length = 0;
    while (length < size) {
      const count = readSync(fd, content, length, size - length, null);
      if (count === 0) throw refused(`${shown(path)} became shorter`);
      length += count;
    }
    this.#onFile(path, content);
    const target = join(this.#into, path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, content, { flag: 'wx' });
    // Set apart from writing, which the umask has its say in. Never setuid.
    chmodSync(target, isExecutable ? 0o555 : 0o444);
    this.files.push({ path, bytes: size, sha256: hashOf(content), isExecutable });
  }
}

/** What to say of work that could not be taken. */
export function refusalText(error: unknown): string {
  if (isCloveError(error) && (error.code === 'PATH_REFUSED' || error.code === 'NOT_FOUND'))
    return error.message;
  throw error;
}
