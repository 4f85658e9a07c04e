import path from 'node:path';
import type { IFileSystem } from 'just-bash';
import type { FileActor, FileStat } from '../filesystem/types.ts';
import type { VirtualFiles } from '../filesystem/virtual.ts';

type Encoding = Parameters<IFileSystem['readFile']>[1];
type Stat = Awaited<ReturnType<IFileSystem['stat']>>;

/** A world's files as the shell wants them. Errors carry the words and codes that its commands look for. */
export class ShellFiles implements IFileSystem {
  readonly #files: VirtualFiles;
  readonly #by: FileActor;

  constructor(files: VirtualFiles, by: FileActor) {
    this.#files = files;
    this.#by = by;
  }

  async readFile(file: string, options?: Encoding): Promise<string> {
    const bytes = await this.#read(file);
    return bytes.toString(encodingOf(options));
  }

  async readFileBuffer(file: string): Promise<Uint8Array> {
    // A copy: commands may write into what they were given.
    return new Uint8Array(await this.#read(file));
  }

  async writeFile(file: string, content: string | Uint8Array, options?: Encoding): Promise<void> {
    await this.#write(file, content, options, false);
  }

  async appendFile(file: string, content: string | Uint8Array, options?: Encoding): Promise<void> {
    await this.#write(file, content, options, true);
  }

  async exists(file: string): Promise<boolean> {
    return isDevice(file) || this.#files.exists(file);
  }

  async stat(file: string): Promise<Stat> {
    if (isDevice(file)) return DEVICE;
    return toStat(await this.#do(file, () => this.#files.stat(file)));
  }

  async lstat(file: string): Promise<Stat> {
    if (isDevice(file)) return DEVICE;
    return toStat(await this.#do(file, () => this.#files.lstat(file)));
  }

  async mkdir(folder: string, options?: { recursive?: boolean }): Promise<void> {
    await this.#do(folder, async () => {
      if (this.#files.exists(folder)) {
        if (options?.recursive === true && (await this.#files.stat(folder)).kind === 'folder') return;
        throw systemError('EEXIST', 'file already exists', folder);
      }
      const parent = path.posix.dirname(folder);
      if (options?.recursive !== true && !this.#files.exists(parent)) {
        throw systemError('ENOENT', 'no such file or directory', folder);
      }
      await this.#files.mkdir(folder, this.#by);
    });
  }

  async readdir(folder: string): Promise<string[]> {
    return this.#do(folder, () => this.#files.list(folder));
  }

  async rm(file: string, options?: { recursive?: boolean; force?: boolean }): Promise<void> {
    await this.#do(file, async () => {
      const stat = await this.#files.lstat(file).catch((error: unknown) => {
        if (options?.force === true) return null;
        throw error;
      });
      if (stat === null) return;
      if (
        stat.kind === 'folder' &&
        options?.recursive !== true &&
        (await this.#files.list(file)).length > 0
      ) {
        throw systemError('ENOTEMPTY', 'directory not empty', file);
      }
      await this.#files.remove(file, this.#by);
    });
  }

  async cp(source: string, target: string, options?: { recursive?: boolean }): Promise<void> {
    const stat = await this.stat(source);
    if (!stat.isDirectory) {
      await this.writeFile(target, await this.readFileBuffer(source));
      return;
    }
    if (options?.recursive !== true) throw systemError('EISDIR', 'is a directory', source);
    await this.mkdir(target, { recursive: true });
    for (const name of await this.readdir(source)) {
      await this.cp(`${source}/${name}`, `${target}/${name}`, options);
    }
  }

  async mv(source: string, target: string): Promise<void> {
    await this.#do(source, () => this.#files.rename(source, target, this.#by));
  }

  resolvePath(base: string, file: string): string {
    return path.posix.resolve('/', base, file);
  }

  getAllPaths(): string[] {
    return this.#files.entries().map((entry) => entry.path);
  }

  async chmod(file: string, mode: number): Promise<void> {
    await this.#do(file, () => this.#files.chmod(file, mode, this.#by));
  }

  async symlink(target: string, link: string): Promise<void> {
    await this.#do(link, () => this.#files.symlink(target, link, this.#by));
  }

  /** The tree knows files by their content; a second name of one is a file of its own. */
  async link(existing: string, added: string): Promise<void> {
    throw systemError('EPERM', `operation not permitted, link '${existing}' ->`, added);
  }

  async readlink(file: string): Promise<string> {
    return this.#do(file, async () => this.#files.readlink(file));
  }

  async realpath(file: string): Promise<string> {
    if (isDevice(file)) return file;
    return this.#do(file, async () => this.#files.realpath(file));
  }

  async utimes(file: string, _accessed: Date, modified: Date): Promise<void> {
    await this.#do(file, async () => this.#files.utimes(file, modified.getTime()));
  }

  async #read(file: string): Promise<Buffer> {
    if (isDevice(file)) return Buffer.alloc(0);
    return this.#do(file, () => this.#files.read(file, this.#by));
  }

  async #write(
    file: string,
    content: string | Uint8Array,
    options: Encoding,
    append: boolean,
  ): Promise<void> {
    if (isDevice(file)) return;
    const bytes = typeof content === 'string' ? Buffer.from(content, encodingOf(options)) : content;
    await this.#do(file, async () => {
      // Programs do not make folders by writing into them.
      const parent = path.posix.dirname(path.posix.normalize(file));
      if (!this.#files.exists(parent)) throw systemError('ENOENT', 'no such file or directory', file);
      await this.#files.write(file, bytes, { append, by: this.#by });
    });
  }

  async #do<Result>(file: string, work: () => Promise<Result>): Promise<Result> {
    try {
      return await work();
    } catch (error) {
      throw asSystemError(error, file);
    }
  }
}

const DEVICE: Stat = {
  isFile: true,
  isDirectory: false,
  isSymbolicLink: false,
  mode: 0o666,
  size: 0,
  mtime: new Date(0),
};

/** What redirections go to; not part of the world's tree. */
function isDevice(file: string): boolean {
  return file === '/dev/null';
}

function toStat({ kind, mode, size, mtimeMs }: FileStat): Stat {
  return {
    isFile: kind === 'file',
    isDirectory: kind === 'folder',
    isSymbolicLink: kind === 'link',
    mode,
    size,
    mtime: new Date(mtimeMs),
  };
}

function encodingOf(options: Encoding): BufferEncoding {
  const encoding = (typeof options === 'string' ? options : options?.encoding) ?? 'utf8';
  return encoding === 'binary' ? 'latin1' : encoding;
}

const WORDS: Readonly<Record<string, readonly [string, string]>> = {
  NOT_FOUND: ['ENOENT', 'no such file or directory'],
  FORBIDDEN: ['EACCES', 'permission denied'],
  CONFLICT: ['EEXIST', 'file already exists'],
  OVERLOAD: ['ENOSPC', 'no space left on device'],
  IO: ['EIO', 'input/output error'],
};

const ERRNO_WORDS: Readonly<Record<string, string>> = {
  EISDIR: 'illegal operation on a directory',
  ENOTDIR: 'not a directory',
  ELOOP: 'too many levels of symbolic links',
  EINVAL: 'invalid argument',
  ENAMETOOLONG: 'file name too long',
  ENOTEMPTY: 'directory not empty',
  ENOSPC: 'no space left on device',
  EROFS: 'read-only file system',
  EIO: 'input/output error',
};

function asSystemError(error: unknown, file: string): unknown {
  const { code, details } = error as { code?: string; details?: { errno?: unknown } };
  const errno = typeof details?.errno === 'string' ? details.errno : null;
  if (errno !== null && ERRNO_WORDS[errno] !== undefined) return systemError(errno, ERRNO_WORDS[errno], file);
  const [name, words] = WORDS[code ?? ''] ?? [null, null];
  return name === null || words === null ? error : systemError(name, words, file);
}

function systemError(code: string, words: string, file: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${words}, '${file}'`), { code, path: file });
}
