import { closeSync, constants, fchmodSync, fstatSync, readSync, type Stats, writeSync } from 'node:fs';
import path from 'node:path';
import { CloveError } from '../../../errors/index.ts';
import { changeIn, openIn, type WorldTree } from '../../../native/index.ts';
import type { RandomStream } from '../../luck/streams.ts';
import { notFound } from '../errors.ts';

const { O_RDONLY, O_RDWR, O_DIRECTORY, O_NOFOLLOW } = constants;
/** Of Linux; Node has no name for it. */
const O_PATH = 0o10000000;

/** The tree of a mounted world by its paths: everything this process does there goes through descriptors and never out. */
export class TreeAccess {
  readonly #tree: WorldTree;
  #closed = false;

  constructor(tree: WorldTree) {
    this.#tree = tree;
  }

  close(): void {
    this.#closed = true;
  }

  stat(at: string): Stats | null {
    try {
      const fd = this.open(at, O_PATH);
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

  open(at: string, flags: number, mode = 0, follow = true): number {
    if (this.#closed) throw new CloveError('CANCELLED', 'the world has ended');
    try {
      return openIn(this.#tree.rootFd, at === '/' ? '.' : at.slice(1), { flags, mode, follow });
    } catch (error) {
      if ((error as CloveError).code === 'NOT_FOUND') throw notFound(at);
      throw error;
    }
  }

  /** @throws PATH_REFUSED where something else than a file is */
  openFile(at: string, flags: number, mode = 0): number {
    const fd = this.open(at, flags, mode);
    if (fstatSync(fd).isFile()) return fd;
    closeSync(fd);
    throw new CloveError('PATH_REFUSED', `${at} is no regular file`);
  }

  makeFolder(at: string): void {
    this.inParent(at, (parent, name) => {
      changeIn(parent, name, ['mkdir', 0o777]);
      const made = openIn(parent, name, { flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW, follow: false });
      try {
        fchmodSync(made, 0o777);
      } finally {
        closeSync(made);
      }
    });
  }

  /** Makes the folders on the way that are not there. */
  makeParents(at: string): void {
    const parent = path.posix.dirname(at);
    if (parent !== '/' && this.stat(parent) === null) this.makeFolder(parent);
  }

  /** Runs with the open folder of a path; folders on the way are made unless told not to. */
  inParent(at: string, work: (parentFd: number, name: string) => void, make = true): void {
    if (make) this.makeParents(at);
    const fd = this.open(path.posix.dirname(at), O_RDONLY | O_DIRECTORY);
    try {
      work(fd, path.posix.basename(at));
    } finally {
      closeSync(fd);
    }
  }

  /** Changes some bytes of a file to others. */
  damage(at: string, bytes: number, random: RandomStream): void {
    const content = Buffer.alloc(1);
    const fd = this.open(at, O_RDWR | O_NOFOLLOW, 0, false);
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
}
